//! q13: a look-up in a small table.

use sabot::prelude::*;

use crate::nexmark::{Bid, Side};

/// A bid, and what the table says about it.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Q13 {
    /// What for.
    pub auction: i64,
    /// Who.
    pub bidder: i64,
    /// In cents.
    pub price: i64,
    /// When.
    pub date_time: Timestamp<Millis>,
    /// From the table.
    pub value: Str,
}

pipeline! {
    /// Bids with the value that a table has for them.
    pub fn q13(bids: Source<Bid>, side: Source<Side, Bounded>);

    result = bids -> with(|b| row { key: b.auction % 10_000 }) -> key_by(key)
                  -> join(side -> key_by(key), |b, s| row {
                         auction: b.auction, bidder: b.bidder, price: b.price, date_time: b.date_time, value: s.value
                     });
    result -> sink;
}
