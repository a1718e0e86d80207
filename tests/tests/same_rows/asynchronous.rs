//! Calls that take their time.

use sabot_tests::give_way;

use super::*;

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
                    -> with(|i| row { short: i.name, text: told_later_in_turn(i.name, i.key, i.value? + plus).await }) -> on_error(fail)
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
                        -> with(|i| row { text: told_later(i.name, i.key, i.value? + plus).await }) -> on_error(fail)
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

pipeline! {
    /// Calls at the instances of a number, and the order of all rows again behind them.
    pub fn waited_by_number(items: Source<Item, Bounded>);
    by_number = items -> filter(|i| i.amount != 7) -> with(|i| row { shard: i.amount % 5 }) -> partition_by(shard) -> map(twice_later.await)
                      -> filter(|i| i.id % 7 != 1) -> select(|i| row Number { n: i.id * 1000 + i.twice_later });
    by_number -> sink;
}
pipeline! {
    /// Calls at the instances of a key, between two steps that see the order of its rows.
    pub fn waited_by_key(items: Source<Timeless, Bounded>);
    by_key = items -> key_by(key) -> keyed(|i| row { history: history(i.id) }) -> with(|i| row { later: twice_later(i.history).await })
                   -> key_by(key) -> keyed(|i| row { again: history(i.later) }) -> select(|i| row Told { id: i.id, history: i.again });
    by_key -> sink;
}
pipeline! {
    /// Two steps that wait, in any order and then in turn.
    pub fn waited_twice(items: Source<Item, Bounded>, plus: f64);
    waited_twice = items -> rebalance() -> with(|i| row { text: told_later(i.name, i.key, i.value? + plus).await }) -> on_error(skip)
                         -> map(twice_later.await) -> select(|i| row Waited { id: i.id, twice_later: i.twice_later, text: i.text, key: i.key });
    waited_twice -> sink;
}

/// The rows of a key that have a history.
fn told<K: PartialEq + Clone>(rows: impl Iterator<Item = (K, i64, i64)>) -> Vec<(K, i64, i64)> {
    let mut seen: Vec<(K, Seen)> = Vec::new();
    let mut told = Vec::new();
    for (key, id, n) in rows {
        let at = seen.iter().position(|(k, _)| *k == key).unwrap_or_else(|| {
            seen.push((key.clone(), Seen::default()));
            seen.len() - 1
        });
        told.extend(history(&mut seen[at].1, n).map(|history| (key, id, history)));
    }
    told
}

proptest! {
    // each of its jobs starts a tokio
    #![proptest_config(cases(3))]

    #[test]
    fn async_calls_where_rows_are((rows, split) in items()) {
        let numbers = rows.iter().filter(|r| r.amount != 7 && r.id % 7 != 1).map(|r| Number { n: r.id * 1000 + r.amount * 2 });
        everywhere(|| waited_by_number(splits(&rows, split)), "by_number", &numbers.collect::<Vec<_>>(), Order::Same, 0.0);

        let timeless: Vec<Timeless> = rows.iter().map(|r| Timeless { id: r.id, key: r.key }).collect();
        let first = told(timeless.iter().map(|r| (r.key, r.id, r.id)));
        let again = told(first.into_iter().map(|(key, id, history)| (key, id, history * 2)));
        let again: Vec<Told> = again.into_iter().map(|(_, id, history)| Told { id, history }).collect();
        everywhere(|| waited_by_key(splits(&timeless, split)), "by_key", &again, Order::Any, 0.0);

        let text = |r: &Item| r.value.map(|v| Str::from(format!("{} {:?} {:.1}", r.name.as_str(), r.key, v + 0.5)));
        let waited = rows.iter().map(|r| Waited { id: r.id, twice_later: r.amount * 2, text: text(r), key: r.key });
        everywhere(|| waited_twice(splits(&rows, split), 0.5), "waited_twice", &waited.collect::<Vec<_>>(), Order::Any, 0.0);
    }

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
