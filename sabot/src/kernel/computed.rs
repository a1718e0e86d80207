//! The values that a run computes, and the columns they become: a cons list per step, joined per run.

use arrow_array::ArrayRef;
use arrow_schema::DataType;

use crate::record::{Buffers, Env, Keep, Lane, Named, Spots, Stack, Value, Writer};

/// Values computed by a step or a run. `(f64, (Str, ()))` for two columns; [`Cat`] joins steps.
pub trait Computed: Send + Sync + 'static {
    /// The values of one row.
    type Vals<'a>: Copy;
    /// Their column writers.
    type Write: Send;
    /// Where 64 rows of each column are written.
    type Spots<'w>: Copy;
    /// Memory for 64 rows of each column, on the stack.
    type Stack: Default;
    /// Number of columns.
    const LEN: u32;
    /// Whether 64 rows of all columns may be written at once.
    const FIXED: bool;
    /// Appends the Arrow type and nullability of each column.
    fn types(out: &mut Vec<(DataType, bool)>);
    /// Writers for `rows` rows; `wanted` says, column by column, whether anybody reads it. Rows that are delivered are
    /// either written or made blank before.
    fn writer(rows: usize, wanted: &mut dyn FnMut() -> bool) -> Self::Write;
    /// Writes row `at`.
    fn put(write: &mut Self::Write, at: usize, vals: Self::Vals<'_>, env: &Env<'_>);
    /// Makes rows blank that may be skipped.
    fn blank(write: &mut Self::Write, at: usize, len: usize);
    /// The stack's memory.
    fn spots(stack: &mut Self::Stack) -> Self::Spots<'_>;
    /// Where the 64 rows from `at` on are written, the values straight to the output; to be [`settled`](Self::settle).
    fn direct<'w>(write: &'w mut Self::Write, stack: &'w mut Self::Stack, at: usize) -> Self::Spots<'w>;
    /// Copies what did not go straight to the output.
    fn settle(write: &mut Self::Write, stack: &mut Self::Stack, at: usize, keep: Keep<'_>);
    /// Writes a lane. Only if [`FIXED`](Self::FIXED).
    fn set(spots: Self::Spots<'_>, lane: Lane, vals: Self::Vals<'_>);
    /// Appends kept lanes to row `at` of every wanted column.
    fn compress(write: &mut Self::Write, from: Self::Spots<'_>, at: usize, keep: Keep<'_>);
    /// The columns; `None` for those not wanted.
    fn finish(write: Self::Write, rows: usize, buffers: &Buffers, out: &mut Vec<Option<ArrayRef>>);
}

