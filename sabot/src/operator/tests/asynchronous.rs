//! The async operator with a clock and futures in the test's hands.

use std::sync::Mutex;
use std::task::{Context, Waker};
use std::time::Duration;

use arrow_array::cast::AsArray;

use super::hand::Item;
use super::*;
use crate::Result;
use crate::record::{View, to_batch};

/// Polls all futures when told, at a time that is told.
#[derive(Default)]
struct Hand {
    now: Mutex<Duration>,
    out: Mutex<Vec<Beside>>,
}

impl Outside for Hand {
    fn run(&self, future: Beside) -> Result<Flight> {
        self.out.lock().unwrap().push(future);
        Ok(Flight::new(|| {}))
    }
    fn wake_after(&self, _delay: Duration) {}
    fn wall(&self) -> Duration {
        Duration::ZERO
    }
    fn now(&self) -> Duration {
        *self.now.lock().unwrap()
    }
}

impl Hand {
    /// Moves time on and polls. Returns how many futures are out still.
    fn tick(&self, by: Duration) -> usize {
        *self.now.lock().unwrap() += by;
        let mut context = Context::from_waker(Waker::noop());
        let mut out = self.out.lock().unwrap();
        out.retain_mut(|f| f.as_mut().poll(&mut context).is_pending());
        out.len()
    }
}

/// An operator whose call for `v` takes `v` milliseconds and gives `v`.
fn sleeper(hand: &Arc<Hand>, options: AsyncOptions) -> Box<dyn Operator> {
    sleepers(hand, AsyncSpec { options, ..AsyncSpec::default() }, 1).remove(0)
}

/// So many instances of it.
fn sleepers(hand: &Arc<Hand>, spec: AsyncSpec, of: usize) -> Vec<Box<dyn Operator>> {
    let clock = Arc::clone(hand);
    let call = move |item: &View<'_, Item>| {
        let (clock, v) = (Arc::clone(&clock), item.v);
        let until = clock.now() + Duration::from_millis(v as u64);
        Awaited::<i64>::call(async move {
            std::future::poll_fn(|_| if clock.now() >= until { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }).await;
            v
        })
    };
    let spec = AsyncSpec { name: "p/s/async".into(), operator: "sleep".into(), column: "slept".into(), ..spec };
    let factory = Async::<Item, i64, _>::factory(spec, call);
    let mut all: Vec<_> = (0..of).map(|index| factory.create(Instance { index, of }).unwrap()).collect();
    all.iter_mut().for_each(|operator| operator.attach(Arc::clone(hand) as Arc<dyn Outside>));
    all
}

fn items(rows: u64, seed: u64) -> Vec<Item> {
    let mut rng = Rng(seed);
    (0..rows).map(|_| Item { k: "k".into(), v: rng.below(21) as i64 }).collect()
}

/// The part of the allowed calls that are busy, in a window of so many times as many rows.
fn busy(window: usize) -> f64 {
    let (hand, rows) = (Arc::new(Hand::default()), items(4000, 7));
    let options = AsyncOptions { max_in_flight: 64, ..AsyncOptions::DEFAULT };
    let mut operator = sleeper(&hand, options);
    let mut out = Out::default();
    // a window of one is what a step would have that counts rows that are done and wait for their turn
    let step = if window == 1 { 64 } else { rows.len() };
    let mut given = 0;
    let mut took = 0;
    while (out.account.used as usize) < rows.len() {
        let open = given - out.account.used as usize;
        if given < rows.len() && (window > 1 || open < 64) {
            let take = if window == 1 { step - open } else { step }.min(rows.len() - given);
            out.feed(
                operator.as_mut(),
                0,
                Morsel::new(to_batch(&rows[given..given + take]), Origin { row: given as u64, ..Origin::default() }),
            );
            given += take;
        }
        hand.tick(Duration::from_millis(1));
        operator.poll(&mut out).unwrap();
        took += 1;
    }
    let work: i64 = rows.iter().map(|r| r.v.max(1)).sum();
    work as f64 / 64.0 / f64::from(took)
}

#[test]
fn windows_keep_calls_busy() {
    let (one, eight) = (busy(1), busy(8));
    assert!(one < 0.75 && eight > 0.9, "{one:.2} of the calls are busy in a window of one, {eight:.2} in one of eight");
}

