//! Results that are sent as they change: what they add up to is the batch result over the rows that were consumed.

use super::*;

/// What a sensor has said so far.
#[derive(Record, Clone, Debug, PartialEq)]
struct SoFar {
    sensor: i64,
    rows: u64,
    total: f64,
    mean: Option<f64>,
    least: f64,
    most: f64,
    distinct: u64,
    doubled: f64,
}

/// A change of it.
#[derive(Record, Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) sensor: i64,
    pub(super) rows: u64,
    total: f64,
    pub(super) weight: i64,
}

pipeline! {
    /// Everything so far, and every change of it.
    pub fn so_far(readings: Source<Reading>, above: f64);
    totals = readings -> filter(|r| r.value >= above) -> key_by(sensor) -> window(global(on_update))
                      -> aggregate(|r| row {
                             rows: count(), total: sum(r.value), mean: mean(r.value), least: min(r.value), most: max(r.value),
                             distinct: count_distinct(r.value)
                         });
    so_far = totals -> filter(|t| t.rows > 1) -> with(|t| row { doubled: t.total * 2.0 });
    so_far -> sink;
    entries = totals -> select(|t| row { sensor: t.sensor, rows: t.rows, total: t.total }) -> changelog();
    entries -> sink;
}

/// The rows that were consumed: without windows none is late.
fn consumed_rows(consumed: &Consumed, above: f64) -> Vec<Reading> {
    let ends = consumed.lock().unwrap();
    let rows = ends.iter().flat_map(|(partition, end)| (0..*end).map(|row| reading(*partition, row)));
    rows.filter(|r| r.value >= above).collect()
}

fn naive(rows: &[Reading]) -> Vec<SoFar> {
    let mut by_sensor: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
    rows.iter().for_each(|r| by_sensor.entry(r.sensor).or_default().push(r.value));
    let group = |(sensor, mut values): (i64, Vec<f64>)| {
        let total: f64 = values.iter().sum();
        values.sort_by(f64::total_cmp);
        let (least, most, n) = (values[0], values[values.len() - 1], values.len());
        values.dedup();
        let mean = Some(total / n as f64);
        SoFar { sensor, rows: n as u64, total, mean, least, most, distinct: values.len() as u64, doubled: total * 2.0 }
    };
    by_sensor.into_iter().map(group).collect()
}

pub(super) fn equal(seed: u64, ran: &Ran, consumed: &Consumed, above: f64) -> usize {
    let model = naive(&consumed_rows(consumed, above));
    let seen: Vec<SoFar> = model.iter().filter(|t| t.rows > 1).cloned().collect();
    same_rows(&ran.rows::<SoFar>("so_far").unwrap(), &seen, 1e-9).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    // the changes as rows: each is taken back once, but for the last
    let entries: Vec<Entry> = ran.rows("entries").unwrap();
    let mut sums: BTreeMap<(i64, u64, u64), i64> = BTreeMap::new();
    for e in &entries {
        *sums.entry((e.sensor, e.rows, e.total.to_bits())).or_default() += e.weight;
        assert!(e.weight == 1 || e.weight == -1, "seed {seed}");
    }
    sums.retain(|_, sum| *sum != 0);
    assert!(sums.values().all(|sum| *sum == 1), "seed {seed}: {sums:?}");
    let left: Vec<(i64, u64)> = sums.keys().map(|(sensor, rows, _)| (*sensor, *rows)).collect();
    assert_eq!(left, model.iter().map(|t| (t.sensor, t.rows)).collect::<Vec<_>>(), "seed {seed}");
    entries.len()
}

#[test]
fn changes_stopped_anywhere_add_up_to_batch() {
    let mut changes = 0;
    for seed in 0..30u64 {
        let random = mix(seed ^ 0xc4a6);
        let (instances, partitions) = (1 + random as usize % 4, 1 + (random >> 8) as u32 % 3);
        let (stop, morsel) = (100 + (random >> 24) % 1200, [1, 7, 50][(random >> 40) as usize % 3]);
        let consumed = Consumed::default();
        let trial = Trial::new().threads(instances).morsel_rows(morsel).seed(seed).stop_at(stop);
        let ran = trial.run(so_far(source(partitions, 5, &consumed), 3000.0)).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        changes += equal(seed, &ran, &consumed, 3000.0);
        assert_eq!(ran.late(), 0, "seed {seed}");
    }
    assert!(changes > 1000, "the test shows something: {changes} changes");
}

#[test]
fn changes_survive_crashes() {
    let mut restored = 0;
    for seed in 0..30u64 {
        let random = mix(seed ^ 0xbeef);
        let partitions = 1 + (random >> 8) as u32 % 3;
        let morsel = [1, 7, 50][(random >> 40) as usize % 3];
        let crash = 300 + (random >> 24) % 700;
        let consumed = Consumed::default();
        let job = || so_far(source(partitions, 5, &consumed), 3000.0);
        let first = Trial::new().threads(1 + random as usize % 4).morsel_rows(morsel).seed(seed).crash_at(crash);
        let ran = first.snapshot_at(crash / 3).snapshot_at(crash / 2).snapshot_at(crash * 2 / 3).run(job()).unwrap();
        *consumed.lock().unwrap() = positions(ran.checkpoint.as_ref());
        restored += u64::from(ran.checkpoint.is_some());
        let again = Trial::new().threads(1 + (random >> 4) as usize % 4).morsel_rows(13).seed(seed + 1000).stop_at(200 + seed * 4);
        let ran = again.from(ran.checkpoint).run(job()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        equal(seed, &ran, &consumed, 3000.0);
    }
    assert!(restored > 18, "{restored} of 30 had a complete checkpoint");
}

#[test]
fn changes_of_bounded_rows() {
    let rows: Vec<Reading> = (0..300).map(|row| reading(row as u32 % 2, row)).collect();
    let model: Vec<SoFar> = naive(&rows).into_iter().filter(|t| t.rows > 1).collect();
    for threads in [1, 2, 3, 8] {
        for morsel in [1, 7, 64, 1000] {
            let job = so_far(sabot::testing::splits(&rows, 37), 0.0);
            let ran = Trial::new().threads(threads).morsel_rows(morsel).run(job).unwrap();
            same_rows(&ran.rows::<SoFar>("so_far").unwrap(), &model, 1e-9).unwrap_or_else(|e| panic!("{threads} threads: {e}"));
        }
    }
}
