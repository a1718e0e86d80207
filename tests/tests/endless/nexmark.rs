//! NEXMark: each question as a batch and as a stream, beside a plain model over the same events.

use std::collections::{BTreeMap, BTreeSet};

use sabot::prelude::*;
use sabot::stream::Job;
use sabot::testing::{Trial, same_rows};
use sabot_examples::nexmark::queries::*;
use sabot_examples::nexmark::{Auction, Bid, Nexmark, Person, Sequence, side_input};

use super::mix;

#[path = "nexmark/joins.rs"]
mod joins;
#[path = "nexmark/winning.rs"]
mod winning;

const SECOND: i64 = 1000;
const DAY: i64 = 86_400 * SECOND;

/// 1000 events at 12 per second, in disorder.
fn events() -> Nexmark {
    Nexmark::new().sequence(Sequence { disorder: 70, ..Sequence::per_second(12) }).events(1000)
}
fn bids() -> Vec<Bid> {
    events().rows().unwrap()
}
/// Milliseconds as the bound of a window.
fn bound(ms: i64) -> Timestamp<Micros> {
    Timestamp::new(ms * 1000)
}

/// The rows of a job in every way to run it: as a batch and as a stream that ends.
fn check<T: sabot::record::Named + std::fmt::Debug>(batch: Job, stream: impl Fn(u32) -> Job, expected: &[T]) {
    assert!(expected.len() > 2, "the test shows something");
    let ran = Trial::new().threads(2).run(batch).unwrap();
    same_rows(&ran.rows::<T>("result").unwrap(), expected, 0.0).unwrap();
    for (threads, morsel) in [(1, 1000), (2, 64), (3, 7), (8, 1)] {
        let ran = Trial::new().threads(threads).morsel_rows(morsel).run(stream(2)).unwrap();
        same_rows(&ran.rows::<T>("result").unwrap(), expected, 0.0).unwrap_or_else(|e| panic!("{threads} threads, {morsel} rows: {e}"));
    }
    let seeds = std::env::var("SABOT_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(10);
    for seed in 0..seeds {
        let random = mix(seed ^ 0x9e37);
        let job = || stream(1 + random as u32 % 4);
        let trial = |salt: u64| {
            let random = mix(seed << 8 | salt);
            Trial::new().threads(1 + random as usize % 4).morsel_rows([3, 17, 100][(random >> 8) as usize % 3]).seed(random)
        };
        let crash = 50 + (random >> 16) % 500;
        let ran = trial(1).snapshot_at(crash / 3).snapshot_at(crash * 2 / 3).crash_at(crash).run(job()).unwrap();
        let ran = trial(2).from(ran.checkpoint).run(job()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(ran.late(), 0, "seed {seed}");
        same_rows(&ran.rows::<T>("result").unwrap(), expected, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
}

#[test]
fn events_depend_on_their_number_alone() {
    let whole = bids();
    assert_eq!(whole.len(), 920);
    let mut times = whole.iter().map(|b| b.date_time.value()).collect::<Vec<_>>();
    assert!(!times.is_sorted());
    times.sort_unstable();
    assert!((78..=88).contains(&((times[919] - times[0]) / SECOND)));
    // partitions hold the same events, whatever the batches, and no event is behind the watermark before it
    let mut parts = Vec::new();
    for partition in 0..3 {
        let mut before = i64::MIN;
        for (batch, watermark) in events().partitions(3).batches::<Bid>(partition, 7).unwrap() {
            let rows = sabot::record::from_batch::<Bid>(&batch, "").unwrap();
            assert!(rows.len() <= 7 && rows.iter().all(|b| b.date_time.micros() >= before));
            before = watermark;
            parts.extend(rows);
        }
    }
    same_rows(&parts, &whole, 0.0).unwrap();
    let hot = whole.iter().filter(|b| b.auction % 100 == 0).count();
    assert!((400..600).contains(&hot), "half of the bids go to hot auctions: {hot}");
    assert!(whole.iter().all(|b| (100..100_000_000).contains(&b.price)));
}

#[test]
fn q0_and_q1() {
    let q0_of = |b: &Bid| Q0 { auction: b.auction, bidder: b.bidder, price: b.price, date_time: b.date_time, extra: b.extra.clone() };
    let expected: Vec<Q0> = bids().iter().map(q0_of).collect();
    check(q0(events().bids_batch()), |p| q0(events().partitions(p).bids()), &expected);
    let price = |b: &Bid| Decimal::from_units(i128::from(b.price) * 908);
    let q1_of = |b: &Bid| Q1 { auction: b.auction, bidder: b.bidder, price: price(b), date_time: b.date_time, extra: b.extra.clone() };
    let expected: Vec<Q1> = bids().iter().map(q1_of).collect();
    check(q1(events().bids_batch()), |p| q1(events().partitions(p).bids()), &expected);
}

#[test]
fn q5_hot_items() {
    let mut counts: BTreeMap<(i64, i64), u64> = BTreeMap::new();
    for b in bids() {
        let first = b.date_time.value().div_euclid(2 * SECOND) * 2 * SECOND + 2 * SECOND;
        for end in (0..5).map(|i| first + i * 2 * SECOND) {
            *counts.entry((end, b.auction)).or_default() += 1;
        }
    }
    let most = |end: i64| counts.range((end, 0)..(end + 1, 0)).map(|(_, n)| *n).max().unwrap();
    let leaders = counts.iter().filter(|((end, _), n)| **n == most(*end));
    let expected: Vec<Q5> = leaders.map(|((end, auction), num)| Q5 { auction: *auction, num: *num, window_end: bound(*end) }).collect();
    check(q5(events().bids_batch()), |p| q5(events().partitions(p).bids()), &expected);
}

#[test]
fn q7_highest_bid() {
    let window = |b: &Bid| b.date_time.value().div_euclid(10 * SECOND);
    let mut most: BTreeMap<i64, i64> = BTreeMap::new();
    for b in bids() {
        let entry = most.entry(window(&b)).or_default();
        *entry = b.price.max(*entry);
    }
    let highest = bids().into_iter().filter(|b| most[&window(b)] == b.price);
    let of = |b: Bid| Q7 { auction: b.auction, price: b.price, bidder: b.bidder, date_time: b.date_time, extra: b.extra };
    let expected: Vec<Q7> = highest.map(of).collect();
    check(q7(events().bids_batch()), |p| q7(events().partitions(p).bids()), &expected);
}

#[test]
fn q11_user_sessions() {
    let mut of: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for b in bids() {
        of.entry(b.bidder).or_default().push(b.date_time.value());
    }
    let mut expected = Vec::new();
    for (bidder, mut times) in of {
        times.sort_unstable();
        for session in times.chunk_by(|a, b| b - a < 10 * SECOND) {
            let (window_start, window_end) = (bound(session[0]), bound(session[session.len() - 1] + 10 * SECOND));
            expected.push(Q11 { bidder, window_start, window_end, bid_count: session.len() as u64 });
        }
    }
    check(q11(events().bids_batch()), |p| q11(events().partitions(p).bids()), &expected);
}

#[test]
fn q13_side_input() {
    let value = |b: &Bid| Str::from((b.auction % 10_000).to_string().as_str());
    let of = |b: &Bid| Q13 { auction: b.auction, bidder: b.bidder, price: b.price, date_time: b.date_time, value: value(b) };
    let expected: Vec<Q13> = bids().iter().map(of).collect();
    // of the table, what the bids here need
    let side = || side_input().into_iter().filter(|s| s.key < 1300).collect::<Vec<_>>();
    check(q13(events().bids_batch(), side()), |p| q13(events().partitions(p).bids(), side()), &expected);
}

/// Events of three days and more.
fn days() -> Nexmark {
    Nexmark::new().sequence(Sequence { disorder: 70, nanos: 280_000_000_000 }).events(1000)
}

fn rank(b: &Bid) -> usize {
    1 + usize::from(b.price >= 10_000) + usize::from(b.price >= 1_000_000)
}

#[test]
fn q15_days() {
    let day = |b: &Bid| b.date_time.value().div_euclid(DAY) * DAY;
    let all: Vec<Bid> = days().rows().unwrap();
    let starts: BTreeSet<i64> = all.iter().map(day).collect();
    let mut expected = Vec::new();
    for start in starts {
        let of = |r: usize| all.iter().filter(move |b| day(b) == start && (r == 0 || rank(b) == r));
        let bids = |r| of(r).count() as u64;
        let bidders = |r| of(r).map(|b| b.bidder).collect::<BTreeSet<_>>().len() as u64;
        let auctions = |r| of(r).map(|b| b.auction).collect::<BTreeSet<_>>().len() as u64;
        expected.push(Q15 {
            window_start: bound(start),
            total_bids: bids(0),
            rank1_bids: bids(1),
            rank2_bids: bids(2),
            rank3_bids: bids(3),
            total_bidders: bidders(0),
            rank1_bidders: bidders(1),
            rank2_bidders: bidders(2),
            rank3_bidders: bidders(3),
            total_auctions: auctions(0),
            rank1_auctions: auctions(1),
            rank2_auctions: auctions(2),
            rank3_auctions: auctions(3),
        });
    }
    check(q15(days().bids_batch()), |p| q15(days().partitions(p).bids()), &expected);
}

#[test]
fn q17_auctions_of_days() {
    let mut of: BTreeMap<(i64, i64), Vec<Bid>> = BTreeMap::new();
    for b in days().rows::<Bid>().unwrap() {
        of.entry((b.auction, b.date_time.value().div_euclid(DAY) * DAY)).or_default().push(b);
    }
    let row = |((auction, start), bids): ((i64, i64), Vec<Bid>)| {
        let ranked = |r: usize| bids.iter().filter(|b| rank(b) == r).count() as u64;
        let prices = || bids.iter().map(|b| b.price);
        Q17 {
            auction,
            window_start: bound(start),
            total_bids: bids.len() as u64,
            rank1_bids: ranked(1),
            rank2_bids: ranked(2),
            rank3_bids: ranked(3),
            min_price: prices().min().unwrap(),
            max_price: prices().max().unwrap(),
            avg_price: Some(prices().sum::<i64>() as f64 / bids.len() as f64),
            sum_price: prices().sum(),
        }
    };
    let expected: Vec<Q17> = of.into_iter().map(row).collect();
    check(q17(days().bids_batch()), |p| q17(days().partitions(p).bids()), &expected);
}

#[test]
fn q18_last_bids() {
    let mut last: BTreeMap<(i64, i64), Bid> = BTreeMap::new();
    for b in bids() {
        match last.get(&(b.bidder, b.auction)) {
            Some(other) if other.date_time > b.date_time => {}
            _ => drop(last.insert((b.bidder, b.auction), b)),
        }
    }
    let row = |b: Bid| Q18 {
        bidder: b.bidder,
        auction: b.auction,
        price: b.price,
        channel: b.channel,
        url: b.url,
        date_time: b.date_time,
        extra: b.extra,
    };
    let expected: Vec<Q18> = last.into_values().map(row).collect();
    check(q18(events().bids_batch()), |p| q18(events().partitions(p).bids()), &expected);
}
