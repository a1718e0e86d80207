//! Edges that a pipeline places itself over rows that do not end: what a stream gives is the batch result over the rows that were consumed, and
//! a step that would see another order is refused.

use sabot::record::Col;
use sabot::stream::{Bound, Job, Records, numbers};

use super::*;

/// An edge of the user's numbers, an even one, and several.
const WAYS: i64 = 4;
fn dealt<B: Bound>(readings: Records<'_, Reading, B>, way: i64) -> Records<'_, Reading, B> {
    let sensor = |c: &ReadingCols| numbers(Col::clone(&c.sensor));
    match way {
        1 => readings.partition_by(sensor),
        2 => readings.rebalance(),
        _ => readings.rebalance().partition_by(sensor),
    }
}

pipeline! {
    /// Readings per sensor and minute.
    pub fn dealt_minutes(readings: Source<Reading>, above: f64, way: i64);
    minutes = readings -> apply(|s| dealt(s, way)) -> filter(|r| r.value >= above)
                       -> key_by(sensor) -> window(tumbling(1.minute()))
                       -> aggregate(|r| row { total: sum(r.value), least: min(r.value), rows: count() });
    minutes -> sink;
}

/// What a sensor has said.
#[derive(State, Default)]
struct Said {
    before: u64,
}
/// A number that tells all readings before this one, and their order.
#[operator]
fn history(said: &mut Said, value: f64) -> Option<i64> {
    said.before = mix(said.before ^ value.to_bits());
    Some((said.before >> 2) as i64)
}
#[derive(Record, Clone, Debug, PartialEq)]
struct Told {
    sensor: i64,
    history: i64,
}

pipeline! {
    /// Readings in event time.
    pub fn histories(readings: Source<Reading>, way: i64);
    told = readings -> apply(|s| dealt(s, way)) -> key_by(sensor) -> keyed(|r| row { history: history(r.value) })
                    -> select(|r| row Told { sensor: r.sensor, history: r.history });
    told -> sink;
}

#[test]
fn windows_behind_edges_equal_batch() {
    let (mut late, mut windows) = (0, 0);
    for seed in 0..60u64 {
        let random = mix(seed ^ 0xed6e);
        let (instances, partitions) = (1 + random as usize % 4, 1 + (random >> 8) as u32 % 3);
        let disorder = (random >> 16) as i64 % 6;
        let (stop, morsel) = (300 + (random >> 24) % 1500, [1, 7, 50][(random >> 40) as usize % 3]);
        let consumed = Consumed::default();
        let job = || dealt_minutes(source(partitions, disorder, &consumed), 10.0, 1 + seed as i64 / 2 % (WAYS - 1));
        let trial = Trial::new().threads(instances).morsel_rows(morsel).seed(seed);
        let ran = stopped(seed, trial, 1 + (random >> 4) as usize % 4, stop, &consumed, job);
        late += check(seed, &ran, &consumed, disorder);
        windows += ran.rows::<Minute>("minutes").unwrap().len();
    }
    assert!(late > 200 && windows > 200, "the test shows something: {late} late rows, {windows} windows");
}

#[test]
fn event_time_puts_rebalanced_rows_in_order() {
    let mut all = 0;
    for seed in 0..40u64 {
        let random = mix(seed ^ 0x71e5);
        let (instances, partitions) = (1 + random as usize % 4, 1 + (random >> 8) as u32 % 3);
        let (stop, morsel) = (300 + (random >> 24) % 1500, [1, 7, 50][(random >> 40) as usize % 3]);
        let consumed = Consumed::default();
        // by the sensor, which is the key, or evenly
        let job = || histories(source(partitions, 5, &consumed), 1 + seed as i64 / 2 % (WAYS - 1));
        let trial = Trial::new().threads(instances).morsel_rows(morsel).seed(seed);
        let ran = stopped(seed, trial, 1 + (random >> 4) as usize % 4, stop, &consumed, job);
        let (rows, _) = rows_of(&consumed, 5);
        let mut rows: Vec<Reading> = rows;
        rows.sort_by_key(|r| (r.ts.value() / SECOND, r.ts.value() % SECOND));
        let mut said: BTreeMap<i64, Said> = BTreeMap::new();
        let model: Vec<Told> =
            rows.iter().map(|r| Told { sensor: r.sensor, history: history(said.entry(r.sensor).or_default(), r.value).unwrap() }).collect();
        same_rows(&ran.rows::<Told>("told").unwrap(), &model, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        all += model.len();
    }
    assert!(all > 1000, "{all} rows");
}

/// A reading without time.
#[derive(Record, Clone, Debug, PartialEq)]
struct Plain {
    sensor: i64,
    shard: i64,
    value: f64,
}
pipeline! {
    /// The rows of a key go one way.
    pub fn one_way(readings: Source<Plain>);
    told = readings -> partition_by(shard) -> filter(|r| r.value > 5.0) -> with(|r| row { part: r.shard })
                    -> key_by(sensor, part) -> keyed(|r| row { history: history(r.value) })
                    -> select(|r| row Told { sensor: r.sensor, history: r.history });
    told -> sink;
}

#[test]
fn rows_of_a_key_that_has_the_number_stay_in_order() {
    let plain = |row: u64| {
        let r = reading(0, row);
        Plain { sensor: r.sensor, shard: r.sensor * 5 - 7, value: r.value }
    };
    let mut all = 0;
    for seed in 0..20u64 {
        let consumed = Arc::new(Mutex::new(0));
        let noted = Arc::clone(&consumed);
        let source: Source<Plain> = generate(1, move |_, row| {
            *noted.lock().unwrap() = row + 1;
            plain(row)
        })
        .into();
        let ran = Trial::new().threads(1 + seed as usize % 4).morsel_rows(9).seed(seed).stop_at(900).run(one_way(source)).unwrap();
        let mut said: BTreeMap<i64, Said> = BTreeMap::new();
        let rows = (0..*consumed.lock().unwrap()).map(plain).filter(|r| r.value > 5.0);
        let model: Vec<Told> =
            rows.map(|r| Told { sensor: r.sensor, history: history(said.entry(r.sensor).or_default(), r.value).unwrap() }).collect();
        same_rows(&ran.rows::<Told>("told").unwrap(), &model, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        all += model.len();
    }
    assert!(all > 500, "{all} rows");
}

pipeline! {
    /// Everything so far, and every change of it, by another number than the key.
    pub fn dealt_so_far(readings: Source<Reading>, above: f64);
    totals = readings -> filter(|r| r.value >= above) -> key_by(sensor) -> window(global(on_update))
                      -> aggregate(|r| row {
                             rows: count(), total: sum(r.value), mean: mean(r.value), least: min(r.value), most: max(r.value),
                             distinct: count_distinct(r.value)
                         })
                      -> partition_by(rows);
    so_far = totals -> filter(|t| t.rows > 1) -> with(|t| row { doubled: t.total * 2.0 });
    so_far -> sink;
    entries = totals -> select(|t| row { sensor: t.sensor, rows: t.rows, total: t.total }) -> changelog();
    entries -> sink;
}

#[test]
fn changes_behind_an_edge_add_up_to_batch() {
    let mut changes = 0;
    for seed in 0..30u64 {
        let random = mix(seed ^ 0xc4a7);
        let (instances, partitions) = (1 + random as usize % 4, 1 + (random >> 8) as u32 % 3);
        let (stop, morsel) = (300 + (random >> 24) % 1200, [1, 7, 50][(random >> 40) as usize % 3]);
        let consumed = Consumed::default();
        let job = || dealt_so_far(source(partitions, 5, &consumed), 3000.0);
        let trial = Trial::new().threads(instances).morsel_rows(morsel).seed(seed);
        let ran = stopped(seed, trial, 1 + (random >> 4) as usize % 4, stop, &consumed, job);
        changes += changes::equal(seed, &ran, &consumed, 3000.0);
        // a row is never taken back before it came
        let mut sums: BTreeMap<(i64, u64), i64> = BTreeMap::new();
        for e in ran.rows::<changes::Entry>("entries").unwrap() {
            let sum = sums.entry((e.sensor, e.rows)).or_default();
            *sum += e.weight;
            assert!((0..=1).contains(sum), "seed {seed}: {e:?}");
        }
    }
    assert!(changes > 500, "the test shows something: {changes} changes");
}

pipeline! {
    pub fn keyed_by_arrival(readings: Source<Plain>);
    out = readings -> rebalance() -> filter(|r| r.value > 1.0) -> key_by(sensor) -> keyed(|r| row { history: history(r.value) });
    out -> sink;
}
pipeline! {
    pub fn keyed_by_others(readings: Source<Plain>);
    out = readings -> partition_by(shard) -> key_by(sensor) -> keyed(|r| row { history: history(r.value) });
    out -> sink;
}
pipeline! {
    pub fn replaced(readings: Source<Plain>);
    out = readings -> partition_by(shard) -> with(|r| row { shard: r.shard + 1 }) -> key_by(shard) -> keyed(|r| row { history: history(r.value) });
    out -> sink;
}
pipeline! {
    pub fn firsts(readings: Source<Reading>);
    out = readings -> rebalance() -> key_by(sensor) -> window(tumbling(1.minute())) -> aggregate(|r| row { first: first(r.value) });
    out -> sink;
}
pipeline! {
    pub fn limited(readings: Source<Plain>);
    out = readings -> partition_by(shard) -> limit(10);
    out -> sink;
}
pipeline! {
    pub fn kinds_of(readings: Source<Plain>);
    out = readings -> partition_by(shard) -> distinct(sensor);
    out -> sink;
}
pipeline! {
    pub fn behind_distinct(readings: Source<Plain>);
    out = readings -> rebalance() -> distinct() -> key_by(sensor) -> keyed(|r| row { history: history(r.value) });
    out -> sink;
}
pipeline! {
    pub fn sampled(readings: Source<Plain>);
    out = readings -> rebalance() -> filter(|r| r.value > 1.0) -> sample(0.5);
    out -> sink;
}
pipeline! {
    pub fn nearest(readings: Source<Reading>, others: Source<Reading>);
    out = readings -> key_by(sensor) -> asof_join(others -> rebalance() -> key_by(sensor), |l, r| row { value: l.value, other: r?.value });
    out -> sink;
}

#[test]
fn a_step_that_would_see_another_order_is_refused() {
    let plain = || -> Source<Plain> { generate(1, |_, row| Plain { sensor: row as i64 % 3, shard: 1, value: 1.0 }).into() };
    let timed = || source(1, 5, &Consumed::default());
    let cases: Vec<(Job, &[&str])> = vec![
        (
            keyed_by_arrival(plain()),
            &["`keyed_by_arrival/out/keyed`", "`keyed_by_arrival/out/rebalance`", "give the rows an event time, `event_time(ts)`"],
        ),
        (keyed_by_others(plain()), &["`keyed_by_others/out/partition_by`", "add `shard` to the keys, as it is there"]),
        (replaced(plain()), &["`replaced/out/partition_by`", "add `shard` to the keys"]),
        (firsts(timed()), &["`firsts/out/aggregate`", "what `first` makes may depend on the order of rows", "put it before `rebalance()`"]),
        (limited(plain()), &["`limited/out/limit`", "put it before `partition_by(shard)`"]),
        (kinds_of(plain()), &["`kinds_of/out/distinct`", "name `shard` among its columns too"]),
        (behind_distinct(plain()), &["`behind_distinct/out/keyed`", "`behind_distinct/out/rebalance`"]),
        (sampled(plain()), &["`sampled/out/sample`", "put it before `rebalance()`"]),
        (nearest(timed(), timed()), &["asof_join`", "it takes the last of right rows of one time"]),
    ];
    for (job, parts) in cases {
        let error = Trial::new().seed(1).stop_at(50).run(job).unwrap_err().to_string();
        println!("{error}");
        for part in parts {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    }
    // rows that end are put into order
    let rows: Vec<Plain> = (0..50).map(|n| Plain { sensor: n % 3, shard: n, value: n as f64 }).collect();
    for job in [keyed_by_arrival(rows.clone()), keyed_by_others(rows.clone()), limited(rows.clone()), kinds_of(rows.clone())] {
        Trial::new().threads(3).run(job).unwrap();
    }
}
