//! Rows on which a function fails.

use super::*;

/// Some numbers are not allowed.
#[operator]
pub(super) fn allowed(amount: i64, name: &str) -> Result<i64, String> {
    if amount % 4 == 1 { Err(format!("{amount} of `{name}`")) } else { Ok(amount * 3) }
}
/// Some values neither.
#[operator]
pub(super) fn positive(value: f64) -> Result<f64, String> {
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
pub(super) struct Refusals {
    pub(super) error: Str,
    pub(super) rows: u64,
    pub(super) ids: i64,
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

/// Some numbers cannot be judged.
#[operator]
fn fits(amount: i64) -> Result<bool, String> {
    if amount % 4 == 1 { Err(format!("no idea of {amount}")) } else { Ok(amount % 3 != 0) }
}
/// Some values neither.
#[operator]
fn fine(value: f64) -> Result<bool, String> {
    if value < -500.0 { Err("too small".to_owned()) } else { Ok(value < 900.0) }
}
pipeline! {
    /// Predicates that fail, between others.
    pub fn judged(items: Source<Item, Bounded>);
    (good, bad) = items -> filter(|i| i.amount != 7) -> filter(|i| i.name != "") -> filter(|i| fits(i.amount))
                        -> with(|i| row { thrice: i.amount * 3 }) -> filter(|i| i.thrice != 6) -> filter(|i| fine(i.value?))
                        -> dead_letter();
    passed  = good -> select(|i| row Passed { id: i.id, thrice: i.thrice, value: i.value });
    refused = bad -> select(|b| row Refused { id: b.id, error: b.error, operator: b.operator, source: b.source, split: b.split, row: b.row });
    passed -> sink;
    refused -> sink;
}
pipeline! {
    /// One alone.
    pub fn judged_alone(items: Source<Item>);
    fit = items -> filter(|i| fits(i.amount)) -> on_error(skip) -> select(|i| row Number { n: i.id });
    fit -> sink;
}
pipeline! {
    /// The job ends.
    pub fn judged_or_not(items: Source<Item>);
    fit = items -> filter(|i| i.amount > 0) -> filter(|i| fits(i.amount)) -> on_error(fail) -> select(|i| row Number { n: i.id });
    fit -> sink;
}

#[test]
fn the_message_of_a_predicate() {
    let row = |(id, amount): (usize, i64)| Item { id: id as i64, key: None, name: "".into(), amount, value: None, ts: Timestamp::new(0) };
    let rows: Vec<Item> = [4, -3, 8, 9].into_iter().enumerate().map(row).collect();
    let error = sabot::testing::Trial::new().run(judged_or_not(rows)).unwrap_err().to_string();
    assert!(error.contains("`fits` in step `judged_or_not/fit/run`") && error.contains("no idea of 9 at row 3"), "{error}");
}

proptest! {
    #![proptest_config(cases(8))]

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
    fn predicates_that_fail((rows, split) in items()) {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for r in rows.iter().filter(|r| r.amount != 7 && !r.name.is_empty()) {
            let refused = |error: String, operator: &str| Refused {
                id: r.id,
                error: error.into(),
                operator: operator.into(),
                source: "items".into(),
                split: (r.id as usize / split) as u64,
                row: (r.id as usize % split) as u64,
            };
            match (fits(r.amount), r.value.map(fine)) {
                (Err(e), _) => bad.push(refused(e, "fits")),
                (Ok(true), Some(Err(e))) if r.amount != 2 => bad.push(refused(e, "fine")),
                (Ok(true), Some(Ok(true))) if r.amount != 2 => good.push(Passed { id: r.id, thrice: r.amount * 3, value: r.value }),
                _ => {}
            }
        }
        everywhere(|| judged(splits(&rows, split)), "passed", &good, Order::Same, 0.0);
        everywhere(|| judged(splits(&rows, split)), "refused", &bad, Order::Same, 0.0);
        let alone: Vec<Number> = rows.iter().filter(|r| fits(r.amount) == Ok(true)).map(|r| Number { n: r.id }).collect();
        everywhere(|| judged_alone(splits(&rows, split)), "fit", &alone, Order::Same, 0.0);
        let report = sabot::testing::Trial::new().threads(2).run(judged(splits(&rows, split))).unwrap().report.unwrap();
        let run = report.nodes.iter().find(|n| n.name.ends_with("good/run")).unwrap().account;
        prop_assert_eq!((run.used, run.failed), (good.len() as u64, bad.len() as u64));
        prop_assert_eq!(run.rows_in, run.used + run.filtered + run.failed);
    }
}
