//! What checkpoints share, and savepoints: into the same plan, into another one, and what is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::kept::{Shelf, folder, kept, on, plan, shown};
use super::*;
use crate::Error;
use crate::kernel::Morsel;
use crate::kernel::hash::{KEY_GROUPS, hash_integer, key_group};
use crate::operator::{Delta, Frozen, GroupState, Layer, LayerRows, Operator, Output, Progress};
use crate::runtime::saved::Saved;
use crate::runtime::store::Store;

/// Emits (k, how many of k were seen, up to a limit); each key is worth 8 KiB of state. Behind the limit the state stays as it is.
#[derive(Default)]
struct Heavy {
    seen: BTreeMap<i64, i64>,
    limit: i64,
    /// Groups that have changed, if it is one to say so.
    changed: Option<BTreeSet<u16>>,
    /// Keys that have changed, if it writes layers; none if it does not.
    rows: Option<BTreeSet<i64>>,
}

/// What a key of 8 KiB counts for in layers: as many rows as such a state would have.
const WEIGHS: u64 = 1 << 10;

/// How an operator says what has changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    Nothing,
    Groups,
    Rows,
}

/// The state of a key: 8 KiB.
fn of_key(k: i64, n: i64) -> impl Iterator<Item = u8> {
    [k, n].into_iter().chain((0..1022).map(move |i| k * n + i)).flat_map(i64::to_le_bytes)
}

/// The keys of a state.
fn read_keys(bytes: &[u8]) -> impl Iterator<Item = (i64, i64)> {
    bytes.chunks(8192).map(|key| {
        let number = |at: usize| i64::from_le_bytes(key[at * 8..][..8].try_into().unwrap());
        let (k, n) = (number(0), number(1));
        assert!((0..1022).all(|i| number(2 + i) == k * n + i as i64));
        (k, n)
    })
}

fn group(k: i64) -> u16 {
    key_group(hash_integer(k), KEY_GROUPS)
}

impl Heavy {
    fn layer(&mut self, whole: bool) -> Frozen {
        let changed = self.rows.replace(BTreeSet::new()).unwrap_or_default();
        let some: Vec<(i64, i64)> = self.seen.iter().filter(|(k, _)| whole || changed.contains(k)).map(|(k, n)| (*k, *n)).collect();
        let rows = LayerRows { written: some.len() as u64 * WEIGHS, live: self.seen.len() as u64 * WEIGHS };
        if whole && some.is_empty() {
            return Frozen::empty();
        }
        Frozen::layer(move || Ok(Layer { bytes: some.iter().flat_map(|(k, n)| of_key(*k, *n)).collect(), whole, rows, ..Layer::default() }))
    }
    fn cut(&mut self, all: bool) -> Frozen {
        if self.rows.is_some() {
            return self.layer(all);
        }
        let mut states: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
        for (k, n) in &self.seen {
            states.entry(group(*k)).or_default().extend(of_key(*k, *n));
        }
        let changed = self.changed.as_mut().map(std::mem::take).filter(|_| !all);
        let unchanged: Vec<u16> = states.keys().copied().filter(|g| changed.as_ref().is_some_and(|c| !c.contains(g))).collect();
        states.retain(|g, _| !unchanged.contains(g));
        Frozen::changes(|| {
            let states = states.into_iter().map(|(group, bytes)| GroupState { group, bytes }).collect();
            Ok(Delta { states, unchanged, layer: None })
        })
    }
}

