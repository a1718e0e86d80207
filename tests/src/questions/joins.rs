//! Every join over random rows with nulls, duplicates, skew and empty sides (`tests/duckdb/joins.py`).

use sabot::prelude::*;

/// A random row.
#[derive(Record, Clone, Debug)]
struct Row {
    id: i64,
    k: Option<i64>,
    g: Option<Str>,
    v: Option<i64>,
    #[event_time]
    ts: Timestamp<Micros>,
}

pipeline! {
    /// Two keys and a condition.
    pub fn join_inner(a: Source<Row, Bounded>, b: Source<Row, Bounded>);
    out = a -> key_by(k, g) -> join(b -> key_by(k, g), on = |l, r| l.v? <= r.v?, |l, r| row { l: l.id, r: r.id, g: l.g });
    out -> sink;
}
pipeline! {
    /// A condition that refuses all partners of some rows.
    pub fn join_left(a: Source<Row, Bounded>, b: Source<Row, Bounded>);
    out = a -> key_by(k) -> left_join(b -> key_by(k), on = |l, r| l.v? % 3 == r.v? % 3, |l, r| row { l: l.id, r: r?.id, g: r?.g });
    out -> sink;
}
pipeline! {
    /// Right rows stay.
    pub fn join_right(a: Source<Row, Bounded>, b: Source<Row, Bounded>);
    out = a -> key_by(g) -> right_join(b -> key_by(g), on = |l, r| l.k? == r.k? + 1, |l, r| row { l: l?.id, r: r.id, g: l?.g, k: r.k });
    out -> sink;
}
pipeline! {
    /// Rows of both sides stay.
    pub fn join_full(a: Source<Row, Bounded>, b: Source<Row, Bounded>);
    out = a -> key_by(k, g) -> full_join(b -> key_by(k, g), |l, r| row { l: l?.id, r: r?.id, v: l?.v });
    out -> sink;
}
pipeline! {
    /// Which left rows have a partner.
    pub fn join_semi(a: Source<Row, Bounded>, b: Source<Row, Bounded>);
    out = a -> key_by(k) -> semi_join(b -> filter(|r| r.id % 3 == 0) -> key_by(k), on = |l, r| l.v? < r.v?) -> select(|l| row { l: l.id, g: l.g });
    out -> sink;
}
pipeline! {
    /// Which left rows have none.
    pub fn join_anti(a: Source<Row, Bounded>, b: Source<Row, Bounded>);
    out = a -> key_by(k, g) -> anti_join(b -> filter(|r| r.id % 3 == 0) -> key_by(k, g)) -> select(|l| row { l: l.id, k: l.k });
    out -> sink;
}
pipeline! {
    /// The last before.
    pub fn asof_backward(a: Source<Row, Bounded>, b: Source<Row, Bounded>);
    out = a -> key_by(k) -> asof_join(b -> key_by(k), |l, r| row { l: l.id, r: r?.id, v: r?.v });
    out -> sink;
}
pipeline! {
    /// The first after, not too long after.
    pub fn asof_forward(a: Source<Row, Bounded>, b: Source<Row, Bounded>);
    out = a -> key_by(k, g) -> asof_join(b -> key_by(k, g), direction = forward, tolerance = 3.minute(), |l, r| row { l: l.id, r: r?.id });
    out -> sink;
}
pipeline! {
    /// The nearest.
    pub fn asof_nearest(a: Source<Row, Bounded>, b: Source<Row, Bounded>);
    out = a -> key_by(k) -> asof_join(b -> key_by(k), |l, r| row { l: l.id, r: r?.id }, direction = nearest);
    out -> sink;
}
pipeline! {
    /// In time alone.
    pub fn asof_global(a: Source<Row, Bounded>, b: Source<Row, Bounded>);
    out = a -> asof_join(b -> filter(|r| r.id % 2 == 0), tolerance = 30.sec(), |l, r| row { l: l.id, r: r?.id });
    out -> sink;
}
pipeline! {
    /// Pairs that are near in time.
    pub fn interval(a: Source<Row, Bounded>, b: Source<Row, Bounded>);
    out = a -> key_by(k) -> interval_join(b -> key_by(k), within = -5.minute()..=90.sec(), |l, r| row { l: l.id, r: r.id });
    out -> sink;
}
