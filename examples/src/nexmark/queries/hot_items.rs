//! q5: hot items.

use sabot::prelude::*;

use crate::nexmark::Bid;

/// One of the auctions with the most bids of ten seconds.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Q5 {
    /// The auction.
    pub auction: i64,
    /// Its bids.
    pub num: u64,
    /// The end of the ten seconds.
    pub window_end: Timestamp<Micros>,
}

/// Who has the most: all of them, if several have.
#[derive(State, Default)]
struct Leaders {
    most: u64,
    who: Vec<i64>,
}

#[operator]
impl Leaders {
    fn update(&mut self, who: i64, count: u64) {
        if count > self.most {
            self.most = count;
            self.who.clear();
        }
        if count == self.most {
            self.who.push(who);
        }
    }
    fn merge(&mut self, other: Self) {
        if other.most > self.most {
            *self = other;
        } else if other.most == self.most {
            self.who.extend(other.who);
        }
    }
    fn finish(&self) -> Vec<i64> {
        self.who.clone()
    }
}

/// The auctions of a list, each with the number of bids that they all have.
#[operator]
fn one_by_one(auctions: ListRef<'_, i64>, num: u64, window_end: Timestamp<Micros>) -> impl Iterator<Item = Q5> {
    auctions.iter().map(move |auction| Q5 { auction, num, window_end })
}

pipeline! {
    /// The auctions with the most bids in the last ten seconds, every two seconds.
    pub fn q5(bids: Source<Bid>);

    // a result of a window has its end less a microsecond as its event time: those of one end are in one window of two seconds
    counts = bids   -> key_by(auction) -> window(hop(10.sec(), 2.sec())) -> aggregate(|_b| row { num: count() });
    most   = counts -> with(|_c| row { all: 0i64 }) -> key_by(all) -> window(tumbling(2.sec()))
                    -> aggregate(|c| row { num: max(c.num), auctions: Leaders(c.auction, c.num) });
    result = most   -> flat_map(|m| one_by_one(m.auctions, m.num, m.window_end));
    result -> sink;
}
