//! Jobs with less memory than their operators hold: the same results, and no file left behind, however they end.

#[path = "spilled_groups.rs"]
mod groups;
#[path = "spilled_sums.rs"]
mod sums;

use std::path::Path;
use std::sync::Arc;

use sabot::operator::SpillDir;
use sabot::prelude::*;
use sabot::runtime::{Control, Simulated};
use sabot::stream::Job;
use sabot::testing::{Trial, splits};
use sabot_tests::checksum;

/// A row of a table that does not fit.
#[derive(Record, Clone, Debug, PartialEq)]
struct Event {
    n: i64,
    user: Str,
    value: Option<f64>,
    #[event_time]
    ts: Timestamp<Micros>,
}

const ROWS: i64 = 20_000;

fn events() -> Vec<Event> {
    let event = |n: i64| Event {
        n,
        // far from each other, twice each
        user: format!("the user with number {}", n * 7919 % (ROWS / 2)).as_str().into(),
        value: (n % 7 != 0).then_some(n as f64 / 7.0),
        ts: Timestamp::new(n * 2_500),
    };
    (0..ROWS).map(event).collect()
}
fn source() -> Source<Event, Bounded> {
    splits(&events(), 500)
}

pipeline! {
    /// Half as many groups as rows.
    pub fn per_user(events: Source<Event, Bounded>, every: i64);
    users = events -> key_by(user) -> aggregate(|e| row { rows: count(), value: sum(e.value), mean: mean(e.value), last: max(e.n) })
                   -> filter(|u| u.last % every == 0);
    users -> sink;
}
pipeline! {
    /// Windows.
    pub fn per_second(events: Source<Event, Bounded>, every: i64);
    seconds = events -> key_by(user) -> window(tumbling(1.sec())) -> aggregate(|e| row { value: sum(e.value), last: max(e.n) })
                     -> filter(|u| u.last % every == 0);
    seconds -> sink;
}
pipeline! {
    /// In order, with ties.
    pub fn in_order(events: Source<Event, Bounded>, every: i64);
    sorted = events -> sort(desc(value), user) -> filter(|e| e.n % every == 0);
    sorted -> sink;
}
pipeline! {
    /// A sort of groups, whose ties are in the order of the groups.
    pub fn users_in_order(events: Source<Event, Bounded>, every: i64);
    ranked = events -> key_by(user) -> aggregate(|e| row { rows: count(), last: max(e.n) }) -> sort(rows) -> filter(|u| u.last % every == 0);
    ranked -> sink;
}

/// A row and its partner.
#[derive(Record, Clone, Debug, PartialEq)]
struct Both {
    n: i64,
    other: Option<i64>,
    value: Option<f64>,
}
pipeline! {
    /// Pairs.
    pub fn pairs(events: Source<Event, Bounded>, others: Source<Event, Bounded>, every: i64);
    pairs = events -> filter(|e| e.n % 3 != 0) -> key_by(user)
                   -> join(others -> filter(|o| o.n % every == 0) -> key_by(user), |l, r| row Both { n: l.n, other: Some(r.n), value: r.value });
    pairs -> sink;
}
pipeline! {
    /// Rows with or without a partner.
    pub fn maybe_pairs(events: Source<Event, Bounded>, others: Source<Event, Bounded>, every: i64);
    pairs = events -> key_by(user)
                   -> left_join(others -> filter(|o| o.n % every == 0) -> key_by(user), |l, r| row Both { n: l.n, other: r?.n, value: r?.value });
    pairs -> sink;
}

