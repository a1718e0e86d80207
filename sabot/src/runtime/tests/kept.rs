//! Checkpoints kept in a directory: whenever the job dies, its sinks show every row once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::*;
use crate::operator::{Beginning, BoundSink, Prepared, Preparing, Sink, TwoPhase};
use crate::{Error, Result};

/// What outlives a process: rows that are staged, and rows that everyone sees.
#[derive(Default)]
struct Disk {
    staged: BTreeMap<u64, Vec<Row>>,
    shown: Vec<Row>,
    next: u64,
    /// How often publishing fails before it works.
    faults: u32,
    /// Publications that were repeated.
    again: u32,
}

#[derive(Clone, Default)]
pub(super) struct Shelf {
    disk: Arc<Mutex<Disk>>,
    written: Vec<Row>,
}

impl Shelf {
    /// Another shelf with the same on it.
    #[cfg(feature = "object-store")]
    pub(super) fn copy(&self) -> Shelf {
        let disk = self.disk.lock().unwrap();
        let copy = Disk { staged: disk.staged.clone(), shown: disk.shown.clone(), next: disk.next, ..Disk::default() };
        Shelf { disk: Arc::new(Mutex::new(copy)), written: Vec::new() }
    }
}

impl Sink for Shelf {
    fn open(&mut self, _schema: &SchemaRef) -> Result<()> {
        Ok(())
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.written.extend(rows(batch));
        Ok(())
    }
    fn commit(&mut self) -> Result<()> {
        Err(Error::internal("commit is for jobs without checkpoints"))
    }
    fn abort(&mut self) {
        self.written.clear();
    }
    fn two_phase(&mut self) -> Option<&mut dyn TwoPhase> {
        Some(self)
    }
    fn describe(&self) -> String {
        "shelf".into()
    }
}

/// Of what a shelf prepared, its number.
fn number(prepared: &Prepared) -> Option<u64> {
    prepared.get(0).and_then(Prepared::as_u64)
}

impl TwoPhase for Shelf {
    fn begin(&mut self, beginning: Beginning<'_>) -> Result<()> {
        assert!(beginning.generation > 0 && self.written.is_empty());
        let from = beginning.from.and_then(number);
        self.disk.lock().unwrap().staged.retain(|id, _| Some(*id) == from);
        Ok(())
    }
    fn prepare(&mut self, _epoch: u64, _last: bool) -> Result<Preparing> {
        let (rows, disk) = (std::mem::take(&mut self.written), Arc::clone(&self.disk));
        Ok(Preparing::new(move || {
            let mut disk = disk.lock().unwrap();
            disk.next += 1;
            let id = disk.next;
            disk.staged.insert(id, rows);
            // every other one is too large for a checkpoint that puts large states into files
            Ok(serde_json::json!([id, "x".repeat(if id % 2 == 0 { 40_000 } else { 0 })]))
        }))
    }
    fn publish(&mut self, prepared: &Prepared) -> Result<()> {
        let mut disk = self.disk.lock().unwrap();
        if disk.faults > 0 {
            disk.faults -= 1;
            return Err(Error::io("shelf", "cannot be reached", std::io::ErrorKind::TimedOut.into()));
        }
        match disk.staged.remove(&number(prepared).unwrap()) {
            Some(rows) => disk.shown.extend(rows),
            None => disk.again += 1,
        }
        Ok(())
    }
}

/// An endless source; its even rows go to one sink, how often their key was seen to another.
pub(super) fn plan(partitions: u32) -> (Plan, [usize; 2]) {
    plan_of(partitions, 300)
}

/// The same, of so many rows of each partition.
pub(super) fn plan_of(partitions: u32, rows: i64) -> (Plan, [usize; 2]) {
    let mut p = Plan::default();
    let s = p.source(Numbers { endless: true, partitions, ..Numbers::new(rows, 17, 1) });
    let e = p.step("even", s, || Even);
    let c = p.node("counter", &[(e, 0, by_key(), false)], false, true, Counter::default);
    let sinks = [p.sink(e), p.sink(c)];
    (p, sinks)
}

/// In memory, if the machine has such a place: nothing here is about the disk, and syncing is slow.
pub(super) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(super) fn kept(dir: &Path, threads: usize) -> RunOptions {
    let options = super::options(threads, 7);
    RunOptions { checkpoints: false, checkpoint_dir: Some(dir.into()), checkpoint_every: Duration::from_micros(700), ..options }
}

pub(super) fn on(shelves: &[Shelf; 2], sinks: [usize; 2]) -> Vec<BoundSink> {
    shelves
        .iter()
        .zip(sinks)
        .map(|(s, node)| BoundSink { node, sink: Box::new(Shelf { disk: Arc::clone(&s.disk), written: Vec::new() }) })
        .collect()
}

pub(super) fn shown(shelf: &Shelf) -> Vec<Row> {
    let mut rows = shelf.disk.lock().unwrap().shown.clone();
    rows.sort_unstable();
    rows
}

