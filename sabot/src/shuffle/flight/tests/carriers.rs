//! Links between two shares: what arrives, over connections that are cut, stalled and slow.

use std::time::{Duration, Instant};

use super::super::FlightCarrier;
use super::proxy::Proxy;
use super::share::*;
use crate::operator::SpillDir;
use crate::shuffle::{Carrier, Message};

const LONG: Duration = Duration::from_secs(30);

#[test]
fn all_kinds_of_messages_arrive_once_and_in_order_in_both_directions() {
    let runtime = runtime();
    let (a, b) = (node(&runtime), node(&runtime));
    let mut dice = Dice::new(1);
    for (generation, limit) in [(1, 1), (2, 10_000), (3, 16 << 20)] {
        let (there, back) = ([link(4, 1, 1), link(4, 0, 0), link(4, 0, 1), link(5, 0, 0)], [link(6, 2, 2), link(4, 5, 0)]);
        let one = Side::new(&a, 0, generation, peer("agent b", &b.address().to_string(), LONG, &runtime), &there, &back, limit);
        let two = Side::new(&b, 1, generation, peer("agent a", &a.address().to_string(), LONG, &runtime), &back, &there, limit);
        let sent: Vec<_> = (0..4).map(|_| messages(&mut dice, 60, 2000)).collect();
        let got = carry(&one, &two, sent.clone(), || {});
        for (sent, got) in sent.into_iter().zip(&got) {
            assert_same(&sent, got);
        }
        let sent: Vec<_> = (0..2).map(|_| messages(&mut dice, 10, 20_000)).collect();
        let got = carry(&two, &one, sent.clone(), || {});
        for (sent, got) in sent.into_iter().zip(&got) {
            assert_same(&sent, got);
        }
        // a producer waits for its consumer's share, not for the end of its own consumers
        one.carrier.stop(true).unwrap();
        two.carrier.stop(true).unwrap();
    }
}

#[test]
fn what_a_cut_connection_lost_is_sent_again() {
    let runtime = runtime();
    let (a, b) = (node(&runtime), node(&runtime));
    let (to_b, to_a) = (Proxy::new(b.address()), Proxy::new(a.address()));
    let (mut dice, mut cuts, mut spilled) = (Dice::new(2), 0, 0);
    let base = tempfile::tempdir().unwrap();
    for generation in 1..6 {
        let there = [link(4, 0, 0), link(4, 0, 1), link(4, 1, 0)];
        let other = peer("agent b", &to_b.address(), LONG, &runtime);
        // every other time, of what was sent 30 kB stay in memory
        let set_up = |carrier: FlightCarrier| match generation % 2 {
            0 => carrier,
            _ => carrier.spill(30_000, SpillDir::new(base.path()).unwrap()),
        };
        let one = Side::with(&a, 0, generation, other, (&there, &[]), 50_000, set_up);
        let two = Side::new(&b, 1, generation, peer("agent a", &to_a.address(), LONG, &runtime), &[], &there, 50_000);
        let sent: Vec<_> = (0..3).map(|_| messages(&mut dice, 150, 3000)).collect();
        let mut next = 100_000 + to_b.passed();
        let got = carry(&one, &two, sent.clone(), || {
            if to_b.passed() >= next {
                to_b.cut();
                cuts += 1;
                next = to_b.passed() + dice.below(1_500_000);
            }
        });
        for (sent, got) in sent.into_iter().zip(&got) {
            assert_same(&sent, got);
        }
        one.carrier.stop(true).unwrap();
        two.carrier.stop(true).unwrap();
        assert!(generation % 2 == 1 || one.carrier.spilled() == 0);
        spilled += one.carrier.spilled();
    }
    assert!(cuts > 10 && spilled > 1_000_000, "{cuts}, {spilled}");
    // nothing stays behind, once the connections are closed
    let begun = Instant::now();
    while std::fs::read_dir(base.path()).unwrap().count() > 0 {
        std::thread::sleep(Duration::from_millis(10));
        assert!(begun.elapsed() < DEADLINE);
    }
}

