//! Overlapping windows on a stream: they are put together from panes, most of them before they are due.

use super::*;

/// A sensor's window.
#[derive(Record, Clone, Debug, PartialEq)]
struct Span {
    sensor: i64,
    window_start: Timestamp<Micros>,
    window_end: Timestamp<Micros>,
    total: f64,
    least: f64,
    rows: u64,
}

pipeline! {
    /// The last minute, every twenty seconds.
    pub fn last_minutes(readings: Source<Reading>);
    spans = readings -> key_by(sensor) -> window(hop(1.minute(), 20.sec()))
                     -> aggregate(|r| row { total: sum(r.value), least: min(r.value), rows: count() });
    spans -> sink;
}

pipeline! {
    /// The last ten seconds, every four: panes of two.
    pub fn short(readings: Source<Reading>);
    spans = readings -> key_by(sensor) -> window(hop(10.sec(), 4.sec()))
                     -> aggregate(|r| row { total: sum(r.value), least: min(r.value), rows: count() });
    spans -> sink;
}

/// Runs up to a stop, odd seeds through a crash; returns how many windows came.
fn check(
    seed: u64,
    name: &str,
    job: impl Fn(Source<Reading>) -> sabot::stream::Job,
    batch: impl Fn(Vec<Reading>) -> sabot::stream::Job,
) -> usize {
    let random = mix(seed ^ 0x40b5);
    let partitions = 1 + (random >> 8) as u32 % 3;
    let (disorder, morsel) = ((random >> 16) as i64 % 6, [1, 7, 50][(random >> 40) as usize % 3]);
    let (stop, threads) = (300 + (random >> 24) % 900, 1 + (random >> 4) as usize % 4);
    let consumed = Consumed::default();
    let trial = Trial::new().threads(1 + random as usize % 4).morsel_rows(morsel).seed(seed);
    let ran = stopped(seed, trial, threads, stop, &consumed, || job(source(partitions, disorder, &consumed)));
    let (rows, late) = rows_of(&consumed, disorder);
    let batch: Vec<Span> = batch(rows).sequential().collect().unwrap();
    let stream: Vec<Span> = ran.rows("spans").unwrap();
    same_rows(&stream, &batch, 1e-9).unwrap_or_else(|e| panic!("{name}, seed {seed}: {e}"));
    assert_eq!(ran.late(), late, "{name}, seed {seed}");
    stream.len()
}

#[test]
fn overlapping_windows_stopped_anywhere_equal_batch() {
    let mut windows = 0;
    for seed in 0..24 {
        windows += check(seed, "last_minutes", last_minutes, last_minutes);
        windows += check(seed, "short", short, short);
    }
    assert!(windows > 1500, "the test shows something: {windows} windows");
}

/// More groups in a pane than are merged at once.
#[test]
fn many_groups_in_a_pane() {
    const KEYS: u64 = 20_000;
    // each key once in a second
    let at = |row: u64| Reading {
        sensor: (row % KEYS) as i64,
        value: (mix(row) & 0xffff) as f64,
        ts: Timestamp::new((row * 1_000_000 / KEYS) as i64),
    };
    let rows = 9 * KEYS;
    let batch: Vec<Span> = short((0..rows).map(at).collect::<Vec<_>>()).sequential().collect().unwrap();
    for seed in 0..2 {
        let seen = Arc::new(Mutex::new(0));
        let told = Arc::clone(&seen);
        let source = generate(1, move |_, row| {
            *told.lock().unwrap() = row;
            at(row)
        });
        let trial = Trial::new().threads(1 + seed as usize).morsel_rows(1000).seed(seed).stop_at(5000);
        let ran = trial.run(short(source)).unwrap();
        let stream: Vec<Span> = ran.rows("spans").unwrap();
        let last = at(*seen.lock().unwrap()).ts.value();
        assert!(last > 8 * SECOND, "the test shows something: {last}");
        // the windows that begin early enough to be the same in both
        let early = |rows: &[Span], until: i64| -> Vec<Span> { rows.iter().filter(|s| s.window_end.value() <= until).cloned().collect() };
        let until = last.min(at(rows - 1).ts.value());
        let (stream, batch) = (early(&stream, until), early(&batch, until));
        assert!(stream.len() as u64 >= 2 * KEYS, "{} windows", stream.len());
        same_rows(&stream, &batch, 1e-9).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
}
