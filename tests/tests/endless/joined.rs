//! Joins over rows that are taken back, and of endless rows that are sent as they change: what they add up to is the join of the final rows.

use super::retractions::{Bid, bid};
use super::*;
use sabot::stream::Job;

/// A row of either side; many are equal, and some keys are null.
#[derive(Record, Clone, Debug, PartialEq, PartialOrd)]
struct Side {
    key: Option<i64>,
    amount: i64,
}
/// A pair of which either may be missing.
#[derive(Record, Clone, Debug, PartialEq)]
struct Two {
    key: Option<i64>,
    left: Option<i64>,
    right: Option<i64>,
}
/// Pairs of a key.
#[derive(Record, Clone, Debug, PartialEq)]
struct Sum {
    key: Option<i64>,
    pairs: u64,
    most: i64,
}

/// A key that is null now and then.
#[operator(total)]
fn key_of(price: i64) -> Option<i64> {
    if price % 7 == 0 { None } else { Some(price % 4) }
}

pipeline! {
    /// Every kind of join of changes with changes, of changes with rows that stay, and of rows that stay.
    pub fn kinds(bids: Source<Bid>, asks: Source<Bid>);
    best = bids -> key_by(item) -> window(global(on_update)) -> aggregate(|b| row { bids: count(), price: max(b.price) })
                -> filter(|b| b.bids % 3 != 0) -> select(|b| row Side { key: key_of(b.price), amount: b.price % 6 });
    low  = asks -> key_by(item) -> window(global(on_update)) -> aggregate(|b| row { bids: count(), price: min(b.price) })
                -> filter(|b| b.bids % 4 != 0) -> select(|b| row Side { key: key_of(b.price), amount: b.price % 5 });
    some = asks -> filter(|a| a.price % 5 == 0) -> select(|a| row Side { key: key_of(a.price), amount: a.item });
    few  = bids -> filter(|a| a.price % 5 == 1) -> select(|a| row Side { key: key_of(a.price), amount: a.item });

    inner = best -> key_by(key) -> join(low -> key_by(key), on = |l, r| l.amount != r.amount,
                        |l, r| row Two { key: l.key, left: Some(l.amount), right: Some(r.amount) });
    left  = best -> key_by(key) -> left_join(low -> key_by(key), |l, r| row Two { key: l.key, left: Some(l.amount), right: r?.amount });
    right = best -> key_by(key) -> right_join(low -> key_by(key), on = |l, r| l.amount <= r.amount,
                        |l, r| row Two { key: r.key, left: l?.amount, right: Some(r.amount) });
    full  = best -> key_by(key) -> full_join(low -> key_by(key), on = |l, r| l.amount >= r.amount,
                        |l, r| row Two { key: None::<i64>, left: l?.amount, right: r?.amount });
    semi  = best -> key_by(key) -> semi_join(low -> key_by(key));
    anti  = best -> key_by(key) -> anti_join(low -> key_by(key), on = |l, r| l.amount < r.amount);
    inner -> sink;
    left -> sink;
    right -> sink;
    full -> sink;
    semi -> sink;
    anti -> sink;

    with_rows = best -> key_by(key) -> full_join(some -> key_by(key), |l, r| row Two { key: r?.key, left: l?.amount, right: r?.amount });
    of_rows   = some -> key_by(key) -> anti_join(best -> key_by(key));
    chosen    = some -> key_by(key) -> semi_join(best -> key_by(key), on = |l, r| l.amount % 6 == r.amount);
    with_rows -> sink;
    of_rows -> sink;
    chosen -> sink;

    rows    = few -> key_by(key) -> window(global(on_update)) -> left_join(some -> key_by(key), on = |l, r| l.amount < r.amount,
                     |l, r| row Two { key: l.key, left: Some(l.amount), right: r?.amount });
    pairs   = few -> key_by(key) -> window(global(on_update)) -> join(some -> key_by(key), on = |l, r| l.amount == r.amount,
                     |l, r| row Two { key: l.key, left: Some(l.amount), right: Some(r.amount) });
    missing = few -> key_by(key) -> anti_join(some -> key_by(key) -> window(global(on_update)));
    rows -> sink;
    pairs -> sink;
    missing -> sink;

    sums    = left -> key_by(key) -> window(global(on_update)) -> aggregate(|p| row { pairs: count(), most: max(p.left.unwrap_or(-1)) });
    sums -> sink;
    history = left -> changelog();
    history -> sink;
}