#[test]
fn a_link_that_is_down_or_stalled_for_a_while_goes_on() {
    let runtime = runtime();
    let (a, b) = (node(&runtime), node(&runtime));
    let to_b = Proxy::new(b.address());
    let there = [link(4, 0, 0)];
    let one = Side::new(&a, 0, 1, peer("agent b", &to_b.address(), LONG, &runtime), &there, &[], 100_000);
    let two = Side::new(&b, 1, 1, peer("agent a", &a.address().to_string(), LONG, &runtime), &[], &there, 100_000);
    let sent = vec![messages(&mut Dice::new(3), 400, 3000)];
    let (begun, mut phase) = (Instant::now(), 0);
    let got = carry(&one, &two, sent.clone(), || {
        let passed = to_b.passed();
        match phase {
            0 if passed > 300_000 => to_b.down(true),
            1 if begun.elapsed() > Duration::from_secs(2) => to_b.down(false),
            2 if passed > 900_000 => to_b.stall(true),
            3 if begun.elapsed() > Duration::from_secs(4) => to_b.stall(false),
            4 if passed > 1_500_000 => to_b.rate(2_000_000),
            _ => return,
        }
        phase += 1;
    });
    assert_eq!(phase, 5);
    assert_same(&sent[0], &got[0]);
    to_b.rate(0);
    one.carrier.stop(true).unwrap();
    two.carrier.stop(true).unwrap();
}

#[test]
fn patience_begins_when_a_connection_is_cut_and_not_when_there_was_nothing_to_say() {
    let runtime = runtime();
    let (a, b) = (node(&runtime), node(&runtime));
    let to_b = Proxy::new(b.address());
    let (there, patience) = ([link(4, 0, 0)], Duration::from_secs(1));
    let one = Side::new(&a, 0, 1, peer("agent b", &to_b.address(), patience, &runtime), &there, &[], 1000);
    let two = Side::new(&b, 1, 1, peer("agent a", &a.address().to_string(), patience, &runtime), &[], &there, 1000);
    let mut got = Vec::new();
    for time in 0..3 {
        one.outgoing[0].push(Message::Watermark(time));
        one.carrier.pushed(0);
        let begun = Instant::now();
        while got.len() as i64 <= time {
            two.pop(0, &mut got);
            std::thread::sleep(Duration::from_millis(1));
            assert!(begun.elapsed() < DEADLINE);
        }
        std::thread::sleep(patience * 3 / 2);
        to_b.cut();
    }
    one.carrier.stop(true).unwrap();
    assert_eq!((one.failure(), two.failure()), (None, None));
}

