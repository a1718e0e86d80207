//! q18: the last bid of each person for each auction.

use sabot::prelude::*;

use crate::nexmark::Bid;

/// Somebody's last bid for something.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Q18 {
    /// Who.
    pub bidder: i64,
    /// What for.
    pub auction: i64,
    /// In cents.
    pub price: i64,
    /// Where the bid was made.
    pub channel: Str,
    /// The page.
    pub url: Str,
    /// When.
    pub date_time: Timestamp<Millis>,
    /// Text.
    pub extra: Str,
}

pipeline! {
    /// The last bid of each person for each auction, so far.
    pub fn q18(bids: Source<Bid>);

    result = bids -> key_by(bidder, auction) -> window(global(on_update))
                  -> aggregate(|b| row {
                         price: last(b.price), channel: last(b.channel), url: last(b.url), date_time: last(b.date_time), extra: last(b.extra)
                     });
    result -> sink;
}
