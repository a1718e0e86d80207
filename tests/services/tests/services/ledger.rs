//! Running the program that is killed, and judging what it wrote.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Pseudorandom numbers.
pub(super) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Seeds 0 to `n`; `SABOT_SEEDS` multiplies them for a long search.
pub(super) fn seeds(n: u64) -> std::ops::Range<u64> {
    0..n * std::env::var("SABOT_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(1)
}
/// In an order that the seed says.
pub(super) fn shuffled<T: Copy>(all: &[T], seed: u64) -> Vec<T> {
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|i| mix(seed * 1000 + *i as u64 + 1));
    order.into_iter().map(|i| all[i]).collect()
}

/// Starts the program with checkpoints in a directory; it tries for about a minute to reach servers.
pub(super) fn start(dir: &Path, args: &[&str], crash: Option<&str>) -> Child {
    begin(dir, &[args, &["--retries", "30", "--retry-wait", "50ms"]].concat(), crash)
}

/// The same with the patience that the arguments say.
pub(super) fn begin(dir: &Path, args: &[&str], crash: Option<&str>) -> Child {
    let kept = dir.join("checkpoints").display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ledger"));
    command.arg("run").args(args).args(["--threads", "2", "--checkpoint-every", "100ms", "--checkpoint-dir", &kept]);
    if let Some(crash) = crash {
        command.env("SABOT_CRASH_AT", crash);
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Ends the program gracefully.
pub(super) fn stop(child: Child) -> Output {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Kills the program after a while; what it had said is no error.
pub(super) fn kill_after(mut child: Child, wait: Duration) {
    std::thread::sleep(wait);
    child.kill().unwrap();
    let said = String::from_utf8_lossy(&child.wait_with_output().unwrap().stderr).into_owned();
    assert!(said.is_empty() || said.starts_with("continuing from checkpoint "), "{said}");
}

/// Waits until the program ends by itself with an error; what it said.
pub(super) fn fails(mut child: Child) -> String {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

/// The lines of all files that show in a directory, without their headers.
pub(super) fn lines(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let files = files.filter(|f| !f.file_name().unwrap().to_string_lossy().starts_with('.'));
    files.flat_map(|f| std::fs::read_to_string(f).unwrap().lines().skip(1).map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Three partitions, each from its first number on: no gap and no repetition. Returns how many there are.
pub(super) fn check(numbers: impl IntoIterator<Item = i64>) -> usize {
    let mut parts = [Vec::new(), Vec::new(), Vec::new()];
    for n in numbers {
        parts[usize::try_from(n).unwrap() % 3].push(n);
    }
    for (partition, found) in (0..).zip(&mut parts) {
        found.sort_unstable();
        let wanted: Vec<i64> = (0..found.len() as i64).map(|i| i * 3 + partition).collect();
        let wrong = found.iter().zip(&wanted).find(|(f, w)| f != w);
        assert!(
            *found == wanted,
            "partition {partition}: {} rows up to {:?}; first difference (found, wanted): {wrong:?}",
            found.len(),
            found.last()
        );
    }
    parts.iter().map(Vec::len).sum()
}

/// What has come of a key: how many rows, their sum and the last.
pub(super) type Tally = BTreeMap<i64, [i64; 3]>;

/// Whether these are the results of the numbers of three partitions, each up to some number. Returns how many numbers.
pub(super) fn check_tally(totals: &Tally) -> i64 {
    let mut all = 0;
    for partition in 0..3 {
        let keys = || (partition..60).step_by(3);
        let rows: i64 = keys().filter_map(|key| totals.get(&key)).map(|t| t[0]).sum();
        for (place, key) in (0..).zip(keys()) {
            let count = (rows - place + 19) / 20;
            let wanted = (count > 0).then(|| [count, key * count + 30 * count * (count - 1), key + 60 * (count - 1)]);
            assert_eq!(totals.get(&key), wanted.as_ref(), "key {key} after {rows} numbers of its partition");
        }
        all += rows;
    }
    all
}
/// The results of the keys that are not left out.
pub(super) fn some(totals: &Tally) -> Tally {
    totals.iter().filter(|(_, t)| t[0] % 5 != 0).map(|(k, t)| (*k, *t)).collect()
}

/// The places between the steps of a checkpoint where a debug build dies on demand.
pub(super) const SEAMS: &[&str] =
    &["cut:1", "written:1", "published:1", "written:2", "begun:1", "continued:1", "begun:1", "published:2", "cut:2"];

/// Dies at each seam in turn.
pub(super) fn die_at_seams(dir: &Path, args: &[&str]) {
    if !cfg!(debug_assertions) {
        println!("skipped: the places to die at are in debug builds only");
        return;
    }
    for seam in SEAMS {
        let output = start(dir, args, Some(seam)).wait_with_output().unwrap();
        assert!(!output.status.success(), "{seam}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
