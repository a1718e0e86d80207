//! Steps of random graphs that the macro makes, each a pipeline of its own, and what they do in plain Rust.

use std::cmp::Reverse;

use super::Small::*;
use super::*;

/// A row with a time.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Timed {
    pub a: i64,
    pub b: Option<i64>,
    pub c: Str,
    pub d: i64,
    #[event_time]
    pub at: Timestamp<Micros>,
}

fn second(s: i64) -> Timestamp<Micros> {
    Timestamp::new(s * 1_000_000)
}

/// Some numbers are refused.
#[operator]
fn allowed(a: i64) -> std::result::Result<i64, String> {
    if a % 3 == 1 { Err(format!("no {a}")) } else { Ok(a + 1) }
}
/// Some are judged.
#[operator]
fn fits(d: i64) -> std::result::Result<bool, String> {
    if d % 5 == 3 { Err(format!("no idea of {d}")) } else { Ok(d % 2 != 0) }
}

pipeline! {
    pub fn right(rows: Source<Wide, Bounded>, other: Source<Wide, Bounded>) -> Wide;
    out = rows -> key_by(a) -> right_join(other -> key_by(d), on = |l, r| l.c.len() >= r.c.len(), |l, r| row Wide { a: r.a, b: l?.b, c: r.c, d: r.d });
    out -> sink;
}
pipeline! {
    pub fn full(rows: Source<Wide, Bounded>, other: Source<Wide, Bounded>) -> Wide;
    out = rows -> key_by(b) -> full_join(other -> key_by(b), |l, r| row Wide { a: l.map_or(100, |l| l.a), b: r?.a, c: l.map_or("none", |l| l.c), d: r.map_or(100, |r| r.d) });
    out -> sink;
}
pipeline! {
    pub fn asof(rows: Source<Wide, Bounded>, other: Source<Wide, Bounded>) -> Wide;
    left = rows -> select(|r| row Timed { a: r.a, b: r.b, c: r.c, d: r.d, at: second(r.a) });
    near = other -> select(|r| row Timed { a: r.a, b: r.b, c: r.c, d: r.d, at: second(r.d) });
    out = left -> key_by(c) -> asof_join(near -> key_by(c), tolerance = 6.sec(), |l, r| row Wide { a: l.a, b: r?.a, c: l.c, d: l.d });
    out -> sink;
}
pipeline! {
    pub fn unlike(rows: Source<Wide, Bounded>) -> Wide;
    out = rows -> distinct();
    out -> sink;
}
pipeline! {
    pub fn highest(rows: Source<Wide, Bounded>) -> Wide;
    out = rows -> top(7, desc(a), b, c, d);
    out -> sink;
}
pipeline! {
    pub fn highest_of_key(rows: Source<Wide, Bounded>) -> Wide;
    out = rows -> key_by(c) -> top(2, desc(d), a, b);
    out -> sink;
}
pipeline! {
    pub fn numbered(rows: Source<Wide, Bounded>) -> Wide;
    out = rows -> key_by(c) -> over(d, desc(a), b, |r| row { place: row_number(), before: lag(r.a) })
               -> select(|r| row Wide { a: r.a, b: r.before, c: r.c, d: r.place as i64 });
    out -> sink;
}
pipeline! {
    pub fn shares(rows: Source<Wide, Bounded>) -> Wide;
    out = rows -> key_by(c) -> over(|r| row { total: sum(r.a), rows: count() }) -> select(|r| row Wide { a: r.a, b: Some(r.total), c: r.c, d: r.d });
    out -> sink;
}
pipeline! {
    pub fn shared(rows: Source<Wide, Bounded>, other: Source<Wide, Bounded>) -> Wide;
    mine = rows -> select(|r| row Wide { a: r.a % 3, b: None::<i64>, c: r.c, d: 0i64 });
    out = mine -> intersect(other -> select(|r| row Wide { a: r.a % 3, b: None::<i64>, c: r.c, d: 0i64 }));
    out -> sink;
}
pipeline! {
    pub fn only(rows: Source<Wide, Bounded>, other: Source<Wide, Bounded>) -> Wide;
    mine = rows -> select(|r| row Wide { a: r.a, b: r.b, c: r.c, d: 0i64 });
    out = mine -> except(other -> filter(|r| r.a > 0) -> select(|r| row Wide { a: r.a, b: r.b, c: r.c, d: 0i64 }));
    out -> sink;
}
pipeline! {
    pub fn reduced(rows: Source<Wide, Bounded>) -> Wide;
    out = rows -> key_by(c) -> reduce(|x, y| Wide { a: x.a.max(y.a), b: x.b.max(y.b), c: x.c, d: x.d.min(y.d) });
    out -> sink;
}
pipeline! {
    pub fn hopping(rows: Source<Wide, Bounded>) -> Wide;
    out = rows -> select(|r| row Timed { a: r.a, b: r.b, c: r.c, d: r.d, at: second(r.a) })
               -> key_by(c) -> window(hop(4.sec(), 2.sec())) -> aggregate(|t| row { total: sum(t.d), rows: count() })
               -> select(|w| row Wide { a: w.window_start.value() / 1_000_000, b: Some(w.total), c: w.c, d: w.rows as i64 });
    out -> sink;
}
pipeline! {
    pub fn pausing(rows: Source<Wide, Bounded>) -> Wide;
    out = rows -> select(|r| row Timed { a: r.a, b: r.b, c: r.c, d: r.d, at: second(r.a) })
               -> key_by(c) -> window(session(3.sec())) -> aggregate(|t| row { total: sum(t.d), rows: count() })
               -> select(|w| row Wide { a: w.window_start.value() / 1_000_000, b: Some(w.total), c: w.c, d: w.rows as i64 });
    out -> sink;
}
pipeline! {
    pub fn skipped(rows: Source<Wide, Bounded>) -> Wide;
    out = rows -> with(|r| row { unread: allowed(r.d), e: allowed(r.a) }) -> on_error(skip) -> select(|r| row Wide { a: r.e, b: r.b, c: r.c, d: r.d });
    out -> sink;
}
pipeline! {
    pub fn nulled(rows: Source<Wide, Bounded>) -> Wide;
    out = rows -> with(|r| row { unread: allowed(r.d), e: allowed(r.a) }) -> on_error(null) -> select(|r| row Wide { a: r.a, b: r.e, c: r.c, d: r.d });
    out -> sink;
}
pipeline! {
    pub fn lettered(rows: Source<Wide, Bounded>) -> Wide;
    (good, bad) = rows -> with(|r| row { e: allowed(r.a) }) -> filter(|r| r.d != 4) -> dead_letter();
    lost = bad -> select(|r| row Wide { a: r.a, b: None::<i64>, c: r.error, d: r.d });
    out = good -> select(|r| row Wide { a: r.a, b: Some(r.e), c: r.c, d: r.d }) -> union(lost);
    out -> sink;
}
pipeline! {
    pub fn judged(rows: Source<Wide, Bounded>) -> Wide;
    out = rows -> filter(|r| r.a != 5) -> filter(|r| fits(r.d)) -> on_error(skip) -> select(|r| row Wide { a: r.a, b: r.b, c: r.c, d: r.d });
    out -> sink;
}