#[test]
fn patience_begins_when_all_shares_are_ready() {
    let runtime = runtime();
    let (a, b) = (node(&runtime), node(&runtime));
    let patience = Duration::from_millis(150);
    let (there, back) = ([link(4, 0, 0)], [link(6, 0, 0)]);
    let mut dice = Dice::new(11);
    // the one has restored its states, and the other needs several times as long as an agent is waited for
    let to_b = peer("agent b", &b.address().to_string(), patience, &runtime);
    let one = Side::ready(&a, 0, 1, to_b, (&there, &back), 10_000, |carrier| carrier);
    std::thread::sleep(patience * 4);
    assert_eq!(one.failure(), None);
    let to_a = peer("agent a", &a.address().to_string(), patience, &runtime);
    let two = Side::ready(&b, 1, 1, to_a, (&back, &there), 10_000, |carrier| carrier);
    std::thread::sleep(patience * 2);
    one.carrier.begin();
    two.carrier.begin();
    for (from, to) in [(&one, &two), (&two, &one)] {
        let sent = messages(&mut dice, 30, 500);
        assert_same(&sent, &carry(from, to, vec![sent.clone()], || {})[0]);
    }
    one.carrier.stop(true).unwrap();
    two.carrier.stop(true).unwrap();

    // one that ends before it begins gives back what waits for it, at once; and who is away after it began is told
    let alone = Side::ready(&a, 0, 2, peer("agent b", &b.address().to_string(), patience, &runtime), (&there, &back), 10_000, |c| c);
    let began = Instant::now();
    alone.carrier.stop(false).unwrap();
    assert!(began.elapsed() < LONG / 10);
    let left = Side::ready(&a, 0, 3, peer("agent b", &b.address().to_string(), patience, &runtime), (&[], &back), 10_000, |c| c);
    std::thread::sleep(patience * 2);
    assert_eq!(left.failure(), None);
    left.carrier.begin();
    let began = Instant::now();
    while left.failure().is_none() {
        assert!(began.elapsed() < DEADLINE, "nobody misses a producer that never came");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(began.elapsed() >= patience && left.failure().unwrap().contains("has not been connected for 150ms"), "{:?}", left.failure());
}

#[test]
fn a_consumer_that_takes_nothing_holds_up_its_own_links_only() {
    let runtime = runtime();
    let (a, b) = (node(&runtime), node(&runtime));
    let there: Vec<_> = (0..6).map(|to| link(4, 0, to)).collect();
    let limit = 2 << 20;
    let one = Side::new(&a, 0, 1, peer("agent b", &b.address().to_string(), LONG, &runtime), &there, &[], limit);
    let two = Side::new(&b, 1, 1, peer("agent a", &a.address().to_string(), LONG, &runtime), &[], &there, limit);
    let mut dice = Dice::new(4);
    // five links take nothing: more than their HTTP/2 stream's window waits
    let mut sent: Vec<_> = (0..6).map(|_| messages(&mut dice, 200, 3000)).collect();
    let all = sent.clone();
    let mut got = vec![Vec::new(); 6];
    let begun = Instant::now();
    while !matches!(got[5].last(), Some(Message::End)) {
        one.push(&mut sent);
        two.pop(5, &mut got[5]);
        std::thread::sleep(Duration::from_micros(200));
        assert!(begun.elapsed() < DEADLINE && one.failure().is_none());
    }
    assert_same(&all[5], &got[5]);
    let largest = all.iter().flatten().map(Message::bytes).max().unwrap();
    for at in 0..5 {
        assert!(one.outgoing[at].full() && !sent[at].is_empty());
        for channel in [&one.outgoing[at], &two.incoming[at]] {
            assert!(channel.peak() <= limit + 2 * largest, "{} of {limit}", channel.peak());
        }
    }
    // and then they do
    while !got.iter().all(|g: &Vec<Message>| matches!(g.last(), Some(Message::End))) {
        one.push(&mut sent);
        (0..5).for_each(|at| two.pop(at, &mut got[at]));
        std::thread::sleep(Duration::from_micros(200));
        assert!(begun.elapsed() < DEADLINE && one.failure().is_none());
    }
    for at in 0..5 {
        assert_same(&all[at], &got[at]);
    }
}

#[test]
fn marks_pass_links_whose_rows_have_no_room() {
    let runtime = runtime();
    let (a, b) = (node(&runtime), node(&runtime));
    let there = [link(4, 0, 0), link(4, 0, 1)];
    let one = Side::new(&a, 0, 1, peer("agent b", &b.address().to_string(), LONG, &runtime), &there, &[], 1);
    let two = Side::new(&b, 1, 1, peer("agent a", &a.address().to_string(), LONG, &runtime), &[], &there, 1);
    let rows: Vec<Message> =
        messages(&mut Dice::new(5), 40, 1000).into_iter().filter(|m| matches!(m, Message::Rows(_)) && m.bytes() > 1).collect();
    let script =
        |at: usize| vec![rows[at].clone(), Message::Watermark(1), Message::Barrier(2), rows[at + 2].clone(), Message::Watermark(3)];
    for at in 0..2 {
        script(at).into_iter().for_each(|m| one.outgoing[at].push(m));
        one.carrier.pushed(at);
    }
    // the window is one byte: one morsel, then the marks behind it, and the second waits
    let mut got = [Vec::new(), Vec::new()];
    let wait = |got: &mut [Vec<(Message, usize)>; 2], n: usize| {
        let begun = Instant::now();
        while got.iter().any(|g| g.len() < n) {
            (0..2).for_each(|at| got[at].extend(std::iter::from_fn(|| two.incoming[at].pop())));
            std::thread::sleep(Duration::from_millis(1));
            assert!(begun.elapsed() < DEADLINE, "{}, {}", got[0].len(), got[1].len());
        }
    };
    wait(&mut got, 3);
    std::thread::sleep(Duration::from_millis(100));
    wait(&mut got, 3);
    assert!(got.iter().all(|g| g.len() == 3));
    for at in 0..2 {
        if two.incoming[at].release(got[at][0].1) {
            two.carrier.room(at);
        }
    }
    wait(&mut got, 5);
    for at in 0..2 {
        assert_same(&script(at), &got[at].iter().map(|m| m.0.clone()).collect::<Vec<_>>());
    }
}

#[test]
fn a_morsel_larger_than_a_message_and_than_the_window_arrives_as_it_is() {
    let runtime = runtime();
    let (a, b) = (node(&runtime), node(&runtime));
    let there = [link(4, 0, 0), link(4, 0, 1)];
    let one = Side::new(&a, 0, 1, peer("agent b", &b.address().to_string(), LONG, &runtime), &there, &[], 1 << 20);
    let two = Side::new(&b, 1, 1, peer("agent a", &a.address().to_string(), LONG, &runtime), &[], &there, 1 << 20);
    let mut dice = Dice::new(6);
    let sent: Vec<_> = (0..2).map(|_| messages(&mut dice, 8, 100_000)).collect();
    assert!(sent.iter().flatten().any(|m| m.bytes() > 8 << 20));
    let got = carry(&one, &two, sent.clone(), || {});
    for (sent, got) in sent.into_iter().zip(&got) {
        assert_same(&sent, got);
    }
}

#[test]
fn a_peer_that_is_not_there_ends_the_job_by_name_and_address() {
    let runtime = runtime();
    let a = node(&runtime);
    let there = [link(4, 0, 0)];
    let patience = Duration::from_millis(600);
    // nobody listens on this port
    let one = Side::new(&a, 0, 1, peer("agent b", "127.0.0.1:9", patience, &runtime), &there, &there, 1000);
    let begun = Instant::now();
    while one.host.failures.lock().unwrap().len() < 2 {
        std::thread::sleep(Duration::from_millis(5));
        assert!(begun.elapsed() < DEADLINE);
    }
    assert!(begun.elapsed() >= patience);
    let mut failures: Vec<String> = one.host.failures.lock().unwrap().iter().map(ToString::to_string).collect();
    failures.sort();
    assert!(
        failures[0].starts_with("agent b at 127.0.0.1:9: cannot be reached for 600ms; edge 0 into node 4 of job `job`"),
        "{failures:?}"
    );
    assert!(failures[1].starts_with("agent b at 127.0.0.1:9: does not send edge 0 into node 4 of job `job`"), "{failures:?}");
    assert!(one.carrier.stop(true).unwrap_err().to_string().contains("agent b at 127.0.0.1:9"));
}

#[test]
fn a_zombie_of_an_older_attempt_is_refused_at_once() {
    let runtime = runtime();
    let (a, b) = (node(&runtime), node(&runtime));
    let there = [link(4, 0, 0)];
    let two = Side::new(&b, 1, 2, peer("agent a", &a.address().to_string(), LONG, &runtime), &[], &there, 1000);
    let old = Side::new(&a, 0, 1, peer("agent b", &b.address().to_string(), LONG, &runtime), &there, &[], 1000);
    old.outgoing[0].push(Message::Watermark(1));
    old.carrier.pushed(0);
    let begun = Instant::now();
    let told = loop {
        if let Some(told) = old.failure() {
            break told;
        }
        std::thread::sleep(Duration::from_millis(5));
        assert!(begun.elapsed() < LONG / 2);
    };
    assert!(
        told.contains("does not take edge 0 into node 4 of job `job`, attempt 1") && told.contains("attempt 2 of job `job` runs here"),
        "{told}"
    );
    assert!(two.incoming[0].pop().is_none() && two.failure().is_none());
}

#[test]
fn shares_that_see_other_links_are_refused() {
    let runtime = runtime();
    let (a, b) = (node(&runtime), node(&runtime));
    let one = Side::new(&a, 0, 1, peer("agent b", &b.address().to_string(), LONG, &runtime), &[link(4, 0, 0)], &[], 1000);
    let _two = Side::new(&b, 1, 1, peer("agent a", &a.address().to_string(), LONG, &runtime), &[], &[link(4, 0, 1)], 1000);
    let begun = Instant::now();
    while one.failure().is_none() {
        std::thread::sleep(Duration::from_millis(5));
        assert!(begun.elapsed() < LONG / 2);
    }
    assert!(one.failure().unwrap().contains("have not placed the job alike"));
}

#[test]
fn a_share_stops_when_all_has_arrived_or_at_once() {
    let runtime = runtime();
    let (a, b) = (node(&runtime), node(&runtime));
    let there = [link(4, 0, 0)];
    let patience = Duration::from_secs(1);
    let sides = |generation| {
        let one = Side::new(&a, 0, generation, peer("agent b", &b.address().to_string(), patience, &runtime), &there, &[], 1 << 20);
        let two = Side::new(&b, 1, generation, peer("agent a", &a.address().to_string(), patience, &runtime), &[], &there, 1 << 20);
        (one, two)
    };
    let (one, two) = sides(1);
    let mut sent = vec![messages(&mut Dice::new(7), 20, 300)];
    let all = Vec::from(sent[0].clone());
    assert!(!one.push(&mut sent));
    one.carrier.stop(true).unwrap();
    // all of it is in the consumer's channel by now
    let mut got = Vec::new();
    two.pop(0, &mut got);
    assert_same(&all, &got);
    two.carrier.stop(true).unwrap();

    // a consumer that ends its share makes the producer fail, after its patience
    let (one, two) = sides(2);
    two.carrier.stop(false).unwrap();
    let begun = Instant::now();
    while one.failure().is_none() {
        std::thread::sleep(Duration::from_millis(5));
        assert!(begun.elapsed() < DEADLINE);
    }
    assert!(one.failure().unwrap().contains("agent b at 127.0.0.1:"), "{:?}", one.failure());
    // a producer that ends its share makes the consumer fail
    let (one, two) = sides(3);
    one.outgoing[0].push(Message::Watermark(1));
    one.carrier.stop(false).unwrap();
    let begun = Instant::now();
    while two.failure().is_none() {
        std::thread::sleep(Duration::from_millis(5));
        assert!(begun.elapsed() < DEADLINE);
    }
    assert!(two.failure().unwrap().contains("agent a at 127.0.0.1:"), "{:?}", two.failure());
}
