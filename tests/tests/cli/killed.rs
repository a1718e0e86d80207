//! An endless job that keeps checkpoints is killed again and again, at any moment and at chosen ones: its files show every row
//! once.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sabot::prelude::*;

use super::{Any, fails, text};

/// What `ledger` writes per partition and window.
#[derive(Record, Clone, Debug, PartialEq, PartialOrd)]
struct Sum {
    partition: i64,
    window_start: Timestamp<Micros>,
    sum: i64,
    rows: u64,
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn start(dir: &Path, rate: &str, crash: Option<&str>) -> std::io::Result<Child> {
    launch(dir, "ledger", rate, crash, &[])
}

fn launch(dir: &Path, pipeline: &str, rate: &str, crash: Option<&str>, more: &[&str]) -> std::io::Result<Child> {
    let at = |name: &str| dir.join(name).display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tool"));
    command.args(["run", pipeline, "--rate", rate, "--threads", "2", "--stats"]).args(more);
    command.args(["--checkpoint-dir", &at("checkpoints"), "--checkpoint-every", "50ms"]);
    command.args(["--sink", &format!("all=csv:{}/", at("all")), "--sink", &format!("sums={}/", at("sums"))]);
    if let Some(crash) = crash {
        command.env("SABOT_CRASH_AT", crash);
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
}

/// Ends the job gracefully; what it said.
fn stop(child: Child) -> Result<(ExitStatus, String), Box<dyn std::error::Error>> {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status()?.success());
    let output = child.wait_with_output()?;
    Ok((output.status, text(&output.stderr)))
}

/// The files of a directory that everyone sees.
fn files(dir: &Path) -> std::io::Result<Vec<std::path::PathBuf>> {
    let mut files = std::fs::read_dir(dir)?.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?;
    files.retain(|f| f.file_name().is_some_and(|n| !n.to_string_lossy().starts_with('.')));
    files.sort();
    Ok(files)
}

/// Compares all files with the rows that were read: each partition's from its first on, without a gap or a repetition.
/// Returns how many files there are, and how many rows.
fn check(dir: &Path) -> Result<(usize, i64), Box<dyn std::error::Error>> {
    let (parts, numbers) = rows(dir)?;
    let mut expected: BTreeMap<(i64, i64), (i64, u64)> = BTreeMap::new();
    for (partition, numbers) in &numbers {
        for (row, n) in (0..).zip(numbers) {
            let window = expected.entry((*partition, row / 100 * 100_000)).or_default();
            *window = (window.0 + n, window.1 + 1);
        }
    }
    let sums = written::<Sum>(dir)?;
    let total = numbers.values().map(|n| n.len() as i64).sum();
    assert_eq!(sums.len(), expected.len(), "windows of {total} rows");
    for sum in sums {
        let window = expected.remove(&(sum.partition, sum.window_start.value()));
        assert_eq!(window, Some((sum.sum, sum.rows)), "{sum:?}");
    }
    Ok((parts, total))
}

/// The numbers of each partition in the files of `all`, which are all there up to the last, once; and how many files there are.
fn rows(dir: &Path) -> Result<(usize, BTreeMap<i64, Vec<i64>>), Box<dyn std::error::Error>> {
    let mut numbers: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    let parts = files(&dir.join("all"))?;
    for part in &parts {
        for line in std::fs::read_to_string(part)?.lines().skip(1) {
            let n: i64 = line.split(',').next().unwrap_or_default().parse()?;
            numbers.entry(n % 3).or_default().push(n);
        }
    }
    for (partition, numbers) in &mut numbers {
        numbers.sort_unstable();
        let wanted: Vec<i64> = (0..numbers.len() as i64).map(|i| i * 3 + partition).collect();
        assert!(*numbers == wanted, "partition {partition}: {} rows up to {:?}", numbers.len(), numbers.last());
    }
    let hidden = std::fs::read_dir(dir.join("all"))?.count() - parts.len();
    assert_eq!(hidden, 0, "nothing is left behind");
    Ok((parts.len(), numbers))
}

/// The rows in the files of `sums`.
fn written<R: sabot::record::Named>(dir: &Path) -> Result<Vec<R>, Box<dyn std::error::Error>> {
    let schema = Arc::new(sabot::record::schema_of::<R>());
    let path = dir.join("sums").display().to_string();
    let source = sabot::connect::SourceSpec::Parquet { paths: vec![path] }.open("Sum", &schema)?;
    let mut sums = Vec::new();
    for split in source.splits()? {
        let mut reader = source.open(&split, None)?;
        while let sabot::operator::Read::Rows(batch, _) = reader.next(10_000)? {
            sums.extend(sabot::record::from_batch::<R>(&batch, "sums")?);
        }
    }
    Ok(sums)
}

/// What `hoard` writes per key.
#[derive(Record, Clone, Debug, PartialEq)]
struct Hoarded {
    key: i64,
    sum: i64,
    rows: u64,
}

/// The same of `hoard`: its sums are those of the rows in its files.
fn check_hoard(dir: &Path) -> Result<i64, Box<dyn std::error::Error>> {
    let (_, numbers) = rows(dir)?;
    let mut expected: BTreeMap<i64, (i64, u64)> = BTreeMap::new();
    for n in numbers.values().flatten() {
        let sum = expected.entry(n % 1000).or_default();
        *sum = (sum.0 + n, sum.1 + 1);
    }
    let sums: BTreeMap<i64, (i64, u64)> = written::<Hoarded>(dir)?.into_iter().map(|h| (h.key, (h.sum, h.rows))).collect();
    assert_eq!(sums, expected);
    Ok(numbers.values().map(|n| n.len() as i64).sum())
}

/// The names in a directory of checkpoints with this ending.
fn kept(dir: &Path, ending: &str) -> usize {
    let names = std::fs::read_dir(dir.join("checkpoints")).into_iter().flatten().flatten();
    names.filter(|e| e.file_name().to_string_lossy().ends_with(ending)).count()
}

#[test]
fn killed_twenty_times() -> Any {
    let dir = tempfile::tempdir()?;
    let seed: u64 = std::env::var("SABOT_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(4);
    let mut continued = 0;
    for life in 0..20 {
        let mut child = start(dir.path(), "5000", None)?;
        std::thread::sleep(Duration::from_millis(30 + mix(seed << 8 | life) % 400));
        child.kill()?;
        let said = text(&child.wait_with_output()?.stderr);
        assert!(said.is_empty() || said.starts_with("continuing from checkpoint "), "{said}");
        continued += i32::from(!said.is_empty());
    }
    let child = start(dir.path(), "5000", None)?;
    std::thread::sleep(Duration::from_millis(700));
    let (status, said) = stop(child)?;
    assert!(status.success() && said.contains("stopping") && said.contains("continued from checkpoint"), "{said}");
    let (parts, rows) = check(dir.path()).map_err(|e| format!("seed {seed}: {e}"))?;
    assert!(continued > 5 && parts > 10 && rows > 3_000, "{continued} continued, {parts} files, {rows} rows");

    let output = start(dir.path(), "50", None)?.wait_with_output()?;
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.contains("another job") && said.contains("parameter `rate`"), "{said}");
    Ok(())
}

/// Dies between any two steps of a checkpoint, and while it continues from one, twice in a row.
#[test]
fn killed_at_every_seam() -> Any {
    if !cfg!(debug_assertions) {
        println!("skipped: the places to die at are in debug builds only");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let seams = ["cut:1", "staged:2", "cut:3", "written:1", "written:2", "published:1", "published:3", "published:4"];
    let continuing = ["begun:1", "begun:2", "continued:1", "continued:2"];
    for (i, seam) in seams.iter().enumerate() {
        for seam in std::iter::once(seam).chain(continuing.get(i % 4).into_iter().flat_map(|c| [c, c])) {
            let output = start(dir.path(), "5000", Some(seam))?.wait_with_output()?;
            assert!(!output.status.success(), "{seam}: {}", text(&output.stderr));
        }
    }
    let child = start(dir.path(), "5000", None)?;
    std::thread::sleep(Duration::from_millis(500));
    let (status, said) = stop(child)?;
    assert!(status.success(), "{said}");
    let (parts, rows) = check(dir.path())?;
    assert!(parts > 7 && rows > 1000, "{parts} files, {rows} rows");
    Ok(())
}

/// The same with states in files of their own: before and behind each, and while files that no one needs are removed, at the start too.
#[test]
fn killed_between_files_of_states() -> Any {
    if !cfg!(debug_assertions) {
        println!("skipped: the places to die at are in debug builds only");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let seams =
        ["stated:1", "swept:1", "staged:5", "stated:7", "swept:1", "begun:1", "pruning:1", "swept:1", "pruned:1", "cut:4", "pruned:2"];
    for seam in seams {
        let output = launch(dir.path(), "hoard", "1500", Some(seam), &[])?.wait_with_output()?;
        assert!(!output.status.success(), "{seam}: {}", text(&output.stderr));
    }
    let child = launch(dir.path(), "hoard", "1500", None, &[])?;
    std::thread::sleep(Duration::from_millis(500));
    let (status, said) = stop(child)?;
    assert!(status.success(), "{said}");
    assert!(check_hoard(dir.path())? > 300);
    assert_eq!(kept(dir.path(), ".checkpoint"), 3);
    assert!(kept(dir.path(), ".state") < 10, "{} files of states", kept(dir.path(), ".state"));
    Ok(())
}

/// The disk of the checkpoints fills up under a job, which ends with an error that names it, and says what to do. Once there is room the same command
/// continues, and nothing is lost or there twice.
#[test]
fn a_full_disk_of_checkpoints() -> Any {
    let dir = tempfile::tempdir()?;
    let disk = dir.path().join("checkpoints");
    std::fs::create_dir(&disk)?;
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(&disk).output();
    if !mounted.as_ref().is_ok_and(|o| o.status.success()) {
        println!("skipped: a small tmpfs cannot be mounted here: {mounted:?}");
        return Ok(());
    }
    let run = || -> Any {
        let mut child = launch(dir.path(), "hoard", "1500", None, &[])?;
        while kept(dir.path(), ".checkpoint") < 2 {
            std::thread::sleep(Duration::from_millis(10));
        }
        // someone else takes all room, also what old checkpoints leave
        let mut file = std::fs::File::create(disk.join("else"))?;
        while child.try_wait()?.is_none() {
            if std::io::Write::write_all(&mut file, &[7; 1024]).is_err() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let output = child.wait_with_output()?;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for part in ["checkpoints/", "cannot write the checkpoint", "free some space there", "No space left"] {
            assert!(said.contains(part), "no `{part}` in {said}");
        }
        assert_eq!(kept(dir.path(), ".part"), 0, "nothing that is cut short");
        let newest = kept(dir.path(), ".checkpoint");
        // as long as it is full, the job does not begin, and takes nothing away
        let output = launch(dir.path(), "hoard", "1500", None, &[])?.wait_with_output()?;
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains("checkpoints/") && said.contains("No space left"), "{said}");
        assert_eq!(kept(dir.path(), ".checkpoint"), newest);
        // its room comes back once nobody has it open
        drop(file);
        std::fs::remove_file(disk.join("else"))?;
        let child = launch(dir.path(), "hoard", "1500", None, &[])?;
        std::thread::sleep(Duration::from_millis(900));
        let (status, said) = stop(child)?;
        assert!(status.success() && said.contains("continuing from checkpoint"), "{said}");
        assert!(check_hoard(dir.path())? > 300);
        Ok(())
    };
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    assert!(Command::new("umount").arg(&disk).status()?.success());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// A running job is asked for savepoints; one ends it, and it goes on at another rate.
#[test]
fn savepoints_from_another_process() -> Any {
    let dir = tempfile::tempdir()?;
    let at = |name: &str| dir.path().join(name).display().to_string();
    let checkpoints = at("checkpoints");
    let kept_in = ["--checkpoint-dir", checkpoints.as_str()];
    let savepoint = |verb: &str, more: &[&str]| super::tool(&[&["savepoint", verb], &kept_in[..], more].concat());
    fails(2, &["savepoint", "create", kept_in[0], kept_in[1], "early"], &["no process runs the job"]);
    let child = launch(dir.path(), "hoard", "1500", None, &[])?;
    while kept(dir.path(), ".checkpoint") == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let made = savepoint("create", &["first"]);
    let said = text(&made.stdout);
    assert!(made.status.success() && said.starts_with("first is checkpoint "), "{said}{}", text(&made.stderr));
    fails(1, &["savepoint", "create", kept_in[0], kept_in[1], "first"], &["a savepoint `first` already", "choose another name"]);
    fails(2, &["savepoint", "create", kept_in[0], kept_in[1], "a/b"], &["`a/b` cannot be the name"]);
    if cfg!(debug_assertions) {
        // dies while it makes one, goes on, and makes another
        let mut child = child;
        child.kill()?;
        child.wait()?;
        let output = launch(dir.path(), "hoard", "1500", Some("saving:1"), &[])?;
        owned_by(dir.path(), 2);
        let asked = savepoint("create", &["torn"]);
        assert!(
            !asked.status.success() && text(&asked.stderr).contains("ended before it made savepoint `torn`"),
            "{}",
            text(&asked.stderr)
        );
        output.wait_with_output()?;
        let child = launch(dir.path(), "hoard", "1500", None, &[])?;
        owned_by(dir.path(), 3);
        ends_with_savepoint(child, &savepoint("create", &["last", "--stop"]))?;
    } else {
        ends_with_savepoint(child, &savepoint("create", &["last", "--stop"]))?;
    }
    let list = text(&savepoint("list", &[]).stdout);
    assert!(list.contains("first  checkpoint") && list.contains("last  checkpoint") && !list.contains("torn"), "{list}");
    let json: serde_json::Value = serde_json::from_slice(&savepoint("list", &["--json"]).stdout)?;
    assert!(json.as_array().is_some_and(|a| a.len() == 2), "{json}");

    let file = dir.path().join("moved.savepoint");
    std::fs::copy(dir.path().join("checkpoints/savepoints/last.savepoint"), &file)?;
    let (file, second) = (file.display().to_string(), at("second"));
    let dry = super::prints(&["run", "hoard", "--rate", "400", "--checkpoint-dir", &second, "--from-savepoint", &file, "--dry-run"]);
    assert!(
        dry.contains("carried  hoard/numbers") && dry.contains("carried  hoard/sums/aggregate.partial") && dry.contains("key groups"),
        "{dry}"
    );
    assert!(!dir.path().join("second").exists(), "a dry run writes nothing");
    // another pipeline has other steps
    let other = super::tool(&["run", "ledger", "--rate", "400", "--checkpoint-dir", &second, "--from-savepoint", &file, "--dry-run"]);
    let (printed, said) = (text(&other.stdout), text(&other.stderr));
    assert!(
        !other.status.success() && printed.contains("dropped  hoard/sums/aggregate.partial") && said.contains("--allow-dropped-state"),
        "{printed}{said}"
    );
    let sinks = ["--sink", "all=blackhole:", "--sink", "sums=blackhole:"];
    let other =
        super::tool(&[&["run", "ledger", "--rate", "400", "--checkpoint-dir", &second, "--from-savepoint", &file], &sinks[..]].concat());
    let said = text(&other.stderr);
    assert!(
        !other.status.success()
            && said.contains("`hoard/sums/aggregate.partial`: its state is lost")
            && said.contains("--allow-dropped-state"),
        "{said}"
    );

    // into the old directories: the checkpoints are new ones in the first's place, since the job ended with the savepoint
    for (life, rate) in ["1000", "1000"].into_iter().enumerate() {
        let child = launch(dir.path(), "hoard", rate, None, &["--from-savepoint", "last"])?;
        std::thread::sleep(Duration::from_millis(500));
        if life == 0 {
            let mut child = child;
            child.kill()?;
            let said = text(&child.wait_with_output()?.stderr);
            assert!(said.contains("starting from savepoint"), "{said}");
            continue;
        }
        let (status, said) = stop(child)?;
        assert!(status.success() && said.contains("continuing from checkpoint"), "{said}");
    }
    assert!(check_hoard(dir.path())? > 300);
    assert!(savepoint("delete", &["last"]).status.success() && savepoint("delete", &["first"]).status.success());
    fails(2, &["savepoint", "delete", kept_in[0], kept_in[1], "last"], &["no savepoint `last`", "there is none"]);
    assert!(savepoint("list", &[]).stdout.is_empty());
    Ok(())
}

/// Waits until the so-manieth process runs the job.
fn owned_by(dir: &Path, generation: u64) {
    while std::fs::read_to_string(dir.join("checkpoints/generation")).is_ok_and(|g| g.trim().parse() != Ok(generation)) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The job ended with a savepoint, and says so.
fn ends_with_savepoint(child: Child, made: &std::process::Output) -> Any {
    assert!(made.status.success(), "{}", text(&made.stderr));
    let output = child.wait_with_output()?;
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("stopped with savepoint `last`"), "{said}");
    Ok(())
}

#[test]
fn what_checkpoints_cannot_keep() -> Any {
    let dir = tempfile::tempdir()?;
    let kept = dir.path().join("checkpoints").display().to_string();
    let args = ["run", "forever", "--checkpoint-dir", &kept, "--sink", "sums=out.parquet"];
    fails(2, &args, &["never ends", "write to a directory (`out/`)"]);
    fails(2, &["run", "forever", "--checkpoint-every", "1s"], &[]);
    Ok(())
}
