//! Shapes of graphs and names: renamed columns, empty inputs, other units of time, branches, diamonds, several sinks.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "shapes/spill.rs"]
mod spill;

use sabot::prelude::*;
use sabot::stream::Job;
use sabot::testing::{Trial, splits};
use sabot_tests::{Order, everywhere};

/// Columns that are named otherwise in files.
#[derive(Record, Clone, Debug, PartialEq)]
struct Renamed {
    #[record(rename = "carrier code")]
    carrier: Str,
    #[record(rename = "DelayMinutes")]
    delay: Option<i64>,
    #[event_time]
    #[record(rename = "when")]
    ts: Timestamp<Millis, Utc>,
}
fn renamed() -> Vec<Renamed> {
    (0..60)
        .map(|i| Renamed { carrier: ["a", "b"][i % 2].into(), delay: (i % 5 != 0).then_some(i as i64), ts: Timestamp::new(i as i64 * 500) })
        .collect()
}

/// A renamed key's group.
#[derive(Record, Clone, Debug, PartialEq)]
struct ByCarrier {
    carrier: Str,
    delay: Option<i64>,
    rows: u64,
}
pipeline! {
    /// A renamed key, and renamed inputs.
    pub fn by_carrier(flights: Source<Renamed, Bounded>);
    by_carrier = flights -> key_by(carrier) -> aggregate(|f| row { delay: sum(f.delay), rows: count() }) -> filter(|c| c.rows > 1);
    by_carrier -> sink;
}

#[test]
fn renamed_keys() {
    let sum = |c: usize| (0..60).filter(|i| i % 2 == c && i % 5 != 0).sum::<usize>() as i64;
    let expected = [
        ByCarrier { carrier: "a".into(), delay: Some(sum(0)), rows: 30 },
        ByCarrier { carrier: "b".into(), delay: Some(sum(1)), rows: 30 },
    ];
    everywhere(|| by_carrier(splits(&renamed(), 7)), "by_carrier", &expected, Order::Any, 0.0);
}

/// A window, whatever the unit of the event time.
#[derive(Record, Clone, Debug, PartialEq)]
struct Window {
    carrier: Str,
    window_start: Timestamp<Micros>,
    window_end: Timestamp<Micros>,
    rows: u64,
}
pipeline! {
    /// Milliseconds in UTC, with another name.
    pub fn in_millis(flights: Source<Renamed>);
    in_millis = flights -> key_by(carrier) -> window(tumbling(10.sec())) -> aggregate(|f| row { rows: count() })
                        -> filter(|w| w.window_end - w.window_start == 10.sec() && w.window_start.value() % 10_000_000 == 0);
    in_millis -> sink;
}
/// Nanoseconds.
#[derive(Record, Clone, Debug, PartialEq)]
struct InNanos {
    carrier: Str,
    ts: Timestamp<Nanos>,
}
pipeline! {
    /// Nanoseconds, declared by a step, then windows of windows.
    pub fn in_nanos(flights: Source<InNanos>);
    in_nanos = flights -> event_time(ts) -> key_by(carrier) -> window(tumbling(5.sec())) -> aggregate(|f| row { rows: count() })
                       -> key_by(carrier) -> window(tumbling(10.sec())) -> aggregate(|w| row { rows: sum(w.rows) });
    in_nanos -> sink;
}