impl Operator for Heavy {
    fn process(&mut self, _port: usize, m: Morsel, out: &mut dyn Output) -> crate::Result<Progress> {
        let mut counted = Vec::new();
        for (k, _) in of(&m) {
            let n = self.seen.entry(k).or_default();
            if *n < self.limit {
                *n += 1;
                self.changed.iter_mut().for_each(|changed| changed.extend([group(k)]));
                self.rows.iter_mut().for_each(|rows| rows.extend([k]));
            }
            counted.push((k, *n));
        }
        out.emit(Morsel::new(batch(&counted), m.origin));
        Ok(Progress::Done)
    }
    fn snapshot(&mut self, _epoch: u64) -> crate::Result<Frozen> {
        Ok(self.cut(true))
    }
    fn snapshot_changes(&mut self, _epoch: u64) -> crate::Result<Frozen> {
        Ok(self.cut(false))
    }
    fn restore(&mut self, state: &GroupState) -> crate::Result<()> {
        for (k, n) in read_keys(&state.bytes) {
            assert!(group(k) == state.group);
            assert!(self.seen.insert(k, n).is_none(), "a group is restored once");
        }
        Ok(())
    }
    fn restore_layers(&mut self, layers: &[&[u8]], mine: &dyn Fn(u16) -> bool) -> crate::Result<bool> {
        let before = self.seen.len();
        for layer in layers {
            for (k, n) in read_keys(layer).filter(|(k, _)| mine(group(*k))) {
                assert!(self.seen.insert(k, n).is_none_or(|before| before <= n), "layers come in order");
            }
        }
        Ok(self.seen.len() > before)
    }
}

fn heavy(says: Says) -> (Plan, usize) {
    let mut p = Plan::default();
    let s = p.source(Numbers { endless: true, partitions: 2, ..Numbers::new(300, 17, 1) });
    let made = move || Heavy {
        limit: 3,
        changed: (says == Says::Groups).then(BTreeSet::new),
        rows: (says == Says::Rows).then(BTreeSet::new),
        ..Heavy::default()
    };
    let c = p.node("heavy", &[(s, 0, by_key(), false)], false, true, made);
    let sink = p.sink(c);
    (p, sink)
}

/// The files of a directory with this ending.
fn files(dir: &Path, ending: &str) -> BTreeSet<String> {
    let names = std::fs::read_dir(dir).unwrap().flatten().filter_map(|e| e.file_name().into_string().ok());
    names.filter(|n| n.ends_with(ending)).collect()
}

#[test]
fn what_has_not_changed_is_not_written_again() {
    let expected = heavy_rows();
    let mut reused = 0;
    for seed in seeds(12) {
        let says = [Says::Groups, Says::Nothing, Says::Rows][seed as usize % 3];
        let dir = folder();
        let shelf = Shelf::default();
        let (plan, sink) = heavy(says);
        let bound = || on(&[shelf.clone(), shelf.clone()], [sink, usize::MAX]).into_iter().take(1).collect();
        for life in 0..4 {
            let crash = 40 + (seed * 131 + life * 977) % 900;
            let executor = Arc::new(Simulated::new(seed * 10 + life).crash_at(crash));
            let ended = run_on(executor, &plan.0, bound(), &kept(dir.path(), 1 + (seed + life) as usize % 4), &Control::new(), None);
            assert!(matches!(ended, Err(Error::Internal(_))), "seed {seed}: it died");
        }
        let control = Control::new();
        let stop = control.clone();
        let executor = Arc::new(Simulated::new(seed).at(6000, move || stop.stop()));
        let options = RunOptions { checkpoint_every: Duration::from_millis(3), ..kept(dir.path(), 2) };
        let report = run_on(executor, &plan.0, bound(), &options, &control, None).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(shown(&shelf), expected, "seed {seed}");
        // 17 keys of 8 KiB each: once no state changes, checkpoints are small
        let c = &report.checkpoints;
        let quiet: Vec<_> = c.recent.iter().rev().skip(1).take(3).collect();
        assert!(
            quiet.iter().all(|t| t.written < 60_000 && (t.reused == 17 * 8192 || says == Says::Rows && t.reused >= 17 * 8192)),
            "seed {seed}: {quiet:?}"
        );
        assert!(c.recent.len() as u64 == c.taken.min(100) && c.reused >= c.recent.iter().map(|t| t.reused).sum::<u64>());
        reused += c.reused;
        // what is there is named, and what is named is there
        let mut named = BTreeSet::new();
        for manifest in files(dir.path(), ".checkpoint") {
            let path = dir.path().join(&manifest);
            let read = Checkpoint::parse(&std::fs::read(&path).unwrap(), &path).unwrap();
            named.extend(read.states.iter().filter_map(|s| s.stored.as_ref()).map(|s| s.file.clone()));
            if read.states.iter().any(|s| s.stored.is_some()) {
                assert!(Checkpoint::read_file(&path).unwrap_err().to_string().contains("does not hold all of its states"));
            }
        }
        assert_eq!(files(dir.path(), ".state"), named, "seed {seed}");
    }
    assert!(reused > 0);
}

