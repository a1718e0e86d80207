//! q7: the highest bid.

use sabot::prelude::*;

use crate::nexmark::Bid;

/// The highest bid of ten seconds, or one of several that are as high.
#[derive(Record, State, Clone, Debug, Default, PartialEq)]
pub struct Q7 {
    /// What for.
    pub auction: i64,
    /// In cents.
    pub price: i64,
    /// Who.
    pub bidder: i64,
    /// When.
    pub date_time: Timestamp<Millis>,
    /// Text.
    pub extra: Str,
}

/// The bids at the highest price.
#[derive(State, Default)]
struct Highest {
    price: i64,
    bids: Vec<Q7>,
}

#[operator]
impl Highest {
    fn update(&mut self, auction: i64, price: i64, bidder: i64, date_time: Timestamp<Millis>, extra: &str) {
        if price > self.price {
            self.price = price;
            self.bids.clear();
        }
        if price == self.price {
            self.bids.push(Q7 { auction, price, bidder, date_time, extra: extra.into() });
        }
    }
    fn merge(&mut self, other: Self) {
        if other.price > self.price {
            *self = other;
        } else if other.price == self.price {
            self.bids.extend(other.bids);
        }
    }
    fn finish(&self) -> Vec<Q7> {
        self.bids.clone()
    }
}

/// The bids of a list.
#[operator]
fn one_by_one(bids: ListRef<'_, Q7>) -> impl Iterator<Item = Q7> {
    bids.iter().map(|b| Q7 { auction: b.auction, price: b.price, bidder: b.bidder, date_time: b.date_time, extra: b.extra.into() })
}

pipeline! {
    /// The highest bid of each ten seconds.
    pub fn q7(bids: Source<Bid>);

    highest = bids -> with(|_b| row { all: 0i64 }) -> key_by(all) -> window(tumbling(10.sec()))
                   -> aggregate(|b| row { bids: Highest(b.auction, b.price, b.bidder, b.date_time, b.extra) });
    result  = highest -> flat_map(|h| one_by_one(h.bids));
    result -> sink;
}
