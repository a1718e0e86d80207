//! q0 and q1: row by row.

use sabot::prelude::*;

use crate::nexmark::Bid;

/// A bid without its channel.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Q0 {
    /// What for.
    pub auction: i64,
    /// Who.
    pub bidder: i64,
    /// In cents.
    pub price: i64,
    /// When.
    pub date_time: Timestamp<Millis>,
    /// Text.
    pub extra: Str,
}

/// A bid in another currency.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Q1 {
    /// What for.
    pub auction: i64,
    /// Who.
    pub bidder: i64,
    /// In hundredths of a euro, exactly.
    pub price: Decimal<23, 3>,
    /// When.
    pub date_time: Timestamp<Millis>,
    /// Text.
    pub extra: Str,
}

pipeline! {
    /// All bids as they are: what it costs to pass rows on.
    pub fn q0(bids: Source<Bid>);

    result = bids -> select(|b| row { auction: b.auction, bidder: b.bidder, price: b.price, date_time: b.date_time, extra: b.extra });
    result -> sink;
}

/// Dollars in euros, at the rate of the benchmark: 0.908.
#[operator(total)]
fn euros(cents: i64) -> Decimal<23, 3> {
    Decimal::from_units(i128::from(cents) * 908)
}

pipeline! {
    /// All bids, with prices in euros.
    pub fn q1(bids: Source<Bid>);

    result = bids -> select(|b| row { auction: b.auction, bidder: b.bidder, price: euros(b.price), date_time: b.date_time, extra: b.extra });
    result -> sink;
}
