//! The async operator with a clock and futures in the test's hands.

use std::sync::Mutex;
use std::task::{Context, Waker};
use std::time::Duration;

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
    let clock = Arc::clone(hand);
    let call = move |item: &View<'_, Item>| {
        let (clock, v) = (Arc::clone(&clock), item.v);
        let until = clock.now() + Duration::from_millis(v as u64);
        Awaited::<i64>::call(async move {
            std::future::poll_fn(|_| if clock.now() >= until { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }).await;
            v
        })
    };
    let spec = AsyncSpec { name: "p/s/async".into(), operator: "sleep".into(), column: "slept".into(), options, ..AsyncSpec::default() };
    let mut operator = Async::<Item, i64, _>::factory(spec, call).create(Instance { index: 0, of: 1 }).unwrap();
    operator.attach(Arc::clone(hand) as Arc<dyn Outside>);
    operator
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
                let end = piece.origin;
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