impl Computed for () {
    type Vals<'a> = ();
    type Write = ();
    type Spots<'w> = ();
    type Stack = ();
    const LEN: u32 = 0;
    const FIXED: bool = true;
    fn types(_: &mut Vec<(DataType, bool)>) {}
    fn writer(_: usize, _: &mut dyn FnMut() -> bool) {}
    #[inline(always)]
    fn put(_: &mut (), _: usize, _: Self::Vals<'_>, _: &Env<'_>) {}
    #[inline(always)]
    fn blank(_: &mut (), _: usize, _: usize) {}
    #[inline(always)]
    fn spots(_: &mut ()) {}
    #[inline(always)]
    fn direct<'w>(_: &'w mut (), _: &'w mut (), _: usize) {}
    #[inline(always)]
    fn settle(_: &mut (), _: &mut (), _: usize, _: Keep<'_>) {}
    #[inline(always)]
    fn set(_: (), _: Lane, _: ()) {}
    #[inline(always)]
    fn compress(_: &mut (), _: (), _: usize, _: Keep<'_>) {}
    fn finish(_: (), _: usize, _: &Buffers, _: &mut Vec<Option<ArrayRef>>) {}
}

impl<V: Value, Rest: Computed> Computed for (V, Rest) {
    type Vals<'a> = (V::Ref<'a>, Rest::Vals<'a>);
    type Write = (bool, V::Write, Rest::Write);
    type Spots<'w> = (Spots<'w>, Rest::Spots<'w>);
    type Stack = (Stack, Rest::Stack);
    const LEN: u32 = 1 + Rest::LEN;
    const FIXED: bool = V::FIXED && V::Write::LANES && Rest::FIXED;
    fn types(out: &mut Vec<(DataType, bool)>) {
        out.push((V::data_type(), V::NULLABLE));
        Rest::types(out);
    }
    fn writer(rows: usize, wanted: &mut dyn FnMut() -> bool) -> Self::Write {
        let on = wanted();
        // SAFETY: the loop of a run writes or blanks every row that it delivers (see the trait).
        let own = if on { unsafe { V::Write::raw(rows) } } else { V::Write::new(0) };
        (on, own, Rest::writer(rows, wanted))
    }
    #[inline(always)]
    fn put(write: &mut Self::Write, at: usize, vals: Self::Vals<'_>, env: &Env<'_>) {
        if write.0 {
            write.1.put(at, vals.0, env);
        }
        Rest::put(&mut write.2, at, vals.1, env);
    }
    #[inline(always)]
    fn blank(write: &mut Self::Write, at: usize, len: usize) {
        if write.0 {
            write.1.blank(at, len);
        }
        Rest::blank(&mut write.2, at, len);
    }
    #[inline(always)]
    fn spots(stack: &mut Self::Stack) -> Self::Spots<'_> {
        (stack.0.spots(), Rest::spots(&mut stack.1))
    }
    #[inline(always)]
    fn direct<'w>(write: &'w mut Self::Write, stack: &'w mut Self::Stack, at: usize) -> Self::Spots<'w> {
        let own = stack.0.spots();
        (if write.0 { write.1.direct(at, own) } else { own }, Rest::direct(&mut write.2, &mut stack.1, at))
    }
    #[inline(always)]
    fn settle(write: &mut Self::Write, stack: &mut Self::Stack, at: usize, keep: Keep<'_>) {
        if write.0 {
            write.1.settle(stack.0.spots(), at, keep);
        }
        Rest::settle(&mut write.2, &mut stack.1, at, keep);
    }
    #[inline(always)]
    fn set(spots: Self::Spots<'_>, lane: Lane, vals: Self::Vals<'_>) {
        // a value that nobody wants is stored too: that is cheaper than a test
        V::Write::set(spots.0, lane, vals.0);
        Rest::set(spots.1, lane, vals.1);
    }
    #[inline(always)]
    fn compress(write: &mut Self::Write, from: Self::Spots<'_>, at: usize, keep: Keep<'_>) {
        if write.0 {
            write.1.compress(from.0, at, keep);
        }
        Rest::compress(&mut write.2, from.1, at, keep);
    }
    fn finish(write: Self::Write, rows: usize, buffers: &Buffers, out: &mut Vec<Option<ArrayRef>>) {
        out.push(write.0.then(|| write.1.finish(rows, buffers)));
        Rest::finish(write.2, rows, buffers, out);
    }
}

/// The values of two steps, one after the other.
#[derive(Debug)]
pub struct Cat<A, B>(std::marker::PhantomData<fn() -> (A, B)>);

impl<A: Computed, B: Computed> Computed for Cat<A, B> {
    type Vals<'a> = (A::Vals<'a>, B::Vals<'a>);
    type Write = (A::Write, B::Write);
    type Spots<'w> = (A::Spots<'w>, B::Spots<'w>);
    type Stack = (A::Stack, B::Stack);
    const LEN: u32 = A::LEN + B::LEN;
    const FIXED: bool = A::FIXED && B::FIXED;
    fn types(out: &mut Vec<(DataType, bool)>) {
        A::types(out);
        B::types(out);
    }
    fn writer(rows: usize, wanted: &mut dyn FnMut() -> bool) -> Self::Write {
        let a = A::writer(rows, wanted);
        (a, B::writer(rows, wanted))
    }
    #[inline(always)]
    fn put(write: &mut Self::Write, at: usize, vals: Self::Vals<'_>, env: &Env<'_>) {
        A::put(&mut write.0, at, vals.0, env);
        B::put(&mut write.1, at, vals.1, env);
    }
    #[inline(always)]
    fn blank(write: &mut Self::Write, at: usize, len: usize) {
        A::blank(&mut write.0, at, len);
        B::blank(&mut write.1, at, len);
    }
    #[inline(always)]
    fn spots(stack: &mut Self::Stack) -> Self::Spots<'_> {
        (A::spots(&mut stack.0), B::spots(&mut stack.1))
    }
    #[inline(always)]
    fn direct<'w>(write: &'w mut Self::Write, stack: &'w mut Self::Stack, at: usize) -> Self::Spots<'w> {
        (A::direct(&mut write.0, &mut stack.0, at), B::direct(&mut write.1, &mut stack.1, at))
    }
    #[inline(always)]
    fn settle(write: &mut Self::Write, stack: &mut Self::Stack, at: usize, keep: Keep<'_>) {
        A::settle(&mut write.0, &mut stack.0, at, keep);
        B::settle(&mut write.1, &mut stack.1, at, keep);
    }
    #[inline(always)]
    fn set(spots: Self::Spots<'_>, lane: Lane, vals: Self::Vals<'_>) {
        A::set(spots.0, lane, vals.0);
        B::set(spots.1, lane, vals.1);
    }
    #[inline(always)]
    fn compress(write: &mut Self::Write, from: Self::Spots<'_>, at: usize, keep: Keep<'_>) {
        A::compress(&mut write.0, from.0, at, keep);
        B::compress(&mut write.1, from.1, at, keep);
    }
    fn finish(write: Self::Write, rows: usize, buffers: &Buffers, out: &mut Vec<Option<ArrayRef>>) {
        A::finish(write.0, rows, buffers, out);
        B::finish(write.1, rows, buffers, out);
    }
}

