//! Every step, over random data with nulls, duplicates, skew and none at all: the same rows on any number of threads, in
//! morsels of any size, optimised or not, and as a naive model in plain Rust makes them.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use sabot::prelude::*;
use sabot::stream::Job;
use sabot::testing::splits;
use sabot_tests::{Order, everywhere};

#[path = "same_rows/ordered.rs"]
mod ordered;
#[path = "same_rows/sets.rs"]
mod sets;

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

/// The sum of squares.
#[derive(State, Default)]
struct Squares {
    sum: i64,
}

#[operator]
impl Squares {
    fn update(&mut self, amount: i64) {
        self.sum += amount * amount;
    }
    fn merge(&mut self, other: Self) {
        self.sum += other.sum;
    }
    fn finish(&self) -> i64 {
        self.sum
    }
}

/// All aggregates of a group.
#[derive(Record, Clone, Debug, PartialEq)]
struct Group {
    key: Option<i64>,
    name: Str,
    rows: u64,
    values: u64,
    total: i64,
    sum: Option<f64>,
    mean: Option<f64>,
    least: i64,
    most: Option<f64>,
    last_name: Str,
    squares: i64,
}

pipeline! {
    /// Every aggregate, by two keys.
    pub fn groups(items: Source<Item, Bounded>);
    groups = items -> key_by(key, name) -> aggregate(|i| row {
        rows: count(), values: count(i.value), total: sum(i.amount), sum: sum(i.value), mean: mean(i.value),
        least: min(i.amount), most: max(i.value), last_name: max(i.name), squares: Squares(i.amount)
    });
    groups -> sink;
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

pipeline! {
    /// Every aggregate, over all rows.
    pub fn overall(items: Source<Item, Bounded>);
    overall = items -> aggregate(|i| row { rows: count(), total: sum(i.amount), mean: mean(i.value), least: min(Some(i.amount)), most: max(i.value) });
    overall -> sink;
}

/// Measures of a group.
#[derive(Record, Clone, Debug, PartialEq)]
struct Measures {
    key: Option<i64>,
    var: Option<f64>,
    var_pop: Option<f64>,
    stddev: Option<f64>,
    stddev_pop: Option<f64>,
    names: u64,
    values: u64,
    about: u64,
    quantile: Option<f64>,
    median: Option<f64>,
    middle: Option<Timestamp<Micros>>,
    near: Option<f64>,
    some: Option<bool>,
    every: bool,
}

pipeline! {
    /// Measures that do not depend on the order of rows.
    pub fn measures(items: Source<Item, Bounded>, fraction: f64);
    measures = items -> key_by(key) -> aggregate(|i| row {
        var: var(i.value), var_pop: var_pop(i.amount), stddev: stddev(i.amount), stddev_pop: stddev_pop(i.value),
        names: count_distinct(i.name), values: count_distinct(i.value), about: approx_count_distinct(i.amount),
        quantile: quantile(i.value, fraction), median: median(i.amount), middle: median(i.ts), near: approx_quantile(i.amount, 0.25),
        some: any(i.value? > 100.0), every: all(i.amount > -45)
    });
    measures -> sink;
}

/// What depends on the order of rows.
#[derive(Record, Clone, Debug, PartialEq)]
struct Ordered {
    key: Option<i64>,
    first: i64,
    first_value: Option<f64>,
    last: i64,
    last_name: Str,
    names: List<Str>,
    values: List<Option<f64>>,
}

pipeline! {
    /// By event time, then in source order.
    pub fn in_time(items: Source<Item, Bounded>);
    in_time = items -> key_by(key) -> aggregate(|i| row {
        first: first(i.id), first_value: first(i.value), last: last(i.id), last_name: last(i.name), names: collect(i.name), values: collect(i.value)
    });
    in_time -> sink;
}
pipeline! {
    /// In source order.
    pub fn in_source(items: Source<Timeless, Bounded>);
    in_source = items -> key_by(key) -> aggregate(|i| row { first: first(i.id), last: last(i.id), all: collect(i.id) });
    in_source -> sink;
}

/// What depends on source order.
#[derive(Record, Clone, Debug, PartialEq)]
struct Listed {
    key: Option<i64>,
    first: i64,
    last: i64,
    all: List<i64>,
}

/// All of them over all rows.
#[derive(Record, Clone, Debug, PartialEq)]
struct Whole {
    var: Option<f64>,
    distinct: u64,
    about: u64,
    median: Option<f64>,
    near: Option<f64>,
    first: Option<i64>,
    last: Option<f64>,
    any: Option<bool>,
    all: Option<bool>,
    names: Option<List<Str>>,
}

pipeline! {
    /// Without a key.
    pub fn whole(items: Source<Item, Bounded>);
    whole = items -> aggregate(|i| row {
        var: var(i.value), distinct: count_distinct(i.key), about: approx_count_distinct(i.name), median: median(i.value),
        near: approx_quantile(i.value, 1.0), first: first(i.id), last: last(i.value), any: any(i.amount > 48), all: all(i.value? < 990.0),
        names: collect(i.name)
    });
    whole -> sink;
}

/// A window.
#[derive(Record, Clone, Debug, PartialEq)]
struct Span {
    key: Option<i64>,
    window_start: Timestamp<Micros>,
    window_end: Timestamp<Micros>,
    total: i64,
    mean: Option<f64>,
}

pipeline! {
    /// Windows.
    pub fn spans(items: Source<Item>);
    spans = items -> key_by(key) -> window(tumbling(7.sec())) -> filter(|i| i.amount != 3)
                  -> aggregate(|i| row { total: sum(i.amount), mean: mean(i.value) });
    spans -> sink;
}

/// A window with what depends on order.
#[derive(Record, Clone, Debug, PartialEq)]
struct Hop {
    key: Option<i64>,
    window_start: Timestamp<Micros>,
    window_end: Timestamp<Micros>,
    rows: u64,
    mean: Option<f64>,
    first: i64,
    last: i64,
    ids: List<i64>,
    names: u64,
    middle: Option<f64>,
    squares: i64,
}

pipeline! {
    /// Overlapping windows.
    pub fn hops(items: Source<Item>, size: i64, slide: i64);
    hops = items -> key_by(key) -> window(hop(size.sec(), slide.sec())) -> filter(|i| i.amount != 3)
                 -> aggregate(|i| row {
                        rows: count(), mean: mean(i.value), first: first(i.id), last: last(i.id), ids: collect(i.id),
                        names: count_distinct(i.name), middle: median(i.amount), squares: Squares(i.amount)
                    });
    hops -> sink;
}

/// A window of windows.
#[derive(Record, Clone, Debug, PartialEq)]
struct Outer {
    window_start: Timestamp<Micros>,
    window_end: Timestamp<Micros>,
    one: i64,
    windows: u64,
    total: i64,
}

pipeline! {
    /// Windows of windows.
    pub fn outer_hops(items: Source<Item>);
    inner      = items -> key_by(key) -> window(hop(10.sec(), 4.sec())) -> aggregate(|i| row { total: sum(i.amount) })
                       -> with(|_i| row { one: 1i64 });
    outer_hops = inner -> key_by(one) -> window(hop(60.sec(), 20.sec())) -> aggregate(|w| row { windows: count(), total: sum(w.total) })
                       -> select(|w| row Outer { window_start: w.window_start, window_end: w.window_end, one: w.one, windows: w.windows, total: w.total });
    outer_hops -> sink;
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

/// A pair.
#[derive(Record, Clone, Debug, PartialEq)]
struct Both {
    left: i64,
    right: Option<i64>,
    name: Option<Str>,
}

pipeline! {
    /// Rows with partners.
    pub fn inner(items: Source<Item>, others: Source<Item, Bounded>);
    inner = items -> key_by(key, name) -> join(others -> key_by(key, name), |l, r| row Both { left: l.id, right: Some(r.id), name: Some(r.name) });
    inner -> sink;
}
pipeline! {
    /// Rows with or without partners.
    pub fn outer(items: Source<Item>, others: Source<Item, Bounded>);
    outer = items -> key_by(key) -> left_join(others -> filter(|o| o.amount > 0) -> key_by(key), |l, r| row Both { left: l.id, right: r?.id, name: r?.name });
    outer -> sink;
}

/// A pair of which either may be missing.
#[derive(Record, Clone, Debug, PartialEq)]
struct Either {
    left: Option<i64>,
    right: Option<i64>,
}

pipeline! {
    /// Right rows with or without partners; `limit` is a parameter in a condition.
    pub fn right_outer(items: Source<Item, Bounded>, others: Source<Item, Bounded>, limit: i64);
    right_outer = items -> key_by(key) -> right_join(others -> key_by(key), on = |l, r| l.amount + r.amount < limit, |l, r| row Either { left: l?.id, right: Some(r.id) });
    right_outer -> sink;
}
pipeline! {
    /// Rows of both sides with or without partners; a null in the condition is no match.
    pub fn full_outer(items: Source<Item, Bounded>, others: Source<Item, Bounded>);
    full_outer = items -> key_by(key, name) -> full_join(others -> key_by(key, name), |l, r| row Either { left: l?.id, right: r?.id }, on = |l, r| l.value? < r.value?);
    full_outer -> sink;
}
pipeline! {
    /// Left rows with or without partners, under a condition that reads both sides.
    pub fn left_if(items: Source<Item>, others: Source<Item, Bounded>, limit: i64);
    left_if = items -> key_by(key) -> left_join(others -> key_by(key), on = |l, r| l.amount + r.amount < limit, |l, r| row Either { left: Some(l.id), right: r?.id });
    left_if -> sink;
}
pipeline! {
    /// Left rows with a partner, and left rows without; keys and event time stay.
    pub fn semi(items: Source<Item>, others: Source<Item, Bounded>);
    semi = items -> key_by(key) -> semi_join(others -> filter(|o| o.amount > 0) -> key_by(key)) -> window(tumbling(1000.sec()))
                 -> aggregate(|i| row { rows: count(), total: sum(i.amount) }) -> select(|g| row Counted { key: g.key, rows: g.rows, total: g.total });
    semi -> sink;
}
pipeline! {
    /// Left rows without a partner.
    pub fn anti(items: Source<Item>, others: Source<Item, Bounded>);
    anti = items -> key_by(key, name) -> anti_join(others -> key_by(key, name), on = |l, r| r.amount > l.amount) -> select(|i| row Number { n: i.id });
    anti -> sink;
}
pipeline! {
    /// Each row with the last before it.
    pub fn backward(items: Source<Item, Bounded>, others: Source<Item, Bounded>);
    backward = items -> key_by(key) -> asof_join(others -> key_by(key), |l, r| row Either { left: Some(l.id), right: r?.id });
    backward -> sink;
}
pipeline! {
    /// Each row with the first after it, not too late; two keys.
    pub fn forward(items: Source<Item, Bounded>, others: Source<Item, Bounded>, most: i64);
    forward = items -> key_by(key, name) -> asof_join(others -> filter(|o| o.amount > 0) -> key_by(key, name), direction = forward, tolerance = most.sec(), |l, r| row Either { left: Some(l.id), right: r?.id });
    forward -> sink;
}
pipeline! {
    /// Each row with the nearest in time, whatever its key.
    pub fn nearest(items: Source<Item, Bounded>, others: Source<Item, Bounded>, most: i64);
    nearest = items -> asof_join(others, direction = nearest, tolerance = most.sec(), |l, r| row Either { left: Some(l.id), right: r?.id });
    nearest -> sink;
}
pipeline! {
    /// Pairs that are near in time, under a condition.
    pub fn near(items: Source<Item, Bounded>, others: Source<Item, Bounded>, most: i64);
    near = items -> key_by(key) -> interval_join(others -> key_by(key), within = -3.sec()..=most.sec(), on = |l, r| l.amount != r.amount, |l, r| row Either { left: Some(l.id), right: Some(r.id) });
    near -> sink;
}
/// Rows of a key.
#[derive(Record, Clone, Debug, PartialEq)]
struct Counted {
    key: Option<i64>,
    rows: u64,
    total: i64,
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

/// Lets others go first, so many times: in a simulation the calls end in an order that the seed chooses.
async fn give_way(times: u64) {
    for _ in 0..times {
        let mut gave = false;
        std::future::poll_fn(|cx| {
            if std::mem::replace(&mut gave, true) {
                return std::task::Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            std::task::Poll::Pending
        })
        .await;
    }
}

/// Twice a number, later.
#[operator(max_in_flight = 5)]
async fn twice_later(amount: i64) -> i64 {
    give_way(amount.unsigned_abs() % 5).await;
    twice(amount)
}

/// A text with a number, as its call ends.
#[operator(max_in_flight = 3, unordered, timeout = "60s", retry = 1)]
async fn told_later(name: &str, key: Option<i64>, plus: f64) -> Result<String, std::fmt::Error> {
    give_way(key.map_or(3, i64::unsigned_abs)).await;
    Ok(format!("{name} {key:?} {plus:.1}"))
}

/// What waited for.
#[derive(Record, Clone, Debug, PartialEq)]
struct Waited {
    id: i64,
    twice_later: i64,
    text: Option<Str>,
    key: Option<i64>,
}
/// Its sums.
#[derive(Record, Clone, Debug, PartialEq)]
struct WaitedSum {
    name: Str,
    total: i64,
    mean: Option<f64>,
}

pipeline! {
    /// In the order in which rows came.
    pub fn in_turn(items: Source<Item>, plus: f64);
    in_turn = items -> filter(|i| i.amount != 7) -> map(twice_later.await)
                    -> with(|i| row { short: i.name, text: told_later_in_turn(i.name, i.key, i.value? + plus).await })
                    -> select(|i| row Waited { id: i.id, twice_later: i.twice_later, text: i.text, key: i.key });
    in_turn -> sink;
}
/// As [`told_later`], in turn.
#[operator]
async fn told_later_in_turn(name: &str, key: Option<i64>, plus: f64) -> Result<String, std::fmt::Error> {
    told_later(name, key, plus).await
}
pipeline! {
    /// As calls end.
    pub fn as_they_end(items: Source<Item>, plus: f64);
    as_they_end = items -> filter(|i| i.amount != 7) -> map(twice_later.await)
                        -> with(|i| row { text: told_later(i.name, i.key, i.value? + plus).await })
                        -> select(|i| row Waited { id: i.id, twice_later: i.twice_later, text: i.text, key: i.key });
    as_they_end -> sink;
}
pipeline! {
    /// Sums of what was waited for: ends of splits do not overtake rows.
    pub fn waited_sums(items: Source<Item, Bounded>);
    waited_sums = items -> with(|i| row { more: twice_later(i.amount).await }) -> key_by(name)
                        -> aggregate(|i| row { total: sum(i.more), mean: mean(i.value) });
    waited_sums -> sink;
}

/// Some numbers are not allowed.
#[operator]
fn allowed(amount: i64, name: &str) -> Result<i64, String> {
    if amount % 4 == 1 { Err(format!("{amount} of `{name}`")) } else { Ok(amount * 3) }
}
/// Some values neither.
#[operator]
fn positive(value: f64) -> Result<f64, String> {
    if value < -500.0 { Err("too small".to_owned()) } else { Ok(value) }
}
/// A row that passed.
#[derive(Record, Clone, Debug, PartialEq)]
struct Passed {
    id: i64,
    thrice: i64,
    value: Option<f64>,
}
/// One that did not.
#[derive(Record, Clone, Debug, PartialEq)]
struct Refused {
    id: i64,
    error: Str,
    operator: Str,
    source: Str,
    split: u64,
    row: u64,
}
/// How many did not.
#[derive(Record, Clone, Debug, PartialEq)]
struct Refusals {
    error: Str,
    rows: u64,
    ids: i64,
}
pipeline! {
    /// Good rows, bad rows, and what is made of these.
    pub fn parted(items: Source<Item, Bounded>);
    (good, bad) = items -> filter(|i| i.amount != 7)
                        -> with(|i| row { thrice: allowed(i.amount, i.name), value: positive(i.value?) })
                        -> filter(|i| i.thrice != 6)
                        -> dead_letter();
    passed   = good -> select(|i| row Passed { id: i.id, thrice: i.thrice, value: i.value });
    refused  = bad -> select(|b| row Refused { id: b.id, error: b.error, operator: b.operator, source: b.source, split: b.split, row: b.row });
    refusals = bad -> key_by(error) -> aggregate(|b| row { rows: count(), ids: sum(b.id) });
    passed -> sink;
    refused -> sink;
    refusals -> sink;
}

pipeline! {
    /// Nobody reads the value that may fail: it still decides which rows there are.
    pub fn unread(items: Source<Item>);
    (good, bad) = items -> with(|i| row { thrice: allowed(i.amount, i.name) }) -> dead_letter();
    kept = good -> select(|i| row Number { n: i.id });
    lost = bad -> select(|i| row Number { n: i.id });
    kept -> sink;
    lost -> sink;
}

/// Null where it is not allowed.
#[derive(Record, Clone, Debug, PartialEq)]
struct Maybe {
    id: i64,
    thrice: Option<i64>,
    value: Option<f64>,
}
pipeline! {
    /// Nulls for errors.
    pub fn nulled(items: Source<Item>);
    nulled = items -> filter(|i| i.amount != 7)
                   -> select(|i| row { id: i.id, thrice: allowed(i.amount, i.name), value: positive(i.value?) })
                   -> on_error(null)
                   -> filter(|i| i.thrice.is_none_or(|t| t != 6));
    nulled -> sink;
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
fn var(values: &[f64], less: usize) -> Option<f64> {
    let mean = mean(values)?;
    (values.len() > less).then(|| values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (values.len() - less) as f64)
}
fn quantile(values: &[f64], fraction: f64) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at = (values.len().checked_sub(1)?) as f64 * fraction;
    let (low, high) = (values[at.floor() as usize], values[at.ceil() as usize]);
    Some(low + (high - low) * at.fract())
}
fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> u64 {
    values.collect::<std::collections::BTreeSet<T>>().len() as u64
}
fn amounts(rows: &[&Item]) -> Vec<f64> {
    rows.iter().map(|r| r.amount as f64).collect()
}
/// The rows of each window by key and start, in order of event time.
fn hopping<'a>(rows: &'a [Item], size: i64, slide: i64) -> BTreeMap<(Option<i64>, i64), Vec<&'a Item>> {
    let mut sorted: Vec<&Item> = rows.iter().collect();
    sorted.sort_by_key(|r| r.ts);
    let mut out: BTreeMap<(Option<i64>, i64), Vec<&'a Item>> = BTreeMap::new();
    for row in sorted {
        let mut start = row.ts.value().div_euclid(slide) * slide;
        while start + size > row.ts.value() {
            out.entry((row.key, start)).or_default().push(row);
            start -= slide;
        }
    }
    out
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
    fn keyed_aggregates((rows, split) in items()) {
        let expected: Vec<Group> = by(&rows, |r| (r.key, r.name.to_string())).into_iter().map(|((key, name), rows)| {
            let v = values(&rows);
            Group {
                key,
                name: name.as_str().into(),
                rows: rows.len() as u64,
                values: v.len() as u64,
                total: rows.iter().map(|r| r.amount).sum(),
                sum: (!v.is_empty()).then(|| v.iter().sum()),
                mean: mean(&v),
                least: rows.iter().map(|r| r.amount).min().unwrap(),
                most: most(&v),
                last_name: name.as_str().into(),
                squares: rows.iter().map(|r| r.amount * r.amount).sum(),
            }
        }).collect();
        // a sum that cancels out has a large relative error against another order of addition
        everywhere(|| groups(splits(&rows, split)), "groups", &expected, Order::Same, 1e-6);
    }

    #[test]
    fn global_aggregates((rows, split) in items()) {
        let all: Vec<&Item> = rows.iter().collect();
        let expected = [All {
            rows: rows.len() as u64,
            total: rows.iter().map(|r| r.amount).sum(),
            mean: mean(&values(&all)),
            least: rows.iter().map(|r| r.amount).min(),
            most: most(&values(&all)),
        }];
        everywhere(|| overall(splits(&rows, split)), "overall", &expected, Order::Same, 1e-6);
    }

    #[test]
    fn measures_of_groups((rows, split) in items(), fraction in 0.0..=1.0f64) {
        let expected: Vec<Measures> = by(&rows, |r| r.key).into_iter().map(|(key, rows)| {
            let (v, a) = (values(&rows), amounts(&rows));
            let mut times: Vec<i64> = rows.iter().map(|r| r.ts.value()).collect();
            times.sort();
            let middle = (times[(times.len() - 1) / 2] + times[times.len() / 2]) / 2;
            Measures {
                key,
                var: var(&v, 1),
                var_pop: var(&a, 0),
                stddev: var(&a, 1).map(f64::sqrt),
                stddev_pop: var(&v, 0).map(f64::sqrt),
                names: distinct(rows.iter().map(|r| r.name.to_string())),
                values: distinct(v.iter().map(|v| v.to_bits())),
                about: distinct(rows.iter().map(|r| r.amount)),
                quantile: quantile(&v, fraction),
                median: quantile(&a, 0.5),
                middle: Some(middle.into()),
                near: quantile(&a, 0.25),
                some: (!v.is_empty()).then(|| v.iter().any(|v| *v > 100.0)),
                every: rows.iter().all(|r| r.amount > -45),
            }
        }).collect();
        everywhere(|| measures(splits(&rows, split), fraction), "measures", &expected, Order::Same, 1e-6);
    }

    #[test]
    fn orders_of_groups((rows, split) in items()) {
        let mut sorted = rows.clone();
        sorted.sort_by_key(|r| r.ts);
        let expected: Vec<Ordered> = by(&sorted, |r| r.key).into_iter().map(|(key, rows)| Ordered {
            key,
            first: rows[0].id,
            first_value: rows[0].value,
            last: rows[rows.len() - 1].id,
            last_name: rows[rows.len() - 1].name.clone(),
            names: rows.iter().map(|r| r.name.clone()).collect(),
            values: rows.iter().map(|r| r.value).collect(),
        }).collect();
        everywhere(|| in_time(splits(&rows, split)), "in_time", &expected, Order::Any, 0.0);
        let timeless: Vec<Timeless> = rows.iter().map(|r| Timeless { id: r.id, key: r.key }).collect();
        let expected: Vec<Listed> = by(&rows, |r| r.key).into_iter().map(|(key, rows)| Listed {
            key,
            first: rows[0].id,
            last: rows[rows.len() - 1].id,
            all: rows.iter().map(|r| r.id).collect(),
        }).collect();
        everywhere(|| in_source(splits(&timeless, split)), "in_source", &expected, Order::Any, 0.0);
    }

    #[test]
    fn measures_of_all((rows, split) in items()) {
        let mut sorted: Vec<&Item> = rows.iter().collect();
        sorted.sort_by_key(|r| r.ts);
        let v = values(&sorted);
        let expected = [Whole {
            var: var(&v, 1),
            distinct: distinct(rows.iter().filter_map(|r| r.key)),
            about: distinct(rows.iter().map(|r| r.name.to_string())),
            median: quantile(&v, 0.5),
            near: quantile(&v, 1.0),
            first: sorted.first().map(|r| r.id),
            last: sorted.last().and_then(|r| r.value),
            any: (!rows.is_empty()).then(|| rows.iter().any(|r| r.amount > 48)),
            all: (!v.is_empty()).then(|| v.iter().all(|v| *v < 990.0)),
            names: (!rows.is_empty()).then(|| sorted.iter().map(|r| r.name.clone()).collect()),
        }];
        everywhere(|| whole(splits(&rows, split)), "whole", &expected, Order::Same, 1e-6);
    }

    #[test]
    fn windows((rows, split) in items()) {
        let rows_in: Vec<Item> = rows.iter().filter(|r| r.amount != 3).cloned().collect();
        let size = 7 * SECOND;
        let expected: Vec<Span> = by(&rows_in, |r| (r.key, r.ts.value() / size * size)).into_iter().map(|((key, start), rows)| Span {
            key,
            window_start: start.into(),
            window_end: (start + size).into(),
            total: rows.iter().map(|r| r.amount).sum(),
            mean: mean(&values(&rows)),
        }).collect();
        everywhere(|| spans(splits(&rows, split)), "spans", &expected, Order::Same, 1e-6);
    }

    #[test]
    fn overlapping_windows((rows, split) in items(), (size, slide) in (1..40i64).prop_flat_map(|size| (Just(size), 1..=size))) {
        let rows_in: Vec<Item> = rows.iter().filter(|r| r.amount != 3).cloned().collect();
        let expected: Vec<Hop> = hopping(&rows_in, size * SECOND, slide * SECOND).into_iter().map(|((key, start), rows)| Hop {
            key,
            window_start: start.into(),
            window_end: (start + size * SECOND).into(),
            rows: rows.len() as u64,
            mean: mean(&values(&rows)),
            first: rows[0].id,
            last: rows[rows.len() - 1].id,
            ids: rows.iter().map(|r| r.id).collect(),
            names: distinct(rows.iter().map(|r| r.name.to_string())),
            middle: quantile(&amounts(&rows), 0.5),
            squares: rows.iter().map(|r| r.amount * r.amount).sum(),
        }).collect();
        everywhere(|| hops(splits(&rows, split), size, slide), "hops", &expected, Order::Same, 1e-6);
    }

    #[test]
    fn windows_of_windows((rows, split) in items()) {
        let inner = hopping(&rows, 10 * SECOND, 4 * SECOND);
        let ends: Vec<Item> = inner.into_iter().map(|((_, start), rows)| Item {
            amount: rows.iter().map(|r| r.amount).sum(),
            key: None,
            ts: (start + 10 * SECOND - 1).into(),
            ..rows[0].clone()
        }).collect();
        let expected: Vec<Outer> = hopping(&ends, 60 * SECOND, 20 * SECOND).into_iter().map(|((_, start), rows)| Outer {
            window_start: start.into(),
            window_end: (start + 60 * SECOND).into(),
            one: 1,
            windows: rows.len() as u64,
            total: rows.iter().map(|r| r.amount).sum(),
        }).collect();
        everywhere(|| outer_hops(splits(&rows, split)), "outer_hops", &expected, Order::Same, 0.0);
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
    fn inner_joins((rows, split) in items(), (others, cut) in items(), broadcast in any::<bool>()) {
        let mut expected = Vec::new();
        for l in rows.iter().filter(|l| l.key.is_some()) {
            for r in others.iter().filter(|r| r.key == l.key && r.name == l.name) {
                expected.push(Both { left: l.id, right: Some(r.id), name: Some(r.name.clone()) });
            }
        }
        // a broadcast keeps the order of the left side
        let order = if broadcast { Order::Same } else { Order::Any };
        everywhere(|| sized(inner(splits(&rows, split), splits(&others, cut)), broadcast), "inner", &expected, order, 0.0);
    }

    #[test]
    fn left_joins((rows, split) in items(), (others, cut) in items(), broadcast in any::<bool>()) {
        let mut expected = Vec::new();
        for l in &rows {
            let partners: Vec<&Item> = others.iter().filter(|r| r.amount > 0 && l.key.is_some() && r.key == l.key).collect();
            expected.extend(partners.iter().map(|r| Both { left: l.id, right: Some(r.id), name: Some(r.name.clone()) }));
            if partners.is_empty() {
                expected.push(Both { left: l.id, right: None, name: None });
            }
        }
        let order = if broadcast { Order::Same } else { Order::Any };
        everywhere(|| sized(outer(splits(&rows, split), splits(&others, cut)), broadcast), "outer", &expected, order, 0.0);
    }

    #[test]
    fn right_and_full_joins((rows, split) in items(), (others, cut) in items(), limit in -20..60i64) {
        let pairs = |fits: &dyn Fn(&Item, &Item) -> bool, left: bool, right: bool| {
            let mut out = Vec::new();
            for l in &rows {
                let partners: Vec<&Item> = others.iter().filter(|r| l.key.is_some() && l.key == r.key && fits(l, r)).collect();
                out.extend(partners.iter().map(|r| Either { left: Some(l.id), right: Some(r.id) }));
                if partners.is_empty() && left {
                    out.push(Either { left: Some(l.id), right: None });
                }
            }
            for r in others.iter().filter(|_| right) {
                if !rows.iter().any(|l| l.key.is_some() && l.key == r.key && fits(l, r)) {
                    out.push(Either { left: None, right: Some(r.id) });
                }
            }
            out
        };
        let expected = pairs(&|l, r| l.amount + r.amount < limit, false, true);
        everywhere(|| right_outer(splits(&rows, split), splits(&others, cut), limit), "right_outer", &expected, Order::Any, 0.0);
        let less = |l: &Item, r: &Item| l.name == r.name && l.value.zip(r.value).is_some_and(|(a, b)| a < b);
        let expected = pairs(&less, true, true);
        everywhere(|| full_outer(splits(&rows, split), splits(&others, cut)), "full_outer", &expected, Order::Any, 0.0);
        let expected = pairs(&|l, r| l.amount + r.amount < limit, true, false);
        everywhere(|| sized(left_if(splits(&rows, split), splits(&others, cut), limit), true), "left_if", &expected, Order::Same, 0.0);
        everywhere(|| sized(left_if(splits(&rows, split), splits(&others, cut), limit), false), "left_if", &expected, Order::Any, 0.0);
    }

    #[test]
    fn joins_in_time((rows, split) in items(), (others, cut) in items(), most in 0..30i64, broadcast in any::<bool>()) {
        let one = |fits: &dyn Fn(&Item, &Item) -> bool, best: &dyn Fn(&Item, &[&Item]) -> Option<i64>| -> Vec<Either> {
            let partner = |l: &Item| best(l, &others.iter().filter(|r| fits(l, r)).collect::<Vec<_>>());
            rows.iter().map(|l| Either { left: Some(l.id), right: partner(l) }).collect()
        };
        let back = |l: &Item, all: &[&Item]| all.iter().filter(|r| r.ts <= l.ts).max_by_key(|r| (r.ts, r.id)).map(|r| r.id);
        let ahead = |l: &Item, all: &[&Item]| all.iter().filter(|r| r.ts >= l.ts).min_by_key(|r| (r.ts, r.id)).map(|r| r.id);
        let away = |l: &Item, id: i64| (others[id as usize].ts.value() - l.ts.value()).abs();
        let either = |l: &Item, all: &[&Item]| back(l, all).into_iter().chain(ahead(l, all)).min_by_key(|id| away(l, *id));
        let close = |l: &Item, r: &Item| (l.ts.value() - r.ts.value()).abs() <= most * SECOND;
        let same = |l: &Item, r: &Item| l.key.is_some() && l.key == r.key;
        let order = if broadcast { Order::Same } else { Order::Any };
        everywhere(|| sized(backward(splits(&rows, split), splits(&others, cut)), broadcast), "backward", &one(&same, &back), order, 0.0);
        let expected = one(&|l, r| same(l, r) && l.name == r.name && r.amount > 0 && close(l, r), &ahead);
        everywhere(|| sized(forward(splits(&rows, split), splits(&others, cut), most), broadcast), "forward", &expected, order, 0.0);
        // without keys everything is in one place, in source order
        let expected = one(&close, &either);
        everywhere(|| sized(nearest(splits(&rows, split), splits(&others, cut), most), broadcast), "nearest", &expected, Order::Same, 0.0);
        let mut expected = Vec::new();
        for l in &rows {
            let apart = |r: &Item| r.ts.value() - l.ts.value();
            let mut partners: Vec<&Item> = others.iter().filter(|r| same(l, r) && (-3 * SECOND..=most * SECOND).contains(&apart(r)) && l.amount != r.amount).collect();
            partners.sort_by_key(|r| (r.ts, r.id));
            expected.extend(partners.iter().map(|r| Either { left: Some(l.id), right: Some(r.id) }));
        }
        everywhere(|| sized(near(splits(&rows, split), splits(&others, cut), most), broadcast), "near", &expected, order, 0.0);
    }

    #[test]
    fn semi_and_anti_joins((rows, split) in items(), (others, cut) in items(), broadcast in any::<bool>()) {
        let with: Vec<Item> = rows.iter().filter(|l| others.iter().any(|r| r.amount > 0 && l.key.is_some() && r.key == l.key)).cloned().collect();
        let expected: Vec<Counted> = by(&with, |r| r.key).into_iter()
            .map(|(key, rows)| Counted { key, rows: rows.len() as u64, total: rows.iter().map(|r| r.amount).sum() }).collect();
        everywhere(|| sized(semi(splits(&rows, split), splits(&others, cut)), broadcast), "semi", &expected, Order::Any, 0.0);
        let matches = |l: &Item, r: &Item| l.key.is_some() && l.key == r.key && l.name == r.name && r.amount > l.amount;
        let expected: Vec<Number> = rows.iter().filter(|l| !others.iter().any(|r| matches(l, r))).map(|l| Number { n: l.id }).collect();
        let order = if broadcast { Order::Same } else { Order::Any };
        everywhere(|| sized(anti(splits(&rows, split), splits(&others, cut)), broadcast), "anti", &expected, order, 0.0);
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
    fn dead_letters((rows, split) in items()) {
        let error = |r: &Item| {
            let (a, p) = (allowed(r.amount, &r.name).err(), r.value.and_then(|v| positive(v).err()));
            let operator = if a.is_some() { "allowed" } else { "positive" };
            let said: Vec<String> = a.into_iter().chain(p).collect();
            (!said.is_empty()).then(|| (said.join("; "), operator))
        };
        let seen: Vec<&Item> = rows.iter().filter(|r| r.amount != 7).collect();
        let good: Vec<Passed> = seen.iter().filter(|r| error(r).is_none() && r.amount * 3 != 6)
            .map(|r| Passed { id: r.id, thrice: r.amount * 3, value: r.value }).collect();
        let bad: Vec<Refused> = seen.iter().filter_map(|r| error(r).map(|(error, operator)| Refused {
            id: r.id,
            error: error.as_str().into(),
            operator: operator.into(),
            source: "items".into(),
            split: r.id as u64 / split as u64,
            row: r.id as u64 % split as u64,
        })).collect();
        let mut counts: BTreeMap<Str, (u64, i64)> = BTreeMap::new();
        for b in &bad {
            let count = counts.entry(b.error.clone()).or_default();
            *count = (count.0 + 1, count.1 + b.id);
        }
        let counts: Vec<Refusals> = counts.into_iter().map(|(error, (rows, ids))| Refusals { error, rows, ids }).collect();
        everywhere(|| parted(splits(&rows, split)), "passed", &good, Order::Same, 0.0);
        everywhere(|| parted(splits(&rows, split)), "refused", &bad, Order::Same, 0.0);
        everywhere(|| parted(splits(&rows, split)), "refusals", &counts, Order::Any, 0.0);
        let (kept, lost): (Vec<&Item>, Vec<&Item>) = rows.iter().partition(|r| allowed(r.amount, &r.name).is_ok());
        let ids = |rows: Vec<&Item>| rows.iter().map(|r| Number { n: r.id }).collect::<Vec<_>>();
        everywhere(|| unread(splits(&rows, split)), "kept", &ids(kept), Order::Same, 0.0);
        everywhere(|| unread(splits(&rows, split)), "lost", &ids(lost), Order::Same, 0.0);
        let report = sabot::testing::Trial::new().threads(2).run(parted(splits(&rows, split))).unwrap().report.unwrap();
        let account = |name: &str| report.nodes.iter().find(|n| n.name.ends_with(name)).unwrap().account;
        prop_assert_eq!(account("good/run").failed, bad.len() as u64);
        prop_assert_eq!(account("good/dead_letter").rows_out, bad.len() as u64);
        prop_assert_eq!(account("good/run").rows_in, (good.len() + bad.len()) as u64 + account("good/run").filtered);
    }

    #[test]
    fn nulls_for_errors((rows, split) in items()) {
        let expected: Vec<Maybe> = rows.iter().filter(|r| r.amount != 7).map(|r| Maybe {
            id: r.id,
            thrice: allowed(r.amount, &r.name).ok(),
            value: r.value.and_then(|v| positive(v).ok()),
        }).filter(|m| m.thrice != Some(6)).collect();
        everywhere(|| nulled(splits(&rows, split)), "nulled", &expected, Order::Same, 0.0);
    }

    #[test]
    fn whole_batches((rows, split) in items()) {
        let expected: Vec<Thrice> = rows.iter().filter(|r| r.amount != 0).map(|r| Thrice { id: r.id, thrice: Some(r.amount * 3) }).collect();
        everywhere(|| batches(splits(&rows, split)), "batches", &expected, Order::Same, 0.0);
    }
}

proptest! {
    // each of its jobs starts a tokio
    #![proptest_config(cases(3))]

    #[test]
    fn async_calls((rows, split) in items()) {
        let text = |r: &Item| r.value.map(|v| Str::from(format!("{} {:?} {:.1}", r.name.as_str(), r.key, v + 0.5)));
        let expected: Vec<Waited> = rows.iter().filter(|r| r.amount != 7)
            .map(|r| Waited { id: r.id, twice_later: r.amount * 2, text: text(r), key: r.key }).collect();
        everywhere(|| in_turn(splits(&rows, split), 0.5), "in_turn", &expected, Order::Same, 0.0);
        everywhere(|| as_they_end(splits(&rows, split), 0.5), "as_they_end", &expected, Order::Any, 0.0);
        let sums: Vec<WaitedSum> = by(&rows, |r| r.name.to_string()).into_iter().map(|(name, rows)| WaitedSum {
            name: name.as_str().into(),
            total: rows.iter().map(|r| r.amount * 2).sum(),
            mean: mean(&values(&rows)),
        }).collect();
        everywhere(|| waited_sums(splits(&rows, split)), "waited_sums", &sums, Order::Same, 1e-6);
    }
}

fn sized(job: Job, broadcast: bool) -> Job {
    job.settings(|s| s.broadcast_rows = if broadcast { u64::MAX } else { 0 })
}
