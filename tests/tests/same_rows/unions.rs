//! Steps that tell the order of their rows, behind `union`: of other sources, of branches of one, and of rows that come from no split.

use sabot::stream::Job;

use super::*;

/// Sums of floats, and what depends on order alone.
#[derive(Record, Clone, Debug, PartialEq)]
struct Mixed {
    key: Option<i64>,
    rows: u64,
    total: Option<f64>,
    mean: Option<f64>,
    all: List<i64>,
}
/// An item without time.
#[derive(Record, Clone, Debug, PartialEq)]
struct Plain {
    id: i64,
    key: Option<i64>,
    amount: i64,
    value: Option<f64>,
}

pipeline! {
    /// Two sources.
    pub fn two_sources(items: Source<Plain, Bounded>, more: Source<Plain, Bounded>);
    mixed = items -> filter(|i| i.amount != 1) -> union(more -> select(|m| row Plain { id: -m.id, key: m.key, amount: m.amount, value: m.value }))
                  -> key_by(key) -> aggregate(|i| row { rows: count(), total: sum(i.value), mean: mean(i.value), all: collect(i.id) });
    mixed -> sink;
}
pipeline! {
    /// Two branches of one source, of which rows may be in both.
    pub fn two_branches(items: Source<Plain, Bounded>, least: i64);
    low   = items -> filter(|i| i.amount < 10);
    high  = items -> filter(|i| i.amount > least) -> select(|i| row Plain { id: -i.id, key: i.key, amount: i.amount, value: i.value });
    mixed = low -> union(high) -> key_by(key) -> aggregate(|i| row { rows: count(), total: sum(i.value), mean: mean(i.value), all: collect(i.id) });
    mixed -> sink;
}
pipeline! {
    /// Groups, and rows.
    pub fn with_groups(items: Source<Plain, Bounded>, more: Source<Plain, Bounded>);
    groups = items -> key_by(key) -> aggregate(|i| row { id: min(i.id), amount: sum(i.amount), value: sum(i.value) })
                   -> select(|g| row Plain { id: g.id, key: g.key, amount: g.amount, value: g.value });
    mixed  = groups -> union(more) -> key_by(key) -> aggregate(|i| row { rows: count(), total: sum(i.value), mean: mean(i.value), all: collect(i.id) });
    mixed -> sink;
}
pipeline! {
    /// The first in the order of a sort, with ties from both.
    pub fn first_of_both(items: Source<Plain, Bounded>, more: Source<Plain, Bounded>);
    first = items -> union(more -> select(|m| row Plain { id: -m.id, key: m.key, amount: m.amount, value: m.value })) -> sort(desc(amount)) -> limit(7) -> select(|i| row Number { n: i.id });
    first -> sink;
}
pipeline! {
    /// A sample of rows that have no positions of their own.
    pub fn sampled_union(items: Source<Plain, Bounded>);
    twice = items -> flat_map(|i| { let (id, n) = (i.id, i.amount.rem_euclid(3)); (0..n).map(move |k| Number { n: id * 10 + k }) });
    other = items -> flat_map(|i| { let (id, n) = (i.id, i.amount.rem_euclid(4)); (0..n).map(move |k| Number { n: -id * 10 - k }) });
    part  = twice -> union(other) -> sample(0.5);
    part -> sink;
}
pipeline! {
    /// A sample of all rows of both sides.
    pub fn sampled_full_join(items: Source<Plain, Bounded>, more: Source<Plain, Bounded>);
    part = items -> key_by(key) -> full_join(more -> key_by(key), |l, r| row Number { n: l.map_or(-1, |l| l.id) * 1000 + r.map_or(-1, |r| r.id) }) -> sample(0.5);
    part -> sink;
}
pipeline! {
    /// A sample of all right rows.
    pub fn sampled_right_join(items: Source<Plain, Bounded>, more: Source<Plain, Bounded>);
    part = items -> key_by(key) -> right_join(more -> key_by(key), |l, r| row Number { n: l.map_or(-1, |l| l.id) * 1000 + r.id }) -> sample(0.5);
    part -> sink;
}

