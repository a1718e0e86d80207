//! What happens at an auction site.

use sabot::prelude::*;

/// Somebody who registered.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Person {
    /// From 1000 on, in order of registration.
    pub id: i64,
    /// First and last name.
    pub name: Str,
    /// An address of no one.
    pub email: Str,
    /// Four groups of four digits.
    pub credit_card: Str,
    /// One of ten cities.
    pub city: Str,
    /// One of six states, not that of the city.
    pub state: Str,
    /// When.
    #[event_time]
    pub date_time: Timestamp<Millis>,
    /// Text that is only carried along.
    pub extra: Str,
}

/// Something that is put up for auction.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Auction {
    /// From 1000 on, in order of opening.
    pub id: i64,
    /// What it is.
    pub item_name: Str,
    /// More about it.
    pub description: Str,
    /// Where bids begin, in cents.
    pub initial_bid: i64,
    /// The least that the seller takes, in cents.
    pub reserve: i64,
    /// When it opens.
    #[event_time]
    pub date_time: Timestamp<Millis>,
    /// When it closes; a bid at this instant still counts.
    pub expires: Timestamp<Millis>,
    /// The person who sells.
    pub seller: i64,
    /// 10 to 14.
    pub category: i64,
    /// Text that is only carried along.
    pub extra: Str,
}

/// An offer.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Bid {
    /// What for: an auction of the last few, or one that is about to open.
    pub auction: i64,
    /// The person who bids.
    pub bidder: i64,
    /// In cents.
    pub price: i64,
    /// Where the bid was made: one of four hot channels, or one of ten thousand.
    pub channel: Str,
    /// The page of the channel.
    pub url: Str,
    /// When.
    #[event_time]
    pub date_time: Timestamp<Millis>,
    /// Text that is only carried along.
    pub extra: Str,
}

/// A row of the small table that q13 looks things up in.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Side {
    /// 0 to 9,999.
    pub key: i64,
    /// The key as text.
    pub value: Str,
}

/// The table of q13.
pub fn side_input() -> Vec<Side> {
    (0..10_000).map(|key| Side { key, value: key.to_string().as_str().into() }).collect()
}
