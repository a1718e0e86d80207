//! Checkpoints and savepoints that an earlier build has written are continued from, with the rows that there must be.
//!
//! `tests/fixtures/checkpoint-v<version of the format>` holds a directory of checkpoints of a job that died, and a savepoint with which one ended; beside each
//! the files that its sinks had written. A new version of the format needs a new one:
//!
//! ```sh
//! FIXTURE=write cargo test -p sabot-tests --test restored -- fixture
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, OnceLock, PoisonError};
use std::time::Duration as Span;

use sabot::runtime::{CHECKPOINT_FORMAT, Checkpoint, Control, Simulated, newest_checkpoint};

use super::*;

const PARTITIONS: u32 = 2;

/// Where the sinks write: a checkpoint has the whole path, so it is the same for all checkouts. One test at a time, of all of them.
const OUT: &str = "/tmp/sabot-fixture/out";
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> (MutexGuard<'static, ()>, File) {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    std::fs::create_dir_all(OUT).unwrap();
    let lock = File::create(Path::new(OUT).with_file_name("lock")).unwrap();
    lock.lock().unwrap();
    (alone, lock)
}

/// The fixture, written anew if that is wanted.
fn fixture() -> &'static Path {
    static THERE: OnceLock<PathBuf> = OnceLock::new();
    THERE.get_or_init(|| {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/checkpoint-v{CHECKPOINT_FORMAT}"));
        if std::env::var("FIXTURE").is_ok_and(|v| v == "write") {
            write(&fixture);
        }
        assert!(
            fixture.is_dir(),
            "there is no {}: write one for this version of the format by FIXTURE=write cargo test -p sabot-tests --test restored -- fixture",
            fixture.display()
        );
        fixture
    })
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|e| e.unwrap().path()) {
        let place = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            copy(&entry, &place);
        } else if !entry.ends_with("lock") {
            std::fs::copy(&entry, &place).unwrap();
        }
    }
}

/// The job, with a directory of CSV files for each sink.
fn job(events: impl Into<Source<Event>>, others: impl Into<Source<Event>>, out: &str) -> Job {
    let job = living(events, others);
    let names = job.open_sinks();
    names.iter().fold(job, |job, name| job.sink(name, to(&format!("csv:{out}/{name}/"))))
}

/// Runs the job with checkpoints in `state`, on a simulated executor. Returns what was read.
fn run(
    state: &Path,
    from: Option<&Path>,
    threads: usize,
    executor: Simulated,
    control: &Control,
) -> (sabot::Result<()>, [BTreeMap<u32, u64>; 2]) {
    let read = [Read::default(), Read::default()];
    let job = job(endless(0, PARTITIONS, &read[0]), endless(1, PARTITIONS, &read[1]), OUT).options(|o| {
        (o.threads, o.morsel_rows, o.channel_bytes, o.bypass_rows) = (threads, 6, 4096, 0);
        (o.checkpoint_dir, o.checkpoint_every, o.checkpoint_keep) = (Some(state.into()), Span::from_millis(3), 2);
        o.idle_after = Span::from_secs(3600);
        o.from_savepoint = from.map(Path::to_path_buf);
    });
    let result = job.run_on(Arc::new(executor), control, None).map(|_| ());
    (result, read.map(|r| std::mem::take(&mut *r.lock().unwrap())))
}

/// A job that dies, and one that is stopped with a savepoint; what is left of both.
fn write(fixture: &Path) {
    let _ = std::fs::remove_dir_all(fixture);
    let state = tempfile::tempdir().unwrap();
    for (name, stop) in [("checkpoint", false), ("savepoint", true)] {
        let _ = std::fs::remove_dir_all(OUT);
        let dir = state.path().join(name);
        let control = Control::new();
        let asked = control.clone();
        let executor = match stop {
            false => Simulated::new(4).crash_at(2500),
            true => Simulated::new(5).at(1500, move || drop(asked.request_savepoint("upgrade", true))),
        };
        let ended = run(&dir, None, 3, executor, &control).0;
        assert!(matches!(&ended, Err(sabot::Error::Internal(_))) || matches!(&ended, Err(sabot::Error::Suspended(_))), "{ended:?}");
        copy(Path::new(OUT), &fixture.join(name).join("out"));
        let kept = if stop { dir.join("savepoints") } else { dir };
        copy(&kept, &fixture.join(name).join("state"));
    }
}

