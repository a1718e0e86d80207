//! q15 and q17: reports per day.

use sabot::prelude::*;

use crate::nexmark::Bid;

/// A day's bids, bidders and auctions, of all prices and of three ranges.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Q15 {
    /// The day.
    pub window_start: Timestamp<Micros>,
    /// Bids.
    pub total_bids: u64,
    /// Bids below 10,000.
    pub rank1_bids: u64,
    /// Bids below 1,000,000 that are not below 10,000.
    pub rank2_bids: u64,
    /// Bids of 1,000,000 and above.
    pub rank3_bids: u64,
    /// Those who bid.
    pub total_bidders: u64,
    /// Of them in the first range.
    pub rank1_bidders: u64,
    /// Of them in the second range.
    pub rank2_bidders: u64,
    /// Of them in the third range.
    pub rank3_bidders: u64,
    /// What they bid for.
    pub total_auctions: u64,
    /// Of it in the first range.
    pub rank1_auctions: u64,
    /// Of it in the second range.
    pub rank2_auctions: u64,
    /// Of it in the third range.
    pub rank3_auctions: u64,
}

/// An auction's bids of a day.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Q17 {
    /// The auction.
    pub auction: i64,
    /// The day.
    pub window_start: Timestamp<Micros>,
    /// Bids.
    pub total_bids: u64,
    /// Bids below 10,000.
    pub rank1_bids: u64,
    /// Bids below 1,000,000 that are not below 10,000.
    pub rank2_bids: u64,
    /// Bids of 1,000,000 and above.
    pub rank3_bids: u64,
    /// The lowest price.
    pub min_price: i64,
    /// The highest price.
    pub max_price: i64,
    /// The average price.
    pub avg_price: Option<f64>,
    /// The sum of prices.
    pub sum_price: i64,
}

/// The range of a price: 1, 2 or 3.
#[operator(total)]
fn range(price: i64) -> i64 {
    1 + i64::from(price >= 10_000) + i64::from(price >= 1_000_000)
}

/// `value` if the price is in the range.
#[operator(total)]
fn within(value: i64, price: i64, wanted: i64) -> Option<i64> {
    (range(price) == wanted).then_some(value)
}

pipeline! {
    /// Statistics of each day.
    pub fn q15(bids: Source<Bid>);

    result = bids -> with(|_b| row { all: 0i64 }) -> key_by(all) -> window(tumbling(1.day()))
                  -> aggregate(|b| row {
                         total_bids: count(),
                         rank1_bids: count(within(b.bidder, b.price, 1)),
                         rank2_bids: count(within(b.bidder, b.price, 2)),
                         rank3_bids: count(within(b.bidder, b.price, 3)),
                         total_bidders: count_distinct(b.bidder),
                         rank1_bidders: count_distinct(within(b.bidder, b.price, 1)),
                         rank2_bidders: count_distinct(within(b.bidder, b.price, 2)),
                         rank3_bidders: count_distinct(within(b.bidder, b.price, 3)),
                         total_auctions: count_distinct(b.auction),
                         rank1_auctions: count_distinct(within(b.auction, b.price, 1)),
                         rank2_auctions: count_distinct(within(b.auction, b.price, 2)),
                         rank3_auctions: count_distinct(within(b.auction, b.price, 3))
                     });
    result -> sink;
}

pipeline! {
    /// Statistics of each auction and day.
    pub fn q17(bids: Source<Bid>);

    result = bids -> key_by(auction) -> window(tumbling(1.day()))
                  -> aggregate(|b| row {
                         total_bids: count(),
                         rank1_bids: count(within(b.auction, b.price, 1)),
                         rank2_bids: count(within(b.auction, b.price, 2)),
                         rank3_bids: count(within(b.auction, b.price, 3)),
                         min_price: min(b.price), max_price: max(b.price), avg_price: mean(b.price), sum_price: sum(b.price)
                     });
    result -> sink;
}
