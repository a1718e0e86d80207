//! q4 and q9: what auctions end at.

use sabot::prelude::*;

use crate::nexmark::{Auction, Bid};

/// What things of a category go for.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Q4 {
    /// The category.
    pub category: i64,
    /// The average of the highest bids.
    pub average: Option<f64>,
}

/// An auction and its highest bid.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Q9 {
    /// The auction.
    pub id: i64,
    /// What it is.
    pub item_name: Str,
    /// More about it.
    pub description: Str,
    /// Where bids began.
    pub initial_bid: i64,
    /// The least that the seller takes.
    pub reserve: i64,
    /// When it opened.
    pub date_time: Timestamp<Millis>,
    /// When it closes.
    pub expires: Timestamp<Millis>,
    /// Who sells.
    pub seller: i64,
    /// 10 to 14.
    pub category: i64,
    /// Text.
    pub extra: Str,
    /// Who bids most.
    pub bidder: i64,
    /// How much.
    pub price: i64,
    /// When: of several bids that are as high, the first.
    pub bid_time: Timestamp<Millis>,
    /// Text.
    pub bid_extra: Str,
}

pipeline! {
    /// The average of the highest bids of each category, over all auctions so far. None is open for longer than so many seconds.
    pub fn q4(auctions: Source<Auction>, bids: Source<Bid>, longest: i64);

    offers  = auctions -> key_by(id)
                       -> interval_join(bids -> key_by(auction), within = 0.sec()..=longest.sec(), on = |a, b| b.date_time <= a.expires,
                              |a, b| row { id: a.id, category: a.category, price: b.price });
    highest = offers   -> key_by(id, category) -> window(global(on_update)) -> aggregate(|o| row { price: max(o.price) });
    result  = highest  -> key_by(category) -> window(global(on_update)) -> aggregate(|h| row { average: mean(h.price) });
    result -> sink;
}

/// The best of some bids: the highest, and of those the first.
#[derive(State, Default)]
struct Best {
    found: Option<Winner>,
}

/// A bid that wins.
#[derive(Record, State, Clone, Debug, Default, PartialEq)]
pub struct Winner {
    bidder: i64,
    price: i64,
    time: Timestamp<Millis>,
    extra: Str,
}

#[operator]
impl Best {
    fn update(&mut self, bidder: i64, price: i64, time: Timestamp<Millis>, extra: &str) {
        if self.found.as_ref().is_none_or(|f| price > f.price || (price == f.price && time < f.time)) {
            self.found = Some(Winner { bidder, price, time, extra: extra.into() });
        }
    }
    fn merge(&mut self, other: Self) {
        if let Some(w) = other.found {
            self.update(w.bidder, w.price, w.time, &w.extra);
        }
    }
    fn finish(&self) -> Winner {
        self.found.clone().unwrap_or_default()
    }
}

pipeline! {
    /// Each auction with its highest bid so far. None is open for longer than so many seconds.
    pub fn q9(auctions: Source<Auction>, bids: Source<Bid>, longest: i64);

    offers = auctions -> key_by(id)
                      -> interval_join(bids -> key_by(auction), within = 0.sec()..=longest.sec(), on = |a, b| b.date_time <= a.expires,
                             |a, b| row {
                                 id: a.id, item_name: a.item_name, description: a.description, initial_bid: a.initial_bid, reserve: a.reserve,
                                 date_time: a.date_time, expires: a.expires, seller: a.seller, category: a.category, extra: a.extra,
                                 bidder: b.bidder, price: b.price, bid_time: b.date_time, bid_extra: b.extra
                             });
    best   = offers   -> key_by(id) -> window(global(on_update))
                      -> aggregate(|o| row {
                             item_name: first(o.item_name), description: first(o.description), initial_bid: first(o.initial_bid),
                             reserve: first(o.reserve), date_time: first(o.date_time), expires: first(o.expires), seller: first(o.seller),
                             category: first(o.category), extra: first(o.extra), best: Best(o.bidder, o.price, o.bid_time, o.bid_extra)
                         });
    result = best     -> select(|a| row {
                             id: a.id, item_name: a.item_name, description: a.description, initial_bid: a.initial_bid, reserve: a.reserve,
                             date_time: a.date_time, expires: a.expires, seller: a.seller, category: a.category, extra: a.extra,
                             bidder: a.best.bidder, price: a.best.price, bid_time: a.best.time, bid_extra: a.best.extra
                         });
    result -> sink;
}