#[test]
fn other_units_of_time() {
    let window = |c: &str, w: i64, rows| Window {
        carrier: c.into(),
        window_start: Timestamp::new(w * 10_000_000),
        window_end: Timestamp::new((w + 1) * 10_000_000),
        rows,
    };
    let expected: Vec<Window> = ["a", "b"].iter().flat_map(|c| (0..3).map(|w| window(c, w, 10))).collect();
    everywhere(|| in_millis(splits(&renamed(), 7)), "in_millis", &expected, Order::Any, 0.0);
    let nanos: Vec<InNanos> =
        renamed().into_iter().map(|r| InNanos { carrier: r.carrier, ts: Timestamp::new(r.ts.value() * 1_000_000) }).collect();
    everywhere(|| in_nanos(splits(&nanos, 7)), "in_nanos", &expected, Order::Any, 0.0);
    // over an endless source the window's own end closes the next one
    for seed in 0..5 {
        let source = generate(1, |_, row| InNanos { carrier: "a".into(), ts: Timestamp::new(row as i64 * 1_000_000_000) });
        let ran = Trial::new().threads(2).morsel_rows(3).seed(seed).stop_at(600).run(in_nanos(source)).unwrap();
        let rows: Vec<Window> = ran.rows("in_nanos").unwrap();
        assert!(rows.len() > 3 && rows[..rows.len() - 1].iter().all(|w| w.rows == 10), "{rows:?}");
    }
}

/// Numbers.
#[derive(Record, Clone, Debug, PartialEq)]
struct Number {
    n: i64,
    k: i64,
}
fn numbers(n: i64) -> Vec<Number> {
    (0..n).map(|n| Number { n, k: n % 3 }).collect()
}
/// Totals of all.
#[derive(Record, Clone, Debug, PartialEq)]
struct Total {
    total: i64,
    rows: u64,
}
pipeline! {
    /// Sums of all, of few and of none.
    pub fn total(numbers: Source<Number, Bounded>, above: i64);
    total = numbers -> filter(|n| n.n > above) -> aggregate(|n| row { total: sum(n.n), rows: count() });
    total -> sink;
}
/// The least of all.
#[derive(Record, Clone, Debug, PartialEq)]
struct Least {
    least: Option<i64>,
}
pipeline! {
    /// The least of nothing is null: over all rows there may be none.
    pub fn least(numbers: Source<Number, Bounded>, above: i64);
    least = numbers -> filter(|n| n.n > above) -> aggregate(|n| row { least: min(n.n) });
    least -> sink;
}

#[test]
fn aggregates_of_nothing() {
    for (above, total_, rows) in [(-1, 190, 20), (17, 37, 2), (100, 0, 0)] {
        everywhere(|| total(splits(&numbers(20), 6), above), "total", &[Total { total: total_, rows }], Order::Same, 0.0);
    }
    for (above, value) in [(0, Some(1)), (100, None)] {
        everywhere(|| least(splits(&numbers(5), 6), above), "least", &[Least { least: value }], Order::Same, 0.0);
    }
}

pipeline! {
    /// A total of totals: the second aggregate is over all groups.
    pub fn of_groups(numbers: Source<Number, Bounded>);
    groups    = numbers -> key_by(k) -> aggregate(|n| row { sum: sum(n.n) });
    of_groups = groups -> filter(|g| g.sum >= 0) -> aggregate(|g| row { total: sum(g.sum), rows: count() });
    of_groups -> sink;
}
#[test]
fn a_global_aggregate_after_a_keyed_one() {
    everywhere(|| of_groups(splits(&numbers(20), 6)), "of_groups", &[Total { total: 190, rows: 3 }], Order::Same, 0.0);
}

/// A pair.
#[derive(Record, Clone, Debug, PartialEq)]
struct Pair {
    a: i64,
    b: i64,
}
pipeline! {
    /// A stream used four times: two sinks, and a diamond that joins it with itself.
    pub fn diamond(numbers: Source<Number, Bounded>);
    kept    = numbers -> filter(|n| n.n % 2 == 0);
    small   = kept -> filter(|n| n.n < 10) -> select(|n| row Pair { a: n.n, b: n.k });
    diamond = kept -> key_by(k) -> join(kept -> filter(|n| n.n > 14) -> key_by(k), |l, r| row Pair { a: l.n, b: r.n });
    counts  = kept -> select(|n| row { key: n.k, n: n.n }) -> key_by(key) -> aggregate(|n| row { sum: sum(n.n) })
                   -> select(|c| row Pair { a: c.key, b: c.sum });
    small -> sink;
    diamond -> sink;
    counts -> sink;
}