fn plain(rows: &[Item]) -> Vec<Plain> {
    rows.iter().map(|r| Plain { id: r.id, key: r.key, amount: r.amount, value: r.value }).collect()
}
fn negative(rows: &[Plain]) -> Vec<Plain> {
    rows.iter().map(|r| Plain { id: -r.id, ..r.clone() }).collect()
}
fn mixed(rows: &[Plain]) -> Vec<Mixed> {
    let mut groups: BTreeMap<Option<i64>, Vec<&Plain>> = BTreeMap::new();
    rows.iter().for_each(|r| groups.entry(r.key).or_default().push(r));
    let group = |(key, rows): (Option<i64>, Vec<&Plain>)| {
        let values: Vec<f64> = rows.iter().filter_map(|r| r.value).collect();
        let total = (!values.is_empty()).then(|| values.iter().sum());
        Mixed { key, rows: rows.len() as u64, total, mean: mean(&values), all: rows.iter().map(|r| r.id).collect() }
    };
    groups.into_iter().map(group).collect()
}
/// On any number of threads what one gives.
fn as_on_one<T: sabot::record::Named + std::fmt::Debug>(job: impl Fn() -> Job, sink: &str) -> Vec<T> {
    let one: Vec<T> = sabot::testing::Trial::new().threads(1).run(job()).unwrap().rows(sink).unwrap();
    everywhere(job, sink, &one, Order::Same, 0.0);
    one
}

proptest! {
    #![proptest_config(cases(3))]

    #[test]
    fn unions_of_sources((rows, split) in items(), (more, cut) in items()) {
        let (rows, more) = (plain(&rows), plain(&more));
        let kept: Vec<Plain> = rows.iter().filter(|r| r.amount != 1).cloned().chain(negative(&more)).collect();
        everywhere(|| two_sources(splits(&rows, split), splits(&more, cut)), "mixed", &mixed(&kept), Order::Same, 1e-6);
        let mut all: Vec<Plain> = rows.iter().cloned().chain(negative(&more)).collect();
        all.sort_by_key(|r| -r.amount);
        let expected: Vec<Number> = all.iter().take(7).map(|r| Number { n: r.id }).collect();
        everywhere(|| first_of_both(splits(&rows, split), splits(&more, cut)), "first", &expected, Order::Same, 0.0);
    }

    #[test]
    fn unions_of_branches((rows, split) in items(), least in -20..20i64) {
        let rows = plain(&rows);
        let branches = |rows: &[Plain]| -> Vec<Plain> {
            let high: Vec<Plain> = rows.iter().filter(|r| r.amount > least).cloned().collect();
            rows.iter().filter(|r| r.amount < 10).cloned().chain(negative(&high)).collect()
        };
        // split by split, branch by branch
        let expected: Vec<Plain> = rows.chunks(split).flat_map(branches).collect();
        everywhere(|| two_branches(splits(&rows, split), least), "mixed", &mixed(&expected), Order::Same, 1e-6);
    }

    #[test]
    fn unions_with_groups((rows, split) in items(), (more, cut) in items()) {
        let (rows, more) = (plain(&rows), plain(&more));
        as_on_one::<Mixed>(|| with_groups(splits(&rows, split), splits(&more, cut)), "mixed");
    }

    #[test]
    fn samples_behind_unions_and_joins((rows, split) in items(), (more, cut) in items()) {
        let (rows, more) = (plain(&rows), plain(&more));
        let part = as_on_one::<Number>(|| sampled_union(splits(&rows, split)), "part");
        let all: i64 = rows.iter().map(|r| r.amount.rem_euclid(3) + r.amount.rem_euclid(4)).sum();
        prop_assert!(part.len() as i64 <= all && (all < 40 || part.len() > 5));
        as_on_one::<Number>(|| sampled_full_join(splits(&rows, split), splits(&more, cut)), "part");
        as_on_one::<Number>(|| sampled_right_join(splits(&rows, split), splits(&more, cut)), "part");
    }
}