/// The rows in the files of a sink.
fn rows_in(dir: &Path) -> Vec<String> {
    let (mut header, mut lines) = (String::new(), Vec::new());
    for file in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".csv") {
            assert!(!name.starts_with('.'), "{name} was left behind");
            let text = std::fs::read_to_string(&file).unwrap();
            let mut rows = text.lines().map(str::to_owned);
            header = rows.next().unwrap_or(header);
            lines.extend(rows);
        }
    }
    folded(&header, lines)
}

/// Goes on for a while, then ends; the files hold what a batch over the same rows gives.
fn goes_on(state: &Path, from: Option<&Path>, threads: usize) {
    let control = Control::new();
    let stop = control.clone();
    let (ended, [events, others]) = run(state, from, threads, Simulated::new(7).at(4000, move || stop.stop()), &control);
    ended.unwrap_or_else(|e| panic!("the fixture cannot be continued from ({threads} threads): {e}"));
    assert!(events.len() + others.len() == 2 * PARTITIONS as usize && events.values().all(|n| *n > 50), "{events:?}, {others:?}");
    let complete = tempfile::tempdir().unwrap();
    job(rows(0, &events), rows(1, &others), complete.path().to_str().unwrap()).run().unwrap();
    let mut sinks = 0;
    for sink in std::fs::read_dir(complete.path()).unwrap().map(|e| e.unwrap()) {
        let (found, expected) = (rows_in(&Path::new(OUT).join(sink.file_name())), rows_in(&sink.path()));
        assert!(
            !expected.is_empty() && found == expected,
            "sink {:?}, {threads} threads: {found:#?} and not {expected:#?}",
            sink.file_name()
        );
        sinks += 1;
    }
    assert_eq!(sinks, 11);
}

#[test]
fn a_fixture_is_continued_from() {
    let _alone = alone();
    let fixture = fixture();
    // it holds what it shall
    let saved = Checkpoint::read_file(&fixture.join("savepoint/state/upgrade.savepoint")).unwrap();
    for node in [
        "sums/aggregate",
        "long/aggregate",
        "numbered/keyed",
        "told/keyed",
        "near/interval_join",
        "last/asof_join",
        "both/join",
        "totals/aggregate",
        "parity/aggregate",
        "podium/top",
    ] {
        assert!(saved.states.iter().any(|s| s.node == format!("living/{node}") && s.state.bytes.len() > 8), "`{node}` has state in it");
    }
    let state = tempfile::tempdir().unwrap();
    for threads in [1, 2, 8] {
        let dir = state.path().join(format!("checkpoint-{threads}"));
        copy(&fixture.join("checkpoint/state"), &dir);
        copy(&fixture.join("checkpoint/out"), Path::new(OUT));
        assert!(newest_checkpoint(&dir).unwrap().is_some_and(|n| n > 1) && files(&dir, "state") > 0);
        goes_on(&dir, None, threads);
        copy(&fixture.join("savepoint/out"), Path::new(OUT));
        let savepoint = fixture.join("savepoint/state/upgrade.savepoint");
        goes_on(&state.path().join(format!("savepoint-{threads}")), Some(&savepoint), threads);
    }
}

fn files(dir: &Path, ending: &str) -> usize {
    std::fs::read_dir(dir).unwrap().filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == ending)).count()
}

#[test]
fn a_fixture_of_another_version_is_refused() {
    let _alone = alone();
    let state = tempfile::tempdir().unwrap();
    let (kept, savepoint) = (state.path().join("kept"), state.path().join("upgrade.savepoint"));
    copy(&fixture().join("checkpoint/state"), &kept);
    copy(&fixture().join("checkpoint/out"), Path::new(OUT));
    let age = |from: &Path, to: &Path| {
        let mut bytes = std::fs::read(from).unwrap();
        bytes[8] = 99;
        std::fs::write(to, bytes).unwrap();
    };
    let newest = kept.join(format!("{:010}.checkpoint", newest_checkpoint(&kept).unwrap().unwrap()));
    age(&newest, &newest);
    age(&fixture().join("savepoint/state/upgrade.savepoint"), &savepoint);
    let said = |state: &Path, from| run(state, from, 2, Simulated::new(1).crash_at(100), &Control::new()).0.unwrap_err().to_string();
    let reads = format!(
        "has version 99 of the format, and this program reads version {CHECKPOINT_FORMAT}: continue with a program that was built with the Sabot that wrote it"
    );
    let error = said(&kept, None);
    assert!(error.contains(newest.to_str().unwrap()) && error.contains(&reads), "{error}");
    let error = said(&state.path().join("new"), Some(&savepoint));
    assert!(error.contains(savepoint.to_str().unwrap()) && error.contains(&reads), "{error}");
}
