//! State that is written and read back: that of every operator, at another number of threads; and what earlier versions of this
//! program have written.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sabot::prelude::*;
use sabot::stream::Job;
use sabot_tests::give_way;

#[path = "restored/fixture.rs"]
mod fixture;
#[path = "restored/table.rs"]
mod table;

const SECOND: i64 = 1_000_000;
/// How long sources wait: no row is late.
const DISORDER: i64 = 4 * SECOND;

/// Something that happened.
#[derive(Record, Clone, Debug, PartialEq)]
struct Event {
    id: i64,
    key: i64,
    amount: i64,
    name: Str,
    #[event_time]
    ts: Timestamp<Micros>,
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Row `row` of a partition of one of two sources: about two seconds on, some rows up to three seconds back, no two at the same time.
fn event(side: u64, partition: u32, row: u64) -> Event {
    let random = mix((side + 1) << 60 | u64::from(partition) << 40 | row);
    let (id, part) = (row as i64 * 8 + i64::from(partition) * 2 + side as i64, i64::from(partition) * 2 + side as i64);
    Event {
        id,
        key: (random >> 16) as i64 % 7,
        amount: (random >> 32) as i64 % 50,
        name: ["", "b", "a text longer than twelve bytes"][(random >> 48) as usize % 3].into(),
        ts: Timestamp::new(row as i64 * 2 * SECOND - (random >> 8) as i64 % 4 * SECOND + row as i64 * 8 + part),
    }
}

/// The rows of a source whose partitions were read so far.
fn rows(side: u64, read: &BTreeMap<u32, u64>) -> Vec<Event> {
    read.iter().flat_map(|(partition, end)| (0..*end).map(|row| event(side, *partition, row))).collect()
}

/// How many rows of each partition were read.
type Read = Arc<Mutex<BTreeMap<u32, u64>>>;

/// A source that never ends.
fn endless(side: u64, partitions: u32, read: &Read) -> Source<Event> {
    let read = Arc::clone(read);
    let make = move |partition, row| {
        read.lock().unwrap().insert(partition, row + 1);
        event(side, partition, row)
    };
    generate(partitions, make).disorder(DISORDER.into()).into()
}

/// Counts the rows of a key.
#[operator]
fn number(count: &mut i64, amount: i64) -> i64 {
    *count += 1;
    *count * 100 + amount
}

/// Tells when a key was quiet, and how often it was not.
#[derive(State, Default)]
struct Alarm {
    rows: i64,
    due: Option<Timestamp<Micros>>,
}

#[operator]
impl Alarm {
    fn row(&mut self, ctx: &mut KeyCtx<i64>, amount: i64) -> Option<i64> {
        self.rows += 1;
        self.due.take().into_iter().for_each(|at| ctx.delete_timer(at));
        let at = ctx.time() + (5 + amount % 20).sec();
        ctx.set_timer(at);
        self.due = Some(at);
        if amount % 5 == 0 {
            ctx.side(self.rows);
        }
        (amount % 3 == 0).then_some(self.rows)
    }
    fn timer(&mut self, _ctx: &mut KeyCtx<i64>, _at: Timestamp<Micros>) -> Option<i64> {
        self.due = None;
        Some(-self.rows)
    }
}

/// A sum of squares that can go back.
#[derive(State, Default)]
struct Squares {
    sum: i64,
}

#[operator]
impl Squares {
    fn update(&mut self, x: i64) {
        self.sum += x * x;
    }
    fn retract(&mut self, x: i64) {
        self.sum -= x * x;
    }
    fn merge(&mut self, other: Self) {
        self.sum += other.sum;
    }
    fn finish(&self) -> i64 {
        self.sum
    }
}

pipeline! {
    /// Steps that keep state over rows that never end.
    pub fn living(events: Source<Event>, others: Source<Event>);

    sums = events -> key_by(key) -> window(tumbling(10.sec()))
                  -> aggregate(|e| row { total: sum(e.amount), most: max(e.amount), names: count_distinct(e.name), rows: count() });
    sums -> sink;
    long = events -> key_by(key) -> window(session(6.sec())) -> aggregate(|e| row { total: sum(e.amount), rows: count() });
    long -> sink;
    numbered = events -> key_by(key) -> keyed(|e| row { number: number(e.amount) }) -> select(|e| row { id: e.id, number: e.number });
    numbered -> sink;
    (told, aside) = events -> key_by(key, name) -> keyed(|e| row { rows: Alarm(e.amount) });
    told -> sink;
    aside -> sink;

    near = events -> key_by(key) -> interval_join(others -> key_by(key), within = -4.sec()..=6.sec(), |l, r| row { left: l.id, right: r.id });
    near -> sink;
    last = events -> key_by(key) -> asof_join(others -> key_by(key), |l, r| row { left: l.id, right: r?.id });
    last -> sink;
    both = events -> key_by(key) -> window(tumbling(5.sec()))
                  -> join(others -> key_by(key) -> window(tumbling(5.sec())), |l, r| row { left: l.id, right: r.id });
    both -> sink;

    totals = events -> key_by(key) -> window(global(on_update)) -> aggregate(|e| row { total: sum(e.amount), least: min(e.amount), rows: count() });
    totals_log = totals -> changelog();
    totals_log -> sink;
    parity = totals -> with(|t| row { odd: t.rows % 2 }) -> key_by(odd) -> window(global(on_update))
                    -> aggregate(|t| row { keys: count(), total: sum(t.total), least: min(t.least), squares: Squares(t.total) });
    parity_log = parity -> changelog();
    parity_log -> sink;
    podium = totals -> with(|t| row { group: t.key % 3 }) -> key_by(group) -> window(global(on_update)) -> top(2, desc(total), key);
    podium_log = podium -> changelog();
    podium_log -> sink;
}

pipeline! {
    /// A join that is sent as it changes: not part of [`living`], which the fixture has.
    pub fn changing(events: Source<Event>, others: Source<Event>);
    totals = events -> key_by(key) -> window(global(on_update)) -> aggregate(|e| row { total: sum(e.amount), rows: count() });
    best = others -> key_by(key) -> window(global(on_update)) -> top(2, desc(amount), id);
    paired = totals -> key_by(key) -> left_join(best -> key_by(key), |t, b| row { key: t.key, total: t.total, id: b?.id });
    paired_log = paired -> changelog();
    paired_log -> sink;
}

/// Gives way a few times.
#[operator(max_in_flight = 5)]
async fn doubled(amount: i64) -> i64 {
    give_way(amount as u64 % 7).await;
    amount * 2
}

pipeline! {
    /// Steps that keep state over rows that end.
    pub fn ending(events: Source<Event, Bounded>, others: Source<Event, Bounded>);

    sums = events -> key_by(key) -> aggregate(|e| row { total: sum(e.amount), names: count_distinct(e.name), rows: count() });
    sums -> sink;
    sorted = events -> sort(desc(amount), name) -> select(|e| row { id: e.id });
    sorted -> sink;
    few = events -> filter(|e| e.amount % 3 != 0) -> limit(40) -> select(|e| row { id: e.id });
    few -> sink;
    part = events -> key_by(key) -> full_join(others -> key_by(key), |l, r| row { n: l.map_or(-1, |l| l.id) * 10_000 + r.map_or(-1, |r| r.id) }) -> sample(0.2);
    part -> sink;
    share = events -> key_by(key) -> over(name, amount, |e| row { before: sum(e.amount), at: row_number() })
                   -> select(|e| row { id: e.id, before: e.before, at: e.at });
    share -> sink;
    names = events -> select(|e| row Cell { name: e.name, amount: e.amount % 10 });
    others_names = others -> select(|e| row Cell { name: e.name, amount: e.amount % 13 });
    common = names -> intersect(others_names);
    common -> sink;
    only = names -> distinct();
    only -> sink;
    best = events -> key_by(key) -> top(3, desc(amount), id) -> select(|e| row { key: e.key, id: e.id });
    best -> sink;
    waited = events -> with(|e| row { twice: doubled(e.amount).await }) -> select(|e| row { id: e.id, twice: e.twice });
    waited -> sink;
}

pipeline! {
    /// A sort of rows that end.
    pub fn spread(events: Source<Event, Bounded>);
    sorted = events -> sort(desc(amount), name) -> select(|e| row { id: e.id });
    sorted -> sink;
}

/// What two streams have in common.
#[derive(Record, Clone, Debug, PartialEq)]
struct Cell {
    name: Str,
    amount: i64,
}

pipeline! {
    /// A join that has little memory.
    pub fn spilling(events: Source<Event, Bounded>, others: Source<Event, Bounded>);
    pairs = events -> key_by(key) -> left_join(others -> key_by(key), |l, r| row { left: l.id, right: r?.id });
    pairs -> sink;
}

/// Lines with a weight in the last column, added up: what is left. Others as they are. In order.
fn folded(header: &str, lines: Vec<String>) -> Vec<String> {
    let mut left: BTreeMap<String, i64> = BTreeMap::new();
    let weighed = header.ends_with("weight");
    for line in lines {
        let (row, weight) = match line.rsplit_once(',').filter(|_| weighed) {
            Some((row, weight)) => (row.to_owned(), weight.parse().unwrap()),
            None => (line, 1),
        };
        *left.entry(row).or_default() += weight;
    }
    assert!(left.values().all(|n| *n >= 0), "what was never there was taken back: {left:?}");
    left.into_iter().flat_map(|(row, times)| vec![row; times as usize]).collect()
}