#[test]
fn branches_diamonds_and_several_sinks() {
    let even: Vec<i64> = (0..20).filter(|n| n % 2 == 0).collect();
    let mut joined = Vec::new();
    for l in &even {
        joined.extend(even.iter().filter(|r| **r > 14 && *r % 3 == l % 3).map(|r| Pair { a: *l, b: *r }));
    }
    let small: Vec<Pair> = even.iter().filter(|n| **n < 10).map(|n| Pair { a: *n, b: n % 3 }).collect();
    let counts: Vec<Pair> = (0..3).map(|k| Pair { a: k, b: even.iter().filter(|n| *n % 3 == k).sum() }).collect();
    for broadcast in [0, 1000] {
        let job = || diamond(splits(&numbers(20), 6)).settings(|s| s.broadcast_rows = broadcast);
        everywhere(job, "small", &small, Order::Same, 0.0);
        everywhere(job, "diamond", &joined, Order::Any, 0.0);
        everywhere(job, "counts", &counts, Order::Any, 0.0);
    }
    // only one of them is collected: the others are bound
    let bound = diamond(numbers(20)).sink("small", sabot::connect::SinkSpec::Blackhole).sink("counts", sabot::connect::SinkSpec::Blackhole);
    assert_eq!(bound.collect::<Pair>().unwrap().len(), joined.len());
}

pipeline! {
    /// The first rows of a long source.
    pub fn few(numbers: Source<Number>);
    few = numbers -> filter(|n| n.n % 2 == 1) -> limit(5) -> select(|n| row { n: n.n });
    few -> sink;
}
/// One number.
#[derive(Record, Clone, Debug, PartialEq)]
struct One {
    n: i64,
}

#[test]
fn a_limit_ends_its_sources() {
    let long = generate(1, |_, row| Number { n: row as i64, k: 0 });
    let ran = Trial::new().threads(2).morsel_rows(10).seed(3).run(few(long)).unwrap();
    assert_eq!(ran.rows::<One>("few").unwrap().iter().map(|o| o.n).collect::<Vec<_>>(), [1, 3, 5, 7, 9], "an endless source ended");
    let ran = Trial::new()
        .threads(3)
        .morsel_rows(100)
        .run(few(splits(&numbers(100_000), 1000)).options(|o| (o.channel_bytes, o.reorder_bytes) = (10_000, 10_000)))
        .unwrap();
    let report = ran.report.as_ref().unwrap();
    assert!(report.nodes[0].account.rows_in < 100_000, "{:?}", report.nodes[0]);
    assert_eq!(ran.rows::<One>("few").unwrap().len(), 5);
}

pipeline! {
    /// A group for every number.
    pub fn large(numbers: Source<Number, Bounded>);
    large = numbers -> key_by(n) -> aggregate(|n| row { sum: sum(n.k) });
    large -> sink;
}

/// The last number seen.
#[derive(State, Default)]
struct Last {
    n: i64,
}
/// How far from the number before.
#[operator]
fn step(last: &mut Last, n: i64) -> Option<i64> {
    let step = n - last.n;
    last.n = n;
    Some(step)
}
/// Many columns, few of which are read.
#[derive(Record, Clone, Debug, PartialEq)]
struct Wide {
    n: i64,
    #[record(rename = "the key")]
    k: i64,
    unread: Str,
    also: Option<f64>,
}
pipeline! {
    /// Closures that read few columns.
    pub fn narrow(wide: Source<Wide>);
    narrow = wide -> key_by(k) -> keyed(|w| row { step: step(w.n) }) -> select(|w| row Pair { a: w.n, b: w.step });
    narrow -> sink;
    flat   = wide -> flat_map(|w| [One { n: w.n }, One { n: w.k }]);
    flat -> sink;
}

