//! Steps that tell the order of their rows, behind joins whose sides are both dealt out by key.

use sabot::stream::Job;

use super::*;

/// What a pair adds.
#[derive(Record, Clone, Debug, PartialEq)]
struct Part {
    group: Option<i64>,
    id: Option<i64>,
    other: Option<i64>,
    left: Option<f64>,
    right: Option<f64>,
}
/// Sums of floats by another key than that of the join.
#[derive(Record, Clone, Debug, PartialEq)]
struct Sums {
    group: Option<i64>,
    rows: u64,
    left: Option<f64>,
    right: Option<f64>,
}

pipeline! {
    /// A full join, then sums by another key.
    pub fn full_sums(items: Source<Item, Bounded>, others: Source<Item, Bounded>);
    parts = items -> key_by(key) -> full_join(others -> key_by(key), |l, r| row Part {
                group: r?.amount.rem_euclid(3), id: l?.id, other: r?.id, left: l?.value, right: r?.value });
    sums = parts -> key_by(group) -> aggregate(|p| row { rows: count(), left: sum(p.left), right: mean(p.right) });
    sums -> sink;
}
pipeline! {
    /// A left join, then sums by another key.
    pub fn left_sums(items: Source<Item, Bounded>, others: Source<Item, Bounded>);
    parts = items -> key_by(key) -> left_join(others -> key_by(key), |l, r| row Part {
                group: r?.amount.rem_euclid(3), id: Some(l.id), other: r?.id, left: l.value, right: r?.value });
    sums = parts -> key_by(group) -> aggregate(|p| row { rows: count(), left: sum(p.left), right: mean(p.right) });
    sums -> sink;
}
pipeline! {
    /// A right join, then a semi join, then sums.
    pub fn twice_joined(items: Source<Item, Bounded>, others: Source<Item, Bounded>);
    found = items -> key_by(name) -> right_join(others -> key_by(name), |l, r| row Part {
                group: Some(r.amount.rem_euclid(5)), id: l?.id, other: Some(r.id), left: l?.value, right: r.value });
    parts = found -> key_by(group) -> semi_join(others -> with(|o| row { group: Some(o.amount.rem_euclid(4)) }) -> key_by(group));
    sums = parts -> key_by(group) -> aggregate(|p| row { rows: count(), left: sum(p.left), right: mean(p.right) });
    sums -> sink;
}
pipeline! {
    /// State per key in the order of rows.
    pub fn full_histories(items: Source<Item, Bounded>, others: Source<Item, Bounded>);
    seen = items -> key_by(key) -> full_join(others -> key_by(key), |l, r| row Part {
                group: r?.amount.rem_euclid(3), id: l?.id, other: r?.id, left: l?.value, right: r?.value })
                 -> with(|p| row { number: p.id.unwrap_or(-1) * 1000 + p.other.unwrap_or(-1) })
                 -> key_by(group) -> keyed(|p| row { history: history(p.number) }) -> select(|p| row Told { id: p.number, history: p.history });
    seen -> sink;
}

fn parts(rows: &[Item], others: &[Item], full: bool) -> Vec<Part> {
    let of = |l: Option<&Item>, r: Option<&Item>| Part {
        group: r.map(|r| r.amount.rem_euclid(3)),
        id: l.map(|l| l.id),
        other: r.map(|r| r.id),
        left: l.and_then(|l| l.value),
        right: r.and_then(|r| r.value),
    };
    let fits = |l: &Item, r: &Item| l.key.is_some() && l.key == r.key;
    let mut out = Vec::new();
    for l in rows {
        let partners: Vec<&Item> = others.iter().filter(|r| fits(l, r)).collect();
        out.extend(partners.iter().map(|r| of(Some(l), Some(r))));
        if partners.is_empty() {
            out.push(of(Some(l), None));
        }
    }
    out.extend(others.iter().filter(|r| full && !rows.iter().any(|l| fits(l, r))).map(|r| of(None, Some(r))));
    out
}
fn sums(parts: Vec<Part>) -> Vec<Sums> {
    let mut groups: BTreeMap<Option<i64>, Vec<Part>> = BTreeMap::new();
    parts.into_iter().for_each(|p| groups.entry(p.group).or_default().push(p));
    let sum = |(group, parts): (Option<i64>, Vec<Part>)| {
        let (left, right): (Vec<f64>, Vec<f64>) =
            (parts.iter().filter_map(|p| p.left).collect(), parts.iter().filter_map(|p| p.right).collect());
        let left = (!left.is_empty()).then(|| left.iter().sum());
        Sums { group, rows: parts.len() as u64, left, right: mean(&right) }
    };
    groups.into_iter().map(sum).collect()
}
/// On any number of threads the same bits as on one.
fn same_everywhere<T: sabot::record::Named + std::fmt::Debug>(job: impl Fn() -> Job, sink: &str, order: Order) {
    let one: Vec<T> = sabot::testing::Trial::new().threads(1).run(job()).unwrap().rows(sink).unwrap();
    everywhere(job, sink, &one, order, 0.0);
}

proptest! {
    #![proptest_config(cases(4))]

    #[test]
    fn sums_behind_a_full_join((rows, split) in items(), (others, cut) in items()) {
        everywhere(|| full_sums(splits(&rows, split), splits(&others, cut)), "sums", &sums(parts(&rows, &others, true)), Order::Same, 1e-6);
    }

    #[test]
    fn sums_behind_a_join_with_little_memory((rows, split) in items(), (others, cut) in items()) {
        let job = || left_sums(splits(&rows, split), splits(&others, cut)).settings(|s| s.broadcast_rows = 0).options(|o| o.memory_budget = Some(64 << 20));
        everywhere(job, "sums", &sums(parts(&rows, &others, false)), Order::Same, 1e-6);
    }

    #[test]
    fn sums_behind_two_joins((rows, split) in items(), (others, cut) in items()) {
        let job = || twice_joined(splits(&rows, split), splits(&others, cut)).settings(|s| s.broadcast_rows = 0).options(|o| o.memory_budget = Some(64 << 20));
        same_everywhere::<Sums>(job, "sums", Order::Same);
    }

    #[test]
    fn histories_behind_a_full_join((rows, split) in items(), (others, cut) in items()) {
        same_everywhere::<Told>(|| full_histories(splits(&rows, split), splits(&others, cut)), "seen", Order::Any);
    }
}
