//! The values that a run computes, and the columns they become: a cons list per step, joined per run.

use arrow_array::ArrayRef;
use arrow_schema::DataType;

use crate::record::{Buffers, Env, Named, Value, Writer};

/// Values computed by a step or a run. `(f64, (Str, ()))` for two columns; [`Cat`] joins steps.
pub trait Computed: Send + Sync + 'static {
    /// The values of one row.
    type Vals<'a>: Copy;
    /// Their column writers.
    type Write: Send;
    /// Number of columns.
    const LEN: u32;
    /// Whether all columns are of fixed width, so that 64 lanes may be written and then compressed.
    const FIXED: bool;
    /// Appends the Arrow type and nullability of each column.
    fn types(out: &mut Vec<(DataType, bool)>);
    /// Writers for `rows` rows; `wanted` says, column by column, whether anybody reads it.
    fn writer(rows: usize, wanted: &mut dyn FnMut() -> bool) -> Self::Write;
    /// Writes row `at`. With `ALL`, every column is wanted.
    fn put<const ALL: bool>(write: &mut Self::Write, at: usize, vals: Self::Vals<'_>, env: &Env<'_>);
    /// Moves a row down, in every wanted column.
    fn shift(write: &mut Self::Write, from: usize, to: usize);
    /// The columns; `None` for those not wanted.
    fn finish(write: Self::Write, rows: usize, buffers: &Buffers, out: &mut Vec<Option<ArrayRef>>);
}

impl Computed for () {
    type Vals<'a> = ();
    type Write = ();
    const LEN: u32 = 0;
    const FIXED: bool = true;
    fn types(_: &mut Vec<(DataType, bool)>) {}
    fn writer(_: usize, _: &mut dyn FnMut() -> bool) {}
    #[inline(always)]
    fn put<const ALL: bool>(_: &mut (), _: usize, _: Self::Vals<'_>, _: &Env<'_>) {}
    #[inline(always)]
    fn shift(_: &mut (), _: usize, _: usize) {}
    fn finish(_: (), _: usize, _: &Buffers, _: &mut Vec<Option<ArrayRef>>) {}
}

impl<V: Value, Rest: Computed> Computed for (V, Rest) {
    type Vals<'a> = (V::Ref<'a>, Rest::Vals<'a>);
    type Write = (bool, V::Write, Rest::Write);
    const LEN: u32 = 1 + Rest::LEN;
    const FIXED: bool = V::FIXED && Rest::FIXED;
    fn types(out: &mut Vec<(DataType, bool)>) {
        out.push((V::data_type(), V::NULLABLE));
        Rest::types(out);
    }
    fn writer(rows: usize, wanted: &mut dyn FnMut() -> bool) -> Self::Write {
        let on = wanted();
        (on, V::Write::new(if on { rows } else { 0 }), Rest::writer(rows, wanted))
    }
    #[inline(always)]
    fn put<const ALL: bool>(write: &mut Self::Write, at: usize, vals: Self::Vals<'_>, env: &Env<'_>) {
        if ALL || write.0 {
            write.1.put(at, vals.0, env);
        }
        Rest::put::<ALL>(&mut write.2, at, vals.1, env);
    }
    #[inline(always)]
    fn shift(write: &mut Self::Write, from: usize, to: usize) {
        if write.0 {
            write.1.shift(from, to);
        }
        Rest::shift(&mut write.2, from, to);
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
    fn put<const ALL: bool>(write: &mut Self::Write, at: usize, vals: Self::Vals<'_>, env: &Env<'_>) {
        A::put::<ALL>(&mut write.0, at, vals.0, env);
        B::put::<ALL>(&mut write.1, at, vals.1, env);
    }
    #[inline(always)]
    fn shift(write: &mut Self::Write, from: usize, to: usize) {
        A::shift(&mut write.0, from, to);
        B::shift(&mut write.1, from, to);
    }
    fn finish(write: Self::Write, rows: usize, buffers: &Buffers, out: &mut Vec<Option<ArrayRef>>) {
        A::finish(write.0, rows, buffers, out);
        B::finish(write.1, rows, buffers, out);
    }
}

/// All columns of a named record: the `row Alert { .. }` of a step. One writer (a struct column), taken apart at the end.
#[derive(Debug)]
pub struct All<R>(std::marker::PhantomData<fn() -> R>);

impl<R: Named> Computed for All<R> {
    type Vals<'a> = <R as crate::record::Record>::Row<'a>;
    type Write = <R as Value>::Write;
    const LEN: u32 = 0;
    const FIXED: bool = false;
    fn types(out: &mut Vec<(DataType, bool)>) {
        out.extend(crate::record::columns_of::<R>().into_iter().map(|c| (c.data_type, c.nullable)));
    }
    fn writer(rows: usize, _wanted: &mut dyn FnMut() -> bool) -> Self::Write {
        <R as Value>::Write::new(rows)
    }
    #[inline(always)]
    fn put<const ALL: bool>(write: &mut Self::Write, at: usize, vals: Self::Vals<'_>, env: &Env<'_>) {
        write.put(at, R::value_ref(vals), env);
    }
    fn shift(write: &mut Self::Write, from: usize, to: usize) {
        write.shift(from, to);
    }
    fn finish(write: Self::Write, rows: usize, buffers: &Buffers, out: &mut Vec<Option<ArrayRef>>) {
        use arrow_array::cast::AsArray;
        let array = write.finish(rows, buffers);
        if let Some(s) = array.as_struct_opt() {
            out.extend(s.columns().iter().cloned().map(Some));
        }
    }
}
