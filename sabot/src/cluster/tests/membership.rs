//! Leases under virtual time: delayed, lost and reordered heartbeats, stopped processes, broken connections, returns.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Random, seeds};
use crate::cluster::{BEAT, Beat, Build, Change, LEASE, Lease, Membership, Refusal, Registration, Standing};

fn build(id: &str) -> Build {
    Build { id: id.into(), operators: BTreeMap::from([("shop::tax".to_owned(), 1)]), pipelines: vec!["bills".into()] }
}
fn agent(name: &str) -> Registration {
    Registration { name: name.into(), address: "127.0.0.1:1".into(), slots: 2, memory: None, cores: 2, pid: 1, build: build("one") }
}
fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn another_build_is_refused_by_what_differs() {
    let mut members = Membership::new(build("one"));
    let mut other = agent("a");
    other.build = Build {
        id: "two".into(),
        operators: BTreeMap::from([("shop::tax".to_owned(), 2), ("shop::tip".to_owned(), 3)]),
        pipelines: vec![],
    };
    let Err(Refusal::Build(why)) = members.register(Duration::ZERO, 1, other) else { panic!("let in") };
    for part in [
        "agent `a` is refused: it is build two, the server is build one: ",
        "operator `shop::tax` differs",
        "the server has no operator `shop::tip`",
        "it has no pipeline `bills`",
        "Copy one executable",
    ] {
        assert!(why.contains(part), "{part}: {why}");
    }
}

#[test]
fn a_name_is_taken_while_its_agent_is_connected() {
    let mut members = Membership::new(build("one"));
    let (first, second) = (8, 9);
    members.register(Duration::ZERO, first, agent("a")).unwrap();
    assert!(matches!(members.register(ms(10), second, agent("a")), Err(Refusal::Name(_))));
    assert_eq!(members.disconnected(first), Some(Change::Suspected(first)));
    // the process was killed and started again: it need not wait for the lease of the one before, which ends all the same
    members.register(ms(20), second, agent("a")).unwrap();
    members.beat(LEASE, second, Beat::default()).unwrap();
    assert_eq!(members.tick(LEASE), [Change::Lost(first)]);
    assert_eq!(members.get(second).unwrap().standing, Standing::Alive);
    assert_eq!(members.newest().map(|m| m.epoch).collect::<Vec<_>>(), [second], "one of two of the same name");
    members.forget(LEASE);
    assert!(members.get(first).is_none() && members.named("a").unwrap().epoch == second);
}

#[test]
fn an_agent_that_is_gone_is_shown_for_a_day() {
    let mut members = Membership::new(build("one"));
    for (epoch, name) in [(1, "lost"), (2, "left"), (3, "there")] {
        members.register(Duration::ZERO, epoch, agent(name)).unwrap();
    }
    members.left(2);
    let day = Duration::from_secs(24 * 3600);
    members.beat(ms(4000), 3, Beat::default()).unwrap();
    assert_eq!(members.tick(LEASE), [Change::Lost(1)]);
    members.forget(day - ms(1));
    assert_eq!(members.all().count(), 3);
    // one that holds its lease is never forgotten
    members.forget(day);
    assert_eq!(members.all().map(|m| m.epoch).collect::<Vec<_>>(), [3]);
}

#[test]
fn drained_agents_leave() {
    let mut members = Membership::new(build("one"));
    let epoch = 1;
    members.register(Duration::ZERO, epoch, agent("a")).unwrap();
    assert!(members.drain(epoch));
    members.beat(ms(1000), epoch, Beat::default()).unwrap();
    assert_eq!(members.get(epoch).unwrap().standing, Standing::Draining, "a heartbeat does not undo it");
    members.left(epoch);
    assert_eq!(members.get(epoch).unwrap().standing, Standing::Left);
    assert!(members.beat(ms(2000), epoch, Beat::default()).is_err());
    assert!(members.tick(ms(60_000)).is_empty(), "who has left is not lost");
    assert!(!members.drain(epoch));
}

