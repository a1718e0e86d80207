//! Every aggregate function, and every kind of join, over keys with nulls and skew, with less memory than they hold.

use super::*;

/// A row of which a third has no key, and many have the same.
#[derive(Record, Clone, Debug, PartialEq)]
struct Skewed {
    n: i64,
    key: Option<i64>,
    name: Option<Str>,
    value: Option<f64>,
    flag: Option<bool>,
    exact: Decimal<12, 2>,
}

/// Rows of which, in `every`, one has the key that most have.
fn skewed(rows: i64, every: i64) -> Vec<Skewed> {
    let row = |n: i64| Skewed {
        n,
        key: match n % 12 {
            0..4 => None,
            _ if n % every == 0 => Some(-1),
            _ => Some(n * 7919 % (rows / 2)),
        },
        name: (n % 5 != 0).then(|| format!("a name of some length {}", n * 31 % 97).as_str().into()),
        value: (n % 7 != 0).then_some((n * 7919 % 1000) as f64 / 7.0),
        flag: (n % 11 != 0).then_some(n % 3 == 0),
        exact: Decimal::from_units(i128::from(n * 7919 % 100_003)),
    };
    (0..rows).map(row).collect()
}

/// Largest of what was seen, as text.
#[derive(State, Default)]
struct Largest {
    text: String,
}
#[operator]
impl Largest {
    fn update(&mut self, n: i64) {
        let text = format!("{n:010}");
        if text > self.text {
            self.text = text;
        }
    }
    fn merge(&mut self, other: Self) {
        if other.text > self.text {
            self.text = other.text;
        }
    }
    fn finish(&self) -> Str {
        self.text.as_str().into()
    }
}

pipeline! {
    /// Every function.
    pub fn all_measures(rows: Source<Skewed, Bounded>);
    groups = rows -> key_by(key) -> aggregate(|r| row {
        rows: count(), known: count(r.value), total: sum(r.value), exact: sum(r.exact), mean: mean(r.value), low: min(r.name), high: max(r.name),
        var: var(r.value), var_pop: var_pop(r.n), spread: stddev(r.n), spread_pop: stddev_pop(r.value), first: first(r.name), last: last(r.value),
        all: collect(r.n), some: any(r.flag), every: all(r.flag), names: count_distinct(r.name), about: approx_count_distinct(r.n),
        most: quantile(r.value, 0.9), middle: median(r.n), near: approx_quantile(r.value, 0.3), largest: Largest(r.n)
    });
    groups -> sink;
}
pipeline! {
    /// One row of each key.
    pub fn one_of_each(rows: Source<Skewed, Bounded>);
    groups = rows -> key_by(key) -> reduce(|a, b| Skewed { n: a.n, key: a.key, name: b.name.or(a.name), value: a.value, flag: b.flag, exact: a.exact + b.exact });
    groups -> sink;
}

#[test]
fn every_aggregate_is_that_of_enough_memory() {
    let dir = tempfile::tempdir().unwrap();
    let rows = skewed(16_000, 16);
    for (job, budget) in [(all_measures as fn(Source<Skewed, Bounded>) -> Job, 8 << 20), (one_of_each, 2 << 20)] {
        let job = || job(splits(&rows, 700));
        let want = ordered(Trial::new().run(job()).unwrap().batches("groups").unwrap());
        assert!(want.0 > 4_000, "{} groups", want.0);
        for threads in [1, 2, 3, 8] {
            let little = limited(job(), dir.path()).options(|o| o.memory_budget = Some(budget));
            let ran = Trial::new().threads(threads).morsel_rows(1000).run(little).unwrap();
            assert!(ordered(ran.batches("groups").unwrap()) == want, "{threads} threads");
            assert!(ran.report.unwrap().nodes.iter().any(|n| n.spilled > 0), "{threads} threads: nothing was spilled");
        }
    }
    assert_eq!(files(dir.path()), 0);
}

pipeline! {
    /// Pairs, by keys with nulls.
    pub fn skewed_inner(left: Source<Skewed, Bounded>, right: Source<Skewed, Bounded>);
    pairs = left -> key_by(key) -> join(right -> key_by(key), |l, r| row Either { n: Some(l.n), other: Some(r.n) });
    pairs -> sink;
}
pipeline! {
    /// With all left rows.
    pub fn skewed_left(left: Source<Skewed, Bounded>, right: Source<Skewed, Bounded>);
    pairs = left -> key_by(key) -> left_join(right -> key_by(key), |l, r| row Either { n: Some(l.n), other: r?.n });
    pairs -> sink;
}
pipeline! {
    /// With all right rows.
    pub fn skewed_right(left: Source<Skewed, Bounded>, right: Source<Skewed, Bounded>);
    pairs = left -> key_by(key) -> right_join(right -> key_by(key), |l, r| row Either { n: l?.n, other: Some(r.n) });
    pairs -> sink;
}
pipeline! {
    /// With all rows.
    pub fn skewed_full(left: Source<Skewed, Bounded>, right: Source<Skewed, Bounded>);
    pairs = left -> key_by(key) -> full_join(right -> key_by(key), |l, r| row Either { n: l?.n, other: r?.n });
    pairs -> sink;
}
pipeline! {
    /// Rows with a partner.
    pub fn skewed_semi(left: Source<Skewed, Bounded>, right: Source<Skewed, Bounded>);
    pairs = left -> key_by(key) -> semi_join(right -> key_by(key)) -> select(|l| row Either { n: Some(l.n), other: l.key });
    pairs -> sink;
}
pipeline! {
    /// Rows without one.
    pub fn skewed_anti(left: Source<Skewed, Bounded>, right: Source<Skewed, Bounded>);
    pairs = left -> key_by(key) -> anti_join(right -> key_by(key)) -> select(|l| row Either { n: Some(l.n), other: l.key });
    pairs -> sink;
}

type Two = fn(Source<Skewed, Bounded>, Source<Skewed, Bounded>) -> Job;

#[test]
fn joins_with_nulls_and_skew_are_those_of_enough_memory() {
    let dir = tempfile::tempdir().unwrap();
    // the key that many have makes thousands of pairs; `no` has no rows
    let (left, right, no) = (skewed(9_000, 30), skewed(12_000, 50), Vec::new());
    let jobs: [Two; 6] = [skewed_inner, skewed_left, skewed_right, skewed_full, skewed_semi, skewed_anti];
    for (number, job) in jobs.into_iter().enumerate() {
        for (left, right) in [(&left, &right), (&no, &right), (&left, &no)] {
            let job = || job(splits(left, 700), splits(right, 900)).settings(|s| s.broadcast_rows = 0);
            let want = sorted(Trial::new().run(job()).unwrap().batches("pairs").unwrap());
            let both = !left.is_empty() && !right.is_empty();
            let threads: &[usize] = if both { &[1, 2, 3, 8] } else { &[3] };
            for threads in threads {
                let little = limited(job(), dir.path()).options(|o| o.memory_budget = Some(1 << 20));
                let ran = Trial::new().threads(*threads).morsel_rows(1000).run(little).unwrap();
                assert!(sorted(ran.batches("pairs").unwrap()) == want, "{number}, {threads} threads");
                // of the right rows of the last two only keys are kept, which may fit
                if both && number < 4 {
                    assert!(ran.report.unwrap().nodes.iter().any(|n| n.spilled > 0), "{number}, {threads} threads: nothing was spilled");
                }
            }
        }
    }
    assert_eq!(files(dir.path()), 0);
}