#[test]
fn a_file_of_states_that_is_damaged_or_gone_is_refused() {
    let dir = folder();
    let (plan, sink) = heavy(Says::Groups);
    let run = |crash| {
        let shelves = [Shelf::default(), Shelf::default()];
        let bound = on(&shelves, [sink, usize::MAX]).into_iter().take(1).collect();
        run_on(Arc::new(Simulated::new(1).crash_at(crash)), &plan.0, bound, &kept(dir.path(), 2), &Control::new(), None)
            .unwrap_err()
            .to_string()
    };
    assert!(run(2500).contains("executor stopped"));
    let newest = newest_checkpoint(dir.path()).unwrap().unwrap();
    let path = dir.path().join(format!("{newest:010}.checkpoint"));
    let read = Checkpoint::parse(&std::fs::read(&path).unwrap(), &path).unwrap();
    let stored = read.states.iter().find_map(|s| s.stored.clone()).unwrap();
    let file = dir.path().join(&stored.file);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[stored.offset as usize + 5] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let error = run(9000);
    assert!(error.contains(&stored.file) && error.contains("is damaged"), "{error}");
    std::fs::remove_file(&file).unwrap();
    assert!(run(9000).contains("is missing"));
}

#[test]
fn a_savepoint_is_made_of_files_and_read_as_far_as_it_is_wanted() {
    let dir = folder();
    let (plan, sink) = heavy(Says::Groups);
    let shelves = [Shelf::default(), Shelf::default()];
    let bound = on(&shelves, [sink, usize::MAX]).into_iter().take(1).collect();
    run_on(Arc::new(Simulated::new(1).crash_at(2500)), &plan.0, bound, &kept(dir.path(), 2), &Control::new(), None).unwrap_err();
    let store = Store::beside(dir.path(), &RunOptions::default(), (9, 0)).unwrap();
    let newest = store.manifest(newest_checkpoint(dir.path()).unwrap().unwrap()).unwrap();
    let made = store.save("here", &newest).unwrap();
    assert!(store.save("here", &newest).unwrap_err().to_string().contains("there is a savepoint `here` already"));
    assert_eq!(made.bytes, std::fs::metadata(&made.path).unwrap().len());
    let mut loaded = newest.clone();
    store.load(&mut loaded).unwrap();
    assert_eq!(Checkpoint::read_file(&made.path).unwrap(), loaded.whole());
    let saved = Saved::open(&made.path).unwrap();
    let large: Vec<usize> = (0..newest.states.len()).filter(|at| newest.states[*at].stored.is_some()).collect();
    assert!(large.len() > 2, "some states are in files");
    // the others are not even looked at
    let (one, other) = (large[0], large[large.len() - 1]);
    let mut bytes = std::fs::read(&made.path).unwrap();
    bytes[saved.checkpoint.states[other].stored.as_ref().unwrap().offset as usize + 5] ^= 1;
    std::fs::write(&made.path, bytes).unwrap();
    let read = |at: usize| {
        let mut part = Checkpoint { states: vec![saved.checkpoint.states[at].clone()], ..Checkpoint::default() };
        saved.load(&mut part, |_| true).map(|()| part.states.remove(0))
    };
    assert_eq!(read(one).unwrap(), NodeState { stored: None, ..loaded.states[one].clone() });
    assert!(read(other).unwrap_err().to_string().contains("here.savepoint is damaged"));
    // nothing is left of one that cannot be made
    let file = dir.path().join(&newest.states[other].stored.as_ref().unwrap().file);
    std::fs::remove_file(&file).unwrap();
    let error = store.save("there", &newest).unwrap_err().to_string();
    assert!(error.contains(&file.display().to_string()) && error.contains("needs it"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path().join("savepoints")).unwrap().count(), 1);
}

