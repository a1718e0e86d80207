//! Aggregates, over all rows, by key, and in windows.

use super::*;

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

proptest! {
    #![proptest_config(cases(8))]

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
}