/// A row of either side, or of both.
#[derive(Record, Clone, Debug, PartialEq)]
struct Either {
    n: Option<i64>,
    other: Option<i64>,
}
pipeline! {
    /// Every right row, with or without partners.
    pub fn right_pairs(events: Source<Event, Bounded>, others: Source<Event, Bounded>, every: i64);
    pairs = events -> filter(|e| e.n % every == 0) -> key_by(user)
                   -> right_join(others -> key_by(user), on = |l, r| l.n != r.n, |l, r| row Either { n: l?.n, other: Some(r.n) });
    pairs -> sink;
}
pipeline! {
    /// Every row of both sides.
    pub fn all_pairs(events: Source<Event, Bounded>, others: Source<Event, Bounded>, every: i64);
    pairs = events -> filter(|e| e.n % every == 0) -> key_by(user)
                   -> full_join(others -> filter(|o| o.n % 3 != 0) -> key_by(user), |l, r| row Either { n: l?.n, other: r?.n });
    pairs -> sink;
}
pipeline! {
    /// Rows that have a partner.
    pub fn with_partner(events: Source<Event, Bounded>, others: Source<Event, Bounded>, every: i64);
    pairs = events -> key_by(user) -> semi_join(others -> filter(|o| o.n % every == 0) -> key_by(user), on = |l, r| l.n != r.n);
    pairs -> sink;
}
pipeline! {
    /// Rows that have none.
    pub fn without_partner(events: Source<Event, Bounded>, others: Source<Event, Bounded>, every: i64);
    pairs = events -> key_by(user) -> anti_join(others -> filter(|o| o.n % every == 0) -> key_by(user), on = |l, r| l.n != r.n);
    pairs -> sink;
}
pipeline! {
    /// The last partner before each row.
    pub fn last_pairs(events: Source<Event, Bounded>, others: Source<Event, Bounded>, every: i64);
    pairs = events -> key_by(user)
                   -> asof_join(others -> filter(|o| o.n % every == 0) -> key_by(user), |l, r| row Either { n: Some(l.n), other: r?.n });
    pairs -> sink;
}
pipeline! {
    /// Partners of about the same time.
    pub fn near_pairs(events: Source<Event, Bounded>, others: Source<Event, Bounded>, every: i64);
    pairs = events -> key_by(user)
                   -> interval_join(others -> filter(|o| o.n % every == 0) -> key_by(user), within = -30.sec()..=1.sec(), |l, r| row Either { n: Some(l.n), other: Some(r.n) });
    pairs -> sink;
}

/// All rows, in any order.
fn sorted(batches: &[arrow_array::RecordBatch]) -> (u64, u64) {
    let sum = checksum(batches).unwrap();
    (sum.rows, sum.unordered)
}

type MakeJoin = fn(Source<Event, Bounded>, Source<Event, Bounded>, i64) -> Job;

#[test]
fn joins_are_those_of_enough_memory() {
    let dir = tempfile::tempdir().unwrap();
    // as many partners as rows, and a build side with holes
    let jobs: [(MakeJoin, i64); 9] = [
        (pairs, 1),
        (maybe_pairs, 1),
        (maybe_pairs, 2),
        (right_pairs, 2),
        (all_pairs, 2),
        (with_partner, 1),
        (without_partner, 2),
        (last_pairs, 1),
        (near_pairs, 1),
    ];
    for (number, (job, every)) in jobs.into_iter().enumerate() {
        let job = || job(source(), source(), every).settings(|s| s.broadcast_rows = 0);
        let want = sorted(Trial::new().run(job()).unwrap().batches("pairs").unwrap());
        assert!(want.0 > 9_000, "{number}: {} rows", want.0);
        for threads in [1, 2, 3, 8].into_iter().skip(number % 4).take(1) {
            let ran = Trial::new().threads(threads).morsel_rows(1000).run(limited(job(), dir.path())).unwrap();
            assert!(sorted(ran.batches("pairs").unwrap()) == want, "{number}, {threads} threads");
            let report = ran.report.unwrap();
            assert!(report.nodes.iter().any(|n| n.spilled > 0), "{number}, {threads} threads: nothing was spilled");
            assert_eq!(files(dir.path()), 0, "{number}, {threads} threads");
        }
    }
}

type Make = fn(Source<Event, Bounded>, i64) -> Job;
const JOBS: [(&str, Make); 4] = [("users", per_user), ("seconds", per_second), ("sorted", in_order), ("ranked", users_in_order)];

fn limited(job: Job, dir: &Path) -> Job {
    job.options(|o| {
        o.memory_budget = Some(1 << 20);
        o.spill_dir = Some(dir.to_owned());
    })
}
fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}
/// All rows, in their order.
fn ordered(batches: &[arrow_array::RecordBatch]) -> (u64, u64) {
    let sum = checksum(batches).unwrap();
    (sum.rows, sum.ordered)
}

