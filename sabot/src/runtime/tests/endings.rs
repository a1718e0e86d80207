//! Backpressure, errors, panics, budgets, limits, cancel and stop.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use super::*;
use crate::Error;
use crate::operator::Exchange;

fn fail(plan: &Plan, options: &RunOptions) -> Error {
    let seen = Seen::default();
    let error = run(&plan.0, bind(plan.0.nodes.len() - 1, &seen), options, &Control::new()).unwrap_err();
    assert_eq!(seen.ends(), ["abort"]);
    error
}

#[test]
fn a_slow_sink_bounds_the_queues() {
    let mut p = Plan::default();
    let s = p.source(Numbers::new(20_000, 5, 1000));
    p.sink(s);
    let seen = Seen { pause: Duration::from_micros(300), ..Seen::default() };
    let tight = RunOptions { reorder_bytes: 20_000, ..options(2, 100) };
    let report = run(&p.0, bind(1, &seen), &tight, &Control::new()).unwrap();
    assert_eq!(seen.rows().len(), 20_000);
    // Its share of the limit, and what one read may add.
    assert!(report.peak_channel_bytes <= 10_000 + 100 * 16 + 64, "{}", report.peak_channel_bytes);
}

#[test]
fn a_flat_map_is_resumed_under_backpressure() {
    let mut p = Plan::default();
    let s = p.source(Numbers::new(100, 5, 20));
    let r = p.step("repeat", s, || Repeat { times: 50, left: None });
    let m = p.node("map", &[(r, 0, Exchange::Rebalance, false)], false, false, || Map(|r| Ok(Some(r))));
    p.sink(m);
    for threads in [1, 2, 3] {
        let (seen, report) = go(&p, &RunOptions { channel_bytes: 1000, ..options(threads, 10) });
        assert_eq!(seen.rows().len(), 5000);
        assert!(report.peak_channel_bytes < 100_000);
    }
}

#[test]
fn errors_and_panics_name_the_step_and_abort() {
    for threads in [1, 2, 8] {
        let mut p = Plan::default();
        let s = p.source(Numbers::new(1000, 5, 100));
        let m = p.step("mine", s, || Map(|(k, v)| if v == 777 { Err(Error::internal("boom")) } else { Ok(Some((k, v))) }));
        p.sink(m);
        let message = fail(&p, &options(threads, 10)).to_string();
        assert!(message.contains("`mine`") && message.contains("boom") && message.contains("split 7"), "{message}");

        let mut p = Plan::default();
        let s = p.source(Numbers::new(1000, 5, 100));
        let m = p.node("mine", &[(s, 0, by_key(), false)], false, false, || {
            Map(|(k, v)| {
                assert!(v != 777, "no sevens");
                Ok(Some((k, v)))
            })
        });
        p.sink(m);
        let message = fail(&p, &options(threads, 10)).to_string();
        assert!(message.contains("`mine`") && message.contains("panicked: no sevens"), "{message}");
    }
}

#[test]
fn the_budget_names_the_biggest() {
    let mut p = Plan::default();
    let s = p.source(Numbers::new(1000, 500, 100));
    let m = p.node("sum", &[(s, 0, by_key(), false)], false, true, Sum::default);
    p.sink(m);
    let error = fail(&p, &RunOptions { memory_budget: Some(1000), ..options(2, 10) });
    assert!(matches!(&error, Error::Memory { operator, .. } if operator == "sum"), "{error}");
}

#[test]
fn a_satisfied_limit_stops_its_sources() {
    for threads in [1, 2, 3] {
        let mut p = Plan::default();
        let s = p.source(Numbers::new(10_000_000, 5, 1000));
        let l = p.node("limit", &[(s, 0, Exchange::Gather, true)], true, true, || Limit(25));
        p.sink(l);
        let (seen, report) = go(&p, &RunOptions { reorder_bytes: 10_000, ..options(threads, 10) });
        assert_eq!(seen.rows(), (0..25).map(|v| (v % 5, v)).collect::<Vec<_>>());
        assert!(report.nodes[0].account.rows_out < 1_000_000, "{report:?}");
    }
}

#[test]
fn an_operator_without_end_can_be_cancelled() {
    for threads in [1, 2] {
        let mut p = Plan::default();
        let s = p.source(Numbers::new(10, 5, 10));
        let r = p.step("repeat", s, || Repeat { times: usize::MAX, left: None });
        let f = p.step("drop", r, || Map(|_| Ok(None)));
        p.sink(f);
        let control = Control::new();
        let seen = Seen::default();
        std::thread::scope(|scope| {
            let job = scope.spawn(|| run(&p.0, bind(3, &seen), &options(threads, 10), &control));
            std::thread::sleep(Duration::from_millis(30));
            control.cancel();
            assert!(matches!(job.join().unwrap(), Err(Error::Cancelled)));
        });
        assert_eq!(seen.ends(), ["abort"]);
    }
}

#[test]
fn cancel_at_any_step() {
    for seed in seeds(60) {
        let control = Control::new();
        let (plan, seen, c) = (diamond(500), Seen::default(), control.clone());
        let executor = Simulated::new(seed).at(seed * 3, move || c.cancel());
        let result = run_on(Arc::new(executor), &plan.0, bind(4, &seen), &options(3, 20), &control, None);
        match result {
            Err(Error::Cancelled) => assert_eq!(seen.ends(), ["abort"]),
            other => assert!(other.is_ok() && seen.ends() == ["commit"]),
        }
    }
}

#[test]
fn a_crash_tells_sinks_nothing() {
    let (plan, seen) = (counted(600), Seen::default());
    let result = run_on(Arc::new(Simulated::new(1).crash_at(40)), &plan.0, bind(4, &seen), &options(3, 20), &Control::new(), None);
    assert!(result.is_err() && seen.ends().is_empty());
}

#[test]
fn a_stopped_stream_drains_and_commits() {
    for threads in [1, 2, 3] {
        let mut p = Plan::default();
        let s = p.source(Numbers { endless: true, partitions: 3, ..Numbers::new(500, 5, 1) });
        let m = p.node("sum", &[(s, 0, by_key(), false)], false, true, Sum::default);
        p.sink(m);
        let (control, seen) = (Control::new(), Seen::default());
        let told = Arc::new(Mutex::new(0));
        let hook = {
            let (told, control) = (Arc::clone(&told), control.clone());
            move |p: Progressed| {
                *told.lock().unwrap() = p.rows;
                if p.rows == 1500 {
                    control.stop()
                }
            }
        };
        let options = RunOptions { progress: Some(Arc::new(hook)), progress_every: Duration::ZERO, ..options(threads, 10) };
        std::thread::scope(|scope| {
            let job = scope.spawn(|| run(&p.0, bind(2, &seen), &options, &control));
            std::thread::sleep(Duration::from_millis(300));
            control.stop();
            job.join().unwrap().unwrap();
        });
        assert_eq!(*told.lock().unwrap(), 1500);
        assert_eq!(seen.sorted().iter().map(|r| r.1).sum::<i64>(), 3 * (0..500).sum::<i64>());
    }
}

#[test]
fn the_progress_hook_ends_at_the_total() {
    let last = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&last);
    let hook: ProgressHook = Arc::new(move |p| {
        assert_eq!(p.total_rows, Some(3000));
        told.store(p.rows as usize, SeqCst)
    });
    go(&counted(3000), &RunOptions { progress: Some(hook), ..options(2, 64) });
    assert_eq!(last.load(SeqCst), 3000);
}
