//! The questions about what auctions end at, whose results change.

use super::*;

/// Each auction with the bids that count.
fn offers() -> Vec<(Auction, Vec<Bid>)> {
    let all = bids();
    let counts = |a: &Auction, b: &Bid| b.auction == a.id && (a.date_time..=a.expires).contains(&b.date_time);
    let of = |a: Auction| {
        let bids = all.iter().filter(|b| counts(&a, b)).cloned().collect::<Vec<_>>();
        (a, bids)
    };
    events().rows::<Auction>().unwrap().into_iter().map(of).filter(|(_, bids)| !bids.is_empty()).collect()
}
/// No auction of these events is open for longer, in seconds.
fn longest() -> i64 {
    let longest = events().rule().longest();
    assert!(events().rows::<Auction>().unwrap().iter().all(|a| a.expires.value() - a.date_time.value() <= longest));
    longest / SECOND + 1
}

#[test]
fn q4_average_price() {
    let mut prices: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (auction, bids) in offers() {
        prices.entry(auction.category).or_default().push(bids.iter().map(|b| b.price).max().unwrap());
    }
    let mean = |of: Vec<i64>| Some(of.iter().sum::<i64>() as f64 / of.len() as f64);
    let expected: Vec<Q4> = prices.into_iter().map(|(category, of)| Q4 { category, average: mean(of) }).collect();
    let stream = |p| q4(events().partitions(p).auctions(), events().partitions(p).bids(), longest());
    check(q4(events().auctions_batch(), events().bids_batch(), longest()), stream, &expected);
}

#[test]
fn q9_winning_bids() {
    let row = |(a, mut bids): (Auction, Vec<Bid>)| {
        bids.sort_by_key(|b| (-b.price, b.date_time));
        let best = bids.swap_remove(0);
        Q9 {
            id: a.id,
            item_name: a.item_name,
            description: a.description,
            initial_bid: a.initial_bid,
            reserve: a.reserve,
            date_time: a.date_time,
            expires: a.expires,
            seller: a.seller,
            category: a.category,
            extra: a.extra,
            bidder: best.bidder,
            price: best.price,
            bid_time: best.date_time,
            bid_extra: best.extra,
        }
    };
    let expected: Vec<Q9> = offers().into_iter().map(row).collect();
    let stream = |p| q9(events().partitions(p).auctions(), events().partitions(p).bids(), longest());
    check(q9(events().auctions_batch(), events().bids_batch(), longest()), stream, &expected);
}
