//! Sources that fail: how often they are tried again, and that time waits for them.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use super::*;
use crate::operator::{Read, Source, Split, SplitReader};
use crate::runtime::executor::split_mix;
use crate::{Error, Result};

/// What happens when a partition is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    /// A row with this value, which is also its time.
    Gives(i64),
    Wait,
    Idle,
    /// Nothing, but something that is no row was dropped.
    Dropped,
    /// A transient error, after which the reader is anywhere.
    Fail,
    /// The next to open it gets a transient error.
    Refuse,
}
use Act::*;

#[derive(Default)]
struct World {
    /// What will happen, by partition.
    acts: Vec<VecDeque<Act>>,
    /// The rows that there were, by partition.
    log: Vec<Vec<i64>>,
    opened: Vec<usize>,
}

/// A server with partitions to which things happen, whoever asks. It ends when nothing happens any more, or says `Idle` for ever.
#[derive(Clone)]
struct Scripted {
    world: Arc<Mutex<World>>,
    endless: bool,
    /// How often it cannot be asked for its partitions.
    unknown: Arc<AtomicUsize>,
}

impl Scripted {
    fn new(acts: impl IntoIterator<Item = Vec<Act>>, endless: bool) -> Self {
        let acts: Vec<VecDeque<Act>> = acts.into_iter().map(VecDeque::from).collect();
        let world = World { log: vec![Vec::new(); acts.len()], opened: vec![0; acts.len()], acts };
        Scripted { world: Arc::new(Mutex::new(world)), endless, unknown: Arc::default() }
    }
    fn plan(&self) -> Plan {
        let mut p = Plan::default();
        let s = p.source(self.clone());
        let m = p.step("map", s, || Map(|r| Ok(Some(r))));
        p.sink(m);
        p
    }
    fn opened(&self) -> Vec<usize> {
        self.world.lock().unwrap().opened.clone()
    }
}

fn away() -> Error {
    Error::io("the server", "cannot read", std::io::ErrorKind::ConnectionReset.into())
}

impl Source for Scripted {
    fn schema(&self) -> arrow_schema::SchemaRef {
        schema()
    }
    fn project(&mut self, _columns: &[String]) -> Result<()> {
        Ok(())
    }
    fn bounded(&self) -> bool {
        !self.endless
    }
    fn splits(&self) -> Result<Vec<Split>> {
        if self.unknown.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok() {
            return Err(away());
        }
        // a source that ends has one partition
        let one = |i: usize| {
            let (partition, sequence) = if self.endless { (i as u32, 0) } else { (0, i as u64) };
            Split { partition, sequence, rows: None, bytes: None, spec: i.into() }
        };
        Ok((0..self.world.lock().unwrap().acts.len()).map(one).collect())
    }
    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let index = split.spec.as_u64().unwrap() as usize;
        let mut world = self.world.lock().unwrap();
        world.opened[index] += 1;
        if world.acts[index].front() == Some(&Refuse) {
            world.acts[index].pop_front();
            return Err(away());
        }
        let at = position.map_or(0, |p| p.as_u64().unwrap() as usize);
        drop(world);
        Ok(Box::new(Reader { of: self.clone(), index, at, broken: false, dropped: 0 }))
    }
    fn rereads(&self) -> bool {
        false
    }
    fn describe(&self) -> String {
        "a server".into()
    }
}

struct Reader {
    of: Scripted,
    index: usize,
    at: usize,
    broken: bool,
    dropped: u64,
}