/// A change of a pair.
#[derive(Record, Clone, Debug, PartialEq)]
struct Entry {
    key: Option<i64>,
    left: Option<i64>,
    right: Option<i64>,
    weight: i64,
}

/// Rows of the second source are those of other partitions.
const ASKS: u32 = 10;

fn offers(side: u32, partitions: u32, consumed: &Consumed) -> Source<Bid> {
    let consumed = Arc::clone(consumed);
    let make = move |partition, row| {
        consumed.lock().unwrap().insert(partition, row + 1);
        bid(partition + side * ASKS, row)
    };
    generate(partitions, make).disorder((5 * SECOND).into()).into()
}

fn final_offers(side: u32, consumed: &Consumed) -> Vec<Bid> {
    let ends = consumed.lock().unwrap();
    ends.iter().flat_map(|(partition, end)| (0..*end).map(|row| bid(*partition + side * ASKS, row))).collect()
}

/// The best price of each item whose number of offers passes.
fn best(rows: &[Bid], pass: impl Fn(usize) -> bool, best: impl Fn(&[i64]) -> i64, amounts: i64) -> Vec<Side> {
    let mut items: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    rows.iter().for_each(|b| items.entry(b.item).or_default().push(b.price));
    let prices = items.values().filter(|p| pass(p.len())).map(|p| best(p));
    prices.map(|p| Side { key: key_of(p), amount: p % amounts }).collect()
}

fn two(key: Option<i64>, left: Option<&Side>, right: Option<&Side>) -> Two {
    Two { key, left: left.map(|s| s.amount), right: right.map(|s| s.amount) }
}

/// The join of two sides, row by row.
fn model(
    left: &[Side],
    right: &[Side],
    fits: impl Fn(i64, i64) -> bool,
    keeps: [bool; 2],
    key: impl Fn(Option<&Side>, Option<&Side>) -> Option<i64>,
) -> Vec<Two> {
    let meets = |l: &Side, r: &Side| l.key.is_some() && l.key == r.key && fits(l.amount, r.amount);
    let pairs = left
        .iter()
        .flat_map(|l| right.iter().filter(|r| meets(l, r)).map(|r| two(key(Some(l), Some(r)), Some(l), Some(r))).collect::<Vec<_>>());
    let lefts = left.iter().filter(|l| keeps[0] && !right.iter().any(|r| meets(l, r))).map(|l| two(key(Some(l), None), Some(l), None));
    let rights = right.iter().filter(|r| keeps[1] && !left.iter().any(|l| meets(l, r))).map(|r| two(key(None, Some(r)), None, Some(r)));
    pairs.chain(lefts).chain(rights).collect()
}

/// Left rows that have a partner, or have none.
fn kept(left: &[Side], right: &[Side], fits: impl Fn(i64, i64) -> bool, with: bool) -> Vec<Side> {
    let meets = |l: &Side, r: &Side| l.key.is_some() && l.key == r.key && fits(l.amount, r.amount);
    left.iter().filter(|l| right.iter().any(|r| meets(l, r)) == with).cloned().collect()
}

