//! The rows that a join gives to its closures: one of each side, where a side may be missing.

use std::marker::PhantomData;

use crate::plan::{HAS_LEFT, HAS_RIGHT};
use crate::record::{Column, Lane, NoTime, Reader, Record, Value, View, Window};

/// One side of a joined row.
pub trait PairSide: Send + Sync + 'static {
    /// The side's record.
    type Record: Record;
    /// What a closure gets.
    type Seen<'a>: Copy;
    /// Typed access to the columns.
    type Read<'a>: Copy;
    /// Typed access to the rows of one window.
    type Chunk<'a>: Copy;
    /// Whether it may be missing.
    const MAYBE: bool;
    /// Typed access to the columns: the record's, then whether the row is there, if it may be missing.
    fn read<'a>(from: &mut Reader<'a>) -> Self::Read<'a>;
    /// The rows of a window.
    fn chunk<'a>(read: Self::Read<'a>, at: Window) -> Self::Chunk<'a>;
    /// One row.
    fn seen<'a, const VALID: bool>(chunk: Self::Chunk<'a>, lane: Lane) -> Self::Seen<'a>;
}

/// A side that is always there: the closure gets its row.
#[derive(Debug)]
pub struct Always<R>(PhantomData<fn() -> R>);
/// A side that may be missing: the closure gets an `Option` of its row, to be used with `?`, as in `r?.model`.
#[derive(Debug)]
pub struct Maybe<R>(PhantomData<fn() -> R>);

impl<R: Record> PairSide for Always<R> {
    type Record = R;
    type Seen<'a> = View<'a, R>;
    type Read<'a> = R::Read<'a>;
    type Chunk<'a> = R::Chunk<'a>;
    const MAYBE: bool = false;
    fn read<'a>(from: &mut Reader<'a>) -> Self::Read<'a> {
        R::read(from)
    }
    #[inline(always)]
    fn chunk<'a>(read: Self::Read<'a>, at: Window) -> Self::Chunk<'a> {
        R::chunk(read, at)
    }
    #[inline(always)]
    fn seen<'a, const VALID: bool>(chunk: Self::Chunk<'a>, lane: Lane) -> Self::Seen<'a> {
        View::new(R::row::<VALID>(chunk, lane))
    }
}

impl<R: Record> PairSide for Maybe<R> {
    type Record = R;
    type Seen<'a> = Option<View<'a, R>>;
    type Read<'a> = (R::Read<'a>, <bool as Value>::Read<'a>);
    type Chunk<'a> = (R::Chunk<'a>, u64);
    const MAYBE: bool = true;
    fn read<'a>(from: &mut Reader<'a>) -> Self::Read<'a> {
        (R::read(from), from.next::<bool>())
    }
    #[inline(always)]
    fn chunk<'a>(read: Self::Read<'a>, at: Window) -> Self::Chunk<'a> {
        (R::chunk(read.0, at), bool::chunk(read.1, at))
    }
    #[inline(always)]
    fn seen<'a, const VALID: bool>(chunk: Self::Chunk<'a>, lane: Lane) -> Self::Seen<'a> {
        bool::lane::<true>(chunk.1, lane).then(|| View::new(R::row::<VALID>(chunk.0, lane)))
    }
}

/// A left row and a right row: sides are [`Always`] or [`Maybe`] there.
#[derive(Debug)]
pub struct Pair<L, R>(PhantomData<fn() -> (L, R)>);

/// The row of a [`Pair`].
pub struct PairRow<'a, L: PairSide, R: PairSide>(L::Seen<'a>, R::Seen<'a>);
impl<L: PairSide, R: PairSide> Clone for PairRow<'_, L, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<L: PairSide, R: PairSide> Copy for PairRow<'_, L, R> {}
impl<'a, L: PairSide, R: PairSide> PairRow<'a, L, R> {
    /// The left row, or an `Option` of it.
    #[inline(always)]
    pub fn left(&self) -> L::Seen<'a> {
        self.0
    }
    /// The right row, or an `Option` of it.
    #[inline(always)]
    pub fn right(&self) -> R::Seen<'a> {
        self.1
    }
}

fn columns<S: PairSide>(prefix: &str, flag: &'static str, out: &mut Vec<Column>) {
    let mut columns = Vec::new();
    S::Record::columns(&mut columns);
    for mut column in columns {
        column.name = format!("{prefix}.{}", column.name).into();
        // lineage finds fields by this name: leaked once per join, column and process
        column.ident = Box::leak(format!("{prefix}.{}", column.ident).into_boxed_str());
        column.event_time = false;
        // nulls of rows that are missing are not values: the row is `None` there
        column.nullable |= S::MAYBE;
        out.push(column);
    }
    if S::MAYBE {
        out.push(Column::of::<bool>(flag, flag));
    }
}

impl<L: PairSide, R: PairSide> Record for Pair<L, R> {
    type Row<'a> = PairRow<'a, L, R>;
    type Cols = (<L::Record as Record>::Cols, <R::Record as Record>::Cols);
    type Time = NoTime;
    type Read<'a> = (L::Read<'a>, R::Read<'a>);
    type Chunk<'a> = (L::Chunk<'a>, R::Chunk<'a>);
    const NAME: &'static str = "a joined row";
    fn cols() -> Self::Cols {
        (L::Record::cols(), R::Record::cols())
    }
    fn columns(out: &mut Vec<Column>) {
        columns::<L>("left", HAS_LEFT, out);
        columns::<R>("right", HAS_RIGHT, out);
    }
    fn read<'a>(from: &mut Reader<'a>) -> Self::Read<'a> {
        (L::read(from), R::read(from))
    }
    #[inline(always)]
    fn chunk<'a>(read: Self::Read<'a>, at: Window) -> Self::Chunk<'a> {
        (L::chunk(read.0, at), R::chunk(read.1, at))
    }
    #[inline(always)]
    fn row<'a, const VALID: bool>(chunk: Self::Chunk<'a>, lane: Lane) -> Self::Row<'a> {
        PairRow(L::seen::<VALID>(chunk.0, lane), R::seen::<VALID>(chunk.1, lane))
    }
}