/// The shelves of [`plan`] show what they shall, and hold nothing else. Returns the rows of the first one.
pub(super) fn each_row_once(shelves: &[Shelf; 2], partitions: i64, seed: u64) -> Vec<Row> {
    let expected = shown_once(shelves, partitions, 300, seed);
    let left: Vec<_> = shelves.iter().map(|s| s.disk.lock().unwrap().staged.clone()).collect();
    assert!(left.iter().all(BTreeMap::is_empty), "seed {seed}: nothing is left behind: {left:?}");
    expected
}

/// The shelves of [`plan_of`] show what they shall. Returns the rows of the first one.
pub(super) fn shown_once(shelves: &[Shelf; 2], partitions: i64, rows: i64, seed: u64) -> Vec<Row> {
    let even: Vec<Row> = (0..rows).filter(|i| i % 2 == 0).map(|i| (i % 17, i)).collect();
    let mut expected: Vec<Row> = (0..partitions).flat_map(|_| even.clone()).collect();
    expected.sort_unstable();
    assert_eq!(shown(&shelves[0]), expected, "seed {seed}");
    let mut seen = BTreeMap::new();
    let mut counts: Vec<Row> = expected.iter().map(|(k, _)| (*k, *seen.entry(*k).and_modify(|n| *n += 1).or_insert(1))).collect();
    counts.sort_unstable();
    assert_eq!(shown(&shelves[1]), counts, "seed {seed}");
    expected
}

#[test]
fn a_job_that_dies_again_and_again_shows_every_row_once() {
    let (mut restored, mut again) = (0, 0);
    for seed in seeds(24) {
        let dir = folder();
        let shelves = [Shelf::default(), Shelf::default()];
        let (plan, sinks) = plan(1 + seed as u32 % 3);
        for life in 0..5 {
            let crash = 20 + (seed * 131 + life * 977) % 700;
            let executor = Arc::new(Simulated::new(seed * 10 + life).crash_at(crash));
            let ended =
                run_on(executor, &plan.0, on(&shelves, sinks), &kept(dir.path(), 1 + (seed + life) as usize % 4), &Control::new(), None);
            assert!(matches!(ended, Err(Error::Internal(_))), "seed {seed}: it died");
        }
        let control = Control::new();
        let stop = control.clone();
        let executor = Arc::new(Simulated::new(seed).at(5000, move || stop.stop()));
        let rare = |threads| RunOptions { checkpoint_every: Duration::from_millis(5), ..kept(dir.path(), threads) };
        let report =
            run_on(executor, &plan.0, on(&shelves, sinks), &rare(2), &control, None).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert!(report.checkpoints.taken > 1 && report.checkpoints.last_bytes > 0, "{:?}", report.checkpoints);
        restored += u32::from(report.checkpoints.restored.is_some());
        let expected = each_row_once(&shelves, 1 + seed as i64 % 3, seed);
        again += shelves.iter().map(|s| s.disk.lock().unwrap().again).sum::<u32>();
        let files = std::fs::read_dir(dir.path()).unwrap().flatten().filter(|f| f.path().extension().is_some_and(|e| e == "checkpoint"));
        assert_eq!(files.count(), 3);

        // The job is over: once more changes nothing.
        run_on(Arc::new(Simulated::new(seed)), &plan.0, on(&shelves, sinks), &kept(dir.path(), 3), &Control::new(), None).unwrap();
        assert_eq!(shown(&shelves[0]), expected, "seed {seed}, once more");
    }
    assert!(restored > 20 && again > 20, "{restored} continued, {again} publications were repeated");
}

#[test]
fn a_sink_that_fails_for_a_while_is_asked_again() {
    let dir = folder();
    let shelves = [Shelf::default(), Shelf::default()];
    shelves[1].disk.lock().unwrap().faults = 3;
    let (plan, sinks) = plan(1);
    let control = Control::new();
    let stop = control.clone();
    let executor = Arc::new(Simulated::new(5).at(5000, move || stop.stop()));
    let report = run_on(executor, &plan.0, on(&shelves, sinks), &kept(dir.path(), 2), &control, None).unwrap();
    assert_eq!(shown(&shelves[1]).len(), 150);
    assert_eq!(report.events.iter().filter(|e| e.contains("cannot be reached")).count(), 3, "{:?}", report.events);

    // for more than half a minute of the job's time
    let (dir, long) = (folder(), [Shelf::default(), Shelf::default()]);
    long[0].disk.lock().unwrap().faults = 8;
    let control = Control::new();
    let stop = control.clone();
    let executor = Arc::new(Simulated::new(6).at(5000, move || stop.stop()));
    let patient = RunOptions { retries: 8, ..kept(dir.path(), 2) };
    let report = run_on(executor, &plan.0, on(&long, sinks), &patient, &control, None).unwrap();
    assert!(report.wall > Duration::from_secs(30) && shown(&long[0]).len() == 150 && shown(&long[1]).len() == 150, "{:?}", report.wall);

    let dir = folder();
    shelves[0].disk.lock().unwrap().faults = 4;
    let before = shelves.each_ref().map(|s| shown(s).len());
    let error = run_on(Arc::new(Simulated::new(5)), &plan.0, on(&shelves, sinks), &kept(dir.path(), 2), &Control::new(), None).unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    // and the same command goes on: each row is there once
    let control = Control::new();
    let stop = control.clone();
    let executor = Arc::new(Simulated::new(7).at(5000, move || stop.stop()));
    run_on(executor, &plan.0, on(&shelves, sinks), &kept(dir.path(), 3), &control, None).unwrap();
    assert_eq!(shelves.each_ref().map(|s| shown(s).len()), before.map(|rows| rows + 150));
}

