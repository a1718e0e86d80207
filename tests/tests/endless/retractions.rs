//! Steps over rows that are taken back: what they add up to is what a naive model makes of the final rows.

use super::*;

/// An offer for an item.
#[derive(Record, Clone, Debug, PartialEq)]
pub(super) struct Bid {
    pub(super) item: i64,
    pub(super) price: i64,
    #[event_time]
    pub(super) ts: Timestamp<Micros>,
}

pub(super) fn bid(partition: u32, row: u64) -> Bid {
    let random = mix(u64::from(partition) << 40 | row | 1 << 60);
    let back = if random.is_multiple_of(7) { (random >> 8) % 7 } else { (random >> 8) % 4 };
    let ts = Timestamp::new((row as i64 * 3 - back as i64) * SECOND + i64::from(partition));
    Bid { item: (random >> 16) as i64 % 23, price: (random >> 30) as i64 % 50, ts }
}

pub(super) fn bids(partitions: u32, consumed: &Consumed) -> Source<Bid> {
    let consumed = Arc::clone(consumed);
    let make = move |partition, row| {
        consumed.lock().unwrap().insert(partition, row + 1);
        bid(partition, row)
    };
    generate(partitions, make).disorder((5 * SECOND).into()).into()
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

/// What is known of a kind of items.
#[derive(Record, Clone, Debug, PartialEq)]
struct Kind {
    kind: i64,
    items: u64,
    dear: u64,
    total: i64,
    halves: f64,
    some: Option<i64>,
    mean: Option<f64>,
    spread: Option<f64>,
    least: i64,
    most: i64,
    first: i64,
    last: i64,
    prices: u64,
    about: u64,
    median: Option<f64>,
    ninth: Option<f64>,
    any: bool,
    all: bool,
    squares: i64,
    list: List<i64>,
    names: Str,
}

pipeline! {
    /// The best price of each item, and of these everything per kind: an item comes and goes with the number of its bids.
    pub fn kinds(bids: Source<Bid>);
    best = bids -> key_by(item) -> window(global(on_update)) -> aggregate(|b| row { bids: count(), price: max(b.price) })
                -> filter(|b| b.bids % 3 != 0)
                -> with(|b| row { kind: b.item % 5, odd: if b.price % 2 == 1 { Some(b.price) } else { None } });
    kinds = best -> key_by(kind) -> window(global(on_update)) -> aggregate(|b| row {
        items: count(), dear: count(b.odd), total: sum(b.price), halves: sum(b.price as f64 / 2.0), some: sum(b.odd), mean: mean(b.price),
        spread: var(b.price as f64), least: min(b.price), most: max(b.price), first: first(b.price), last: last(b.price),
        prices: count_distinct(b.price), about: approx_count_distinct(b.price), median: median(b.price), ninth: approx_quantile(b.price, 0.9),
        any: any(b.price > 45), all: all(b.price > 5), squares: Squares(b.price), list: collect(b.price), names: max(name_of(b.price))
    });
    kinds -> sink;
}

#[operator]
fn name_of(price: i64) -> Str {
    if price % 2 == 0 { "even, and longer than a view".into() } else { format!("{price}").into() }
}

pub(super) fn final_bids(consumed: &Consumed) -> Vec<Bid> {
    let ends = consumed.lock().unwrap();
    ends.iter().flat_map(|(partition, end)| (0..*end).map(|row| bid(*partition, row))).collect()
}

fn naive_kinds(bids: &[Bid]) -> Vec<Kind> {
    let mut items: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    bids.iter().for_each(|b| items.entry(b.item).or_default().push(b.price));
    let mut kinds: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (item, prices) in items.iter().filter(|(_, p)| p.len() % 3 != 0) {
        kinds.entry(item % 5).or_default().push(*prices.iter().max().unwrap());
    }
    let kind = |(kind, mut list): (i64, Vec<i64>)| {
        list.sort_unstable();
        let odd: Vec<i64> = list.iter().copied().filter(|p| p % 2 == 1).collect();
        let (n, total) = (list.len(), list.iter().sum::<i64>());
        let mean = total as f64 / n as f64;
        let spread = (n > 1).then(|| list.iter().map(|p| (*p as f64 - mean).powi(2)).sum::<f64>() / (n - 1) as f64);
        let quantile = |q: f64| {
            let at = q * (n - 1) as f64;
            let (low, high) = (list[at.floor() as usize] as f64, list[at.ceil() as usize] as f64);
            low + (high - low) * at.fract()
        };
        let mut distinct = list.clone();
        distinct.dedup();
        Kind {
            kind,
            items: n as u64,
            dear: odd.len() as u64,
            total,
            halves: total as f64 / 2.0,
            some: (!odd.is_empty()).then(|| odd.iter().sum()),
            mean: Some(mean),
            spread,
            least: list[0],
            most: list[n - 1],
            first: list[0],
            last: list[n - 1],
            prices: distinct.len() as u64,
            about: distinct.len() as u64,
            median: Some(quantile(0.5)),
            ninth: Some(quantile(0.9)),
            any: list.iter().any(|p| *p > 45),
            all: list.iter().all(|p| *p > 5),
            squares: list.iter().map(|p| p * p).sum(),
            names: list.iter().map(|p| name_of(*p)).max().unwrap(),
            list: list.into_iter().collect(),
        }
    };
    kinds.into_iter().map(kind).collect()
}

/// How an approximate quantile interpolates is its own business.
fn known(rows: Vec<Kind>) -> Vec<Kind> {
    rows.into_iter().map(|k| Kind { ninth: None, ..k }).collect()
}

fn equal(seed: u64, ran: &Ran, consumed: &Consumed) -> usize {
    let model = naive_kinds(&final_bids(consumed));
    same_rows(&known(ran.rows("kinds").unwrap()), &known(model.clone()), 1e-9).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    model.len()
}

#[test]
fn aggregates_of_aggregates() {
    let mut found = 0;
    for seed in 0..24u64 {
        let random = mix(seed ^ 0xa99);
        let (instances, partitions) = (1 + random as usize % 4, 1 + (random >> 8) as u32 % 3);
        let (stop, morsel) = (60 + (random >> 24) % 700, [1, 7, 50][(random >> 40) as usize % 3]);
        let consumed = Consumed::default();
        let trial = Trial::new().threads(instances).morsel_rows(morsel).seed(seed).stop_at(stop);
        let ran = trial.run(kinds(bids(partitions, &consumed))).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        found += equal(seed, &ran, &consumed);
    }
    assert!(found > 60, "the test shows something: {found}");
}

#[test]
fn aggregates_of_aggregates_survive_crashes() {
    let mut restored = 0;
    for seed in 0..20u64 {
        let random = mix(seed ^ 0xfe11);
        let partitions = 1 + (random >> 8) as u32 % 3;
        let morsel = [1, 7, 50][(random >> 40) as usize % 3];
        let crash = 300 + (random >> 24) % 500;
        let consumed = Consumed::default();
        let job = || kinds(bids(partitions, &consumed));
        let first = Trial::new().threads(1 + random as usize % 4).morsel_rows(morsel).seed(seed).crash_at(crash);
        let ran = first.snapshot_at(crash / 3).snapshot_at(crash / 2).snapshot_at(crash * 2 / 3).run(job()).unwrap();
        *consumed.lock().unwrap() = positions(ran.checkpoint.as_ref());
        restored += u64::from(ran.checkpoint.is_some());
        let again = Trial::new().threads(1 + (random >> 4) as usize % 4).morsel_rows(13).seed(seed + 1000).stop_at(200 + seed * 4);
        let ran = again.from(ran.checkpoint).run(job()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        equal(seed, &ran, &consumed);
    }
    assert!(restored > 8, "{restored} of 20 had a complete checkpoint");
}

/// The final rows as a batch.
#[derive(Record, Clone, Debug, PartialEq)]
struct Overall {
    items: u64,
    total: i64,
    least: Option<i64>,
}

pipeline! {
    /// Rows that are taken back, aggregated when they end: with a key, and without.
    pub fn at_the_end(bids: Source<Bid, Bounded>);
    best = bids -> key_by(item) -> window(global(on_update)) -> aggregate(|b| row { bids: count(), price: max(b.price) })
                -> filter(|b| b.bids % 3 != 0);
    overall = best -> aggregate(|b| row { items: count(), total: sum(b.price), least: min(b.price) });
    overall -> sink;
    sorted = best -> with(|b| row { kind: b.item % 5 }) -> key_by(kind) -> aggregate(|b| row { total: sum(b.price) }) -> sort(total);
    sorted -> sink;
}

/// A kind's total.
#[derive(Record, Clone, Debug, PartialEq)]
struct Total {
    kind: i64,
    total: i64,
}

#[test]
fn at_the_end_rows_stay() {
    for rows in [0, 1, 40, 300] {
        let bids: Vec<Bid> = (0..rows).map(|row| bid(row as u32 % 2, row)).collect();
        let kinds = naive_kinds(&bids);
        let overall = Overall {
            items: kinds.iter().map(|k| k.items).sum(),
            total: kinds.iter().map(|k| k.total).sum(),
            least: kinds.iter().map(|k| k.least).min(),
        };
        let mut totals: Vec<Total> = kinds.iter().map(|k| Total { kind: k.kind, total: k.total }).collect();
        totals.sort_by_key(|t| t.total);
        for (threads, morsel) in [(1, 1), (2, 7), (3, 64), (8, 1000)] {
            let ran = Trial::new().threads(threads).morsel_rows(morsel).run(at_the_end(sabot::testing::splits(&bids, 37))).unwrap();
            assert_eq!(ran.rows::<Overall>("overall").unwrap(), std::slice::from_ref(&overall), "{threads} threads, {rows} rows");
            same_rows(&ran.rows::<Total>("sorted").unwrap(), &totals, 0.0).unwrap();
        }
    }
}