/// All columns of a named record: the `row Alert { .. }` of a step. One writer (a struct column), taken apart at the end.
/// `F` lists the types of the expressions, which say whether one may fail.
#[derive(Debug)]
pub struct All<R, F = ()>(std::marker::PhantomData<fn() -> (R, F)>);

impl<R: Named, F: Send + Sync + 'static> Computed for All<R, F> {
    type Vals<'a> = <R as crate::record::Record>::Row<'a>;
    type Write = <R as Value>::Write;
    type Spots<'w> = ();
    type Stack = ();
    const LEN: u32 = 0;
    const FIXED: bool = false;
    fn types(out: &mut Vec<(DataType, bool)>) {
        out.extend(crate::record::columns_of::<R>().into_iter().map(|c| (c.data_type, c.nullable)));
    }
    fn writer(rows: usize, _wanted: &mut dyn FnMut() -> bool) -> Self::Write {
        <R as Value>::Write::new(rows)
    }
    #[inline(always)]
    fn put(write: &mut Self::Write, at: usize, vals: Self::Vals<'_>, env: &Env<'_>) {
        write.put(at, R::value_ref(vals), env);
    }
    fn blank(_: &mut Self::Write, _: usize, _: usize) {}
    fn spots(_: &mut ()) {}
    fn direct<'w>(_: &'w mut Self::Write, _: &'w mut (), _: usize) {}
    fn settle(_: &mut Self::Write, _: &mut (), _: usize, _: Keep<'_>) {}
    fn set(_: (), _: Lane, _: Self::Vals<'_>) {}
    fn compress(_: &mut Self::Write, _: (), _: usize, _: Keep<'_>) {}
    fn finish(write: Self::Write, rows: usize, buffers: &Buffers, out: &mut Vec<Option<ArrayRef>>) {
        use arrow_array::cast::AsArray;
        let array = write.finish(rows, buffers);
        if let Some(s) = array.as_struct_opt() {
            out.extend(s.columns().iter().cloned().map(Some));
        }
    }
}