#[test]
fn sources_deliver_what_closures_read() {
    let wide: Vec<Wide> = (0..30).map(|n| Wide { n, k: n % 2, unread: "?".into(), also: None }).collect();
    let text = narrow(wide.clone()).explain().unwrap();
    assert!(text.contains("columns n, the key\n"), "{text}");
    let expected: Vec<Pair> = (0..30).map(|n| Pair { a: n, b: if n < 2 { n } else { 2 } }).collect();
    everywhere(|| narrow(splits(&wide, 4)), "narrow", &expected, Order::Any, 0.0);
    let expected: Vec<One> = (0..30).flat_map(|n| [One { n }, One { n: n % 2 }]).collect();
    everywhere(|| narrow(splits(&wide, 4)), "flat", &expected, Order::Same, 0.0);
}

pipeline! {
    /// A key that a step replaced.
    pub fn lost_key(numbers: Source<Number, Bounded>);
    lost_key = numbers -> key_by(k) -> with(|n| row { k: n.k * 2 }) -> aggregate(|n| row { rows: count() });
    lost_key -> sink;
}
#[test]
fn a_replaced_key_is_refused() {
    let error = lost_key(numbers(5)).collect_batches().unwrap_err().to_string();
    assert!(error.contains("lost_key/lost_key/run") && error.contains("key_by"), "{error}");
}

/// Named like the job, with every note in another order.
#[test]
fn labels_say_what_may_be_endless() {
    let text = few(numbers(1)).explain().unwrap();
    assert!(text.contains("source numbers: Number (may be endless)"), "{text}");
    let text = large(numbers(1)).explain().unwrap();
    assert!(text.contains("(bounded)"), "{text}");
    let _: Job = few(numbers(1));
}

/// A row of a file whose numbers grow.
#[derive(Record, Clone, Debug, PartialEq)]
struct Grown {
    #[record(rename = "the number")]
    n: i64,
    name: Option<Str>,
}
/// Fails on the first row.
#[operator]
fn picky(n: i64) -> i64 {
    assert!(n > 0, "a picky function");
    n
}
pipeline! {
    /// A filter that the source can help with.
    pub fn late(rows: Source<Grown>, from: i64);
    late = rows -> filter(|r| r.n >= from && r.name? != "x" || r.n == -3) -> filter(|r| r.n % 2 == 0);
    late -> sink;
}
pipeline! {
    /// Two readers, of which either may want a row.
    pub fn ends(rows: Source<Grown>);
    low = rows -> filter(|r| r.n < 10);
    high = rows -> filter(|r| r.n > 29_990);
    both = low -> union(high);
    both -> sink;
}
pipeline! {
    /// A step that fails on rows that a later filter drops.
    pub fn late_but_picky(rows: Source<Grown>, from: i64);
    late = rows -> with(|r| row { p: picky(r.n) }) -> filter(|r| r.n >= from);
    late -> sink;
}
pipeline! {
    /// The name that a predicate reads is not the source's any more.
    pub fn shadowed(rows: Source<Grown>);
    out = rows -> with(|r| row { n: 100 - r.n }) -> filter(|r| r.n >= 60);
    out -> sink;
}

pipeline! {
    /// Few rows, here and there, and an aggregate of them.
    pub fn rare(rows: Source<Grown>);
    rare = rows -> filter(|r| r.name? == "name 17" && r.n < 25_000) -> sample(0.5);
    rare -> sink;
}