#[test]
fn results_are_those_of_enough_memory() {
    let dir = tempfile::tempdir().unwrap();
    for (sink, job) in JOBS {
        let want = Trial::new().run(job(source(), 1)).unwrap();
        let want = ordered(want.batches(sink).unwrap());
        for threads in [1, 2, 3, 8] {
            let ran = Trial::new().threads(threads).morsel_rows(1000).run(limited(job(source(), 1), dir.path())).unwrap();
            assert!(ordered(ran.batches(sink).unwrap()) == want, "{sink}, {threads} threads");
            let report = ran.report.unwrap();
            assert!(report.nodes.iter().any(|n| n.spilled > 0), "{sink}, {threads} threads: nothing was spilled");
            assert_eq!(files(dir.path()), 0, "{sink}, {threads} threads");
        }
    }
}

/// A number.
#[derive(Record, Clone, Debug, PartialEq)]
struct Number {
    n: i64,
}
pipeline! {
    /// As many groups as rows.
    pub fn per_number(numbers: Source<Number, Bounded>);
    groups = numbers -> key_by(n) -> aggregate(|e| row { rows: count(), sum: sum(e.n), mean: mean(e.n as f64), last: max(e.n) });
    groups -> sink;
}
pipeline! {
    /// All of them in order.
    pub fn numbers_in_order(numbers: Source<Number, Bounded>);
    groups = numbers -> sort(desc(n));
    groups -> sink;
}

#[test]
fn a_large_result_does_not_wait_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    const ROWS: i64 = 60_000;
    let numbers: Vec<Number> = (0..ROWS).map(|n| Number { n: n * 7919 % ROWS }).collect();
    for (job, row) in [(per_number as fn(Source<Number, Bounded>) -> Job, 41), (numbers_in_order, 8)] {
        let job = || job(splits(&numbers, 2000));
        let want = ordered(Trial::new().run(job()).unwrap().batches("groups").unwrap());
        assert_eq!(want.0, ROWS as u64);
        for threads in [1, 3] {
            let ran = Trial::new().threads(threads).morsel_rows(1000).run(limited(job(), dir.path())).unwrap();
            assert!(ordered(ran.batches("groups").unwrap()) == want, "{threads} threads");
            let report = ran.report.unwrap();
            assert!(report.nodes.iter().any(|n| n.spilled > 0), "{threads} threads: nothing was spilled");
            // a quarter of the budget, or what one call emits
            let (peak, whole) = (report.peak_channel_bytes, ROWS as usize * row);
            assert!(peak <= (1 << 18) + 8192 * row && peak < whole / 2, "{threads} threads: {peak} of {whole} bytes, {:?}", report.events);
            assert!(report.events.is_empty(), "{:?}", report.events);
        }
    }
}

#[test]
fn a_checkpoint_holds_what_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    for (sink, job) in JOBS {
        let want = Trial::new().run(job(source(), 40)).unwrap();
        let want = ordered(want.batches(sink).unwrap());
        let trial = |threads| Trial::new().threads(threads).morsel_rows(500);
        let job = || limited(job(source(), 40), dir.path());
        let steps = trial(2).seed(1).snapshot_at(u64::MAX).run(job()).unwrap().steps;
        for part in [2, 3] {
            let ran = trial(2).seed(1).snapshot_at(steps * part / 4).crash_at(steps - 1).run(job()).unwrap();
            assert_eq!(files(dir.path()), 0, "a crash of the executor is no crash of the process");
            let again = trial(3).seed(9).from(ran.checkpoint).run(job()).unwrap();
            assert!(ordered(again.batches(sink).unwrap()) == want, "{sink}, {part}");
        }
    }
    assert_eq!(files(dir.path()), 0);
}

#[test]
fn a_checkpoint_holds_the_rows_of_a_join_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    // few rows of the result, since sinks keep them for checkpoints
    let few = || pairs(source(), source(), 1).settings(|s| s.broadcast_rows = 0).options(|o| o.checkpoints = true);
    let job = || limited(few(), dir.path()).options(|o| o.memory_budget = Some(3 << 20));
    let want = sorted(Trial::new().run(few()).unwrap().batches("pairs").unwrap());
    let trial = |threads| Trial::new().threads(threads).morsel_rows(500);
    let steps = trial(2).seed(1).snapshot_at(u64::MAX).run(job()).unwrap().steps;
    for part in [1, 2, 3] {
        let ran = trial(2).seed(1).snapshot_at(steps * part / 4).crash_at(steps - 1).run(job()).unwrap();
        // what is restored of a side that was complete stays in memory
        let again = job().options(|o| o.memory_budget = Some(8 << 20));
        let again = trial(3).seed(9).from(ran.checkpoint).run(again).unwrap();
        assert!(sorted(again.batches("pairs").unwrap()) == want, "{part}");
    }
    assert_eq!(files(dir.path()), 0);
}

