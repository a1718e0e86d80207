//! The questions about several kinds of events.

use super::*;

/// So many events in two hours, in disorder.
fn slow(events: u64) -> Nexmark {
    Nexmark::new().sequence(Sequence { disorder: 70, nanos: 7_000_000_000_000 / events }).events(events)
}
/// Whether events are paired that have these times.
fn near(a: Timestamp<Millis>, b: Timestamp<Millis>) -> bool {
    (a.value() - b.value()).abs() <= 3600 * SECOND
}

#[test]
fn q3_local_items() {
    let events = || slow(5000);
    let persons = events().rows::<Person>().unwrap().into_iter().filter(|p| ["OR", "ID", "CA"].contains(&&*p.state)).collect::<Vec<_>>();
    let sold = events().rows::<Auction>().unwrap().into_iter().filter(|a| a.category == 10);
    let pairs = sold.flat_map(|a| persons.iter().filter(move |p| p.id == a.seller).map(move |p| (a.id, p, near(a.date_time, p.date_time))));
    let (paired, far): (Vec<_>, Vec<_>) = pairs.partition(|(.., near)| *near);
    assert!(!far.is_empty(), "some are too far apart");
    let row = |(id, p, _): (i64, &Person, bool)| Q3 { name: p.name.clone(), city: p.city.clone(), state: p.state.clone(), id };
    let expected: Vec<Q3> = paired.into_iter().map(row).collect();
    let stream = |p| q3(events().partitions(p).auctions(), events().partitions(p).persons());
    check(q3(events().auctions_batch(), events().persons_batch()), stream, &expected);
}

#[test]
fn q8_new_sellers() {
    let window = |t: Timestamp<Millis>| t.value().div_euclid(10 * SECOND) * 10 * SECOND;
    let sellers: BTreeSet<(i64, i64)> = events().rows::<Auction>().unwrap().iter().map(|a| (a.seller, window(a.date_time))).collect();
    let new = events().rows::<Person>().unwrap().into_iter().filter(|p| sellers.contains(&(p.id, window(p.date_time))));
    let expected: Vec<Q8> = new.map(|p| Q8 { id: p.id, starttime: Timestamp::new(window(p.date_time)), name: p.name }).collect();
    let stream = |p| q8(events().partitions(p).persons(), events().partitions(p).auctions());
    check(q8(events().persons_batch(), events().auctions_batch()), stream, &expected);
}

#[test]
fn q20_bids_of_a_category() {
    let events = || slow(1000);
    let of: BTreeMap<i64, Auction> =
        events().rows::<Auction>().unwrap().into_iter().filter(|a| a.category == 10).map(|a| (a.id, a)).collect();
    let row = |b: Bid| {
        of.get(&b.auction).filter(|a| near(a.date_time, b.date_time)).map(|a| Q20 {
            auction: b.auction,
            bidder: b.bidder,
            price: b.price,
            channel: b.channel.clone(),
            url: b.url.clone(),
            bid_time: b.date_time,
            bid_extra: b.extra.clone(),
            item_name: a.item_name.clone(),
            description: a.description.clone(),
            initial_bid: a.initial_bid,
            reserve: a.reserve,
            opens: a.date_time,
            expires: a.expires,
            seller: a.seller,
            category: a.category,
            auction_extra: a.extra.clone(),
        })
    };
    let bids: Vec<Bid> = events().rows().unwrap();
    let far = bids.iter().filter(|b| of.get(&b.auction).is_some_and(|a| !near(a.date_time, b.date_time))).count();
    assert!(far > 10, "{far} bids are too late to be paired");
    let expected: Vec<Q20> = bids.into_iter().filter_map(row).collect();
    let stream = |p| q20(events().partitions(p).bids(), events().partitions(p).auctions());
    check(q20(events().bids_batch(), events().auctions_batch()), stream, &expected);
}
