//! `top`, `distinct` and `reduce` that are sent as they change, over rows that stay and over rows that are taken back.

use super::retractions::{Bid, bids, final_bids};
use super::*;

/// The best price of an item.
#[derive(Record, Clone, Debug, PartialEq)]
struct Best {
    item: i64,
    bids: u64,
    price: i64,
    kind: i64,
}

/// A price that some item has.
#[derive(Record, Clone, Debug, PartialEq)]
struct Price {
    price: i64,
}

/// The range of an item's prices.
#[derive(Record, Clone, Debug, PartialEq)]
struct Range {
    item: i64,
    least: i64,
    most: i64,
}

pipeline! {
    /// The first rows of each key, of bids and of the best bids.
    pub fn tops(bids: Source<Bid>);
    dearest = bids -> key_by(item) -> window(global(on_update)) -> top(3, desc(price));
    dearest -> sink;
    best = bids -> key_by(item) -> window(global(on_update)) -> aggregate(|b| row { bids: count(), price: max(b.price) })
                -> filter(|b| b.bids % 3 != 0)
                -> select(|b| row Best { item: b.item, bids: b.bids, price: b.price, kind: b.item % 5 });
    podium = best -> key_by(kind) -> window(global(on_update)) -> top(2, desc(price));
    podium -> sink;
    prices = best -> select(|b| row Price { price: b.price }) -> distinct();
    prices -> sink;
    kinds = best -> distinct(kind);
    kinds -> sink;
    ranges = bids -> select(|b| row Range { item: b.item, least: b.price, most: b.price }) -> key_by(item) -> window(global(on_update))
                  -> reduce(|a, b| Range { least: a.least.min(b.least), most: a.most.max(b.most), ..a });
    ranges -> sink;
    spans = best -> select(|b| row Range { item: b.kind, least: b.price, most: b.price }) -> key_by(item) -> window(global(on_update))
                 -> reduce(|a, b| Range { least: a.least.min(b.least), most: a.most.max(b.most), ..a });
    spans -> sink;
}

fn first<T: Clone, K: Ord, O: Ord>(rows: &[T], n: usize, key: impl Fn(&T) -> K, order: impl Fn(&T) -> O) -> Vec<T> {
    let mut by_key: BTreeMap<K, Vec<T>> = BTreeMap::new();
    rows.iter().for_each(|r| by_key.entry(key(r)).or_default().push(r.clone()));
    by_key.values_mut().for_each(|rows| rows.sort_by_key(&order));
    by_key.into_values().flat_map(|rows| rows.into_iter().take(n)).collect()
}

fn equal(seed: u64, ran: &Ran, consumed: &Consumed) -> usize {
    let rows = final_bids(consumed);
    let mut items: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    rows.iter().for_each(|b| items.entry(b.item).or_default().push(b.price));
    let range = |(item, p): (i64, &Vec<i64>)| Range { item, least: *p.iter().min().unwrap(), most: *p.iter().max().unwrap() };
    let ranges: Vec<Range> = items.iter().map(|(item, p)| range((*item, p))).collect();
    let best: Vec<Best> = items
        .iter()
        .filter(|(_, p)| p.len() % 3 != 0)
        .map(|(item, p)| Best { item: *item, bids: p.len() as u64, price: *p.iter().max().unwrap(), kind: item % 5 })
        .collect();
    let mut kinds: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    best.iter().for_each(|b| kinds.entry(b.kind).or_default().push(b.price));
    let spans: Vec<Range> = kinds.iter().map(|(kind, p)| range((*kind, p))).collect();
    let panic = |what: &str, e: sabot::Error| -> () { panic!("seed {seed}, {what}: {e}") };
    let dearest = first(&rows, 3, |b| b.item, |b| (-b.price, b.item, b.ts.value()));
    same_rows(&ran.rows::<Bid>("dearest").unwrap(), &dearest, 0.0).unwrap_or_else(|e| panic("dearest", e));
    let podium = first(&best, 2, |b| b.kind, |b| (-b.price, b.item));
    same_rows(&ran.rows::<Best>("podium").unwrap(), &podium, 0.0).unwrap_or_else(|e| panic("podium", e));
    let prices: Vec<Price> = first(&best, 1, |b| b.price, |b| b.price).iter().map(|b| Price { price: b.price }).collect();
    same_rows(&ran.rows::<Price>("prices").unwrap(), &prices, 0.0).unwrap_or_else(|e| panic("prices", e));
    let seen = first(&best, 1, |b| b.kind, |b| (b.item, b.bids, b.price));
    same_rows(&ran.rows::<Best>("kinds").unwrap(), &seen, 0.0).unwrap_or_else(|e| panic("kinds", e));
    same_rows(&ran.rows::<Range>("ranges").unwrap(), &ranges, 0.0).unwrap_or_else(|e| panic("ranges", e));
    same_rows(&ran.rows::<Range>("spans").unwrap(), &spans, 0.0).unwrap_or_else(|e| panic("spans", e));
    podium.len()
}

#[test]
fn first_rows_as_they_change() {
    let mut found = 0;
    for seed in 0..40u64 {
        let random = mix(seed ^ 0x70b);
        let (threads, partitions) = (1 + random as usize % 4, 1 + (random >> 8) as u32 % 3);
        let (stop, morsel) = (60 + (random >> 24) % 900, [1, 7, 50][(random >> 40) as usize % 3]);
        let consumed = Consumed::default();
        let job = || tops(bids(partitions, &consumed));
        let trial = Trial::new().threads(threads).morsel_rows(morsel).seed(seed);
        let ran = stopped(seed, trial, 1 + (random >> 4) as usize % 4, stop, &consumed, job);
        found += equal(seed, &ran, &consumed);
    }
    assert!(found > 150, "the test shows something: {found}");
}