fn equal(seed: u64, ran: &Ran, consumed: &[Consumed; 2]) -> usize {
    let (bids, asks) = (final_offers(0, &consumed[0]), final_offers(1, &consumed[1]));
    let l = best(&bids, |n| n % 3 != 0, |p| *p.iter().max().unwrap(), 6);
    let r = best(&asks, |n| n % 4 != 0, |p| *p.iter().min().unwrap(), 5);
    let rest = |rows: &[Bid], rest: i64| -> Vec<Side> {
        rows.iter().filter(|b| b.price % 5 == rest).map(|b| Side { key: key_of(b.price), amount: b.item }).collect()
    };
    let (some, few) = (rest(&asks, 0), rest(&bids, 1));
    let of_left = |l: Option<&Side>, _: Option<&Side>| l.and_then(|l| l.key);
    let of_right = |_: Option<&Side>, r: Option<&Side>| r.and_then(|r| r.key);
    let all = |_, _| true;
    let lefts = model(&l, &r, all, [true, false], of_left);
    let mut rows = 0;
    for (sink, expected) in [
        ("inner", model(&l, &r, |a, b| a != b, [false, false], of_left)),
        ("left", lefts.clone()),
        ("right", model(&l, &r, |a, b| a <= b, [false, true], of_right)),
        ("full", model(&l, &r, |a, b| a >= b, [true, true], |_, _| None)),
        ("with_rows", model(&l, &some, all, [true, true], of_right)),
        ("rows", model(&few, &some, |a, b| a < b, [true, false], of_left)),
        ("pairs", model(&few, &some, |a, b| a == b, [false, false], of_left)),
    ] {
        same_rows(&ran.rows::<Two>(sink).unwrap(), &expected, 0.0).unwrap_or_else(|e| panic!("seed {seed}, {sink}: {e}"));
        rows += expected.len();
    }
    for (sink, expected) in [
        ("semi", kept(&l, &r, all, true)),
        ("anti", kept(&l, &r, |a, b| a < b, false)),
        ("of_rows", kept(&some, &l, all, false)),
        ("chosen", kept(&some, &l, |a, b| a % 6 == b, true)),
        ("missing", kept(&few, &some, all, false)),
    ] {
        same_rows(&ran.rows::<Side>(sink).unwrap(), &expected, 0.0).unwrap_or_else(|e| panic!("seed {seed}, {sink}: {e}"));
        rows += expected.len();
    }
    let mut sums: BTreeMap<Option<i64>, (u64, i64)> = BTreeMap::new();
    for p in &lefts {
        let sum = sums.entry(p.key).or_insert((0, -1));
        *sum = (sum.0 + 1, sum.1.max(p.left.unwrap_or(-1)));
    }
    let sums: Vec<Sum> = sums.into_iter().map(|(key, (pairs, most))| Sum { key, pairs, most }).collect();
    same_rows(&ran.rows::<Sum>("sums").unwrap(), &sums, 0.0).unwrap_or_else(|e| panic!("seed {seed}, sums: {e}"));
    // every row that there ever was, and when it was taken back
    let mut left: BTreeMap<String, i64> = BTreeMap::new();
    for e in ran.rows::<Entry>("history").unwrap() {
        *left.entry(format!("{:?}", (e.key, e.left, e.right))).or_default() += e.weight;
    }
    left.retain(|_, sum| *sum != 0);
    let mut expected: BTreeMap<String, i64> = BTreeMap::new();
    lefts.iter().for_each(|p| *expected.entry(format!("{:?}", (p.key, p.left, p.right))).or_default() += 1);
    assert_eq!(left, expected, "seed {seed}: the history adds up to what is left");
    rows
}