#[test]
fn a_format_that_is_not_known_is_refused() {
    let dir = folder();
    let path = dir.path().join("1.checkpoint");
    Checkpoint { epoch: 1, ..Checkpoint::default() }.write_file(&path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 9;
    std::fs::write(&path, bytes).unwrap();
    let error = Checkpoint::read_file(&path).unwrap_err().to_string();
    assert!(error.contains(&format!("has version 9 of the format, and this program reads version {CHECKPOINT_FORMAT}")), "{error}");
    std::fs::write(&path, b"SABOTCP1 and more").unwrap();
    assert!(Checkpoint::read_file(&path).unwrap_err().to_string().contains("version 1"));
    std::fs::write(&path, b"something else").unwrap();
    assert!(Checkpoint::read_file(&path).unwrap_err().to_string().contains("no checkpoint"));
}

/// Runs until a savepoint stops it at some step; the rows of both sinks.
fn stopped(seed: u64, step: u64, dir: &Path, plan: &Plan, sinks: [usize; 2]) -> [Shelf; 2] {
    let shelves = [Shelf::default(), Shelf::default()];
    let control = Control::new();
    let (asked, ticket) = (control.clone(), Arc::new(std::sync::Mutex::new(None)));
    let kept_ticket = Arc::clone(&ticket);
    let executor = Simulated::new(seed).at(step, move || *kept_ticket.lock().unwrap() = Some(asked.request_savepoint("here", true)));
    let ended = run_on(Arc::new(executor), &plan.0, on(&shelves, sinks), &kept(dir, 1 + seed as usize % 3), &control, None);
    assert!(matches!(&ended, Err(Error::Suspended(name)) if name == "here"), "seed {seed}: {ended:?}");
    let saved = ticket.lock().unwrap().take().unwrap().try_take().unwrap().unwrap();
    let listed: Vec<Savepoint> = savepoints(dir).unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(listed, [saved]);
    shelves
}

fn to_the_end(seed: u64, plan: &Plan, sinks: [usize; 2], shelves: &[Shelf; 2], options: &RunOptions) -> crate::Result<Report> {
    let control = Control::new();
    let stop = control.clone();
    let executor = Arc::new(Simulated::new(seed).at(6000, move || stop.stop()));
    run_on(executor, &plan.0, on(shelves, sinks), options, &control, None)
}

#[test]
fn a_savepoint_goes_on_elsewhere_and_in_place() {
    for seed in seeds(6) {
        let (dir, other) = (folder(), folder());
        let (plan, sinks) = plan(1 + seed as u32 % 3);
        let before = stopped(seed, 30 + seed * 37 % 600, dir.path(), &plan, sinks);
        let mut expected = [Vec::new(), Vec::new()];
        for place in [&other, &dir] {
            let after = [Shelf::default(), Shelf::default()];
            let saved = find_savepoint(Some(dir.path()), "here").unwrap();
            let options = |every| RunOptions {
                from_savepoint: Some(saved.clone()),
                identity: BTreeMap::from([("parameter `x`".into(), "another".into())]),
                checkpoint_every: Duration::from_micros(every),
                ..kept(place.path(), 1 + (seed as usize + 1) % 4)
            };
            // dies once or twice, and goes on from its own checkpoints
            for life in 0..2 {
                let executor = Arc::new(Simulated::new(seed + life).crash_at(20 + (seed * 7 + life * 131) % 500));
                let died = run_on(executor, &plan.0, on(&after, sinks), &options(700), &Control::new(), None);
                assert!(matches!(died, Err(Error::Internal(_))), "{died:?}");
            }
            to_the_end(seed, &plan, sinks, &after, &options(5000)).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            for (i, expected) in expected.iter_mut().enumerate() {
                let mut all = [shown(&before[i]), shown(&after[i])].concat();
                all.sort_unstable();
                if expected.is_empty() {
                    *expected = all;
                } else {
                    assert_eq!(all, *expected, "seed {seed}, sink {i}");
                }
            }
        }
        let mut even: Vec<Row> = (0..1 + seed % 3).flat_map(|_| (0..300).filter(|i| i % 2 == 0).map(|i| (i % 17, i))).collect();
        even.sort_unstable();
        assert_eq!(expected[0], even, "seed {seed}");
        let counts = even.iter().map(|(k, _)| *k).collect::<Vec<_>>();
        assert_eq!(expected[1].iter().map(|(k, _)| *k).collect::<Vec<_>>(), counts);
        assert_eq!(expected[1].iter().collect::<BTreeSet<_>>().len(), counts.len(), "no count comes twice");

        // a directory that has gone on is none for another savepoint
        let third = folder();
        stopped(seed + 1, 100, third.path(), &plan, sinks);
        let options = RunOptions { from_savepoint: Some(find_savepoint(Some(third.path()), "here").unwrap()), ..kept(other.path(), 2) };
        let error = to_the_end(seed, &plan, sinks, &[Shelf::default(), Shelf::default()], &options).unwrap_err().to_string();
        assert!(error.contains("does not go back to this savepoint"), "{error}");
        delete_savepoint(dir.path(), "here").unwrap();
        assert!(savepoints(dir.path()).unwrap().is_empty());
    }
}

#[test]
fn savepoints_are_refused_with_a_reason() {
    let dir = folder();
    let (plan, sinks) = plan(1);
    let control = Control::new();
    let tickets = ["good", "good", "../bad", ""].map(|name| control.request_savepoint(name, false));
    let stop = control.clone();
    let executor = Arc::new(Simulated::new(1).at(3000, move || stop.stop()));
    run_on(executor, &plan.0, on(&[Shelf::default(), Shelf::default()], sinks), &kept(dir.path(), 2), &control, None).unwrap();
    let answers = tickets.map(|t| t.try_take().unwrap().map_err(|e| e.to_string()));
    assert!(answers[0].as_ref().is_ok_and(|s| s.bytes > 0 && s.path.is_file()));
    assert!(answers[1].as_ref().is_err_and(|e| e.contains("a savepoint `good` already")), "{answers:?}");
    assert!(answers[2..].iter().all(|a| a.as_ref().is_err_and(|e| e.contains("cannot be the name"))), "{answers:?}");
    let error = find_savepoint(Some(dir.path()), "bad").unwrap_err().to_string();
    assert!(error.contains("no savepoint `bad`") && error.contains("there are `good`"), "{error}");
    assert!(control.savepoint("late").unwrap_err().to_string().contains("over"));

    let control = Control::new();
    let ticket = control.request_savepoint("x", false);
    let options = RunOptions { checkpoint_dir: None, checkpoints: true, ..kept(dir.path(), 1) };
    let (stop, seen) = (control.clone(), Seen::default());
    let bound = vec![bind(sinks[0], &seen).remove(0), bind(sinks[1], &seen).remove(0)];
    run_on(Arc::new(Simulated::new(1).at(500, move || stop.stop())), &plan.0, bound, &options, &control, None).unwrap();
    assert!(ticket.wait().unwrap_err().to_string().contains("--checkpoint-dir"));
    let without = RunOptions { from_savepoint: Some("x".into()), checkpoint_dir: None, ..kept(dir.path(), 1) };
    let error = to_the_end(1, &plan, sinks, &[Shelf::default(), Shelf::default()], &without).unwrap_err().to_string();
    assert!(error.contains("keeps checkpoints: name a directory"), "{error}");
}

/// The plan of `kept`, with another step before the second sink, keyed by `key`, in place of the counter if `replaced`.
fn changed(partitions: u32, replaced: bool, key: &str) -> (Plan, [usize; 2]) {
    let mut p = Plan::default();
    let s = p.source(Numbers { endless: true, partitions, ..Numbers::new(300, 17, 1) });
    let e = p.step("even", s, || Even);
    let from = if replaced { e } else { p.node("counter", &[(e, 0, by(key), false)], false, true, Counter::default) };
    let again = p.node("again", &[(from, 0, by_key(), false)], false, true, Counter::default);
    let sinks = ["sink2", "sink3"].map(|name| {
        let sink = p.sink(if name == "sink2" { e } else { again });
        sink_named(&mut p, sink, if name == "sink2" { "sink3" } else { "sink4" });
        sink
    });
    (p, sinks)
}

fn by(key: &str) -> crate::operator::Exchange {
    crate::operator::Exchange::Hash(vec![key.into()])
}
fn sink_named(plan: &mut Plan, node: usize, name: &str) {
    plan.0.nodes[node].name = name.into();
}

#[test]
fn a_savepoint_into_a_changed_plan() {
    for seed in seeds(4) {
        let dir = folder();
        let (old, sinks) = plan(2);
        assert_eq!(sinks.map(|s| old.0.nodes[s].name.clone()), ["sink3", "sink4"]);
        let before = stopped(seed, 60 + seed * 41, dir.path(), &old, sinks);
        let saved = find_savepoint(Some(dir.path()), "here").unwrap();
        let options = |place: &Path| RunOptions { from_savepoint: Some(saved.clone()), ..kept(place, 2) };
        let fates = |plan: &Plan| -> Vec<(String, Fate, bool)> {
            let check = check_savepoint(&plan.0, &saved).unwrap();
            check.steps.iter().map(|s| (s.step.clone(), s.fate, s.loses)).collect()
        };
        let named = |list: &[(&str, Fate, bool)]| list.iter().map(|(n, f, l)| ((*n).to_owned(), *f, *l)).collect::<Vec<_>>();
        let state = Checkpoint::read_file(&saved).unwrap().states.iter().any(|s| s.node == "counter");

        // a new step behind the counter starts empty; the counter goes on
        let (more, ends) = changed(2, false, "k");
        assert_eq!(
            fates(&more),
            named(&[
                ("source0", Fate::Carried, false),
                ("even", Fate::Carried, false),
                ("counter", Fate::Carried, false),
                ("again", Fate::New, false),
                ("sink3", Fate::Carried, false),
                ("sink4", Fate::Carried, false),
            ])
        );
        let (place, after) = (folder(), [Shelf::default(), Shelf::default()]);
        to_the_end(seed, &more, ends, &after, &options(place.path())).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let mut all = [shown(&before[0]), shown(&after[0])].concat();
        all.sort_unstable();
        assert_eq!(all.len(), 300, "seed {seed}");
        assert_eq!(shown(&after[1]).len(), 300 - shown(&before[1]).len(), "seed {seed}: {} rows counted before", shown(&before[1]).len());
        assert!(shown(&after[1]).iter().filter(|(_, n)| *n == 1).count() <= 17, "the new step counts from one, per key");

        // the counter is gone: its state may be dropped if one says so
        let (less, ends) = changed(2, true, "k");
        assert!(fates(&less).contains(&("counter".into(), Fate::Dropped, state)), "seed {seed}: {:?}", fates(&less));
        if state {
            let error =
                to_the_end(seed, &less, ends, &[Shelf::default(), Shelf::default()], &options(folder().path())).unwrap_err().to_string();
            assert!(error.contains("`counter`: its state is lost") && error.contains("--allow-dropped-state"), "{error}");
            let (other, _) = changed(2, false, "v");
            let error =
                to_the_end(seed, &other, ends, &[Shelf::default(), Shelf::default()], &options(folder().path())).unwrap_err().to_string();
            assert!(error.contains("they were `k: Int64`, and are `v: Int64` now"), "{error}");
        }
        let place = folder();
        let may = RunOptions { allow_dropped_state: true, ..options(place.path()) };
        to_the_end(seed, &less, ends, &[Shelf::default(), Shelf::default()], &may).unwrap_or_else(|e| panic!("seed {seed}: {e}"));

        // a partition that was read has gone; another one would only begin
        let (fewer, ends) = changed(1, false, "k");
        let check = check_savepoint(&fewer.0, &saved).unwrap();
        assert!(check.refused() && check.to_string().contains("partition 1, of which rows were read, is not there any more"), "{check}");
        let error =
            to_the_end(seed, &fewer, ends, &[Shelf::default(), Shelf::default()], &options(folder().path())).unwrap_err().to_string();
        assert!(error.contains("cannot be restored into this plan") && error.contains("`source0`"), "{error}");
        let check = check_savepoint(&changed(3, false, "k").0.0, &saved).unwrap();
        assert!(!check.refused() && check.to_string().contains("1 start at their beginning"), "{check}");
    }
}

/// A state that an operator does not accept is found by the check, before anything runs.
#[test]
fn a_check_asks_the_operator() {
    let dir = folder();
    let (old, sinks) = plan(1);
    stopped(3, 400, dir.path(), &old, sinks);
    let saved = find_savepoint(Some(dir.path()), "here").unwrap();
    let mut p = Plan::default();
    let s = p.source(Numbers { endless: true, ..Numbers::new(300, 17, 1) });
    let e = p.step("even", s, || Even);
    p.node("counter", &[(e, 0, by_key(), false)], false, true, || Map(|row| Ok(Some(row))));
    let check = check_savepoint(&p.0, &saved).unwrap();
    assert!(check.refused() && check.to_string().contains("state for an operator that keeps none"), "{check}");
}

/// States fill the disk: the job ends, leaves nothing that is cut short, and goes on where there is room.
#[test]
fn a_disk_that_states_fill() {
    let dir = folder();
    let mount = |how: &str| std::process::Command::new("mount").args(["-t", "tmpfs", "-o", how, "tmpfs"]).arg(dir.path()).output();
    let mounted = mount("size=100k");
    if !mounted.as_ref().is_ok_and(|o| o.status.success()) {
        println!("skipped: no tmpfs can be mounted here ({mounted:?})");
        return;
    }
    let (plan, sink) = heavy(Says::Groups);
    let shelf = Shelf::default();
    let run = |seed| {
        let bound = on(&[shelf.clone(), shelf.clone()], [sink, usize::MAX]).into_iter().take(1).collect();
        let control = Control::new();
        let stop = control.clone();
        let executor = Arc::new(Simulated::new(seed).at(6000, move || stop.stop()));
        run_on(executor, &plan.0, bound, &kept(dir.path(), 2), &control, None)
    };
    let full = run(1);
    let parts = files(dir.path(), ".part");
    let grown = mount("remount,size=8m");
    let again = run(2);
    assert!(std::process::Command::new("umount").arg(dir.path()).status().unwrap().success());
    let error = full.unwrap_err().to_string();
    assert!(error.contains(".state: cannot write the checkpoint (free some space there"), "{error}");
    assert!(parts.is_empty(), "{parts:?}");
    assert!(grown.unwrap().status.success());
    again.unwrap();
    assert_eq!(shown(&shelf), heavy_rows());
}

fn heavy_rows() -> Vec<Row> {
    let mut rows: Vec<Row> = (0..17).flat_map(|k| (0..2 * ((300 - k + 16) / 17)).map(move |n| (k, (n + 1).min(3)))).collect();
    rows.sort_unstable();
    rows
}
