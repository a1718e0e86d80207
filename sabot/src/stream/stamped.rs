//! Rows of a keyed operator's own, with their event time.

use std::marker::PhantomData;
use std::ops::Deref;

use crate::record::{Col, Column, HasColumn, HasTime, Lane, Micros, NoTime, Reader, Record, There, Timestamp, Value, Window};

type Time = Timestamp<Micros>;

/// What rows of a keyed operator's own have beside keys and value: `time` where the stream has event time, else nothing.
pub trait Stamps {
    /// The record with it.
    type On<R: Record>: Record;
    /// Whether there is event time.
    const TIMED: bool;
}
impl Stamps for HasTime {
    type On<R: Record> = Stamped<R>;
    const TIMED: bool = true;
}
impl Stamps for NoTime {
    type On<R: Record> = R;
    const TIMED: bool = false;
}

/// A row with the event time of the row, or of the timer, for which it was made.
#[derive(Debug)]
pub struct Stamped<R>(PhantomData<fn() -> R>);

/// The row of a [`Stamped`].
pub struct StampedRow<'a, R: Record> {
    /// Its event time.
    pub time: Time,
    base: R::Row<'a>,
}
impl<R: Record> Clone for StampedRow<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R: Record> Copy for StampedRow<'_, R> {}
impl<'a, R: Record> Deref for StampedRow<'a, R> {
    type Target = R::Row<'a>;
    #[inline(always)]
    fn deref(&self) -> &R::Row<'a> {
        &self.base
    }
}

/// The columns of a [`Stamped`].
pub struct StampedCols<R: Record> {
    /// Its event time.
    pub time: Col<Time>,
    base: R::Cols,
}
impl<R: Record> Deref for StampedCols<R> {
    type Target = R::Cols;
    fn deref(&self) -> &R::Cols {
        &self.base
    }
}

impl<R: Record> Record for Stamped<R> {
    type Row<'a> = StampedRow<'a, R>;
    type Cols = StampedCols<R>;
    type Time = HasTime;
    type Read<'a> = (R::Read<'a>, <Time as Value>::Read<'a>);
    type Chunk<'a> = (R::Chunk<'a>, <Time as Value>::Chunk<'a>);
    const NAME: &'static str = R::NAME;
    fn cols() -> Self::Cols {
        StampedCols { time: Col::new(crate::operator::TIME), base: R::cols() }
    }
    fn columns(out: &mut Vec<Column>) {
        R::columns(out);
        out.push(Column::of::<Time>("time", crate::operator::TIME).with_event_time());
    }
    fn read<'a>(from: &mut Reader<'a>) -> Self::Read<'a> {
        let base = R::read(from);
        (base, from.next::<Time>())
    }
    #[inline(always)]
    fn chunk<'a>((base, time): Self::Read<'a>, at: Window) -> Self::Chunk<'a> {
        (R::chunk(base, at), Time::chunk(time, at))
    }
    #[inline(always)]
    fn row<'a, const VALID: bool>((base, time): Self::Chunk<'a>, lane: Lane) -> Self::Row<'a> {
        StampedRow { time: Time::lane::<VALID>(time, lane), base: R::row::<VALID>(base, lane) }
    }
}
impl<N, W, R: HasColumn<N, W>> HasColumn<N, There<W>> for Stamped<R> {
    type V = R::V;
    fn get<'a>(row: &Self::Row<'a>) -> <R::V as Value>::Ref<'a> {
        R::get(&row.base)
    }
}
