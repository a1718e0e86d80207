//! Steps over random rows, with nulls, duplicates and skew, and over none.

use super::Random;
use sabot::prelude::*;

pipeline! {
    /// The plain aggregates of each type.
    pub fn plain_measures(random: Source<Random, Bounded>);
    out = random -> key_by(k) -> aggregate(|r| row {
        rows: count(), xs: count(r.x), total: sum(r.n), mean: mean(r.n), exact: sum(r.d), low_name: min(r.name), high_name: max(r.name),
        low_x: min(r.x), high_x: max(r.x), low_d: min(r.d), high_b: max(r.b), last: max(r.ts),
    });
    out -> sink;
}

pipeline! {
    /// A day and its parts.
    pub fn tumbling_windows(random: Source<Random>);
    out = random -> key_by(k) -> window(tumbling(90.minute())) -> aggregate(|r| row { rows: count(), total: sum(r.n), most: max(r.name) });
    out -> sink;
}

pipeline! {
    /// All rows in an order, nulls on either end.
    pub fn in_an_order(random: Source<Random, Bounded>);
    out = random -> sort(desc(x), nulls_first(name), k, id) -> select(|r| row { x: r.x, name: r.name, k: r.k, id: r.id });
    out -> sink;
}

pipeline! {
    /// The first rows that a filter leaves.
    pub fn first_rows(random: Source<Random>, n: i64);
    out = random -> filter(|r| r.n? > n) -> limit(10) -> select(|r| row { id: r.id, n: r.n });
    out -> sink;
}

pipeline! {
    /// The best of each key.
    pub fn best_of_key(random: Source<Random, Bounded>, rows: u64);
    out = random -> key_by(k) -> top(rows, desc(n), nulls_first(name), id) -> select(|r| row { k: r.k, n: r.n, name: r.name, id: r.id });
    out -> sink;
}

pipeline! {
    /// Ranks with ties.
    pub fn ranks_of_key(random: Source<Random, Bounded>);
    out = random -> key_by(k) -> over(desc(n), |r| row { rank: rank(), dense: dense_rank(), share: percent_rank() })
                 -> select(|r| row { k: r.k, id: r.id, rank: r.rank, dense: r.dense, share: r.share });
    out -> sink;
}

pipeline! {
    /// Neighbours, and what came before.
    pub fn running_of_key(random: Source<Random, Bounded>);
    out = random -> key_by(k) -> over(n, id, |r| row {
                        place: row_number(), before: lag(r.name), third: lag(r.id, 3), after: lead(r.x), total: sum(r.n), known: count(r.x),
                        least: min(r.d), most: max(r.name) })
                 -> select(|r| row { k: r.k, id: r.id, place: r.place, before: r.before, third: r.third, after: r.after, total: r.total, known: r.known,
                        least: r.least, most: r.most });
    out -> sink;
}

pipeline! {
    /// Rows without repetition.
    pub fn distinct_of_random(random: Source<Random, Bounded>);
    out = random -> select(|r| row { k: r.k, n: r.n, b: r.b }) -> distinct();
    out -> sink;
}

/// Few columns.
#[derive(Record, Clone, Debug)]
struct Few {
    k: Option<i64>,
    n: Option<i64>,
}

pipeline! {
    /// In both halves.
    pub fn in_both_halves(random: Source<Random, Bounded>);
    low  = random -> filter(|r| r.x? < 100.0) -> select(|r| row Few { k: r.k, n: r.n });
    high = random -> filter(|r| r.x? >= 100.0) -> select(|r| row Few { k: r.k, n: r.n });
    out  = low -> intersect(high);
    out -> sink;
}

pipeline! {
    /// In one half alone.
    pub fn in_one_half(random: Source<Random, Bounded>);
    low  = random -> filter(|r| r.x? < 100.0) -> select(|r| row Few { k: r.k, n: r.n });
    high = random -> filter(|r| r.x? >= 100.0) -> select(|r| row Few { k: r.k, n: r.n });
    out  = low -> except(high);
    out -> sink;
}

pipeline! {
    /// Halves that overlap, as one.
    pub fn halves(random: Source<Random, Bounded>);
    low  = random -> filter(|r| r.x? < 300.0) -> select(|r| row Few { k: r.k, n: r.n });
    high = random -> filter(|r| r.x? >= 100.0) -> select(|r| row Few { k: r.k, n: r.n });
    out  = low -> union(high) -> key_by(k) -> aggregate(|r| row { rows: count(), total: sum(r.n), mean: mean(r.n) });
    out -> sink;
}
