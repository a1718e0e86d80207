//! Joins of every kind.

use sabot::stream::Job;

use super::*;

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
/// What later steps make of a row that may be missing.
#[derive(Record, Clone, Debug, PartialEq)]
struct Looked {
    left: i64,
    right: Option<i64>,
    twice: Option<i64>,
}
pipeline! {
    /// Later steps of the same run read columns of a row that may be missing.
    pub fn looked(items: Source<Item>, others: Source<Item, Bounded>);
    looked = items -> key_by(key) -> left_join(others -> key_by(key), |l, r| row { left: l.id, right: r?.id, amount: r?.amount })
                   -> filter(|p| p.amount.is_none_or(|a| a > 0))
                   -> with(|p| row { twice: p.right? * 2 })
                   -> select(|p| row Looked { left: p.left, right: p.right, twice: p.twice });
    looked -> sink;
}
/// Rows of a key.
#[derive(Record, Clone, Debug, PartialEq)]
struct Counted {
    key: Option<i64>,
    rows: u64,
    total: i64,
}

fn sized(job: Job, broadcast: bool) -> Job {
    job.settings(|s| s.broadcast_rows = if broadcast { u64::MAX } else { 0 })
}

proptest! {
    #![proptest_config(cases(8))]

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
    fn rows_that_may_be_missing_are_read_later((rows, split) in items(), (others, cut) in items()) {
        let mut expected = Vec::new();
        for l in &rows {
            let partners: Vec<&Item> = others.iter().filter(|r| l.key.is_some() && r.key == l.key).collect();
            if partners.is_empty() {
                expected.push(Looked { left: l.id, right: None, twice: None });
            }
            let fits = partners.iter().filter(|r| r.amount > 0);
            expected.extend(fits.map(|r| Looked { left: l.id, right: Some(r.id), twice: Some(r.id * 2) }));
        }
        everywhere(|| sized(looked(splits(&rows, split), splits(&others, cut)), true), "looked", &expected, Order::Same, 0.0);
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
}
