//! Every step, over random data with nulls, duplicates, skew and none at all: the same rows on any number of threads, in
//! morsels of any size, optimised or not, and as a naive model in plain Rust makes them.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use sabot::prelude::*;
use sabot::testing::splits;
use sabot_tests::{Order, everywhere, restarted};

#[path = "same_rows/asynchronous.rs"]
mod asynchronous;
#[path = "same_rows/behind_joins.rs"]
mod behind_joins;
#[path = "same_rows/errors.rs"]
mod errors;
#[path = "same_rows/groups.rs"]
mod groups;
#[path = "same_rows/joins.rs"]
mod joins;
#[path = "same_rows/ordered.rs"]
mod ordered;
#[path = "same_rows/sessions.rs"]
mod sessions;
#[path = "same_rows/sets.rs"]
mod sets;
#[path = "same_rows/unions.rs"]
mod unions;
#[path = "same_rows/waiting.rs"]
mod waiting;

/// A row of everything.
#[derive(Record, Clone, Debug, PartialEq)]
struct Item {
    id: i64,
    key: Option<i64>,
    name: Str,
    amount: i64,
    value: Option<f64>,
    #[event_time]
    ts: Timestamp<Micros>,
}

const SECOND: i64 = 1_000_000;

fn items() -> impl Strategy<Value = (Vec<Item>, usize)> {
    // skew: most rows have key 0 and name "a"
    let key = prop_oneof![3 => Just(Some(0)), 3 => (0..6i64).prop_map(Some), 1 => Just(None)];
    let name = prop_oneof![3 => Just("a"), 1 => Just("bb"), 1 => Just("a text longer than twelve bytes"), 1 => Just("")];
    let value = prop_oneof![3 => (-1000.0..1000.0f64).prop_map(Some), 1 => Just(None)];
    let row = (key, name, -50..50i64, value, 0..200i64);
    let rows = prop_oneof![1 => Just(0usize..1), 6 => Just(0usize..120)].prop_flat_map(move |n| prop::collection::vec(row.clone(), n));
    (rows, 1..50usize).prop_map(|(rows, split)| {
        let item = |(id, (key, name, amount, value, s)): (usize, (Option<i64>, &str, i64, Option<f64>, i64))| Item {
            id: id as i64,
            key,
            name: name.into(),
            amount,
            value,
            ts: Timestamp::new(s * SECOND),
        };
        (rows.into_iter().enumerate().map(item).collect(), split)
    })
}

fn cases(n: u32) -> ProptestConfig {
    ProptestConfig { cases: n, failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::default() }
}

/// Twice a number.
#[operator(total)]
fn twice(amount: i64) -> i64 {
    amount.wrapping_mul(2)
}

/// A row of the row-wise steps.
#[derive(Record, Clone, Debug, PartialEq)]
struct Wise {
    id: i64,
    half: Option<f64>,
    twice: i64,
    name: Str,
}

pipeline! {
    /// Row-wise steps.
    pub fn row_wise(items: Source<Item>, least: i64);
    wise = items -> filter(|i| i.amount >= least)
                 -> map(twice)
                 -> with(|i| row { half: i.value? / 2.0 })
                 -> inspect(|i| { let _ = i.id; })
                 -> filter(|i| i.twice % 3 != 0)
                 -> select(|i| row Wise { id: i.id, half: i.half, twice: i.twice, name: i.name });
    wise -> sink;
}

/// A number.
#[derive(Record, Clone, Debug, PartialEq)]
struct Number {
    n: i64,
}

pipeline! {
    /// Rows from rows.
    pub fn spread(items: Source<Item>);
    spread = items -> flat_map(|i| { let (id, n) = (i.id, i.amount.rem_euclid(4)); (0..n).map(move |k| Number { n: id * 10 + k }) });
    spread -> sink;
}

