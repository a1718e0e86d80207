//! q3, q8 and q20: people, what they sell, and what is bid for it.

use sabot::prelude::*;

use crate::nexmark::{Auction, Bid, Person};

/// Somebody who sells.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Q3 {
    /// The seller.
    pub name: Str,
    /// Where from.
    pub city: Str,
    /// One of three.
    pub state: Str,
    /// The auction.
    pub id: i64,
}

/// Somebody who registered and sold at once.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Q8 {
    /// The person.
    pub id: i64,
    /// The name.
    pub name: Str,
    /// The beginning of the ten seconds.
    pub starttime: Timestamp<Millis>,
}

/// A bid with what it is for.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Q20 {
    /// What for.
    pub auction: i64,
    /// Who.
    pub bidder: i64,
    /// In cents.
    pub price: i64,
    /// Where the bid was made.
    pub channel: Str,
    /// The page.
    pub url: Str,
    /// When.
    pub bid_time: Timestamp<Millis>,
    /// Text.
    pub bid_extra: Str,
    /// What it is.
    pub item_name: Str,
    /// More about it.
    pub description: Str,
    /// Where bids began.
    pub initial_bid: i64,
    /// The least that the seller takes.
    pub reserve: i64,
    /// When it opened.
    pub opens: Timestamp<Millis>,
    /// When it closes.
    pub expires: Timestamp<Millis>,
    /// Who sells.
    pub seller: i64,
    /// Always 10.
    pub category: i64,
    /// Text.
    pub auction_extra: Str,
}

pipeline! {
    /// Who sells in a category, in three states. Persons and auctions more than an hour apart are not paired.
    pub fn q3(auctions: Source<Auction>, persons: Source<Person>);

    near   = persons  -> filter(|p| p.state == "OR" || p.state == "ID" || p.state == "CA");
    result = auctions -> filter(|a| a.category == 10) -> key_by(seller)
                      -> join(near -> key_by(id), ttl = 1.hour(), |a, p| row { name: p.name, city: p.city, state: p.state, id: a.id });
    result -> sink;
}

pipeline! {
    /// Who sold something in the ten seconds in which they registered.
    pub fn q8(persons: Source<Person>, auctions: Source<Auction>);

    sellers = auctions -> key_by(seller) -> window(tumbling(10.sec()));
    result  = persons  -> key_by(id) -> window(tumbling(10.sec())) -> semi_join(sellers)
                       -> select(|p| row { id: p.id, name: p.name, starttime: p.date_time.floor(Duration::new(10_000)) });
    result -> sink;
}

pipeline! {
    /// Bids in a category, with what they are for. Bids and auctions more than an hour apart are not paired.
    pub fn q20(bids: Source<Bid>, auctions: Source<Auction>);

    result = bids -> key_by(auction)
                  -> join(auctions -> filter(|a| a.category == 10) -> key_by(id), ttl = 1.hour(), |b, a| row {
                         auction: b.auction, bidder: b.bidder, price: b.price, channel: b.channel, url: b.url, bid_time: b.date_time,
                         bid_extra: b.extra, item_name: a.item_name, description: a.description, initial_bid: a.initial_bid,
                         reserve: a.reserve, opens: a.date_time, expires: a.expires, seller: a.seller, category: a.category,
                         auction_extra: a.extra
                     });
    result -> sink;
}
