//! Steps over the rows of a key in an order, and `reduce`.

use std::cmp::Ordering;

use super::sets::fixed;
use super::*;

pipeline! {
    /// The first in order.
    pub fn best(items: Source<Item, Bounded>, rows: u64);
    best = items -> filter(|i| i.amount != 4) -> top(rows, desc(amount));
    best -> sink;
}
pipeline! {
    /// The first of several columns, nulls first.
    pub fn best_of_many(items: Source<Item, Bounded>, rows: u64);
    best = items -> top(rows, nulls_first(desc(key)), name, value);
    best -> sink;
}
pipeline! {
    /// The first of each key.
    pub fn best_by_key(items: Source<Item, Bounded>, rows: u64);
    best = items -> key_by(key) -> top(rows, name, desc(value));
    best -> sink;
}

/// A row with what was computed over others.
#[derive(Record, Clone, Debug, PartialEq)]
struct Placed {
    id: i64,
    key: Option<i64>,
    rank: u64,
    dense: u64,
    number: u64,
    share: f64,
    prev: Option<i64>,
    prev2: Option<Str>,
    next: Option<f64>,
    total: i64,
    values: Option<f64>,
    seen: u64,
    known: u64,
    low: Option<f64>,
    high: Str,
    avg: Option<f64>,
}

pipeline! {
    /// Every window function, by key.
    pub fn placed(items: Source<Item, Bounded>);
    all = items -> key_by(key) -> over(name, desc(amount), |i| row {
        rank: rank(), dense: dense_rank(), number: row_number(), share: percent_rank(), prev: lag(i.amount * 1), prev2: lag(i.name, 2), next: lead(i.value),
        total: sum(i.amount), values: sum(i.value), seen: count(), known: count(i.value), low: min(i.value), high: max(i.name), avg: mean(i.amount)
    });
    placed = all -> select(|p| row Placed {
        id: p.id, key: p.key, rank: p.rank, dense: p.dense, number: p.number, share: p.share, prev: p.prev, prev2: p.prev2, next: p.next, total: p.total,
        values: p.values, seen: p.seen, known: p.known, low: p.low, high: p.high, avg: p.avg
    });
    placed -> sink;
}

/// A row with what all of them give.
#[derive(Record, Clone, Debug, PartialEq)]
struct Shared {
    id: i64,
    key: Option<i64>,
    amount: i64,
    rows: u64,
    most: Option<f64>,
}

pipeline! {
    /// Without an order: over the whole key, or all rows.
    pub fn shared(items: Source<Item, Bounded>, keyed: bool);
    by_key = items -> filter(|_i| keyed) -> key_by(key) -> over(|i| row { amount: sum(i.amount), rows: count(), most: max(i.value) })
                   -> select(|i| row Shared { id: i.id, key: i.key, amount: i.amount, rows: i.rows, most: i.most });
    whole  = items -> filter(|_i| !keyed) -> over(|i| row { amount: sum(i.amount), rows: count(), most: max(i.value) })
                   -> select(|i| row Shared { id: i.id, key: i.key, amount: i.amount, rows: i.rows, most: i.most });
    shared = by_key -> union(whole);
    shared -> sink;
}
pipeline! {
    /// The order alone: no column is read.
    pub fn numbered(items: Source<Item, Bounded>);
    numbered = items -> over(nulls_first(value), |_i| row { n: row_number() }) -> filter(|i| i.n <= 7) -> select(|i| row Number { n: i.id });
    numbered -> sink;
}

pipeline! {
    /// One row of each key: not commutative.
    pub fn reduced(items: Source<Item, Bounded>);
    reduced = items -> key_by(key) -> reduce(|a, b| Item { id: a.id, key: None, name: b.name, amount: a.amount.max(b.amount), value: b.value.or(a.value), ts: a.ts });
    reduced -> sink;
}
pipeline! {
    /// One row of all.
    pub fn reduced_all(items: Source<Item, Bounded>, above: i64);
    reduced = items -> filter(|i| i.amount > above) -> reduce(|a, b| Item { amount: a.amount + b.amount, ..b });
    reduced -> sink;
}

fn nulls_last<T>(a: Option<T>, b: Option<T>, order: impl Fn(T, T) -> Ordering) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => order(a, b),
        (None, None) => Ordering::Equal,
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
    }
}

/// The window functions, row by row.
fn model(rows: &[Item]) -> Vec<Placed> {
    let mut out = Vec::new();
    for (key, mut rows) in by(rows, |r| r.key) {
        let order = |a: &Item, b: &Item| a.name.cmp(&b.name).then(b.amount.cmp(&a.amount));
        rows.sort_by(|a, b| order(a, b));
        for (at, row) in rows.iter().enumerate() {
            let so_far = &rows[..=at];
            let first = rows.iter().position(|r| order(r, row) == Ordering::Equal).unwrap();
            let dense = rows[..=first].windows(2).filter(|w| order(w[0], w[1]) != Ordering::Equal).count() + 1;
            let known = values(so_far);
            out.push(Placed {
                id: row.id,
                key,
                rank: first as u64 + 1,
                dense: dense as u64,
                number: at as u64 + 1,
                share: if rows.len() > 1 { first as f64 / (rows.len() - 1) as f64 } else { 0.0 },
                prev: at.checked_sub(1).map(|i| rows[i].amount),
                prev2: at.checked_sub(2).map(|i| rows[i].name.clone()),
                next: rows.get(at + 1).and_then(|r| r.value),
                total: so_far.iter().map(|r| r.amount).sum(),
                values: (!known.is_empty()).then(|| known.iter().sum()),
                seen: at as u64 + 1,
                known: known.len() as u64,
                low: known.iter().copied().min_by(f64::total_cmp),
                high: so_far.iter().map(|r| r.name.clone()).max().unwrap(),
                avg: Some(so_far.iter().map(|r| r.amount as f64).sum::<f64>() / (at + 1) as f64),
            });
        }
    }
    out
}

