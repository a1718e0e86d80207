//! Watermarks and idleness.

use std::time::Duration;

use super::*;

fn clock(partitions: u32, rows: i64) -> Plan {
    let mut p = Plan::default();
    let s = p.source(Numbers { endless: true, partitions, ..Numbers::new(rows, 5, 1) });
    let c = p.node("clock", &[(s, 0, by_key(), false)], true, true, Clock::default);
    p.sink(c);
    p
}

#[test]
fn the_watermark_is_the_minimum_of_all_partitions() {
    for seed in seeds(100) {
        let plan = clock(3, 200);
        let (control, seen) = (Control::new(), Seen::default());
        let c = control.clone();
        // Single-step polls of a virtual clock: the stop comes long after the last row.
        let executor = Simulated::new(seed).at(5000, move || c.stop());
        run_on(Arc::new(executor), &plan.0, bind(2, &seen), &options(1 + seed as usize % 4, 10), &control, None)
            .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let times: Vec<i64> = seen.rows().iter().map(|r| r.1).collect();
        assert!(times.is_sorted() && times.last() == Some(&199), "seed {seed}: {times:?}");
    }
}

#[test]
fn an_idle_partition_does_not_hold_time_back() {
    // One source falls silent at once; the other goes on.
    let mut p = Plan::default();
    let a = p.source(Numbers { endless: true, ..Numbers::new(0, 5, 1) });
    let b = p.source(Numbers { endless: true, ..Numbers::new(100, 5, 1) });
    let c = p.node("clock", &[(a, 0, by_key(), false), (b, 0, by_key(), false)], true, true, Clock::default);
    p.sink(c);
    let (control, seen) = (Control::new(), Seen::default());
    let c = control.clone();
    let executor = Simulated::new(7).at(6000, move || c.stop());
    let report = run_on(
        Arc::new(executor),
        &p.0,
        bind(3, &seen),
        &RunOptions { idle_after: Duration::from_secs(1), ..options(2, 10) },
        &control,
        None,
    )
    .unwrap();
    assert_eq!(seen.rows().last(), Some(&(0, 99)));
    assert!(report.events.iter().any(|e| e.contains("idle")));
}
