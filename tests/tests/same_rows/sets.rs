//! Steps over sets of rows.

use std::collections::HashSet;

use sabot::stream::Job;

use super::*;

/// A row with few values, so that many are equal.
#[derive(Record, Clone, Debug, PartialEq)]
struct Cell {
    key: Option<i64>,
    name: Str,
    value: Option<f64>,
}

pipeline! {
    /// Distinct rows.
    pub fn distinct_rows(items: Source<Item, Bounded>);
    cells = items -> select(|i| row Cell { key: i.key, name: i.name, value: i.value.map(|v| if v < 0.0 { -0.0 } else { 0.0 }) }) -> distinct();
    cells -> sink;
}
pipeline! {
    /// The same over a source that might be endless: rows come at once.
    pub fn distinct_at_once(items: Source<Item>);
    cells = items -> select(|i| row Cell { key: i.key, name: i.name, value: i.value.map(|_| 1.5) }) -> distinct();
    cells -> sink;
}
pipeline! {
    /// The first of each key and name.
    pub fn distinct_firsts(items: Source<Item, Bounded>, least: i64);
    firsts = items -> filter(|i| i.amount >= least) -> distinct(key, name);
    firsts -> sink;
}
pipeline! {
    /// A float sum behind it.
    pub fn distinct_sum(items: Source<Item, Bounded>);
    total = items -> distinct(key, amount) -> aggregate(|i| row { rows: count(), total: sum(i.amount), mean: mean(i.value), least: min(Some(i.amount)), most: max(i.value) });
    total -> sink;
}
pipeline! {
    /// In both.
    pub fn in_both(items: Source<Item, Bounded>, others: Source<Item, Bounded>);
    left = items -> select(|i| row Cell { key: i.key, name: i.name, value: i.value.map(|_| 1.5) });
    both = left -> intersect(others -> filter(|i| i.amount > 0) -> select(|i| row Cell { key: i.key, name: i.name, value: i.value.map(|_| 1.5) }));
    both -> sink;
}
pipeline! {
    /// Only in the first.
    pub fn in_first(items: Source<Item, Bounded>, others: Source<Item, Bounded>);
    left = items -> select(|i| row Cell { key: i.key, name: i.name, value: i.value.map(|_| 1.5) });
    lost = left -> except(others -> filter(|i| i.amount > 0) -> select(|i| row Cell { key: i.key, name: i.name, value: i.value.map(|_| 1.5) }));
    lost -> sink;
}
pipeline! {
    /// A part of the rows.
    pub fn sampled(items: Source<Item>, part: f64);
    part = items -> filter(|i| i.amount != 7) -> sample(part, seed = 3) -> select(|i| row Number { n: i.id });
    part -> sink;
}
pipeline! {
    /// A part of rows that have no position of their own.
    pub fn sampled_spread(items: Source<Item>);
    spread = items -> flat_map(|i| { let (id, n) = (i.id, i.amount.rem_euclid(4)); (0..n).map(move |k| Number { n: id * 10 + k }) }) -> sample(0.5);
    spread -> sink;
}

fn tell(cell: &Cell) -> (Option<i64>, String, Option<u64>) {
    (cell.key, cell.name.to_string(), cell.value.map(|v| (v + 0.0).to_bits()))
}
fn cell(i: &Item) -> Cell {
    Cell { key: i.key, name: i.name.clone(), value: i.value.map(|_| 1.5) }
}
fn firsts<T, K: std::hash::Hash + Eq>(rows: impl IntoIterator<Item = T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let mut seen = HashSet::new();
    rows.into_iter().filter(|r| seen.insert(key(r))).collect()
}
/// The rows in the order of the first run: the same at any number of threads.
pub(super) fn fixed<T: sabot::record::Named + std::fmt::Debug>(job: impl Fn() -> Job, sink: &str, expected: &[T]) {
    let ran = sabot::testing::Trial::new().threads(1).run(job()).unwrap();
    let rows: Vec<T> = ran.rows(sink).unwrap();
    sabot::testing::same_rows(&rows, expected, 0.0).unwrap();
    everywhere(job, sink, &rows, Order::Same, 0.0);
}

proptest! {
    #![proptest_config(cases(4))]

    #[test]
    fn distinct((rows, split) in items()) {
        let zero = |i: &Item| Cell { value: i.value.map(|v| if v < 0.0 { -0.0 } else { 0.0 }), ..cell(i) };
        let expected = firsts(rows.iter().map(zero), tell);
        fixed(|| distinct_rows(splits(&rows, split)), "cells", &expected);
        let expected = firsts(rows.iter().map(cell), tell);
        everywhere(|| distinct_at_once(splits(&rows, split)), "cells", &expected, Order::Any, 0.0);
    }

    #[test]
    fn distinct_by_columns((rows, split) in items(), least in -60..50i64) {
        let expected = firsts(rows.iter().filter(|r| r.amount >= least).cloned(), |r| (r.key, r.name.to_string()));
        fixed(|| distinct_firsts(splits(&rows, split), least), "firsts", &expected);
        let kept = firsts(rows.iter(), |r| (r.key, r.amount));
        let expected = [All {
            rows: kept.len() as u64,
            total: kept.iter().map(|r| r.amount).sum(),
            mean: mean(&values(&kept)),
            least: kept.iter().map(|r| r.amount).min(),
            most: most(&values(&kept)),
        }];
        everywhere(|| distinct_sum(splits(&rows, split)), "total", &expected, Order::Same, 1e-6);
    }

    #[test]
    fn set_operations((rows, split) in items(), (others, cut) in items()) {
        let right: HashSet<_> = others.iter().filter(|i| i.amount > 0).map(|i| tell(&cell(i))).collect();
        let left = firsts(rows.iter().map(cell), tell);
        let (both, lost): (Vec<Cell>, Vec<Cell>) = left.into_iter().partition(|c| right.contains(&tell(c)));
        fixed(|| in_both(splits(&rows, split), splits(&others, cut)), "both", &both);
        fixed(|| in_first(splits(&rows, split), splits(&others, cut)), "lost", &lost);
    }

    #[test]
    fn samples((rows, split) in items()) {
        let count = |part: f64| sabot::testing::Trial::new().run(sampled(splits(&rows, split), part)).unwrap().rows::<Number>("part").unwrap();
        let half = count(0.5);
        // a smaller part of the same seed is a part of the larger
        prop_assert!(count(0.25).iter().all(|n| half.contains(n)));
        prop_assert!(count(0.0).is_empty());
        prop_assert_eq!(count(1.0).len(), rows.iter().filter(|r| r.amount != 7).count());
        everywhere(|| sampled(splits(&rows, split), 0.5), "part", &half, Order::Same, 0.0);
        let ran = sabot::testing::Trial::new().run(sampled_spread(splits(&rows, split))).unwrap();
        let spread: Vec<Number> = ran.rows("spread").unwrap();
        everywhere(|| sampled_spread(splits(&rows, split)), "spread", &spread, Order::Same, 0.0);
    }
}
