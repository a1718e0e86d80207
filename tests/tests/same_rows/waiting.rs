//! Errors of steps that wait.

use sabot_tests::give_way;

use super::errors::{Refusals, allowed, positive};
use super::*;

/// Some amounts are refused, after a while.
#[operator(max_in_flight = 5, retry = 1, retry_wait = "10us")]
async fn asked(amount: i64, name: &str) -> Result<i64, String> {
    give_way(amount.unsigned_abs() % 4).await;
    allowed(amount, name)
}
/// The same, as calls end.
#[operator(max_in_flight = 5, unordered)]
async fn asked_at_once(amount: i64, name: &str) -> Result<i64, String> {
    asked(amount, name).await
}
/// A row and what was answered, if anything.
#[derive(Record, Clone, Debug, PartialEq)]
struct Answered {
    id: i64,
    answer: Option<i64>,
}
/// One without an answer, of which only a part is read.
#[derive(Record, Clone, Debug, PartialEq)]
struct Unanswered {
    name: Str,
    error: Str,
    split: u64,
}

pipeline! {
    /// Both ways.
    pub fn asked_in_turn(items: Source<Item, Bounded>);
    (good, bad) = items -> filter(|i| i.amount != 7) -> with(|i| row { answer: asked(i.amount, i.name).await }) -> dead_letter();
    answered   = good -> select(|i| row Answered { id: i.id, answer: Some(i.answer) });
    unanswered = bad -> select(|b| row Unanswered { name: b.name, error: b.error, split: b.split });
    refusals   = bad -> key_by(error) -> aggregate(|b| row { rows: count(), ids: sum(b.id) });
    answered -> sink;
    unanswered -> sink;
    refusals -> sink;
}
pipeline! {
    /// Both ways, in any order.
    pub fn asked_in_any_order(items: Source<Item, Bounded>);
    (good, bad) = items -> with(|i| row { answer: asked_at_once(i.amount, i.name).await }) -> dead_letter();
    answered   = good -> select(|i| row Answered { id: i.id, answer: Some(i.answer) });
    unanswered = bad -> select(|b| row Unanswered { name: b.name, error: b.error, split: b.split });
    answered -> sink;
    unanswered -> sink;
}
pipeline! {
    /// Nulls for errors.
    pub fn asked_or_null(items: Source<Item>);
    answered = items -> with(|i| row { answer: asked(i.amount, i.name).await }) -> on_error(null) -> select(|i| row Answered { id: i.id, answer: i.answer });
    answered -> sink;
}
pipeline! {
    /// Without them, behind a function that fails on others.
    pub fn asked_or_not(items: Source<Item>);
    answered = items -> with(|i| row { value: positive(i.value?) }) -> on_error(skip)
                     -> with(|i| row { answer: asked(i.amount, i.name).await }) -> on_error(skip)
                     -> filter(|i| i.answer != 6) -> select(|i| row Answered { id: i.id, answer: Some(i.answer) });
    answered -> sink;
}

proptest! {
    #![proptest_config(cases(4))]

    #[test]
    fn errors_of_calls((rows, split) in items()) {
        let answer = |r: &&Item| allowed(r.amount, &r.name).ok().map(|a| Answered { id: r.id, answer: Some(a) });
        let left = |calls: &'static str| move |(at, r): (usize, &Item)| {
            let error = allowed(r.amount, &r.name).err()?;
            Some(Unanswered { name: r.name.clone(), error: format!("{error}{calls}").into(), split: (at / split) as u64 })
        };
        let turn: Vec<Answered> = rows.iter().filter(|r| r.amount != 7).filter_map(|r| answer(&r)).collect();
        let lost: Vec<Unanswered> = rows.iter().enumerate().filter(|(_, r)| r.amount != 7).filter_map(left(" (call 2 of 2)")).collect();
        everywhere(|| asked_in_turn(splits(&rows, split)), "answered", &turn, Order::Same, 0.0);
        everywhere(|| asked_in_turn(splits(&rows, split)), "unanswered", &lost, Order::Same, 0.0);
        let mut refusals: BTreeMap<String, (u64, i64)> = BTreeMap::new();
        for r in rows.iter().filter(|r| r.amount != 7) {
            if let Err(error) = allowed(r.amount, &r.name) {
                let of = refusals.entry(error + " (call 2 of 2)").or_default();
                *of = (of.0 + 1, of.1 + r.id);
            }
        }
        let refusals: Vec<Refusals> = refusals.into_iter().map(|(error, (rows, ids))| Refusals { error: error.into(), rows, ids }).collect();
        everywhere(|| asked_in_turn(splits(&rows, split)), "refusals", &refusals, Order::Any, 0.0);
        let all: Vec<Answered> = rows.iter().filter_map(|r| answer(&r)).collect();
        let lost: Vec<Unanswered> = rows.iter().enumerate().filter_map(left("")).collect();
        everywhere(|| asked_in_any_order(splits(&rows, split)), "answered", &all, Order::Any, 0.0);
        everywhere(|| asked_in_any_order(splits(&rows, split)), "unanswered", &lost, Order::Any, 0.0);
        let nulls: Vec<Answered> = rows.iter().map(|r| Answered { id: r.id, answer: allowed(r.amount, &r.name).ok() }).collect();
        everywhere(|| asked_or_null(splits(&rows, split)), "answered", &nulls, Order::Same, 0.0);
        let kept: Vec<Answered> =
            rows.iter().filter(|r| r.value.is_none_or(|v| positive(v).is_ok())).filter_map(|r| answer(&r)).filter(|a| a.answer != Some(6)).collect();
        everywhere(|| asked_or_not(splits(&rows, split)), "answered", &kept, Order::Same, 0.0);
    }
}