#[test]
fn a_cancelled_job_leaves_no_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for step in [50, 100, 200, 400] {
        let control = Control::new();
        let (cancel, path, found) = (control.clone(), dir.path().to_owned(), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
        let count = Arc::clone(&found);
        let executor = Simulated::new(step).at(step, move || {
            count.store(files(&path), std::sync::atomic::Ordering::SeqCst);
            cancel.cancel();
        });
        let job = limited(per_user(source(), 1), dir.path()).options(|o| {
            o.threads = 2;
            o.bypass_rows = 0;
            o.morsel_rows = 500;
        });
        let job = job.sink("users", sabot::connect::SinkSpec::Blackhole);
        let result = job.run_on(Arc::new(executor), &control, None);
        assert_eq!(files(dir.path()), 0);
        if found.load(std::sync::atomic::Ordering::SeqCst) > 0 {
            seen += 1;
            assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
        }
    }
    assert!(seen > 0, "no job had spilled when it was cancelled");
}

/// Panics late.
#[operator]
fn fragile(last: i64) -> i64 {
    assert!(last < ROWS - 10, "too late");
    last
}
pipeline! {
    /// Panics when it sends the results.
    pub fn panics(events: Source<Event, Bounded>);
    users = events -> key_by(user) -> aggregate(|e| row { last: max(e.n) }) -> with(|u| row { last: fragile(u.last) });
    users -> sink;
}

#[test]
fn a_job_that_panics_leaves_no_files() {
    let dir = tempfile::tempdir().unwrap();
    let error = limited(panics(source()), dir.path()).collect_batches().unwrap_err().to_string();
    assert!(error.contains("too late"), "{error}");
    assert_eq!(files(dir.path()), 0);
}

#[test]
fn the_next_job_removes_what_a_killed_one_left() {
    let dir = tempfile::tempdir().unwrap();
    // as a process leaves it that was killed: the lock is free
    let left = dir.path().join("sabot-spill-4194305-0");
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("lock"), "").unwrap();
    std::fs::write(left.join("0.arrow"), "rows").unwrap();
    // and the directory of one that is alive
    let alive = dir.path().join("sabot-spill-4194305-1");
    std::fs::create_dir(&alive).unwrap();
    let lock = std::fs::File::create(alive.join("lock")).unwrap();
    lock.lock().unwrap();
    limited(per_user(source(), 1), dir.path()).collect_batches().unwrap();
    assert!(!left.exists() && alive.exists());
    drop(lock);
    SpillDir::new(dir.path()).unwrap();
    assert_eq!(files(dir.path()), 0);
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let error = limited(per_user(source(), 1), Path::new("/no/such/directory")).collect_batches().unwrap_err().to_string();
    assert!(error.contains("/no/such/directory: cannot be used as the spill directory (`--spill-dir`)"), "{error}");
    if cfg!(target_os = "linux") {
        // can be listed by everyone, and written by nobody
        let error = limited(per_user(source(), 1), Path::new("/proc/self")).collect_batches().unwrap_err().to_string();
        assert!(error.contains("/proc/self: operator `per_user/users/aggregate` cannot write the rows"), "{error}");
    }
}

/// All there was.
#[derive(State, Default)]
struct Memory {
    seen: Vec<i64>,
}
/// How many numbers a user had.
#[operator]
fn remember(memory: &mut Memory, n: i64) -> Option<i64> {
    memory.seen.push(n);
    Some(memory.seen.len() as i64)
}
pipeline! {
    /// More state than fits, in a step that cannot spill.
    pub fn remembered(events: Source<Event, Bounded>);
    users = events -> key_by(user) -> keyed(|e| row { rows: remember(e.n) });
    users -> sink;
}

#[test]
fn a_step_that_cannot_spill_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = limited(remembered(source()), dir.path()).options(|o| o.memory_budget = Some(200_000)).collect_batches().unwrap_err();
    assert!(matches!(&error, Error::Memory { operator, .. } if operator == "remembered/users/keyed"), "{error}");
    assert_eq!(files(dir.path()), 0);
}