/// Rows in flight, and the marks behind them, survive a cut; what was emitted before it is not emitted again.
#[test]
fn rows_in_flight_are_state() {
    for ordered in [true, false] {
        for cut in 0..25 {
            let rows = items(60, 3);
            let options = AsyncOptions { max_in_flight: 5, ordered, ..AsyncOptions::DEFAULT };
            let (hand, mut out) = (Arc::new(Hand::default()), Out::default());
            let mut operator = sleeper(&hand, options);
            let mut pieces = super::cut(&to_batch(&rows), 0, 20, Some(&|i| i % 3 != 1));
            let last = pieces.pop().unwrap();
            for piece in pieces {
                let end = Origin { split: piece.origin.row, ..piece.origin };
                out.feed(operator.as_mut(), 0, piece);
                assert!(operator.hold_back(Mark::SplitEnd(end)));
            }
            for _ in 0..cut {
                hand.tick(Duration::from_millis(2));
                operator.poll(&mut out).unwrap();
            }
            let states = operator.snapshot(1).unwrap().write().unwrap();
            let (hand, before) = (Arc::new(Hand::default()), out.marks.len());
            let mut operator = sleeper(&hand, options);
            for state in &states {
                operator.restore(state).unwrap();
            }
            if operator.pending() == Pending::Nothing {
                assert_eq!(before, 2, "all had left");
            }
            // what comes after the cut comes behind what was in flight
            out.feed(operator.as_mut(), 0, last);
            let mut kept = false;
            while operator.pending() != Pending::Nothing {
                kept = kept || operator.hold_back(Mark::End);
                hand.tick(Duration::from_millis(1));
                operator.poll(&mut out).unwrap();
            }
            assert!(kept);
            let schema = out.morsels[0].batch.schema();
            let expected: Vec<String> =
                rows.iter().enumerate().filter(|(i, _)| i % 3 != 1).map(|(_, r)| format!("{}|{}|{}", r.k, r.v, r.v)).collect();
            let (mut found, mut expected) = (lines(&concat(&schema, &out.morsels)), expected);
            if !ordered {
                found.sort();
                expected.sort();
            }
            assert_eq!(found, expected, "ordered {ordered}, cut {cut}");
            let places: Vec<u64> = out.morsels.iter().map(|m| m.origin.row).collect();
            assert!(!ordered || places.is_sorted(), "{places:?}");
            assert_eq!(out.marks.iter().filter(|m| matches!(m, Mark::SplitEnd(_))).count(), 2, "cut {cut}: {:?}", out.marks);
            assert_eq!(out.marks.last(), Some(&Mark::End));
            assert_eq!((out.account.used, out.account.held), (40, 0));
        }
    }
}

/// Nothing is owed when no one wants it.
#[test]
fn unwanted_rows_are_dropped() {
    let (hand, mut out) = (Arc::new(Hand::default()), Out::default());
    let mut operator = sleeper(&hand, AsyncOptions { max_in_flight: 5, ..AsyncOptions::DEFAULT });
    out.feed(operator.as_mut(), 0, Morsel::new(to_batch(&items(50, 1)), Origin::default()));
    assert!(operator.hold_back(Mark::End));
    operator.unwanted(&mut out);
    assert_eq!((operator.pending(), out.marks.as_slice()), (Pending::Nothing, [Mark::End].as_slice()));
    assert_eq!((out.account.filtered + out.account.used, out.account.held), (50, 0));
    hand.tick(Duration::from_millis(100));
    operator.poll(&mut out).unwrap();
    assert!(out.account.balanced(), "calls that end later change nothing");
}

/// One instance may make all calls, until another has rows: then it gives way as its calls end.
#[test]
fn instances_share_their_calls() {
    let hand = Arc::new(Hand::default());
    let options = AsyncOptions { max_in_flight: 6, ..AsyncOptions::DEFAULT };
    let mut both = sleepers(&hand, AsyncSpec { options, ..AsyncSpec::default() }, 2);
    let (mut a, mut b) = (Out::default(), Out::default());
    let rows: Vec<Item> = (0..40).map(|_| Item { k: "k".into(), v: 5 }).collect();
    let out = |hand: &Hand| hand.out.lock().unwrap().len();
    a.feed(both[0].as_mut(), 0, Morsel::new(to_batch(&rows), Origin::default()));
    assert_eq!(out(&hand), 6, "all of them, though the other might have some");
    b.feed(both[1].as_mut(), 0, Morsel::new(to_batch(&rows), Origin::default()));
    assert_eq!((out(&hand), both[1].pending()), (6, Pending::Waits));
    let sent = |out: &Out| out.account.used;
    for round in 0..14 {
        hand.tick(Duration::from_millis(5));
        // woken, each for its own calls or because it is its turn
        for _ in 0..3 {
            both[0].poll(&mut a).unwrap();
            both[1].poll(&mut b).unwrap();
        }
        let left = 80 - (sent(&a) + sent(&b));
        assert_eq!(out(&hand) as u64, left.min(6), "round {round}: no call is left unused");
        assert!(!(1..=11).contains(&round) || sent(&b).abs_diff(sent(&a)) <= 9, "round {round}: {} and {}", sent(&a), sent(&b));
    }
    assert_eq!((sent(&a), sent(&b), out(&hand)), (40, 40, 0));
}