fn joined(rows: &[&Item]) -> Option<Item> {
    rows.iter().map(|r| (*r).clone()).reduce(|a, b| Item {
        id: a.id,
        key: None,
        name: b.name,
        amount: a.amount.max(b.amount),
        value: b.value.or(a.value),
        ts: a.ts,
    })
}

proptest! {
    #![proptest_config(cases(4))]

    #[test]
    fn tops((rows, split) in items(), n in 0..12u64) {
        let mut order: Vec<Item> = rows.iter().filter(|r| r.amount != 4).cloned().collect();
        order.sort_by_key(|r| -r.amount);
        order.truncate(n as usize);
        everywhere(|| best(splits(&rows, split), n), "best", &order, Order::Same, 0.0);
        let mut order = rows.clone();
        let value = |a: &Item, b: &Item| nulls_last(a.value, b.value, |a, b| a.total_cmp(&b));
        order.sort_by(|a, b| (b.key.is_none(), b.key).cmp(&(a.key.is_none(), a.key)).then(a.name.cmp(&b.name)).then(value(a, b)));
        order.truncate(n as usize);
        everywhere(|| best_of_many(splits(&rows, split), n), "best", &order, Order::Same, 0.0);
        let value = |a: &Item, b: &Item| nulls_last(a.value, b.value, |a, b| b.total_cmp(&a));
        let expected: Vec<Item> = by(&rows, |r| r.key).into_values().flat_map(|mut rows| {
            rows.sort_by(|a, b| a.name.cmp(&b.name).then(value(a, b)));
            rows.into_iter().take(n as usize).cloned()
        }).collect();
        fixed(|| best_by_key(splits(&rows, split), n), "best", &expected);
    }

    #[test]
    fn window_functions((rows, split) in items()) {
        let expected = model(&rows);
        // the model and the operator add in the same order
        fixed(|| placed(splits(&rows, split)), "placed", &expected);
        let share = |rows: &[&Item]| (rows.iter().map(|r| r.amount).sum(), rows.len() as u64, most(&values(rows)));
        let keyed: Vec<Shared> = by(&rows, |r| r.key).values().flat_map(|all| {
            let (amount, rows, most) = share(all);
            all.iter().map(move |r| Shared { id: r.id, key: r.key, amount, rows, most })
        }).collect();
        everywhere(|| shared(splits(&rows, split), true), "shared", &keyed, Order::Any, 0.0);
        let all: Vec<&Item> = rows.iter().collect();
        let (amount, count, most) = share(&all);
        let whole: Vec<Shared> = rows.iter().map(|r| Shared { id: r.id, key: r.key, amount, rows: count, most }).collect();
        everywhere(|| shared(splits(&rows, split), false), "shared", &whole, Order::Any, 0.0);
        let mut order: Vec<&Item> = rows.iter().collect();
        order.sort_by(|a, b| a.value.is_some().cmp(&b.value.is_some()).then_with(|| nulls_last(a.value, b.value, |a, b| a.total_cmp(&b))));
        let first: Vec<Number> = order.iter().take(7).map(|r| Number { n: r.id }).collect();
        everywhere(|| numbered(splits(&rows, split)), "numbered", &first, Order::Same, 0.0);
    }

    #[test]
    fn reduces((rows, split) in items(), above in -60..50i64) {
        let expected: Vec<Item> = by(&rows, |r| r.key).into_iter().filter_map(|(key, rows)| Some(Item { key, ..joined(&rows)? })).collect();
        fixed(|| reduced(splits(&rows, split)), "reduced", &expected);
        let expected: Vec<Item> = rows.iter().filter(|r| r.amount > above).cloned().reduce(|a, b| Item { amount: a.amount + b.amount, ..b }).into_iter().collect();
        everywhere(|| reduced_all(splits(&rows, split), above), "reduced", &expected, Order::Same, 0.0);
    }
}

/// Rows that the orders of `sorted`, `top` and `best` mostly do not tell apart.
fn tied(rows: i64) -> Vec<Item> {
    let tie = |id: i64| Item { id, key: None, name: "".into(), amount: id % 2, value: None, ts: Timestamp::new(0) };
    (0..rows).map(tie).collect()
}

/// Whoever reads on in a split that was open at the checkpoint.
#[test]
fn equal_rows_keep_source_order_over_a_restart() {
    let rows = tied(90);
    let mut expected = rows.clone();
    expected.sort_by_key(|r| -r.amount);
    let numbers: Vec<Number> = expected.iter().map(|r| Number { n: r.id }).collect();
    for split in [13, 25, 40] {
        let source = || splits(&rows, split);
        restarted(&|| sorted(source()), "sorted", 0..30, &expected, Order::Same);
        restarted(&|| super::top(source()), "top", 0..30, &numbers[..5], Order::Same);
        restarted(&|| best(source(), 20), "best", 0..30, &expected[..20], Order::Same);
    }
}