impl Small {
    pub fn build<'g>(self, s: Wides<'g>, other: Wides<'g>) -> Wides<'g> {
        match self {
            Right => right(s, other),
            Full => full(s, other),
            AsOf => asof(s, other),
            Distinct => unlike(s),
            Top => highest(s),
            TopOfKey => highest_of_key(s),
            Over => numbered(s),
            Share => shares(s),
            Intersect => shared(s, other),
            Except => only(s, other),
            Reduce => reduced(s),
            Hop => hopping(s),
            Session => pausing(s),
            Skip => skipped(s),
            Null => nulled(s),
            Letters => lettered(s),
            Judged => judged(s),
        }
    }

    /// The rows, and whether their order is known.
    pub fn model(self, rows: Vec<Wide>, other: &[Wide], ordered: bool) -> (Vec<Wide>, bool) {
        let key = |r: &Wide| (r.b.is_none(), r.b, r.c.to_string(), r.d);
        let third = |r: &Wide| Wide { a: r.a % 3, b: None, c: r.c.clone(), d: 0 };
        let without = |r: &Wide| Wide { d: 0, ..r.clone() };
        let made = match self {
            Right => {
                let pair = |l: &Wide, r: &Wide| l.a == r.d && l.c.len() >= r.c.len();
                let mut out = Vec::new();
                for r in other {
                    let left: Vec<&Wide> = rows.iter().filter(|l| pair(l, r)).collect();
                    out.extend(left.iter().map(|l| Wide { b: l.b, ..r.clone() }));
                    if left.is_empty() {
                        out.push(Wide { b: None, ..r.clone() });
                    }
                }
                out
            }
            Full => {
                let pair = |l: &Wide, r: &Wide| l.b.is_some() && l.b == r.b;
                let mut out = Vec::new();
                for l in &rows {
                    out.extend(other.iter().filter(|r| pair(l, r)).map(|r| Wide { b: Some(r.a), d: r.d, ..l.clone() }));
                    if !other.iter().any(|r| pair(l, r)) {
                        out.push(Wide { b: None, d: 100, ..l.clone() });
                    }
                }
                let lonely = other.iter().filter(|r| !rows.iter().any(|l| pair(l, r)));
                out.extend(lonely.map(|r| Wide { a: 100, b: Some(r.a), c: "none".into(), d: r.d }));
                out
            }
            AsOf => {
                let near = |l: &Wide| other.iter().filter(|r| r.c == l.c && r.d <= l.a && l.a - r.d <= 6).max_by_key(|r| r.d).map(|r| r.a);
                rows.into_iter().map(|l| Wide { b: near(&l), ..l }).collect()
            }
            Distinct => unique(rows),
            Top => {
                let mut rows = rows;
                rows.sort_by_key(|r| (Reverse(r.a), key(r)));
                rows.truncate(7);
                return (rows, true);
            }
            TopOfKey => per_key(rows, |mut group| {
                group.sort_by_key(|r| (Reverse(r.d), r.a, key(r)));
                group.truncate(2);
                group
            }),
            Over => per_key(rows, |mut group| {
                group.sort_by_key(|r| (r.d, Reverse(r.a), key(r)));
                let before: Vec<Option<i64>> = std::iter::once(None).chain(group.iter().map(|r| Some(r.a))).collect();
                let row = |((at, r), b): ((usize, Wide), Option<i64>)| Wide { b, d: at as i64 + 1, ..r };
                group.into_iter().enumerate().zip(before).map(row).collect()
            }),
            Share => per_key(rows, |group| {
                let total = Some(group.iter().map(|r| r.a).sum());
                group.into_iter().map(|r| Wide { b: total, ..r }).collect()
            }),
            Intersect => {
                let theirs: Vec<Wide> = other.iter().map(third).collect();
                unique(rows.iter().map(third).filter(|r| theirs.contains(r)).collect())
            }
            Except => {
                let theirs: Vec<Wide> = other.iter().filter(|r| r.a > 0).map(without).collect();
                unique(rows.iter().map(without).filter(|r| !theirs.contains(r)).collect())
            }
            Reduce => per_key(rows, |group| {
                let both = |x: Wide, y: Wide| Wide { a: x.a.max(y.a), b: x.b.max(y.b), c: x.c, d: x.d.min(y.d) };
                group.into_iter().reduce(both).into_iter().collect()
            }),
            Hop => per_key(rows, |group| {
                let mut starts: Vec<i64> = group.iter().flat_map(|r| [r.a.div_euclid(2) * 2, r.a.div_euclid(2) * 2 - 2]).collect();
                starts.sort_unstable();
                starts.dedup();
                let window = |start: i64| {
                    let mine: Vec<&Wide> = group.iter().filter(|r| (start..start + 4).contains(&r.a)).collect();
                    Wide { a: start, b: Some(mine.iter().map(|r| r.d).sum()), c: group[0].c.clone(), d: mine.len() as i64 }
                };
                starts.into_iter().map(window).collect()
            }),
            Session => per_key(rows, |mut group| {
                group.sort_by_key(|r| r.a);
                let one = |rows: &[Wide]| Wide {
                    a: rows[0].a,
                    b: Some(rows.iter().map(|r| r.d).sum()),
                    c: rows[0].c.clone(),
                    d: rows.len() as i64,
                };
                group.chunk_by(|x, y| y.a - x.a < 3).map(one).collect()
            }),
            Skip => {
                let row = |r: Wide| allowed(r.d).and(allowed(r.a)).ok().map(|a| Wide { a, ..r });
                return (rows.into_iter().filter_map(row).collect(), ordered);
            }
            Null => return (rows.into_iter().map(|r| Wide { b: allowed(r.a).ok(), ..r }).collect(), ordered),
            Letters => {
                let row = |r: Wide| match allowed(r.a) {
                    Ok(e) => (r.d != 4).then_some(Wide { b: Some(e), ..r }),
                    Err(error) => Some(Wide { b: None, c: error.into(), ..r }),
                };
                rows.into_iter().filter_map(row).collect()
            }
            Judged => return (rows.into_iter().filter(|r| r.a != 5 && fits(r.d) == Ok(true)).collect(), ordered),
        };
        (made, false)
    }
}

fn unique(rows: Vec<Wide>) -> Vec<Wide> {
    let mut out: Vec<Wide> = Vec::new();
    for r in rows {
        if !out.contains(&r) {
            out.push(r);
        }
    }
    out
}

/// What is made of the rows of each text.
fn per_key(rows: Vec<Wide>, f: impl Fn(Vec<Wide>) -> Vec<Wide>) -> Vec<Wide> {
    let mut groups: std::collections::BTreeMap<String, Vec<Wide>> = std::collections::BTreeMap::new();
    for r in rows {
        groups.entry(r.c.to_string()).or_default().push(r);
    }
    groups.into_values().flat_map(f).collect()
}
