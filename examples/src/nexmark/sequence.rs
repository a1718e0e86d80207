//! Event number n: which kind it is, when it happens, and its numbers.

use super::random::{below, draw};
use super::words::CHANNELS;

/// Events of which one is a person, three are auctions and 46 are bids, in this order.
pub const EVENTS: u64 = 50;
/// Persons among [`EVENTS`].
pub const PERSONS: u64 = 1;
/// Auctions among [`EVENTS`].
pub const AUCTIONS: u64 = 3;
/// Bids among [`EVENTS`].
pub const BIDS: u64 = 46;

/// The first id of persons and of auctions.
const FIRST_ID: i64 = 1000;
/// The first of five categories.
const FIRST_CATEGORY: i64 = 10;
/// One of so many auctions, of so many persons, is hot.
const HOT: u64 = 100;
/// Bids go to so many auctions that are open.
const IN_FLIGHT: u64 = 100;
/// Sellers and bidders are among so many persons.
const ACTIVE: u64 = 1000;
/// How far ids may be ahead of what exists.
const LEAD: u64 = 10;
/// 15 July 2015, in milliseconds.
const BASE: i64 = 1_436_918_400_000;

// What a draw is for.
const AUCTION: u64 = 1;
const BIDDER: u64 = 2;
const PRICE: u64 = 3;
const CHANNEL: u64 = 4;
const SELLER: u64 = 5;
const CATEGORY: u64 = 6;
const LENGTH: u64 = 7;
const RESERVE: u64 = 8;
const TEXT: u64 = 16;

const POWERS: [i64; 6] = [1, 10, 100, 1000, 10_000, 100_000];

/// The rule by which events follow each other.
///
/// ```
/// use sabot_examples::nexmark::Sequence;
///
/// // a million events per second; of 1000 that follow each other, times come in any order
/// let events = Sequence { disorder: 1000, ..Sequence::per_second(1_000_000) };
/// assert_eq!(events.time(5_000_000) - events.time(0), 5000);
/// assert!(events.time(999) < events.time(1000));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Nanoseconds of event time from one event to the next.
    pub nanos: u64,
    /// Event times are in order but for blocks of so many events, which come in a fixed disorder; 1 is in order. Not a multiple of 953.
    pub disorder: u64,
}

impl Sequence {
    /// So many events per second of event time (at least one), in order.
    pub fn per_second(events: u64) -> Self {
        Sequence { nanos: 1_000_000_000 / events.max(1), disorder: 1 }
    }
    /// The event time of event `id` in milliseconds.
    #[inline]
    pub fn time(&self, id: u64) -> i64 {
        self.instant(self.place(id))
    }
    /// Where event `id` would be if events came in order.
    #[inline]
    fn place(&self, id: u64) -> u64 {
        let block = self.disorder.max(1);
        if block == 1 { id } else { id / block * block + id.wrapping_mul(953) % block }
    }
    #[inline]
    fn instant(&self, place: u64) -> i64 {
        BASE + (place * self.nanos / 1_000_000) as i64
    }
    /// A time in milliseconds that no event from `id` on is before.
    pub fn watermark(&self, id: u64) -> i64 {
        let block = self.disorder.max(1);
        self.instant(id / block * block)
    }
    /// The id of the person that event `id` is.
    #[inline]
    pub fn person(id: u64) -> i64 {
        FIRST_ID + (id / EVENTS) as i64
    }
    /// The id of the auction that event `id` is.
    #[inline]
    pub fn auction(id: u64) -> i64 {
        FIRST_ID + last_auction(id) as i64
    }
    /// The auction that bid `id` is for.
    #[inline]
    pub fn bid_auction(id: u64) -> i64 {
        let (bits, last) = (draw(id, AUCTION), last_auction(id));
        let hot = last / HOT * HOT;
        let first = last.saturating_sub(IN_FLIGHT);
        let other = first + below(bits, last - first + 1 + LEAD);
        FIRST_ID + if bits & 1 == 0 { hot } else { other } as i64
    }
    /// The person who makes bid `id`.
    #[inline]
    pub fn bidder(id: u64) -> i64 {
        let (bits, last) = (draw(id, BIDDER), id / EVENTS);
        FIRST_ID + if bits & 3 != 0 { last / HOT * HOT + 1 } else { some_person(bits, last) } as i64
    }
    /// The person who sells in auction `id`.
    #[inline]
    pub fn seller(id: u64) -> i64 {
        let (bits, last) = (draw(id, SELLER), id / EVENTS);
        FIRST_ID + if bits & 3 != 0 { last / HOT * HOT } else { some_person(bits, last) } as i64
    }
    /// The price of bid `id`, and the first bid of auction `id`, in cents: 100 to 99,999,999, as many in each power of ten.
    #[inline]
    pub fn price(id: u64) -> i64 {
        price(draw(id, PRICE))
    }
    /// The reserve of auction `id`.
    #[inline]
    pub fn reserve(id: u64) -> i64 {
        Self::price(id) + price(draw(id, RESERVE))
    }
    /// The category of auction `id`.
    #[inline]
    pub fn category(id: u64) -> i64 {
        FIRST_CATEGORY + below(draw(id, CATEGORY), 5) as i64
    }
    /// When auction `id` closes: on average when a hundred further auctions have opened.
    #[inline]
    pub fn expires(&self, id: u64) -> i64 {
        let place = self.place(id);
        let opens = self.instant(place);
        let average = self.instant(place + IN_FLIGHT * EVENTS / AUCTIONS) - opens;
        opens + 1 + below(draw(id, LENGTH), (average as u64 * 2).max(1)) as i64
    }
    /// No auction is open for longer, in milliseconds.
    pub fn longest(&self) -> i64 {
        // both instants of an average are rounded down
        let average = (IN_FLIGHT * EVENTS / AUCTIONS * self.nanos / 1_000_000) as i64 + 1;
        average * 2
    }
    /// The index of the channel of bid `id`: half are hot ones.
    #[inline]
    pub fn channel(id: u64) -> u64 {
        let bits = draw(id, CHANNEL);
        if bits & 1 == 0 { bits >> 1 & 3 } else { 4 + below(bits, CHANNELS) }
    }
    /// The index of one of `n` texts, for a purpose.
    #[inline]
    pub fn text(id: u64, purpose: u64, n: u64) -> u64 {
        below(draw(id, TEXT + purpose), n)
    }
}

/// The number of the last auction that exists when event `id` happens, from 0.
#[inline]
fn last_auction(id: u64) -> u64 {
    (id / EVENTS * AUCTIONS + (id % EVENTS).min(PERSONS + AUCTIONS - 1)).saturating_sub(PERSONS)
}

/// One of the last thousand persons, or one of the next few.
#[inline]
fn some_person(bits: u64, last: u64) -> u64 {
    let active = (last + 1).min(ACTIVE);
    last + 1 - active + below(bits, active + LEAD)
}

#[inline]
fn price(bits: u64) -> i64 {
    let power = POWERS.get(((bits & 0xffff) as usize * POWERS.len()) >> 16).copied().unwrap_or(1);
    (1_000_000 + below(bits, 9_000_000) as i64) * power / 10_000
}