impl SplitReader for Reader {
    fn next(&mut self, _max_rows: usize) -> Result<Read> {
        assert!(!self.broken, "a reader was asked again after an error");
        let mut world = self.of.world.lock().unwrap();
        let value = match world.log[self.index].get(self.at).copied() {
            // a row that was there before, for who goes back
            Some(value) => value,
            None => match world.acts[self.index].pop_front() {
                Some(Gives(value)) => {
                    world.log[self.index].push(value);
                    value
                }
                Some(Wait) => return Ok(Read::Wait),
                Some(Dropped) => {
                    self.dropped += 1;
                    return Ok(Read::Wait);
                }
                Some(Fail | Refuse) => {
                    self.broken = true;
                    self.at += 7;
                    return Err(away());
                }
                Some(Idle) => return Ok(Read::Idle),
                None => return Ok(if self.of.endless { Read::Idle } else { Read::End }),
            },
        };
        self.at += 1;
        Ok(Read::Rows(batch(&[(self.index as i64, value)]), self.of.endless.then_some(value)))
    }
    fn position(&self) -> serde_json::Value {
        self.at.into()
    }
    fn take_failed(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

/// A reader that has nothing is asked each second.
fn seconds(retries: u32) -> RunOptions {
    let second = Duration::from_secs(1);
    RunOptions { retries, retry_wait: second, poll_every: second, idle_after: 3 * second, ..options(2, 10) }
}
/// Runs it to its end: the rows, how often each partition was opened, and what there is to say.
fn ran(source: &Scripted, seed: u64, options: &RunOptions) -> (Result<Report>, Vec<Row>) {
    let seen = Seen::default();
    let report = run_on(Arc::new(Simulated::new(seed)), &source.plan().0, bind(2, &seen), options, &Control::new(), None);
    (report, seen.sorted())
}
fn repeat(acts: &[Act], times: usize) -> Vec<Act> {
    acts.repeat(times)
}

/// A server that is gone for good, whose readers hear of it after a while, each anew: this went on for ever.
#[test]
fn what_is_gone_for_good_ends_the_job() {
    for waits in [0, 1, 5, 50] {
        for retries in [0, 1, 3, 6] {
            let gone = [vec![Wait; waits], vec![Fail]].concat();
            let source = Scripted::new([[vec![Gives(1)], repeat(&gone, 20)].concat()], false);
            let (report, _) = ran(&source, 1, &seconds(retries));
            let error = report.unwrap_err();
            assert!(error.is_transient() && error.to_string().starts_with("the server: cannot read"), "{error}");
            assert_eq!(source.opened(), [1 + retries as usize], "once per error ({waits} waits)");
        }
    }
}

/// What ends a row of errors, and what does not.
#[test]
fn what_counts_as_success() {
    let minute = vec![Wait; 62];
    let (almost, none) = (vec![Wait; 55], Vec::new());
    for (between, goes_on) in [
        (vec![Gives(1)], true),
        (vec![Wait, Wait, Gives(1)], true),
        (vec![Idle], true),
        (vec![Wait, Dropped], true),
        (minute, true),
        (almost, false),
        (vec![Wait], false),
        (none, false),
    ] {
        let source = Scripted::new([repeat(&[vec![Fail], between.clone()].concat(), 6)], false);
        let (report, rows) = ran(&source, 2, &seconds(1));
        assert_eq!(report.is_ok(), goes_on, "{between:?}");
        assert_eq!(source.opened(), [if goes_on { 7 } else { 2 }], "{between:?}");
        if goes_on {
            assert_eq!(rows.len(), between.iter().filter(|a| **a == Gives(1)).count() * 6);
            let events = report.unwrap().events;
            assert_eq!(events.iter().filter(|e| e.contains("attempt 1 of 1 to repeat it follows in 1s")).count(), 6, "{events:?}");
        }
    }
}

/// The errors of one partition by the rules: which of them is too many, if one is; and how often it is opened.
fn model(acts: &[Act], retries: u32) -> (bool, usize) {
    // in a row, and seconds since the last attempt
    let (mut failed, mut calm, mut opened) = (0, None, 1);
    for act in acts {
        match act {
            Fail | Refuse => {
                if failed == retries {
                    return (true, opened);
                }
                (failed, calm, opened) = (failed + 1, None, opened + 1);
                continue;
            }
            Gives(_) | Idle | Dropped => failed = 0,
            Wait if failed > 0 => {
                let seconds = calm.map_or(0, |s: u32| s + 1);
                calm = Some(seconds);
                if seconds >= 60 {
                    failed = 0;
                }
            }
            Wait => {}
        }
    }
    (false, opened)
}

#[test]
fn errors_are_counted_by_the_rules_and_rows_come_once() {
    let (mut ended, mut finished) = (0, 0);
    for seed in seeds(300) {
        let mut random = seed;
        let mut pick = |n: u64| split_mix(&mut random) % n;
        let retries = pick(4) as u32;
        let mut next = 0;
        let mut acts = Vec::new();
        for _ in 0..pick(30) {
            match pick(8) {
                0..=2 => acts.extend((0..=pick(3)).map(|_| {
                    next += 1;
                    Gives(next)
                })),
                3 => acts.extend(vec![Wait; [1, 3, 30, 58, 65][pick(5) as usize]]),
                4 => acts.push(Idle),
                5 => acts.push(Dropped),
                6 => acts.push(Fail),
                _ => acts.extend([Fail, Refuse]),
            }
        }
        let source = Scripted::new([acts.clone()], false);
        let (report, rows) = ran(&source, seed, &seconds(retries));
        let (ends, opened) = model(&acts, retries);
        assert_eq!(report.is_err(), ends, "seed {seed}, {retries} retries: {acts:?}");
        assert_eq!(source.opened(), [opened], "seed {seed}, {retries} retries: {acts:?}");
        if ends {
            ended += 1;
            continue;
        }
        finished += 1;
        assert_eq!(rows, (1..=next).map(|v| (0, v)).collect::<Vec<_>>(), "seed {seed}: {acts:?}");
    }
    assert!(ended > 50 && finished > 50, "{ended} and {finished}");
}

/// A checkpoint that is taken while a source is being tried again has it where it was: who continues gets each row once.
#[test]
fn a_cut_between_two_attempts() {
    let (mut taken, mut troubled) = (0, 0);
    for seed in seeds(150) {
        let part = |p: i64| (0..12).flat_map(move |i| [Gives(p * 100 + i), Fail, Wait, Refuse, Gives(p * 100 + 50 + i), Idle]).collect();
        let source = Scripted::new((0..3).map(part), false);
        let (control, slot) = (Control::new(), Arc::new(Mutex::new(None)));
        let (asked, cut) = (control.clone(), Arc::clone(&slot));
        let executor =
            Simulated::new(seed).at(20 + seed * 3, move || *cut.lock().unwrap() = Some(asked.request_snapshot())).crash_at(120 + seed * 3);
        let _ = run_on(Arc::new(executor), &source.plan().0, bind(2, &Seen::default()), &seconds(3), &control, None);
        let Some(Ok(checkpoint)) = slot.lock().unwrap().take().and_then(|t| t.try_take()) else { continue };
        taken += 1;
        let read: u64 = checkpoint.positions.iter().flat_map(|p| &p.open).map(|o| o.row).sum();
        troubled += usize::from(read > 0);
        let seen = Seen::default();
        let executor = Arc::new(Simulated::new(seed + 1));
        run_on(executor, &source.plan().0, bind(2, &seen), &seconds(3), &Control::new(), Some(&checkpoint)).unwrap();
        let mut expected: Vec<Row> = (0..3).flat_map(|p| (0..12).flat_map(move |i| [(p, p * 100 + i), (p, p * 100 + 50 + i)])).collect();
        expected.sort_unstable();
        assert_eq!(seen.sorted(), expected, "seed {seed}");
    }
    assert!(taken > 40 && troubled > 20, "{taken} and {troubled}");
}

#[test]
fn partitions_that_cannot_be_listed_yet_are_asked_for_again() {
    for (times, retries) in [(0, 0), (1, 0), (3, 3), (4, 3)] {
        let source = Scripted::new([vec![Gives(1)]], false);
        source.unknown.store(times, SeqCst);
        let (report, rows) = ran(&source, 3, &seconds(retries));
        if times > retries as usize {
            assert!(report.unwrap_err().is_transient());
            continue;
        }
        let events = report.unwrap().events;
        assert_eq!(rows, [(0, 1)]);
        assert_eq!(events.iter().filter(|e| e.starts_with("a server: the server: cannot read")).count(), times, "{events:?}");
    }
}

/// A partition that was idle holds time again when nobody knows whether it has rows, behind any number of exchanges, and whoever reads the others.
#[test]
fn what_was_idle_holds_time_when_its_server_is_away() {
    let quiet = |act, times| vec![act; times];
    for (name, away) in [("waits", quiet(Wait, 40)), ("fails", repeat(&[Fail, Wait, Wait, Wait], 10))] {
        for seed in seeds(40) {
            let first = [vec![Gives(9)], quiet(Idle, 12), away.clone(), vec![Gives(35)], quiet(Idle, 30)].concat();
            let second = [vec![Gives(19)], quiet(Wait, 8), vec![Gives(29)], quiet(Wait, 12), vec![Gives(39)], quiet(Wait, 400)].concat();
            let source = Scripted::new([first, second], true);
            let mut p = Plan::default();
            let s = p.source(source.clone());
            // rows of the first partition do not get far
            let m = p.step("map", s, || Map(|r: Row| Ok((r.0 > 0).then_some(r))));
            let t = p.node("through", &[(m, 0, by_key(), false)], false, false, || Map(|r| Ok(Some(r))));
            let c = p.node("clock", &[(t, 0, by_key(), false)], true, true, Clock::default);
            p.sink(c);
            let (control, seen) = (Control::new(), Seen::default());
            let stop = control.clone();
            let executor = Simulated::new(seed).at(4000, move || stop.stop());
            let options = RunOptions { threads: 1 + seed as usize % 3, ..seconds(20) };
            let report = run_on(Arc::new(executor), &p.0, bind(4, &seen), &options, &control, None);
            let report = report.unwrap_or_else(|e| panic!("{name}, seed {seed}: {e}"));
            let times: Vec<i64> = seen.rows().iter().map(|r| r.1).collect();
            assert_eq!(times, [9, 19, 29, 35, 39], "{name}, seed {seed}: {:?}", report.events);
            let told = |part: &str| report.events.iter().filter(|e| e.contains(part)).count();
            assert_eq!((told("partition 0 is idle"), told("partition 0 is not known to be idle any more")), (2, 1), "{:?}", report.events);
        }
    }
}