/// Runs a job until it is stopped; with an odd seed it crashes there first, and goes on with another number of threads. Returns whether it did.
fn run(seed: u64, job: impl Fn(&[Consumed; 2], [u32; 2]) -> Job) -> (Ran, [Consumed; 2], bool) {
    let random = mix(seed ^ 0x701e);
    let partitions = [1 + (random >> 8) as u32 % 3, 1 + (random >> 10) as u32 % 2];
    let threads = |shift: u32| [1, 2, 3, 8][(random >> shift) as usize % 4];
    let (stop, morsel) = (80 + (random >> 24) % 500, [1, 7, 50][(random >> 40) as usize % 3]);
    let consumed: [Consumed; 2] = Default::default();
    let mut trial = Trial::new().threads(threads(0)).morsel_rows(morsel).seed(seed);
    let mut restored = false;
    if seed % 2 == 1 {
        let ran = trial.snapshot_at(stop / 2).snapshot_at(stop).crash_at(stop * 6).run(job(&consumed, partitions)).unwrap();
        consumed.iter().for_each(|c| c.lock().unwrap().clear());
        for p in ran.checkpoint.iter().flat_map(|c| &c.positions) {
            let mut consumed = consumed[usize::from(!p.node.contains("bids"))].lock().unwrap();
            consumed.extend(p.done.iter().map(|(partition, _)| (*partition, NAMES)));
            consumed.extend(p.open.iter().map(|o| (o.partition, o.row)));
        }
        restored = ran.checkpoint.is_some();
        trial = Trial::new().threads(threads(50)).morsel_rows(13).seed(seed + 1000).from(ran.checkpoint);
    }
    let ran = trial.stop_at(stop).run(job(&consumed, partitions)).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    (ran, consumed, restored)
}

#[test]
fn what_changes_adds_up() {
    let (mut rows, mut restored) = (0, 0);
    for seed in 0..16 {
        let (ran, consumed, again) = run(seed, |c, p| kinds(offers(0, p[0], &c[0]), offers(1, p[1], &c[1])));
        rows += equal(seed, &ran, &consumed);
        restored += usize::from(again);
        assert_eq!(ran.late(), 0, "seed {seed}");
    }
    assert!(rows > 3000 && restored > 4, "the test shows something: {rows} rows, {restored} restored");
}

#[test]
fn rows_that_end_give_the_same() {
    let rows = |side: u32, n: u64| (0..n).map(|row| bid(row as u32 % 2 + side * ASKS, row / 2)).collect::<Vec<_>>();
    let consumed: [Consumed; 2] = Default::default();
    for (side, n) in [(0, 120), (1, 90)] {
        consumed[side].lock().unwrap().extend([(0, n / 2), (1, n / 2)]);
    }
    for (threads, morsel) in [(1, 65_536), (2, 7), (3, 1), (8, 64)] {
        let job = kinds(sabot::testing::splits(&rows(0, 120), 37), sabot::testing::splits(&rows(1, 90), 20)).optimise(threads % 2 == 0);
        let ran = Trial::new().threads(threads).morsel_rows(morsel).run(job).unwrap();
        assert!(equal(threads as u64, &ran, &consumed) > 100);
    }
}

/// An order.
#[derive(Record, Clone, Debug, PartialEq)]
struct Order {
    id: i64,
    currency: Str,
    cents: i64,
}
/// What a currency is worth.
#[derive(Record, Clone, Debug, PartialEq)]
struct Rate {
    currency: Str,
    version: i64,
    rate: i64,
}
/// An order in our money, if we know the rate.
#[derive(Record, Clone, Debug, PartialEq)]
struct Worth {
    id: i64,
    value: Option<i64>,
}

pipeline! {
    /// Orders at the rate of their currency as it is now.
    pub fn worth(orders: Source<Order>, rates: Source<Rate>);
    now   = rates  -> key_by(currency) -> window(global(on_update)) -> top(1, desc(version));
    worth = orders -> key_by(currency) -> left_join(now -> key_by(currency), |o, r| row Worth { id: o.id, value: r?.rate * o.cents });
    worth -> sink;
}

fn shop(n: i64) -> (Vec<Order>, Vec<Rate>) {
    let name = |n: i64| Str::from(["EUR", "NOK", "JPY", "a currency with a long name"][n as usize % 4]);
    let order = |id: i64| Order { id, currency: name(mix(id as u64) as i64 & 0xff), cents: id * 7 % 100 };
    let rate = |version: i64| Rate { currency: name(mix(version as u64 ^ 0xface) as i64 & 0xff), version, rate: version * 3 % 17 };
    ((0..n).map(order).collect(), (0..n / 2).map(rate).collect())
}