/// Claims rows of a text, and ends of splits.
struct Claiming(&'static str, bool);

impl Claim for Claiming {
    fn rows(&self, rows: Morsel) -> Result<Option<Morsel>> {
        let dense = rows.compact()?;
        let column = arrow_cast::cast(dense.column_by_name("k").unwrap(), &arrow_schema::DataType::Utf8)?;
        let is: arrow_array::BooleanArray = column.as_string::<i32>().iter().map(|k| Some(k == Some(self.0))).collect();
        let mine = arrow_select::filter::filter_record_batch(&dense, &is)?;
        Ok((mine.num_rows() > 0).then(|| Morsel::new(mine, rows.origin)))
    }
    fn end(&self, _split: Origin) -> bool {
        self.1
    }
}

/// What three instances had goes on at two, each row once, in the order of its split, with its number; the end of a split behind its rows.
#[test]
fn rows_in_flight_go_on_at_other_instances() {
    for (ordered, dealt) in [(true, false), (false, false), (true, true)] {
        for ticks in [0, 3, 30] {
            let hand = Arc::new(Hand::default());
            let options = AsyncOptions { max_in_flight: 5, ordered, ..AsyncOptions::DEFAULT };
            let spec = || AsyncSpec { options, dealt, bounded: true, ..AsyncSpec::default() };
            let (mut all, mut out) = (sleepers(&hand, spec(), 3), Out::default());
            let item =
                |split: u64, n: i64| Item { k: if n % 3 == 0 { "a".into() } else { "b".into() }, v: (split as i64 * 7 + n * 5) % 20 };
            let end = |split| Origin { split, ..Origin::default() };
            for (split, operator) in (0..).zip(&mut all) {
                let rows: Vec<Item> = (0..30).map(|n| item(split, n)).collect();
                out.feed(operator.as_mut(), 0, Morsel::new(to_batch(&rows), end(split)));
                assert!(operator.hold_back(Mark::SplitEnd(end(split))));
                // it has ended at another instance, too
                operator.hold_back(Mark::SplitEnd(end(0)));
            }
            for _ in 0..ticks {
                hand.tick(Duration::from_millis(4));
                all.iter_mut().for_each(|operator| operator.poll(&mut out).unwrap());
            }
            let before = out.account.used;
            assert!(if dealt { before % 30 == 0 } else { (before > 0) == (ticks > 0) }, "{before} rows had left after {ticks} ticks");
            let states: Vec<_> = all.iter_mut().flat_map(|o| o.snapshot(1).unwrap().write().unwrap()).collect();
            let mut sent = std::mem::take(&mut out.morsels);
            let hand = Arc::new(Hand::default());
            for (operator, claim) in sleepers(&hand, spec(), 2).iter_mut().zip([Claiming("a", true), Claiming("b", false)]) {
                let mut out = Out::default();
                states.iter().for_each(|state| operator.restore_rows(state, &claim).unwrap());
                while operator.pending() != Pending::Nothing {
                    operator.poll(&mut out).unwrap();
                    hand.tick(Duration::from_millis(1));
                }
                let mut ends: Vec<Mark> = out.marks.clone();
                ends.dedup();
                assert!(ends == out.marks && out.marks.len() <= 3 && (claim.1 || out.marks.is_empty()), "{:?}", out.marks);
                assert!(ticks > 0 || !claim.1 || out.marks.len() == 3, "{:?}", out.marks);
                let mut places: Vec<(u64, u64)> = out.morsels.iter().map(|m| (m.origin.split, m.origin.row)).collect();
                assert!(!ordered || places.is_sorted(), "{places:?}");
                places.retain(|(_, row)| *row > 0);
                assert!(places.is_empty() == dealt, "pieces of a morsel keep its origin: {places:?}");
                sent.append(&mut out.morsels);
            }
            let schema = sent[0].batch.schema();
            let (mut found, mut expected) = (lines(&concat(&schema, &sent)), Vec::new());
            for split in 0..3 {
                expected.extend((0..30).map(|n| item(split, n)).map(|r| format!("{}|{}|{}", r.k, r.v, r.v)));
            }
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "ordered {ordered}, dealt {dealt}, {ticks} ticks");
        }
    }
}

/// Pieces of a morsel leave as they came, also those that are larger than the window.
#[test]
fn what_was_dealt_out_leaves_whole() {
    let hand = Arc::new(Hand::default());
    let options = AsyncOptions { max_in_flight: 4, ..AsyncOptions::DEFAULT };
    let spec = AsyncSpec { options, dealt: true, bounded: true, ..AsyncSpec::default() };
    let (mut operator, mut out) = (sleepers(&hand, spec, 1).remove(0), Out::default());
    for start in [0u64, 500] {
        out.feed(operator.as_mut(), 0, Morsel::new(to_batch(&items(100, start)), Origin { row: start, ..Origin::default() }));
    }
    while operator.pending() != Pending::Nothing {
        operator.poll(&mut out).unwrap();
        hand.tick(Duration::from_millis(3));
    }
    let left: Vec<(u64, usize)> = out.morsels.iter().map(|m| (m.origin.row, m.rows())).collect();
    assert_eq!(left, [(0, 100), (500, 100)]);
}