/// A process in the simulation.
struct Process {
    epoch: u64,
    lease: Lease,
    /// Until when it is stopped (SIGSTOP).
    stopped: Duration,
    /// Until when its packets go nowhere.
    cut: Duration,
    next: Duration,
    dead: bool,
}

#[test]
fn whoever_is_lost_has_stopped_itself() {
    let mut lost = 0;
    for seed in seeds(1000) {
        let mut random = Random::new(seed);
        let mut members = Membership::new(build("one"));
        let mut processes: Vec<Process> = Vec::new();
        // packets under way: when they arrive, to whom
        let mut up: Vec<(Duration, u64, Beat)> = Vec::new();
        let mut down: Vec<(Duration, u64, u64)> = Vec::new();
        let mut epochs = 0;
        for name in 0..3 {
            epochs += 1;
            let epoch = epochs;
            members.register(Duration::ZERO, epoch, agent(&format!("a{name}"))).unwrap();
            processes.push(Process {
                epoch,
                lease: Lease::new(Duration::ZERO),
                stopped: Duration::ZERO,
                cut: Duration::ZERO,
                next: BEAT,
                dead: false,
            });
        }
        let mut gone: BTreeMap<u64, Duration> = BTreeMap::new();
        for step in 0..600_u64 {
            let now = ms(step * 50);
            for process in &mut processes {
                if random.below(400) == 0 {
                    process.stopped = now + ms(random.below(12_000));
                }
                if random.below(400) == 0 {
                    process.cut = now + ms(random.below(8000));
                }
                if process.stopped > now {
                    continue;
                }
                if !process.lease.runs(now) {
                    process.dead = true;
                }
                if now >= process.next && !process.dead {
                    process.next = now + BEAT;
                    let number = process.lease.sent(now);
                    if process.cut <= now && !random.chance(5) {
                        up.push((now + ms(random.below(900)), process.epoch, Beat { number, ..Beat::default() }));
                    }
                }
            }
            let (arrived, rest): (Vec<_>, Vec<_>) = up.into_iter().partition(|(at, ..)| *at <= now);
            up = rest;
            for (_, epoch, beat) in arrived {
                let answer = members.beat(now, epoch, beat);
                assert_eq!(
                    answer.is_err(),
                    gone.contains_key(&epoch)
                        || !members.get(epoch).unwrap().standing.holds()
                        || now >= members.get(epoch).unwrap().heard + LEASE,
                    "seed {seed}"
                );
                if answer.is_ok() && !random.chance(5) {
                    down.push((now + ms(random.below(900)), epoch, beat.number));
                }
            }
            let (arrived, rest): (Vec<_>, Vec<_>) = down.into_iter().partition(|(at, ..)| *at <= now);
            down = rest;
            for (_, epoch, number) in arrived {
                // a stopped process reads its answers when it goes on; it may have passed its lease by then
                if let Some(process) = processes.iter_mut().find(|p| p.epoch == epoch && p.stopped <= now && p.cut <= now && !p.dead) {
                    process.lease.answered(number);
                }
            }
            for change in members.tick(now) {
                if let Change::Lost(epoch) = change {
                    lost += 1;
                    gone.insert(epoch, now);
                    let process = processes.iter_mut().find(|p| p.epoch == epoch).unwrap();
                    assert!(!process.lease.runs(now), "seed {seed}: epoch {epoch} may work although it is lost");
                    // it comes back as a new member
                    let name = members.get(epoch).unwrap().registration.name.clone();
                    epochs += 1;
                    process.epoch = epochs;
                    members.register(now, epochs, agent(&name)).unwrap();
                    (process.lease, process.dead, process.next) = (Lease::new(now), false, now + BEAT);
                    (process.stopped, process.cut) = (now, now);
                }
            }
            // detection: nobody who is silent for the lease still counts
            assert!(members.all().all(|m| !m.standing.holds() || now < m.heard + LEASE), "seed {seed}");
        }
    }
    assert!(lost > 100, "the seeds lose agents: {lost}");
}
