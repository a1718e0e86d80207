//! The rows that a join gives to its closure: one of each side.

use std::marker::PhantomData;

use crate::plan::MATCHED;
use crate::record::{Column, Lane, NoTime, Reader, Record, Value, View, Window};

/// A left row and its right partner.
#[derive(Debug)]
pub struct Pair<L, R>(PhantomData<fn() -> (L, R)>);
/// A left row and, if there is one, its right partner.
#[derive(Debug)]
pub struct LeftPair<L, R>(PhantomData<fn() -> (L, R)>);

/// The row of a [`Pair`].
pub struct PairRow<'a, L: Record, R: Record>(L::Row<'a>, R::Row<'a>);
impl<L: Record, R: Record> Clone for PairRow<'_, L, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<L: Record, R: Record> Copy for PairRow<'_, L, R> {}
impl<'a, L: Record, R: Record> PairRow<'a, L, R> {
    /// The left row.
    #[inline(always)]
    pub fn left(&self) -> View<'a, L> {
        View::new(self.0)
    }
    /// The right row.
    #[inline(always)]
    pub fn right(&self) -> View<'a, R> {
        View::new(self.1)
    }
}
/// The row of a [`LeftPair`].
pub struct LeftPairRow<'a, L: Record, R: Record>(L::Row<'a>, R::Row<'a>, bool);
impl<L: Record, R: Record> Clone for LeftPairRow<'_, L, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<L: Record, R: Record> Copy for LeftPairRow<'_, L, R> {}
impl<'a, L: Record, R: Record> LeftPairRow<'a, L, R> {
    /// The left row.
    #[inline(always)]
    pub fn left(&self) -> View<'a, L> {
        View::new(self.0)
    }
    /// The right row, if the left one has a partner: use it with `?`, as in `r?.model`.
    #[inline(always)]
    pub fn right(&self) -> Option<View<'a, R>> {
        self.2.then(|| View::new(self.1))
    }
}

fn prefixed<R: Record>(prefix: &str, nullable: bool, out: &mut Vec<Column>) {
    let mut columns = Vec::new();
    R::columns(&mut columns);
    for mut column in columns {
        column.name = format!("{prefix}.{}", column.name).into();
        // lineage finds fields by this name: leaked once per join, column and process
        column.ident = Box::leak(format!("{prefix}.{}", column.ident).into_boxed_str());
        column.event_time = false;
        column.nullable |= nullable;
        out.push(column);
    }
}

impl<L: Record, R: Record> Record for Pair<L, R> {
    type Row<'a> = PairRow<'a, L, R>;
    type Cols = (L::Cols, R::Cols);
    type Time = NoTime;
    type Read<'a> = (L::Read<'a>, R::Read<'a>);
    type Chunk<'a> = (L::Chunk<'a>, R::Chunk<'a>);
    const NAME: &'static str = "a joined row";
    fn cols() -> Self::Cols {
        (L::cols(), R::cols())
    }
    fn columns(out: &mut Vec<Column>) {
        prefixed::<L>("left", false, out);
        prefixed::<R>("right", false, out);
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
        PairRow(L::row::<VALID>(chunk.0, lane), R::row::<VALID>(chunk.1, lane))
    }
}

impl<L: Record, R: Record> Record for LeftPair<L, R> {
    type Row<'a> = LeftPairRow<'a, L, R>;
    type Cols = (L::Cols, R::Cols);
    type Time = NoTime;
    type Read<'a> = (L::Read<'a>, R::Read<'a>, <bool as Value>::Read<'a>);
    type Chunk<'a> = (L::Chunk<'a>, R::Chunk<'a>, u64);
    const NAME: &'static str = "a joined row";
    fn cols() -> Self::Cols {
        (L::cols(), R::cols())
    }
    fn columns(out: &mut Vec<Column>) {
        prefixed::<L>("left", false, out);
        // nulls of unmatched rows are not values: the row is `None` there
        prefixed::<R>("right", true, out);
        out.push(Column::of::<bool>(MATCHED, MATCHED));
    }
    fn read<'a>(from: &mut Reader<'a>) -> Self::Read<'a> {
        (L::read(from), R::read(from), from.next::<bool>())
    }
    #[inline(always)]
    fn chunk<'a>(read: Self::Read<'a>, at: Window) -> Self::Chunk<'a> {
        (L::chunk(read.0, at), R::chunk(read.1, at), bool::chunk(read.2, at))
    }
    #[inline(always)]
    fn row<'a, const VALID: bool>(chunk: Self::Chunk<'a>, lane: Lane) -> Self::Row<'a> {
        let matched = bool::lane::<true>(chunk.2, lane);
        LeftPairRow(L::row::<VALID>(chunk.0, lane), R::row::<VALID>(chunk.1, lane), matched)
    }
}