#[test]
fn sinks_that_take_no_part_show_all_rows_at_the_end_of_a_bounded_job() {
    let expected = go(&counted(400), &options(1, 20)).0.sorted();
    let mut died = 0;
    for seed in seeds(16) {
        let dir = folder();
        let plan = counted(400);
        let life = |executor: Simulated, threads| {
            let seen = Seen::default();
            let bound = bind(plan.0.nodes.len() - 1, &seen);
            (run_on(Arc::new(executor), &plan.0, bound, &kept(dir.path(), threads), &Control::new(), None), seen)
        };
        died += u32::from(life(Simulated::new(seed).crash_at(60 + seed * 7), 2).0.is_err());
        let (result, seen) = life(Simulated::new(seed + 1), 3);
        result.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!((seen.sorted(), seen.ends()), (expected.clone(), vec!["commit"]), "seed {seed}");
        let (result, seen) = life(Simulated::new(seed + 2), 1);
        result.unwrap();
        assert_eq!(seen.sorted(), expected, "seed {seed}: a job that is over gives its result again");
    }
    assert!(died > 8, "{died}");
}

#[test]
fn what_cannot_be_continued_is_refused_by_name() {
    let dir = folder();
    let shelves = [Shelf::default(), Shelf::default()];
    let (plan, sinks) = plan(1);
    let run = |options: &RunOptions| {
        let executor = Arc::new(Simulated::new(1).crash_at(900));
        run_on(executor, &plan.0, on(&shelves, sinks), options, &Control::new(), None).unwrap_err().to_string()
    };
    let named = |limit: &str| RunOptions { identity: BTreeMap::from([("parameter `limit`".into(), limit.into())]), ..kept(dir.path(), 2) };
    assert!(run(&named("1")).contains("executor stopped"));
    let error = run(&named("2"));
    assert!(error.contains("another job: parameter `limit` is not the same"), "{error}");

    let never = Seen::default();
    let other = folder();
    let bound = vec![BoundSink { node: sinks[0], sink: Box::new(never.clone()) }, BoundSink { node: sinks[1], sink: Box::new(never) }];
    let error = run_on(Arc::new(Simulated::new(1)), &plan.0, bound, &kept(other.path(), 1), &Control::new(), None).unwrap_err().to_string();
    assert!(error.contains("never ends") && error.contains("write to a directory"), "{error}");

    let lock = std::fs::File::open(dir.path().join("lock")).unwrap();
    lock.lock().unwrap();
    let error = run(&named("1"));
    assert!(error.contains("another process runs the job"), "{error}");
    lock.unlock().unwrap();

    let newest = newest_checkpoint(dir.path()).unwrap().unwrap();
    let file = dir.path().join(format!("{newest:010}.checkpoint"));
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    assert!(run(&named("1")).contains("damaged"));
}

#[test]
fn a_full_disk_ends_the_job_which_continues_when_there_is_room() {
    let dir = folder();
    let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"]).arg(dir.path()).output();
    if !mounted.as_ref().is_ok_and(|o| o.status.success()) {
        println!("skipped: no tmpfs can be mounted here ({mounted:?})");
        return;
    }
    let shelves = [Shelf::default(), Shelf::default()];
    let (plan, sinks) = plan(1);
    let filler = dir.path().join("filler");
    let path = filler.clone();
    let fill = move || {
        let mut file = std::fs::File::create(path).unwrap();
        while std::io::Write::write_all(&mut file, &[7; 1024]).is_ok() {}
    };
    let executor = Arc::new(Simulated::new(3).at(400, fill));
    let full = run_on(executor, &plan.0, on(&shelves, sinks), &kept(dir.path(), 2), &Control::new(), None);
    let removed = std::fs::remove_file(&filler);
    let control = Control::new();
    let stop = control.clone();
    let executor = Arc::new(Simulated::new(4).at(5000, move || stop.stop()));
    let again = run_on(executor, &plan.0, on(&shelves, sinks), &kept(dir.path(), 2), &control, None);
    assert!(std::process::Command::new("umount").arg(dir.path()).status().unwrap().success());
    removed.unwrap();
    let error = full.unwrap_err().to_string();
    assert!(error.contains(".checkpoint: cannot write the checkpoint (free some space there"), "{error}");
    assert!(again.unwrap().checkpoints.restored.is_some());
    assert_eq!(
        shown(&shelves[0]),
        (0..300).filter(|i| i % 2 == 0).map(|i| (i % 17, i)).collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    );
}
