//! The kinds of state in one struct: a value, a list, a map, a reduced and an aggregated value; a user aggregate is a field like any other.

use std::collections::VecDeque;

use super::*;

/// The mean of values, as a step's aggregate and as a part of a state.
#[derive(State, Default)]
struct Average {
    sum: f64,
    rows: u64,
}

#[operator]
impl Average {
    fn update(&mut self, value: f64) {
        self.sum += value;
        self.rows += 1;
    }
    fn merge(&mut self, other: Self) {
        self.sum += other.sum;
        self.rows += other.rows;
    }
    fn finish(&self) -> f64 {
        self.sum / self.rows as f64
    }
}

/// What a sensor has said.
#[derive(State, Default)]
struct Kinds {
    rows: u64,
    recent: VecDeque<i64>,
    seen: BTreeMap<i64, u64>,
    least: Option<f64>,
    average: Average,
}

#[operator]
fn said(kinds: &mut Kinds, value: f64) -> Option<Str> {
    let whole = value as i64;
    kinds.rows += 1;
    kinds.recent.push_back(whole);
    if kinds.recent.len() > 3 {
        kinds.recent.pop_front();
    }
    *kinds.seen.entry(whole % 10).or_default() += 1;
    kinds.least = Some(kinds.least.map_or(value, |least| least.min(value)));
    kinds.average.update(value);
    let Kinds { rows, recent, seen, least, average } = kinds;
    Some(format!("{rows} {recent:?} {seen:?} {least:?} {:?}", average.finish()).into())
}

/// What is known after a row.
#[derive(Record, Clone, Debug, PartialEq)]
struct Said {
    sensor: i64,
    ts: Timestamp<Micros>,
    said: Str,
}

pipeline! {
    /// All that is known of a sensor, after each of its rows.
    pub fn known(readings: Source<Reading>);
    known = readings -> key_by(sensor) -> keyed(|r| row { said: said(r.value) }) -> select(|r| row Said { sensor: r.sensor, ts: r.ts, said: r.said });
    known -> sink;
}

/// The same from all rows before, with nothing kept.
fn model(rows: Vec<Reading>) -> Vec<Said> {
    let mut out = Vec::new();
    for (sensor, rows) in timers::sorted(rows) {
        for end in 1..=rows.len() {
            let values: Vec<f64> = rows[..end].iter().map(|r| r.value).collect();
            let whole: Vec<i64> = values.iter().map(|v| *v as i64).collect();
            let mut seen: BTreeMap<i64, usize> = BTreeMap::new();
            whole.iter().for_each(|w| *seen.entry(w % 10).or_default() += 1);
            let least = values.iter().copied().reduce(f64::min);
            let average = values.iter().sum::<f64>() / values.len() as f64;
            let said = format!("{end} {:?} {seen:?} {least:?} {average:?}", &whole[end.saturating_sub(3)..]);
            out.push(Said { sensor, ts: rows[end - 1].ts, said: said.into() });
        }
    }
    out
}

#[test]
fn each_kind_of_state_is_restored() {
    let mut told = 0;
    for seed in 0..20u64 {
        let random = mix(seed ^ 0x1257);
        let (threads, partitions) = (1 + random as usize % 4, 1 + (random >> 8) as u32 % 3);
        let (disorder, morsel) = ((random >> 16) as i64 % 6, [1, 7, 50][(random >> 40) as usize % 3]);
        let consumed = Consumed::default();
        let trial = Trial::new().threads(threads).morsel_rows(morsel).seed(seed);
        let ran =
            stopped(seed, trial, 5 - threads, 150 + (random >> 24) % 400, &consumed, || known(source(partitions, disorder, &consumed)));
        let wanted = model(rows_of(&consumed, disorder).0);
        same_rows(&ran.rows::<Said>("known").unwrap(), &wanted, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        told += wanted.len();
    }
    assert!(told > 1000, "{told} rows");
}