#[test]
fn a_table_that_changes() {
    let (orders, rates) = shop(40);
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    rates.iter().for_each(|r| _ = last.insert(r.currency.to_string(), r.rate));
    let expected: Vec<Worth> =
        orders.iter().map(|o| Worth { id: o.id, value: last.get(o.currency.as_str()).map(|r| r * o.cents) }).collect();
    same_rows(&worth(orders.clone(), rates.clone()).collect::<Worth>().unwrap(), &expected, 0.0).unwrap();
    let check = sabot::testing::StreamCheck::new(|feeds| worth(feeds.rows("orders", &orders), feeds.rows("rates", &rates)));
    let checked = check.seeds(0..30).run().unwrap();
    assert!(checked.restored > 3 && checked.results > 1000, "{checked:?}");
}

#[test]
fn explain_says_that_rows_carry_weights() {
    let (orders, rates) = shop(4);
    let text = worth(orders, rates).explain().unwrap();
    let (_, join) = text.split_once("worth/left_join").unwrap();
    assert!(join.contains("rows carry a weight: what changes is taken back and sent anew"), "{text}");
    assert!(text.contains("keeps the rows of both sides that count, for as long as the other side goes on"), "{text}");
    let consumed: [Consumed; 2] = Default::default();
    let text = kinds(offers(0, 1, &consumed[0]), offers(1, 1, &consumed[1])).explain().unwrap();
    assert!(text.contains("left_join on update on key = key if l.amount < r.amount"), "{text}");
}

/// Rows of the table that ends.
const NAMES: u64 = 15;

/// A row of it.
#[derive(Record, Clone, Debug, PartialEq)]
struct Kind {
    item: i64,
    name: Str,
}
/// An item's best price, by its kind.
#[derive(Record, Clone, Debug, PartialEq)]
struct Priced {
    item: i64,
    price: i64,
    name: Option<Str>,
}
/// An item's best price.
#[derive(Record, Clone, Debug, PartialEq)]
struct Known {
    item: i64,
    price: i64,
}
/// A minute of a kind.
#[derive(Record, Clone, Debug, PartialEq)]
struct KindMinute {
    name: Str,
    window_start: Timestamp<Micros>,
    bids: i64,
}

pipeline! {
    /// A table that is read to its end, before rows that are taken back: nothing of them is kept, and they keep their time.
    pub fn named(bids: Source<Bid>, names: Source<Kind, Bounded>);
    best  = bids -> key_by(item) -> window(global(on_update)) -> aggregate(|b| row { price: max(b.price) });
    named = best -> key_by(item) -> left_join(names -> key_by(item), |b, k| row Priced { item: b.item, price: b.price, name: k?.name });
    known = best -> key_by(item) -> semi_join(names -> key_by(item), on = |b, k| b.price % 2 == k.item % 2);
    named -> sink;
    known -> select(|b| row Known { item: b.item, price: b.price }) -> sink;
    minutes = bids -> key_by(item) -> window(tumbling(1.minute()), on_update) -> aggregate(|b| row { bids: count() })
                   -> key_by(item) -> join(names -> key_by(item), |w, k| row { name: k.name, at: w.window_end, bids: w.bids as i64 })
                   -> event_time(at) -> key_by(name) -> window(tumbling(5.minute())) -> aggregate(|m| row { bids: sum(m.bids) });
    minutes -> sink;
}

