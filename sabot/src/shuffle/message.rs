//! What travels on a channel: rows, and marks between them.

use crate::kernel::{Morsel, Origin};
use crate::operator::EventTime;

/// Rows or a mark. The order on one channel is the order of meaning: a mark speaks about everything before it.
#[derive(Clone, Debug)]
pub enum Message {
    /// Rows.
    Rows(Morsel),
    /// This producer sends no more rows of this split (`row` is ignored).
    SplitEnd(Origin),
    /// This producer sends no more rows before this event time.
    Watermark(EventTime),
    /// This producer has nothing for now and shall not hold the watermark back, until its next rows or watermark, or until it is active.
    Idle,
    /// This producer holds the watermark back again, though it has nothing: it is not known whether rows are on their way.
    Active,
    /// The boundary of checkpoint `epoch`.
    Barrier(u64),
    /// This producer sends no more rows of splits, but rows of a step's own, ascending by origin, none before this one.
    Ascending(Origin),
    /// This producer is done.
    End,
}

impl Message {
    /// Bytes that the message counts against its channel. Marks are free: they must never be held up.
    pub fn bytes(&self) -> usize {
        match self {
            Message::Rows(morsel) => morsel.bytes().max(1),
            _ => 0,
        }
    }
}
