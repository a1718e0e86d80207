//! The rows that a join of windows gives to its closure: a pair, and the window that both its rows are in.

use std::marker::PhantomData;

use crate::record::{Column, Lane, Micros, NoTime, Reader, Record, Timestamp, Value, Window};

use super::{Pair, PairRow, PairSide};

type Bound = Timestamp<Micros>;

/// A left row and a right row in one window: sides are [`Always`](super::Always) or [`Maybe`](super::Maybe) there.
#[derive(Debug)]
pub struct InWindow<L, R>(PhantomData<fn() -> (L, R)>);

/// The bounds of a window: the third parameter of the closure of a join of windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowBounds {
    /// The first moment that belongs to it.
    pub window_start: Timestamp<Micros>,
    /// The first moment that does not.
    pub window_end: Timestamp<Micros>,
}

/// The row of an [`InWindow`].
pub struct InWindowRow<'a, L: PairSide, R: PairSide>(PairRow<'a, L, R>, WindowBounds);
impl<L: PairSide, R: PairSide> Clone for InWindowRow<'_, L, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<L: PairSide, R: PairSide> Copy for InWindowRow<'_, L, R> {}
impl<'a, L: PairSide, R: PairSide> InWindowRow<'a, L, R> {
    /// The left row, or an `Option` of it.
    #[inline(always)]
    pub fn left(&self) -> L::Seen<'a> {
        self.0.left()
    }
    /// The right row, or an `Option` of it.
    #[inline(always)]
    pub fn right(&self) -> R::Seen<'a> {
        self.0.right()
    }
    /// The window.
    #[inline(always)]
    pub fn window(&self) -> WindowBounds {
        self.1
    }
}

impl<L: PairSide, R: PairSide> Record for InWindow<L, R> {
    type Row<'a> = InWindowRow<'a, L, R>;
    type Cols = <Pair<L, R> as Record>::Cols;
    type Time = NoTime;
    type Read<'a> = (<Pair<L, R> as Record>::Read<'a>, [<Bound as Value>::Read<'a>; 2]);
    type Chunk<'a> = (<Pair<L, R> as Record>::Chunk<'a>, [<Bound as Value>::Chunk<'a>; 2]);
    const NAME: &'static str = "a joined row";
    fn cols() -> Self::Cols {
        Pair::<L, R>::cols()
    }
    fn columns(out: &mut Vec<Column>) {
        Pair::<L, R>::columns(out);
        out.extend(["window_start", "window_end"].map(|name| Column::of::<Bound>(name, name)));
    }
    fn read<'a>(from: &mut Reader<'a>) -> Self::Read<'a> {
        let pair = Pair::<L, R>::read(from);
        (pair, [from.next::<Bound>(), from.next::<Bound>()])
    }
    #[inline(always)]
    fn chunk<'a>((pair, bounds): Self::Read<'a>, at: Window) -> Self::Chunk<'a> {
        (Pair::<L, R>::chunk(pair, at), bounds.map(|b| Bound::chunk(b, at)))
    }
    #[inline(always)]
    fn row<'a, const VALID: bool>((pair, [start, end]): Self::Chunk<'a>, lane: Lane) -> Self::Row<'a> {
        let bounds = WindowBounds { window_start: Bound::lane::<true>(start, lane), window_end: Bound::lane::<true>(end, lane) };
        InWindowRow(Pair::<L, R>::row::<VALID>(pair, lane), bounds)
    }
}