/// Rows that a text leaves out, one by one, count as filtered by the source, and positions stay what they were: a sample has
/// the same rows.
#[test]
fn files_leave_out_rows_by_their_text() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("grown.parquet").display().to_string();
    let all: Vec<Grown> =
        (0..60_000).map(|n| Grown { n, name: (n % 7 != 0).then(|| format!("name {}", n * 7919 % 101).as_str().into()) }).collect();
    pipeline_to_file(&all, &path);
    let mut seen = Vec::new();
    for (optimise, threads) in [(true, 1), (true, 3), (false, 1), (false, 3)] {
        let job = rare(parquet::<Grown>(&path)).optimise(optimise).parallel(threads);
        let (batches, report) = job.collect_with(&Default::default(), None, None).unwrap();
        let rows: Vec<Grown> = batches.iter().flat_map(|b| sabot::record::from_batch(b, "result").unwrap()).collect();
        let source = report.nodes.iter().find(|o| o.name.ends_with("/source")).unwrap();
        let filtered: u64 = report.nodes.iter().map(|o| o.account.filtered).sum();
        assert!(report.nodes.iter().all(|o| o.account.balanced()) && source.account.rows_in == 60_000, "{report:?}");
        let wanted = all.iter().filter(|r| r.n < 25_000 && r.name.as_deref() == Some("name 17")).count() as u64;
        assert_eq!(source.account.filtered, if optimise { 60_000 - wanted } else { 0 }, "{source:?}");
        seen.push((rows, filtered));
    }
    assert!(seen[0].0.len() > 10 && seen.windows(2).all(|s| s[0] == s[1]), "{seen:?}");
}

#[test]
fn files_leave_out_what_nobody_wants() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("grown.parquet").display().to_string();
    let all: Vec<Grown> = (0..30_000).map(|n| Grown { n, name: (n % 3 != 0).then(|| "y".into()) }).collect();
    pipeline_to_file(&all, &path);
    let file = || parquet::<Grown>(&path);

    let wanted: Vec<Grown> = all.iter().filter(|r| r.n >= 29_000 && r.name.is_some() && r.n % 2 == 0).cloned().collect();
    for optimise in [true, false] {
        let job = late(file(), 29_000).optimise(optimise);
        let text = job.explain().unwrap();
        let says = text.contains("may leave out rows unless (the number >= 29000 && name != \"x\") || the number == -3");
        assert_eq!(says, optimise, "{text}");
        let (batches, report) = job.collect_with(&Default::default(), None, None).unwrap();
        let rows: Vec<Grown> = batches.iter().flat_map(|b| sabot::record::from_batch(b, "result").unwrap()).collect();
        assert_eq!(rows, wanted);
        let source = report.nodes.iter().find(|o| o.name.ends_with("/source")).unwrap();
        assert_eq!(source.account.filtered > 0, optimise, "{source:?}");
        assert!(source.account.balanced() && source.account.rows_in == 30_000, "{source:?}");
    }

    let wanted: Vec<i64> = (0..10).chain(29_991..30_000).collect();
    let mut got: Vec<i64> = ends(file()).collect::<Grown>().unwrap().iter().map(|r| r.n).collect();
    got.sort_unstable();
    assert_eq!(got, wanted);

    assert!(!late_but_picky(file(), 29_000).explain().unwrap().contains("leave out"));
    assert!(late_but_picky(file(), 29_000).collect::<Picked>().unwrap_err().to_string().contains("a picky function"));
    assert!(!shadowed(file()).explain().unwrap().contains("leave out"));
    assert_eq!(shadowed(file()).collect::<Plain>().unwrap().len(), 41);
}
/// What `shadowed` makes: the column has its new name.
#[derive(Record, Clone, Debug, PartialEq)]
struct Plain {
    n: i64,
    name: Option<Str>,
}
/// What `late_but_picky` makes.
#[derive(Record, Clone, Debug, PartialEq)]
struct Picked {
    #[record(rename = "the number")]
    n: i64,
    name: Option<Str>,
    p: i64,
}
pipeline! {
    /// As they are.
    pub fn as_they_are(rows: Source<Grown>);
    rows -> sink;
}
fn pipeline_to_file(rows: &[Grown], path: &str) {
    as_they_are(rows.to_vec()).sink("rows", to(path)).run().unwrap();
}
