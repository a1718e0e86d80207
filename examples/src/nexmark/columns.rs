//! Events as columns: each column is computed by itself, for the rows that are asked for.

use std::sync::Arc;

use arrow_array::types::{ArrowPrimitiveType, Int64Type, TimestampMillisecondType};
use arrow_array::{ArrayRef, PrimitiveArray, StringViewArray, UInt32Array};
use sabot::{Error, Result};

use super::sequence::{AUCTIONS, BIDS, EVENTS, PERSONS, Sequence};
use super::words;

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A [`Person`](super::Person).
    Person,
    /// A [`Auction`](super::Auction).
    Auction,
    /// A [`Bid`](super::Bid).
    Bid,
}

impl Kind {
    /// Events of this kind among [`EVENTS`].
    pub(super) fn share(self) -> u64 {
        match self {
            Kind::Person => PERSONS,
            Kind::Auction => AUCTIONS,
            Kind::Bid => BIDS,
        }
    }
    /// Events of a round before the first of this kind.
    fn offset(self) -> u64 {
        match self {
            Kind::Person => 0,
            Kind::Auction => PERSONS,
            Kind::Bid => PERSONS + AUCTIONS,
        }
    }
    /// The event that is row `row` of partition `partition`: partitions take rounds in turns.
    pub(super) fn event(self, (partition, partitions): (u64, u64), row: u64) -> u64 {
        let round = row / self.share() * partitions + partition;
        round * EVENTS + self.offset() + row % self.share()
    }
    /// The events of `rows` rows from `first` on.
    pub(super) fn events(self, (partition, partitions): (u64, u64), first: u64, rows: usize) -> Vec<u64> {
        let (share, end) = (self.share(), first + rows as u64);
        let mut events = Vec::with_capacity(rows);
        let mut row = first;
        while row < end {
            let start = self.event((partition, partitions), row);
            let here = (share - row % share).min(end - row);
            events.extend(start..start + here);
            row += here;
        }
        events
    }
    /// One column of these events.
    ///
    /// # Errors
    /// If there is no such column.
    pub(super) fn column(self, sequence: Sequence, name: &str, events: &[u64]) -> Result<ArrayRef> {
        let s = sequence;
        Ok(match (self, name) {
            (_, "date_time") => times(events, |id| s.time(id)),
            (Kind::Bid, "auction") => numbers(events, Sequence::bid_auction),
            (Kind::Bid, "bidder") => numbers(events, Sequence::bidder),
            (Kind::Bid, "price") | (Kind::Auction, "initial_bid") => numbers(events, Sequence::price),
            (Kind::Bid, "channel") => texts(&words::CHANNEL, events, Sequence::channel)?,
            (Kind::Bid, "url") => texts(&words::URL, events, Sequence::channel)?,
            (Kind::Bid, "extra") => filler(&words::BID_EXTRA, events, 0)?,
            (Kind::Auction, "id") => numbers(events, Sequence::auction),
            (Kind::Auction, "item_name") => filler(&words::ITEMS, events, 1)?,
            (Kind::Auction, "description") => filler(&words::DESCRIPTIONS, events, 2)?,
            (Kind::Auction, "reserve") => numbers(events, Sequence::reserve),
            (Kind::Auction, "expires") => times(events, |id| s.expires(id)),
            (Kind::Auction, "seller") => numbers(events, Sequence::seller),
            (Kind::Auction, "category") => numbers(events, Sequence::category),
            (Kind::Auction, "extra") => filler(&words::AUCTION_EXTRA, events, 0)?,
            (Kind::Person, "id") => numbers(events, Sequence::person),
            (Kind::Person, "name") => filler(&words::NAMES, events, 1)?,
            (Kind::Person, "email") => filler(&words::EMAILS, events, 2)?,
            (Kind::Person, "credit_card") => filler(&words::CARDS, events, 3)?,
            (Kind::Person, "city") => filler(&words::CITY, events, 4)?,
            (Kind::Person, "state") => filler(&words::STATE, events, 5)?,
            (Kind::Person, "extra") => filler(&words::PERSON_EXTRA, events, 0)?,
            _ => return Err(Error::usage(format!("the {self:?} stream of NEXMark has no column `{name}`"))),
        })
    }
}

fn column<T: ArrowPrimitiveType<Native = i64>>(events: &[u64], value: impl Fn(u64) -> i64) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::from_iter_values(events.iter().map(|id| value(*id))))
}
fn numbers(events: &[u64], value: impl Fn(u64) -> i64) -> ArrayRef {
    column::<Int64Type>(events, value)
}
fn times(events: &[u64], value: impl Fn(u64) -> i64) -> ArrayRef {
    column::<TimestampMillisecondType>(events, value)
}
/// The texts of a table at an index per event.
fn texts(table: &StringViewArray, events: &[u64], index: impl Fn(u64) -> u64) -> Result<ArrayRef> {
    let indices = UInt32Array::from_iter_values(events.iter().map(|id| index(*id) as u32));
    Ok(arrow_select::take::take(table, &indices, None)?)
}
/// Any of the texts of a table.
fn filler(table: &StringViewArray, events: &[u64], purpose: u64) -> Result<ArrayRef> {
    let rows = arrow_array::Array::len(table) as u64;
    texts(table, events, |id| Sequence::text(id, purpose, rows))
}