#[test]
fn a_table_that_ends() {
    let kind = |row: u64| Kind { item: row as i64 * 3 % 23, name: format!("kind {}", row % 4).into() };
    let names = |consumed: &Consumed| {
        let consumed = Arc::clone(consumed);
        let make = move |_, row| {
            consumed.lock().unwrap().insert(0, row + 1);
            kind(row)
        };
        generate(1, make).rows(NAMES)
    };
    let (mut found, mut minutes) = (0, 0);
    for seed in 0..14 {
        let (ran, consumed, _) = run(seed, |c, p| named(offers(0, p[0], &c[0]), names(&c[1])));
        let bids = final_offers(0, &consumed[0]);
        let names: Vec<Kind> = (0..consumed[1].lock().unwrap().get(&0).copied().unwrap_or_default()).map(kind).collect();
        let mut best: BTreeMap<i64, i64> = BTreeMap::new();
        bids.iter().for_each(|b| _ = best.entry(b.item).and_modify(|p| *p = b.price.max(*p)).or_insert(b.price));
        let name = |item: i64| names.iter().find(|k| k.item == item).map(|k| k.name.clone());
        let all: Vec<Priced> = best.iter().map(|(item, price)| Priced { item: *item, price: *price, name: name(*item) }).collect();
        let known = all.iter().filter(|p| p.name.is_some() && p.price % 2 == p.item % 2);
        let known: Vec<Known> = known.map(|p| Known { item: p.item, price: p.price }).collect();
        same_rows(&ran.rows::<Priced>("named").unwrap(), &all, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        same_rows(&ran.rows::<Known>("known").unwrap(), &known, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let mut windows: BTreeMap<(String, i64), i64> = BTreeMap::new();
        for b in bids.iter().filter(|b| name(b.item).is_some()) {
            *windows
                .entry((name(b.item).unwrap().to_string(), (b.ts.value().div_euclid(60 * SECOND) + 1).div_euclid(5) * 300 * SECOND))
                .or_default() += 1;
        }
        let expected: Vec<KindMinute> = windows
            .into_iter()
            .map(|((name, start), bids)| KindMinute { name: name.into(), window_start: Timestamp::new(start), bids })
            .collect();
        if ran.late() == 0 {
            same_rows(&ran.rows::<KindMinute>("minutes").unwrap(), &expected, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            minutes += expected.len();
        }
        found += all.len();
    }
    assert!(found > 150 && minutes > 30, "{found} items, {minutes} windows");
    // under a memory budget both sides go to disk in parts
    let bids: Vec<Bid> = (0..300).map(|row| bid(row as u32 % 2, row / 2)).collect();
    let all: Vec<Kind> = (0..NAMES).map(kind).collect();
    let run = |budget: Option<usize>| {
        let job = named(sabot::testing::splits(&bids, 37), all.clone()).options(|o| o.memory_budget = budget);
        let ran = Trial::new().threads(2).morsel_rows(7).run(job).unwrap();
        (ran.rows::<Priced>("named").unwrap(), ran.rows::<Known>("known").unwrap(), ran.rows::<KindMinute>("minutes").unwrap())
    };
    let (free, tight) = (run(None), run(Some(1 << 21)));
    same_rows(&free.0, &tight.0, 0.0).unwrap();
    same_rows(&free.1, &tight.1, 0.0).unwrap();
    same_rows(&free.2, &tight.2, 0.0).unwrap();
    assert!(free.0.len() > 15 && free.1.len() > 3 && !free.2.is_empty());
}

pipeline! {
    /// A time that is behind any other.
    pub fn behind(bids: Source<Bid>, asks: Source<Bid>);
    pairs = bids -> key_by(item) -> window(global(on_update)) -> join(asks -> key_by(item), |b, a| row { item: b.item, at: a.ts })
                 -> event_time(at) -> key_by(item) -> window(tumbling(1.minute())) -> aggregate(|p| row { pairs: count() });
    pairs -> sink;
}

#[test]
fn a_time_that_is_behind_is_refused_at_start() {
    let consumed: [Consumed; 2] = Default::default();
    let job = behind(offers(0, 1, &consumed[0]), offers(1, 1, &consumed[1]));
    let error = Trial::new().seed(1).stop_at(50).run(job).unwrap_err().to_string();
    assert!(error.contains("`behind/pairs/join` keeps its rows for as long as it runs") && error.contains("ttl = 1.hour()"), "{error}");
    let rows = |side: u32| (0..30).map(|row| bid(side * ASKS, row)).collect::<Vec<_>>();
    Trial::new().run(behind(rows(0), rows(1))).unwrap();
}

/// The prices of an item.
#[derive(Record, Clone, Debug, PartialEq)]
struct Spread {
    item: i64,
    high: i64,
    low: Option<i64>,
}

pipeline! {
    /// A row per item, and rows that no column tells apart.
    pub fn spreads(bids: Source<Bid>, asks: Source<Bid>);
    high = bids -> key_by(item) -> window(global(on_update)) -> aggregate(|b| row { high: max(b.price) });
    low  = asks -> key_by(item) -> window(global(on_update)) -> aggregate(|b| row { low: min(b.price) });
    both = high -> key_by(item) -> left_join(low -> key_by(item), |h, l| row { of: h.item, high: h.high, low: l?.low });
    spreads = both -> select(|b| row Spread { item: b.of, high: b.high, low: b.low });
    spreads -> sink;
    equal = high -> key_by(high) -> join(low -> key_by(low), |h, l| row { item: h.item, high: h.high, low: l.low });
    equal -> sink;
}

/// A table with a row per key, as a sink of the user's keeps it: what it is told, and its rows.
#[derive(Clone, Default)]
struct Table(Arc<Mutex<(Vec<String>, BTreeMap<i64, Spread>)>>);

impl sabot::operator::Sink for Table {
    fn changes(&mut self, changing: sabot::operator::Changing<'_>) -> Result<()> {
        self.0.lock().unwrap().0 = changing.keys.to_vec();
        Ok(())
    }
    fn open(&mut self, _schema: &arrow_schema::SchemaRef) -> Result<()> {
        Ok(())
    }
    fn write(&mut self, batch: &arrow_array::RecordBatch) -> Result<()> {
        use arrow_array::{Array, cast::AsArray, types::Int64Type};
        let column = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int64Type>();
        let (item, high, low, weights) = (column("item"), column("high"), column("low"), sabot::operator::weights(batch).unwrap());
        let table = &mut self.0.lock().unwrap().1;
        for (row, weight) in weights.iter().enumerate() {
            let spread = Spread { item: item.value(row), high: high.value(row), low: low.is_valid(row).then(|| low.value(row)) };
            if *weight > 0 {
                table.insert(spread.item, spread);
            } else if table.get(&spread.item) == Some(&spread) {
                table.remove(&spread.item);
            }
        }
        Ok(())
    }
    fn commit(&mut self) -> Result<()> {
        Ok(())
    }
    fn abort(&mut self) {}
    fn describe(&self) -> String {
        "a table".into()
    }
}

#[test]
fn a_sink_that_keeps_a_row_per_key() {
    let rows = |side: u32, n: u64| (0..n).map(|row| bid(row as u32 % 2 + side * ASKS, row / 2)).collect::<Vec<_>>();
    let (bids, asks) = (rows(0, 150), rows(1, 20));
    let expected: BTreeMap<i64, Spread> = bids
        .iter()
        .map(|b| {
            let high = bids.iter().filter(|o| o.item == b.item).map(|o| o.price).max().unwrap();
            (b.item, Spread { item: b.item, high, low: asks.iter().filter(|a| a.item == b.item).map(|a| a.price).min() })
        })
        .collect();
    assert!(expected.values().any(|s| s.low.is_none()) && expected.values().any(|s| s.low.is_some()));
    for (threads, morsel) in [(1, 1), (2, 7), (3, 1), (8, 30)] {
        let (table, other) = (Table::default(), Table::default());
        let (one, two) = (table.clone(), other.clone());
        let job = spreads(sabot::testing::splits(&bids, 37), sabot::testing::splits(&asks, 20));
        let job = job.sink("spreads", Sink::upserting(move || Ok(one.clone()))).sink("equal", Sink::upserting(move || Ok(two.clone())));
        job.parallel(threads).options(|o| o.morsel_rows = morsel).run().unwrap();
        let (keys, found) = table.0.lock().unwrap().clone();
        assert_eq!((keys.as_slice(), &found), (["item".to_owned()].as_slice(), &expected), "{threads} threads");
        assert!(other.0.lock().unwrap().0.is_empty(), "an item moves from one key of the join to another, and so between threads");
    }
}
