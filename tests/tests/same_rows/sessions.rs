//! Sessions.

use super::*;

/// A session with what depends on order.
#[derive(Record, Clone, Debug, PartialEq)]
struct Session {
    key: Option<i64>,
    window_start: Timestamp<Micros>,
    window_end: Timestamp<Micros>,
    rows: u64,
    total: i64,
    mean: Option<f64>,
    first: i64,
    last: i64,
    ids: List<i64>,
    names: u64,
}

pipeline! {
    /// What came with no pause of `gap` seconds.
    pub fn sessions(items: Source<Item>, gap: i64);
    sessions = items -> key_by(key) -> window(session(gap.sec())) -> filter(|i| i.amount != 3)
                     -> aggregate(|i| row {
                            rows: count(), total: sum(i.amount), mean: mean(i.value), first: first(i.id), last: last(i.id), ids: collect(i.id),
                            names: count_distinct(i.name)
                        });
    sessions -> sink;
}

/// A window of sessions.
#[derive(Record, Clone, Debug, PartialEq)]
struct Outer {
    one: i64,
    window_start: Timestamp<Micros>,
    window_end: Timestamp<Micros>,
    sessions: u64,
    rows: u64,
}

pipeline! {
    /// Sessions of sessions: their event time is their end - 1.
    pub fn sessions_of(items: Source<Item>);
    inner       = items -> key_by(key) -> window(session(3.sec())) -> aggregate(|i| row { rows: count() }) -> with(|_i| row { one: 1i64 });
    sessions_of = inner -> key_by(one) -> window(session(5.sec())) -> aggregate(|s| row { sessions: count(), rows: sum(s.rows) });
    sessions_of -> sink;
}

pipeline! {
    /// Sessions by tumbling window.
    pub fn minutes_of(items: Source<Item>);
    inner      = items -> key_by(key) -> window(session(3.sec())) -> aggregate(|i| row { rows: count() }) -> with(|_i| row { one: 1i64 });
    minutes_of = inner -> key_by(one) -> window(tumbling(20.sec())) -> aggregate(|s| row { sessions: count(), rows: sum(s.rows) });
    minutes_of -> sink;
}

/// A row that tells time in nanoseconds.
#[derive(Record, Clone, Debug, PartialEq)]
struct Fine {
    key: Option<i64>,
    #[event_time]
    ts: Timestamp<Nanos>,
}

/// As it comes out.
#[derive(Record, Clone, Debug, PartialEq)]
struct FineSession {
    key: Option<i64>,
    window_start: Timestamp<Micros>,
    window_end: Timestamp<Micros>,
    rows: u64,
}

pipeline! {
    /// Of nanoseconds; no result carries them.
    pub fn fine(items: Source<Fine>);
    fine = items -> key_by(key) -> window(session(3.sec())) -> aggregate(|_i| row { rows: count() });
    fine -> sink;
}

/// The rows of each session by key, in order of event time.
fn apart<R>(rows: &[R], key: impl Fn(&R) -> Option<i64>, time: impl Fn(&R) -> i64, gap: i64) -> Vec<Vec<&R>> {
    let mut sorted: Vec<&R> = rows.iter().collect();
    sorted.sort_by_key(|r| (key(r), time(r)));
    sorted.chunk_by(|a, b| key(a) == key(b) && time(b) - time(a) < gap).map(<[&R]>::to_vec).collect()
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn rows_without_a_pause((rows, split) in items(), gap in 1..40i64) {
        let kept: Vec<Item> = rows.iter().filter(|r| r.amount != 3).cloned().collect();
        let expected: Vec<Session> = apart(&kept, |r| r.key, |r| r.ts.value(), gap * SECOND).into_iter().map(|rows| Session {
            key: rows[0].key,
            window_start: rows[0].ts,
            window_end: (rows[rows.len() - 1].ts.value() + gap * SECOND).into(),
            rows: rows.len() as u64,
            total: rows.iter().map(|r| r.amount).sum(),
            mean: mean(&values(&rows)),
            first: rows[0].id,
            last: rows[rows.len() - 1].id,
            ids: rows.iter().map(|r| r.id).collect(),
            names: rows.iter().map(|r| r.name.to_string()).collect::<std::collections::BTreeSet<_>>().len() as u64,
        }).collect();
        everywhere(|| sessions(splits(&rows, split), gap), "sessions", &expected, Order::Same, 1e-6);
    }

    #[test]
    fn sessions_of_sessions((rows, split) in items()) {
        let inner: Vec<(i64, u64)> = apart(&rows, |r| r.key, |r| r.ts.value(), 3 * SECOND).into_iter()
            .map(|rows| (rows[rows.len() - 1].ts.value() + 3 * SECOND - 1, rows.len() as u64)).collect();
        let outer = |rows: Vec<&(i64, u64)>, start: i64, end: i64| Outer {
            one: 1,
            window_start: start.into(),
            window_end: end.into(),
            sessions: rows.len() as u64,
            rows: rows.iter().map(|r| r.1).sum(),
        };
        let expected: Vec<Outer> = apart(&inner, |_| None, |r| r.0, 5 * SECOND).into_iter()
            .map(|rows| { let (from, to) = (rows[0].0, rows[rows.len() - 1].0); outer(rows, from, to + 5 * SECOND) }).collect();
        everywhere(|| sessions_of(splits(&rows, split)), "sessions_of", &expected, Order::Same, 0.0);
        let size = 20 * SECOND;
        let mut by: BTreeMap<i64, Vec<&(i64, u64)>> = BTreeMap::new();
        inner.iter().for_each(|r| by.entry(r.0 / size * size).or_default().push(r));
        let expected: Vec<Outer> = by.into_iter().map(|(start, rows)| outer(rows, start, start + size)).collect();
        everywhere(|| minutes_of(splits(&rows, split)), "minutes_of", &expected, Order::Same, 0.0);
    }

    #[test]
    fn sessions_of_nanoseconds((rows, split) in items()) {
        let gap = 3 * SECOND * 1000;
        // a nanosecond decides
        let rows: Vec<Fine> = rows.iter().map(|r| Fine { key: r.key, ts: Timestamp::new(r.ts.value() * 1000 + i64::from(r.amount > 0)) }).collect();
        let expected: Vec<FineSession> = apart(&rows, |r| r.key, |r| r.ts.value(), gap).into_iter().map(|rows| FineSession {
            key: rows[0].key,
            window_start: (rows[0].ts.value() / 1000).into(),
            window_end: ((rows[rows.len() - 1].ts.value() + gap) / 1000).into(),
            rows: rows.len() as u64,
        }).collect();
        everywhere(|| fine(splits(&rows, split)), "fine", &expected, Order::Same, 1e-9);
    }
}

#[test]
fn a_gap_of_nothing_is_refused() {
    for gap in [0, -5] {
        let error = sessions(Vec::<Item>::new(), gap).collect::<Session>().unwrap_err().to_string();
        assert!(error.contains("`sessions`: a session needs a positive gap"), "{error}");
    }
}
