//! The cases by hand: the loop that a careful programmer writes over the same buffers, compiled with the same instructions
//! as the kernels ([`dispatch`]), and run on the same level.

use std::sync::Arc;

use arrow_array::builder::{StringViewBuilder, make_view};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray, StringViewArray};
use arrow_buffer::{BooleanBuffer, Buffer, ScalarBuffer};

use crate::data::fail;
use crate::ours::{checked, drag, fee, idiv, is_get, keep, mul3, notional, path, tax, upper};

fn f64s<'a>(b: &'a RecordBatch, name: &str) -> &'a [f64] {
    b.column_by_name(name).map_or(&[], |a| a.as_primitive::<Float64Type>().values())
}
fn i64s<'a>(b: &'a RecordBatch, name: &str) -> &'a [i64] {
    b.column_by_name(name).map_or(&[], |a| a.as_primitive::<Int64Type>().values())
}
fn column<'a>(b: &'a RecordBatch, name: &str) -> &'a ArrayRef {
    b.column_by_name(name).unwrap_or_else(|| fail(name))
}

/// A function in two copies: for the target's own instructions, and for those of the kernels.
macro_rules! dispatch {
    ($($(#[$doc:meta])* pub fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty $body:block)*) => {$(
        $(#[$doc])*
        pub fn $name($($arg: $ty),*) -> $ret {
            #[inline(always)]
            fn base($($arg: $ty),*) -> $ret $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt,fma")]
            fn v3($($arg: $ty),*) -> $ret { base($($arg),*) }
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt,fma,avx512f,avx512bw,avx512cd,avx512dq,avx512vl")]
            fn v4($($arg: $ty),*) -> $ret { base($($arg),*) }
            #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
            if sabot::kernel::Level::current() == sabot::kernel::Level::V4 {
                // SAFETY: `V4` is only made where the machine was found to have these features.
                return unsafe { v4($($arg),*) };
            }
            #[cfg(target_arch = "x86_64")]
            if sabot::kernel::Level::current() >= sabot::kernel::Level::V3 {
                // SAFETY: `V3` is only made where the machine was found to have these features.
                return unsafe { v3($($arg),*) };
            }
            base($($arg),*)
        }
    )*};
}

fn floats(v: Vec<f64>) -> ArrayRef {
    Arc::new(Float64Array::from(v))
}
fn mask(words: Vec<u64>, rows: usize) -> ArrayRef {
    Arc::new(BooleanArray::new(BooleanBuffer::new(Buffer::from_vec(words), 0, rows), None))
}

dispatch! {
    /// A map of three arguments.
    pub fn map3_hand(b: &RecordBatch) -> ArrayRef {
        floats(f64s(b, "p").iter().zip(i64s(b, "q")).zip(f64s(b, "f")).map(|((p, q), f)| mul3(*p, *q, *f)).collect())
    }
    /// A predicate, to a mask.
    pub fn predicate_hand(b: &RecordBatch) -> ArrayRef {
        let (p, q) = (f64s(b, "p"), i64s(b, "q"));
        let mut words = Vec::with_capacity(p.len().div_ceil(64));
        for (p, q) in p.chunks(64).zip(q.chunks(64)) {
            let mut word = 0u64;
            for (j, (p, q)) in p.iter().zip(q).enumerate() {
                word |= u64::from(keep(*p, *q)) << j;
            }
            words.push(word);
        }
        mask(words, p.len())
    }
    /// Predicate, filter, two maps: 64 lanes on the stack, compacted without a branch (`research/experiments/10`).
    pub fn chain_hand(b: &RecordBatch) -> ArrayRef {
        let (price, qty) = (f64s(b, "p"), i64s(b, "q"));
        let mut out: Vec<f64> = Vec::with_capacity(price.len() + 64);
        let mut to = out.as_mut_ptr();
        let (ps, p_rest) = price.as_chunks::<64>();
        let (qs, q_rest) = qty.as_chunks::<64>();
        let (mut tmp, mut kept) = ([0f64; 64], [0u8; 64]);
        for (p, q) in ps.iter().zip(qs) {
            for j in 0..64 {
                tmp[j] = fee(notional(p[j], q[j]));
                kept[j] = u8::from(keep(p[j], q[j]));
            }
            for j in 0..64 {
                // SAFETY: at most one value per row so far, and there is room for 64 more than rows.
                unsafe {
                    *to = tmp[j];
                    to = to.add(kept[j] as usize);
                }
            }
        }
        for (p, q) in p_rest.iter().zip(q_rest) {
            if keep(*p, *q) {
                // SAFETY: as above.
                unsafe {
                    *to = fee(notional(*p, *q));
                    to = to.add(1);
                }
            }
        }
        // SAFETY: all values before `to` were written, and it lies within the vector.
        unsafe { out.set_len(to.offset_from_unsigned(out.as_ptr())) };
        floats(out)
    }
    /// `?`: all lanes, the input's nulls.
    pub fn question_hand(b: &RecordBatch) -> ArrayRef {
        let v: Vec<f64> = i64s(b, "d").iter().zip(i64s(b, "m")).map(|(d, m)| drag(*d, *m)).collect();
        Arc::new(Float64Array::new(v.into(), column(b, "d").nulls().cloned()))
    }
    /// `?` under a condition: all lanes, nulls by words.
    pub fn question_if_hand(b: &RecordBatch) -> ArrayRef {
        let (d, m) = (i64s(b, "d"), i64s(b, "m"));
        let v: Vec<f64> = d.iter().zip(m).map(|(d, m)| if *m > 500 { drag(*d, *m) } else { 0.0 }).collect();
        let nulls = column(b, "d").nulls().map(|n| {
            let valid = n.inner().bit_chunks();
            let words: Vec<u64> = valid
                .iter_padded()
                .zip(m.chunks(64))
                .map(|(w, m)| m.iter().enumerate().fold(w, |w, (j, m)| w | u64::from(*m <= 500) << j))
                .collect();
            arrow_buffer::NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(words), 0, m.len()))
        });
        Arc::new(Float64Array::new(v.into(), nulls))
    }
    /// Integer division.
    pub fn trap_hand(b: &RecordBatch) -> ArrayRef {
        let v: Vec<i64> = i64s(b, "q").iter().zip(i64s(b, "m")).map(|(a, b)| idiv(*a, *b)).collect();
        Arc::new(Int64Array::from(v))
    }
    /// Integer division where `d` is valid, by words (`research/experiments/13`).
    pub fn trap_question_hand(b: &RecordBatch) -> ArrayRef {
        let (d, m) = (i64s(b, "d"), i64s(b, "m"));
        let nulls = column(b, "d").nulls();
        let mut out = vec![0i64; d.len()];
        match nulls {
            None => out.iter_mut().zip(d).zip(m).for_each(|((o, d), m)| *o = idiv(*d, *m)),
            Some(n) => {
                let chunks = out.chunks_mut(64).zip(d.chunks(64)).zip(m.chunks(64));
                for (((o, d), m), w) in chunks.zip(n.inner().bit_chunks().iter_padded()) {
                    let mut w = w;
                    while w != 0 {
                        let j = w.trailing_zeros() as usize;
                        if let (Some(o), Some(d), Some(m)) = (o.get_mut(j), d.get(j), m.get(j)) {
                            *o = idiv(*d, *m);
                        }
                        w &= w - 1;
                    }
                }
            }
        }
        Arc::new(Int64Array::new(out.into(), nulls.cloned()))
    }
    /// `Result`, with one flag for all rows.
    pub fn result_hand(b: &RecordBatch) -> ArrayRef {
        let mut bad = false;
        let v = f64s(b, "p").iter().zip(i64s(b, "q")).map(|(p, q)| checked(*p, *q).unwrap_or_else(|_| { bad = true; 0.0 })).collect();
        if bad {
            fail("a row failed");
        }
        floats(v)
    }
    /// A predicate over text.
    pub fn text_predicate_hand(b: &RecordBatch) -> ArrayRef {
        let s = column(b, "s").as_string::<i32>();
        let mut words = Vec::with_capacity(s.len().div_ceil(64));
        let (mut word, mut n) = (0u64, 0);
        for i in 0..s.len() {
            // SAFETY: `i` is below the length.
            word |= u64::from(is_get(unsafe { s.value_unchecked(i) })) << n;
            n += 1;
            if n == 64 {
                words.push(word);
                (word, n) = (0, 0);
            }
        }
        if n > 0 {
            words.push(word);
        }
        mask(words, s.len())
    }
    /// Text that is a part of the input: views into its buffer.
    pub fn borrowed_hand(b: &RecordBatch) -> ArrayRef {
        let s = column(b, "s").as_string::<i32>();
        let base = s.values().as_ptr() as usize;
        let mut views: Vec<u128> = Vec::with_capacity(s.len());
        for i in 0..s.len() {
            // SAFETY: `i` is below the length.
            let part = path(unsafe { s.value_unchecked(i) });
            views.push(make_view(part.as_bytes(), 0, (part.as_ptr() as usize - base) as u32));
        }
        // SAFETY: every view is inline or a slice of the one buffer, at character boundaries.
        Arc::new(unsafe { StringViewArray::new_unchecked(ScalarBuffer::from(views), [s.values().clone()], None) })
    }
    /// Text made anew.
    pub fn owned_hand(b: &RecordBatch) -> ArrayRef {
        let s = column(b, "s").as_string::<i32>();
        let mut out = StringViewBuilder::with_capacity(s.len());
        for i in 0..s.len() {
            // SAFETY: `i` is below the length.
            out.append_value(upper(unsafe { s.value_unchecked(i) }));
        }
        Arc::new(out.finish())
    }
    /// Once per value of the dictionary.
    pub fn dictionary_hand(b: &RecordBatch) -> ArrayRef {
        let d = column(b, "s").as_dictionary::<Int32Type>();
        let values = StringArray::from_iter_values(d.values().as_string::<i32>().iter().map(|s| upper(s.unwrap_or_default())));
        Arc::new(DictionaryArray::new(d.keys().clone(), Arc::new(values)))
    }
    /// Two columns, one from the other.
    pub fn dependent_hand(b: &RecordBatch) -> ArrayRef {
        let (p, q, f) = (f64s(b, "p"), i64s(b, "q"), f64s(b, "f"));
        let n: Vec<f64> = p.iter().zip(q).map(|(p, q)| notional(*p, *q)).collect();
        let x = n.iter().zip(f).map(|(n, f)| tax(*n, *f)).collect();
        std::hint::black_box(floats(n));
        floats(x)
    }
}