pipeline! {
    /// Three streams in one.
    pub fn together(items: Source<Item>, more: Source<Item>, least: i64);
    low      = items -> filter(|i| i.amount < least) -> select(|i| row Number { n: i.id });
    high     = items -> filter(|i| i.amount >= least) -> select(|i| row Number { n: i.id });
    other    = more -> select(|i| row Number { n: -i.id });
    together = low -> union(high, other);
    together -> sink;
}

/// What a key has seen.
#[derive(State, Default)]
struct Seen {
    rows: i64,
    before: i64,
}

/// Says, for every second row of a key, a number that tells all rows before it and their order.
#[operator]
fn history(seen: &mut Seen, id: i64) -> Option<i64> {
    seen.rows += 1;
    seen.before = (seen.before * 31 + id + 1) % 1_000_003;
    (seen.rows % 2 == 0).then_some(seen.before)
}

/// A row of history.
#[derive(Record, Clone, Debug, PartialEq)]
struct Told {
    id: i64,
    history: i64,
}

/// An item without time.
#[derive(Record, Clone, Debug, PartialEq)]
struct Timeless {
    id: i64,
    key: Option<i64>,
}

pipeline! {
    /// State per key, in order of event time.
    pub fn by_time(items: Source<Item>);
    by_time = items -> key_by(key) -> keyed(|i| row { history: history(i.id) }) -> select(|i| row Told { id: i.id, history: i.history });
    by_time -> sink;
}
pipeline! {
    /// State per key, in source order.
    pub fn by_source(items: Source<Timeless>);
    by_source = items -> key_by(key) -> keyed(|i| row { history: history(i.id) }) -> select(|i| row Told { id: i.id, history: i.history });
    by_source -> sink;
}

pipeline! {
    /// Sorted; ties in source order.
    pub fn sorted(items: Source<Item, Bounded>);
    sorted = items -> sort(key, desc(amount), nulls_first(value));
    sorted -> sink;
}
pipeline! {
    /// The first in source order.
    pub fn first(items: Source<Item>, above: i64);
    first = items -> filter(|i| i.amount > above) -> limit(10) -> select(|i| row Number { n: i.id });
    first -> sink;
}
pipeline! {
    /// The first in order.
    pub fn top(items: Source<Item, Bounded>);
    top = items -> sort(desc(amount)) -> limit(5) -> select(|i| row Number { n: i.id });
    top -> sink;
}

/// Thrice, for whole batches.
#[operator(batch)]
fn thrice(b: &Batch<Amounts>) -> Result<sabot::__private::arrow_array::Int64Array> {
    Ok(b.amount().iter().map(|a| a.map(|a| a * 3)).collect())
}
/// What it reads.
#[derive(Record)]
struct Amounts {
    amount: i64,
}
/// What it makes.
#[derive(Record, Clone, Debug, PartialEq)]
struct Thrice {
    id: i64,
    thrice: Option<i64>,
}
pipeline! {
    /// Whole batches.
    pub fn batches(items: Source<Item>);
    batches = items -> filter(|i| i.amount != 0) -> batch(thrice) -> select(|i| row Thrice { id: i.id, thrice: i.thrice });
    batches -> sink;
}

/// All aggregates of all rows.
#[derive(Record, Clone, Debug, PartialEq)]
struct All {
    rows: u64,
    total: i64,
    mean: Option<f64>,
    least: Option<i64>,
    most: Option<f64>,
}

