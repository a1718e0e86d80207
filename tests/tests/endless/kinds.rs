//! Kinds of state as fields of one: a value, a list, a map, what is reduced, and an aggregate of the user's own.

use sabot::record::{Largest, Reducing};

use super::*;

/// The mean of the middle values: an aggregate that also stands alone.
#[derive(State, Default)]
struct Middling {
    seen: Vec<i64>,
}
#[operator]
impl Middling {
    fn update(&mut self, value: i64) {
        self.seen.push(value);
        self.seen.sort_unstable();
    }
    fn merge(&mut self, other: Middling) {
        self.seen.extend(other.seen);
        self.seen.sort_unstable();
    }
    fn finish(&self) -> i64 {
        self.seen.get(self.seen.len() / 2).copied().unwrap_or_default()
    }
}

#[derive(State, Default)]
struct Memory {
    rows: u64,
    last: Vec<i64>,
    often: BTreeMap<i64, u64>,
    most: Reducing<i64, Largest>,
    middle: Middling,
}

#[operator]
fn remembers(state: &mut Memory, value: f64) -> Str {
    let value = value as i64 % 50;
    state.rows += 1;
    state.last.push(value);
    if state.last.len() > 3 {
        state.last.remove(0);
    }
    *state.often.entry(value % 5).or_default() += 1;
    state.most.add(value);
    state.middle.update(value);
    let often = state.often.iter().max_by_key(|(value, times)| (**times, -**value)).map(|(value, _)| *value);
    format!("{} {:?} {often:?} {:?} {}", state.rows, state.last, state.most.get(), state.middle.finish()).into()
}

#[derive(Record, Clone, Debug, PartialEq)]
struct Said {
    sensor: i64,
    said: Str,
}

pipeline! {
    /// What a sensor remembers.
    pub fn remembered(readings: Source<Reading>);
    said = readings -> key_by(sensor) -> keyed(|r| row { said: remembers(r.value) }) -> select(|r| row Said { sensor: r.sensor, said: r.said });
    said -> sink;
}

fn model(mut rows: Vec<Reading>) -> Vec<Said> {
    rows.sort_by_key(|r| r.ts.value());
    let mut all: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    let mut out = Vec::new();
    for r in rows {
        let seen = all.entry(r.sensor).or_default();
        seen.push(r.value as i64 % 50);
        let (mut sorted, mut counts) = (seen.clone(), [0; 5]);
        sorted.sort_unstable();
        seen.iter().for_each(|v| counts[*v as usize % 5] += 1);
        let most = *counts.iter().max().unwrap();
        let often = (0..5).find(|v| counts[*v as usize] == most);
        let last = &seen[seen.len().saturating_sub(3)..];
        let said = format!("{} {last:?} {often:?} {:?} {}", seen.len(), sorted.last(), sorted[sorted.len() / 2]);
        out.push(Said { sensor: r.sensor, said: said.into() });
    }
    out
}

#[test]
fn kinds_of_state_survive_a_crash() {
    for seed in 0..12u64 {
        let random = mix(seed ^ 0x6b1d);
        let (partitions, disorder) = (1 + (random >> 8) as u32 % 3, (random >> 16) as i64 % 6);
        let consumed = Consumed::default();
        let trial = Trial::new().threads([1, 2, 3, 8][random as usize % 4]).morsel_rows([1, 7, 50][(random >> 40) as usize % 3]).seed(seed);
        let job = || remembered(source(partitions, disorder, &consumed));
        let ran = stopped(seed, trial, [3, 1, 8, 2][random as usize % 4], 500, &consumed, job);
        let wanted = model(rows_of(&consumed, disorder).0);
        assert!(wanted.len() > 20);
        same_rows(&ran.rows::<Said>("said").unwrap(), &wanted, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
}
