//! Late rows as a stream of their own, and how a source tells time.

use super::*;

pipeline! {
    /// Minutes, and the readings that are in none.
    pub fn both(readings: Source<Reading>);
    (on_time, late) = readings -> late_rows();
    minutes = on_time -> key_by(sensor) -> window(tumbling(1.minute()))
                      -> aggregate(|r| row { total: sum(r.value), least: min(r.value), rows: count() });
    minutes -> sink;
    late -> sink;
}

/// A lost reading.
#[derive(Record, Clone, Debug, PartialEq)]
struct Lost {
    sensor: i64,
}

pipeline! {
    /// Late rows alone: nothing else asks for the time.
    pub fn lost(readings: Source<Reading>);
    (_on_time, late) = readings -> watermark(disorder = 2.sec()) -> late_rows();
    lost = late -> filter(|r| r.value >= 3000.0) -> select(|r| row Lost { sensor: r.sensor });
    lost -> sink;
}

/// The late rows of what was consumed.
fn late_of(consumed: &Consumed, disorder: i64) -> Vec<Reading> {
    let mut out = Vec::new();
    for (partition, end) in consumed.lock().unwrap().iter() {
        let mut greatest = i64::MIN;
        for row in 0..*end {
            let r = reading(*partition, row);
            if greatest > i64::MIN && r.ts.value() < greatest - disorder * SECOND {
                out.push(r.clone());
            }
            greatest = greatest.max(r.ts.value());
        }
    }
    out
}