/// Rows by key, in source order.
fn by<K: Ord>(rows: &[Item], key: impl Fn(&Item) -> K) -> BTreeMap<K, Vec<&Item>> {
    let mut out: BTreeMap<K, Vec<&Item>> = BTreeMap::new();
    rows.iter().for_each(|r| out.entry(key(r)).or_default().push(r));
    out
}
fn values(rows: &[&Item]) -> Vec<f64> {
    rows.iter().filter_map(|r| r.value).collect()
}
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
fn most(values: &[f64]) -> Option<f64> {
    values.iter().copied().max_by(f64::total_cmp)
}
/// Every second row's history.
fn told(rows: &[&Item]) -> Vec<Told> {
    let mut seen = Seen::default();
    rows.iter().filter_map(|r| history(&mut seen, r.id).map(|h| Told { id: r.id, history: h })).collect()
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn row_wise_steps((rows, split) in items(), least in -50..50i64) {
        let expected: Vec<Wise> = rows.iter().filter(|r| r.amount >= least && (r.amount * 2) % 3 != 0)
            .map(|r| Wise { id: r.id, half: r.value.map(|v| v / 2.0), twice: r.amount * 2, name: r.name.clone() }).collect();
        everywhere(|| row_wise(splits(&rows, split), least), "wise", &expected, Order::Same, 0.0);
    }

    #[test]
    fn flat_maps((rows, split) in items()) {
        let expected: Vec<Number> = rows.iter().flat_map(|r| (0..r.amount.rem_euclid(4)).map(|k| Number { n: r.id * 10 + k })).collect();
        everywhere(|| spread(splits(&rows, split)), "spread", &expected, Order::Same, 0.0);
    }

    #[test]
    fn unions((rows, split) in items(), (more, cut) in items(), least in -50..50i64) {
        let expected: Vec<Number> = rows.iter().map(|r| Number { n: r.id }).chain(more.iter().map(|r| Number { n: -r.id })).collect();
        everywhere(|| together(splits(&rows, split), splits(&more, cut), least), "together", &expected, Order::Any, 0.0);
    }

    #[test]
    fn keyed_by_event_time((rows, split) in items()) {
        let mut in_time = rows.clone();
        in_time.sort_by_key(|r| r.ts);
        let expected: Vec<Told> = by(&in_time, |r| r.key).values().flat_map(|rows| told(rows)).collect();
        everywhere(|| by_time(splits(&rows, split)), "by_time", &expected, Order::Any, 0.0);
    }

    #[test]
    fn keyed_in_source_order((rows, split) in items()) {
        let expected: Vec<Told> = by(&rows, |r| r.key).values().flat_map(|rows| told(rows)).collect();
        let timeless: Vec<Timeless> = rows.iter().map(|r| Timeless { id: r.id, key: r.key }).collect();
        everywhere(|| by_source(splits(&timeless, split)), "by_source", &expected, Order::Any, 0.0);
    }

    #[test]
    fn sorts((rows, split) in items()) {
        let mut expected = rows.clone();
        expected.sort_by(|a, b| {
            let key = (a.key.is_none(), a.key).cmp(&(b.key.is_none(), b.key));
            let value = match (a.value, b.value) {
                (Some(a), Some(b)) => a.total_cmp(&b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            };
            key.then(b.amount.cmp(&a.amount)).then(value)
        });
        everywhere(|| sorted(splits(&rows, split)), "sorted", &expected, Order::Same, 0.0);
    }

    #[test]
    fn limits((rows, split) in items(), above in -50..50i64) {
        let expected: Vec<Number> = rows.iter().filter(|r| r.amount > above).take(10).map(|r| Number { n: r.id }).collect();
        everywhere(|| first(splits(&rows, split), above), "first", &expected, Order::Same, 0.0);
        let mut order = rows.clone();
        order.sort_by_key(|r| -r.amount);
        let expected: Vec<Number> = order.iter().take(5).map(|r| Number { n: r.id }).collect();
        everywhere(|| top(splits(&rows, split)), "top", &expected, Order::Same, 0.0);
    }

    #[test]
    fn whole_batches((rows, split) in items()) {
        let expected: Vec<Thrice> = rows.iter().filter(|r| r.amount != 0).map(|r| Thrice { id: r.id, thrice: Some(r.amount * 3) }).collect();
        everywhere(|| batches(splits(&rows, split)), "batches", &expected, Order::Same, 0.0);
    }
}
