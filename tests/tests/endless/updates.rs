//! Windows that are sent before they are over, and again for rows that come late.

use super::*;

/// A sensor's window.
#[derive(Record, Clone, Debug, PartialEq)]
struct Span {
    sensor: i64,
    window_start: Timestamp<Micros>,
    window_end: Timestamp<Micros>,
    total: f64,
    rows: u64,
}

pipeline! {
    /// Minutes as they change.
    pub fn at_once(readings: Source<Reading>);
    spans = readings -> key_by(sensor) -> window(tumbling(1.minute()), on_update) -> aggregate(|r| row { total: sum(r.value), rows: count() });
    spans -> sink;
}

pipeline! {
    /// Overlapping windows, every ten seconds.
    pub fn now_and_then(readings: Source<Reading>);
    spans = readings -> key_by(sensor) -> window(hop(1.minute(), 20.sec()), every = 10.sec())
                     -> aggregate(|r| row { total: sum(r.value), rows: count() });
    spans -> sink;
}

pipeline! {
    /// Short windows when they are over, and again.
    pub fn corrected(readings: Source<Reading>);
    spans = readings -> key_by(sensor) -> window(tumbling(3.sec()), lateness = 4.sec()) -> aggregate(|r| row { total: sum(r.value), rows: count() });
    spans -> sink;
    changes = spans -> changelog();
    changes -> sink;
}

pipeline! {
    /// Windows of windows that are corrected.
    pub fn most(readings: Source<Reading>);
    spans = readings -> key_by(sensor) -> window(tumbling(1.minute()), on_update, lateness = 4.sec()) -> aggregate(|r| row { rows: count() })
                     -> key_by(sensor) -> window(tumbling(5.minute())) -> aggregate(|m| row { total: sum(m.rows as f64), rows: max(m.rows) });
    spans -> sink;
}

/// The windows of these rows: sizes and slides in seconds.
fn windows(rows: &[Reading], size: i64, slide: i64) -> Vec<Span> {
    let mut all: BTreeMap<(i64, i64), (f64, u64)> = BTreeMap::new();
    for r in rows {
        let at = r.ts.value().div_euclid(slide * SECOND) * slide;
        for start in (at - size + slide..=at).step_by(slide as usize) {
            let entry = all.entry((r.sensor, start)).or_default();
            *entry = (entry.0 + r.value, entry.1 + 1);
        }
    }
    let time = |s: i64| Timestamp::new(s * SECOND);
    let span = |((sensor, start), (total, rows))| Span { sensor, window_start: time(start), window_end: time(start + size), total, rows };
    all.into_iter().map(span).collect()
}

/// The rows that were consumed and are not later than this behind the watermark, in seconds.
fn in_time(consumed: &Consumed, disorder: i64, lateness: i64) -> (Vec<Reading>, u64) {
    let (mut rows, mut late) = (Vec::new(), 0);
    for (partition, end) in consumed.lock().unwrap().iter() {
        let mut watermark = i64::MIN;
        for row in 0..*end {
            let r = reading(*partition, row);
            if r.ts.value() < watermark.saturating_sub(lateness * SECOND) {
                late += 1;
            } else {
                watermark = watermark.max(r.ts.value() - disorder * SECOND);
                rows.push(r);
            }
        }
    }
    (rows, late)
}

/// Runs a job over seeds, crashing half of the time, and compares its windows with a model.
fn try_all(
    lateness: i64,
    job: impl Fn(Source<Reading>) -> sabot::stream::Job,
    model: impl Fn(&[Reading]) -> Vec<Span>,
) -> (u64, usize, Vec<Ran>) {
    let (mut late, mut found, mut all) = (0, 0, Vec::new());
    for seed in 0..24u64 {
        let random = mix(seed ^ 0x0dda7e);
        let (threads, partitions) = (1 + random as usize % 4, 1 + (random >> 8) as u32 % 3);
        let disorder = (random >> 16) as i64 % 3;
        let (stop, morsel) = (100 + (random >> 24) % 900, [1, 7, 50][(random >> 40) as usize % 3]);
        let consumed = Consumed::default();
        let run = || job(source(partitions, disorder, &consumed));
        let trial = Trial::new().threads(threads).morsel_rows(morsel).seed(seed);
        let ran = stopped(seed, trial, 1 + (random >> 4) as usize % 4, stop, &consumed, run);
        let (rows, dropped) = in_time(&consumed, disorder, lateness);
        let spans = model(&rows);
        same_rows(&ran.rows::<Span>("spans").unwrap(), &spans, 1e-9).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(ran.late(), dropped, "seed {seed}");
        late += dropped;
        found += spans.len();
        all.push(ran);
    }
    (late, found, all)
}

#[test]
fn windows_as_they_change() {
    let (late, found, _) = try_all(0, at_once, |rows| windows(rows, 60, 60));
    assert!(late > 50 && found > 150, "{late} late, {found} windows");
}

#[test]
fn windows_every_so_often() {
    let (late, found, _) = try_all(0, now_and_then, |rows| windows(rows, 60, 20));
    assert!(late > 50 && found > 300, "{late} late, {found} windows");
}

/// A change of a window.
#[derive(Record, Clone, Debug, PartialEq)]
struct Change {
    sensor: i64,
    window_start: Timestamp<Micros>,
    rows: u64,
    weight: i64,
}

#[test]
fn windows_are_corrected() {
    let (late, found, all) = try_all(4, corrected, |rows| windows(rows, 3, 3));
    assert!(found > 300, "{late} late, {found} windows");
    let changes: Vec<Change> = all.iter().flat_map(|ran| ran.rows::<Change>("changes").unwrap()).collect();
    let back = changes.iter().filter(|c| c.weight < 0).count();
    assert!(back > 0, "{back} windows were taken back");
}

#[test]
fn windows_of_windows_that_are_corrected() {
    let model = |rows: &[Reading]| {
        let mut all: BTreeMap<(i64, i64), (u64, u64)> = BTreeMap::new();
        for w in windows(rows, 60, 60) {
            let entry = all.entry((w.sensor, w.window_start.value().div_euclid(300 * SECOND) * 300)).or_default();
            *entry = (entry.0 + w.rows, entry.1.max(w.rows));
        }
        let time = |s: i64| Timestamp::new(s * SECOND);
        let span = |((sensor, start), (total, rows))| Span {
            sensor,
            window_start: time(start),
            window_end: time(start + 300),
            total: total as f64,
            rows,
        };
        all.into_iter().map(span).collect()
    };
    let (_, found, _) = try_all(4, most, model);
    assert!(found > 30, "{found} windows");
}

pipeline! {
    /// Two windows over one source that differ in how late rows may be.
    pub fn two_ways(readings: Source<Reading>);
    a = readings -> key_by(sensor) -> window(tumbling(1.minute()), lateness = 4.sec()) -> aggregate(|_r| row { rows: count() });
    b = readings -> key_by(sensor) -> window(tumbling(1.minute())) -> aggregate(|_r| row { rows: count() });
    a -> sink;
    b -> sink;
}

#[test]
fn one_lateness_per_source() {
    let error = Trial::new().run(two_ways(Vec::<Reading>::new())).unwrap_err().to_string();
    assert!(
        error.contains(
            "`two_ways/a/aggregate` takes rows of source `readings` that are up to 4 s late, but `two_ways/b/aggregate` takes none"
        ),
        "{error}"
    );
}