fn check_both(seed: u64, ran: &Ran, consumed: &Consumed, disorder: i64) -> usize {
    let (rows, late) = rows_of(consumed, disorder);
    let batch = Trial::new().run(both(rows)).unwrap();
    assert!(batch.rows::<Reading>("late").unwrap().is_empty(), "rows that end are never late");
    same_rows(&ran.rows::<Minute>("minutes").unwrap(), &batch.rows::<Minute>("minutes").unwrap(), 1e-9)
        .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    let found: Vec<Reading> = ran.rows("late").unwrap();
    same_rows(&found, &late_of(consumed, disorder), 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    assert_eq!((found.len() as u64, ran.late()), (late, late), "seed {seed}: they are counted too");
    found.len()
}

#[test]
fn late_rows_are_a_stream() {
    let mut late = 0;
    for seed in 0..60u64 {
        let random = mix(seed ^ 0x1a7e);
        let (instances, partitions) = (1 + random as usize % 4, 1 + (random >> 8) as u32 % 3);
        let (disorder, morsel) = ((random >> 16) as i64 % 6, [1, 7, 50][(random >> 40) as usize % 3]);
        let consumed = Consumed::default();
        let trial = Trial::new().threads(instances).morsel_rows(morsel).seed(seed).stop_at(100 + (random >> 24) % 1200);
        let ran = trial.run(both(source(partitions, disorder, &consumed))).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        late += check_both(seed, &ran, &consumed, disorder);
    }
    assert!(late > 300, "the test shows something: {late} late rows");
}

pipeline! {
    /// Minutes of rows with a name, whose time is a copy of the source's.
    pub fn named(readings: Source<Reading>);
    named = readings -> filter(|r| r.value >= 0.0) -> select(|r| row Reading { sensor: r.sensor + 1, value: r.value, ts: r.ts });
    minutes = named -> key_by(sensor) -> window(tumbling(1.minute()))
                    -> aggregate(|r| row { total: sum(r.value), least: min(r.value), rows: count() });
    minutes -> sink;
}

#[test]
fn a_named_row_has_the_time_that_it_copies() {
    let consumed = Consumed::default();
    let ran = Trial::new().threads(2).morsel_rows(7).seed(5).stop_at(700).run(named(source(2, 1, &consumed))).unwrap();
    let (rows, late) = rows_of(&consumed, 1);
    let found = ran.rows::<Minute>("minutes").unwrap();
    assert!(!found.is_empty() && late > 0 && ran.late() == late, "{late} late rows");
    same_rows(&found, &Trial::new().run(named(rows)).unwrap().rows("minutes").unwrap(), 1e-9).unwrap();
}

#[test]
fn late_rows_survive_a_crash() {
    for seed in 0..40u64 {
        let random = mix(seed ^ 0xc1a7e);
        let (partitions, disorder) = (1 + (random >> 8) as u32 % 3, (random >> 16) as i64 % 6);
        let (morsel, crash) = ([1, 7, 50][(random >> 40) as usize % 3], 300 + (random >> 24) % 700);
        let consumed = Consumed::default();
        let job = || both(source(partitions, disorder, &consumed));
        let first = Trial::new().threads(1 + random as usize % 4).morsel_rows(morsel).seed(seed).crash_at(crash);
        let ran = first.snapshot_at(crash / 3).snapshot_at(crash * 2 / 3).run(job()).unwrap();
        *consumed.lock().unwrap() = positions(ran.checkpoint.as_ref());
        let again = Trial::new().threads(1 + (random >> 4) as usize % 4).morsel_rows(13).seed(seed + 1000).stop_at(200 + seed * 4);
        let ran = again.from(ran.checkpoint).run(job()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        check_both(seed, &ran, &consumed, disorder);
    }
}

#[test]
fn late_rows_need_no_window() {
    for (seed, optimise) in [(3, true), (4, false)] {
        let consumed = Consumed::default();
        let counted = Arc::clone(&consumed);
        let make = move |partition, row| {
            counted.lock().unwrap().insert(partition, row + 1);
            reading(partition, row)
        };
        let job = lost(generate(2, make)).optimise(optimise);
        let ran = Trial::new().threads(2).morsel_rows(20).seed(seed).stop_at(800).run(job).unwrap();
        let late = late_of(&consumed, 2).into_iter().filter(|r| r.value >= 3000.0);
        let expected: Vec<Lost> = late.map(|r| Lost { sensor: r.sensor }).collect();
        assert!(!expected.is_empty());
        same_rows(&ran.rows::<Lost>("lost").unwrap(), &expected, 0.0).unwrap();
    }
}

pipeline! {
    /// A row moves time by a minute at most.
    pub fn stepped(readings: Source<Reading>, step: i64);
    (on_time, late) = readings -> watermark(disorder = 3.sec(), max_step = step.sec()) -> late_rows();
    minutes = on_time -> key_by(sensor) -> window(tumbling(1.minute()))
                      -> aggregate(|r| row { total: sum(r.value), least: min(r.value), rows: count() });
    minutes -> sink;
    late -> sink;
}

const YEAR_2100: i64 = 4_102_444_800 * SECOND;

/// One clock is wrong, once.
fn astray(partition: u32, row: u64) -> Reading {
    let honest = reading(partition, row);
    match row {
        40 => Reading { ts: YEAR_2100.into(), ..honest },
        // before 1970
        5 => Reading { ts: (-1_000_000 * SECOND).into(), ..honest },
        _ => honest,
    }
}

#[test]
fn one_clock_that_is_wrong_costs_a_step() {
    for seed in 0..20u64 {
        let consumed = Consumed::default();
        let counted = Arc::clone(&consumed);
        let make = move |partition, row| {
            counted.lock().unwrap().insert(partition, row + 1);
            astray(partition, row)
        };
        let trial = Trial::new().threads(1 + seed as usize % 3).morsel_rows(1 + seed as usize * 3).seed(seed).stop_at(900);
        let ran = trial.run(stepped(generate(1, make), 60)).unwrap();
        let end = consumed.lock().unwrap().get(&0).copied().unwrap_or_default();
        let (mut on_time, mut late, mut watermark) = (Vec::new(), Vec::new(), None);
        for r in (0..end).map(|row| astray(0, row)) {
            let (t, before) = (r.ts.value(), watermark);
            if before.is_some_and(|w| t < w) {
                late.push(r)
            } else {
                on_time.push(r)
            }
            let told = t - 3 * SECOND;
            watermark = Some(before.map_or(told, |w: i64| told.min(w + 60 * SECOND).max(w)));
        }
        same_rows(&ran.rows::<Reading>("late").unwrap(), &late, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let batch = Trial::new().run(both(on_time)).unwrap();
        same_rows(&ran.rows::<Minute>("minutes").unwrap(), &batch.rows::<Minute>("minutes").unwrap(), 1e-9).unwrap();
        // a row of each three seconds: twenty of them, not all to come
        let usual = late_of(&consumed, 3).len();
        assert!(
            end < 100 || (usual + 10..usual + 35).contains(&late.len()),
            "seed {seed}: {} of {end} are late, usually {usual}",
            late.len()
        );
    }
    let ran = Trial::new().morsel_rows(10).seed(1).stop_at(900).run(both(generate(1, astray).disorder((3 * SECOND).into()))).unwrap();
    let rows = ran.report.as_ref().unwrap().nodes[0].account.rows_in;
    assert!(rows > 100 && ran.late() >= rows - 42, "without a bound all rows behind it are late: {} of {rows}", ran.late());
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = |job: sabot::stream::Job| Trial::new().seed(1).stop_at(50).run(job).unwrap_err().to_string();
    let error = refused(stepped(generate(1, reading), 0));
    assert!(error.contains("`max_step` is positive"), "{error}");
    let error = refused(windowed_late(generate(1, reading)));
    assert!(error.contains("late rows are behind the time that a window waits for"), "{error}");
    let error = refused(told_twice(generate(1, reading)));
    assert!(error.contains("tell the time of one source in two ways"), "{error}");
    let error = refused(not_a_source(generate(1, reading)));
    assert!(error.contains("`late_rows` stands right behind a source"), "{error}");
}

pipeline! {
    /// Windows of late rows.
    pub fn windowed_late(readings: Source<Reading>);
    (_on_time, late) = readings -> late_rows();
    again = late -> event_time(ts) -> key_by(sensor) -> window(tumbling(1.minute())) -> aggregate(|r| row { rows: count() });
    again -> sink;
}
pipeline! {
    /// Two opinions.
    pub fn told_twice(readings: Source<Reading>);
    one = readings -> watermark(disorder = 1.sec()) -> key_by(sensor) -> window(tumbling(1.minute())) -> aggregate(|_r| row { rows: count() });
    two = readings -> watermark(disorder = 2.sec()) -> key_by(sensor) -> window(tumbling(1.minute())) -> aggregate(|_r| row { rows: count() });
    one -> sink;
    two -> sink;
}
pipeline! {
    /// A pipeline that wants a source.
    pub fn wants_source(readings: Source<Reading>) -> Reading;
    (on_time, _late) = readings -> late_rows();
    on_time -> sink;
}
pipeline! {
    /// And gets something else.
    pub fn not_a_source(readings: Source<Reading>);
    some = readings -> filter(|r| r.value > 1.0);
    out = wants_source(some);
    out -> sink;
}
