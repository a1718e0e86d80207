//! The fraud job is killed and goes on: its files are what a batch over the same uses gives. And the stream is the batch under the
//! test kit's seeds.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sabot::prelude::*;
use sabot::testing::{Trial, same_rows};

#[path = "../src/bin/card_fraud.rs"]
#[allow(dead_code)]
mod card_fraud;
use card_fraud::{Alert, Use, fraud, one_use};

/// Uses of few cards, so that these have a history: those of a partition.
fn few(partition: u32, row: u64) -> Use {
    let number = row * 2 + u64::from(partition);
    Use { card: number as i64 / 7 % 5, ..one_use(number) }
}

#[test]
fn stream_and_batch_agree() {
    let seeds = std::env::var("SABOT_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(10);
    let mut alerts = 0;
    for seed in 0..seeds {
        // how many rows of each partition were read
        let consumed: Arc<Mutex<BTreeMap<u32, u64>>> = Arc::default();
        let job = || {
            let consumed = Arc::clone(&consumed);
            let make = move |partition, row| {
                consumed.lock().unwrap().insert(partition, row + 1);
                few(partition, row)
            };
            fraud(generate(2, make).disorder(1.sec()))
        };
        let trial = |seed: u64| Trial::new().threads(1 + seed as usize % 4).morsel_rows(1 + seed as usize % 50).seed(seed);
        let ran = trial(seed).snapshot_at(200 + seed % 300).crash_at(700).run(job()).unwrap();
        let open = ran.checkpoint.iter().flat_map(|c| &c.positions).flat_map(|p| &p.open);
        *consumed.lock().unwrap() = open.map(|o| (o.partition, o.row)).collect();
        let ran = trial(seed + 1000).from(ran.checkpoint).stop_at(900 + seed % 500).run(job()).unwrap();
        let uses = consumed.lock().unwrap().iter().flat_map(|(p, rows)| (0..*rows).map(|r| few(*p, r))).collect::<Vec<_>>();
        let (stream, batch): (Vec<Alert>, Vec<Alert>) = (ran.rows("alerts").unwrap(), fraud(uses).collect().unwrap());
        assert_eq!(ran.late(), 0);
        same_rows(&stream, &batch, 1e-9).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        alerts += batch.len();
    }
    assert!(alerts > 100, "{alerts} alerts");
}

fn start(dir: &Path) -> Child {
    let at = |name: &str| dir.join(name).display().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_card_fraud"));
    command.args(["run", "watch", "--per_second", "20000", "--threads", "2"]);
    command.args(["--checkpoint-dir", &at("state"), "--checkpoint-every", "100ms"]);
    command.args(["--sink", &format!("alerts=csv:{}/", at("alerts"))]);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn killed_and_continued() {
    let dir = tempfile::tempdir().unwrap();
    let mut continued = 0;
    for life in 0..6 {
        let mut child = start(dir.path());
        std::thread::sleep(Duration::from_millis(500 + 130 * life));
        child.kill().unwrap();
        let said = child.wait_with_output().unwrap().stderr;
        continued += usize::from(String::from_utf8_lossy(&said).contains("continuing from checkpoint"));
    }
    let child = start(dir.path());
    std::thread::sleep(Duration::from_millis(1000));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait_with_output().unwrap().status.success());
    let mut found = lines(&dir.path().join("alerts"));
    found.sort();

    let output = Command::new(env!("CARGO_BIN_EXE_card_fraud"))
        .args(["run", "review", "--first", "150000", "--sink", &format!("alerts={}", dir.path().join("all.csv").display())])
        .output()
        .unwrap();
    assert!(output.status.success());
    let mut wanted = csv(&dir.path().join("all.csv"));
    wanted.sort();
    wanted.truncate(found.len());
    assert_eq!(found, wanted);
    assert!(continued >= 3 && found.len() > 20, "{continued} continued, {} alerts", found.len());
}

/// The rows of a file, first the number of the use.
fn csv(file: &Path) -> Vec<(i64, String)> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().skip(1).map(|l| (l.split(',').next().unwrap().parse().unwrap(), l.to_owned())).collect()
}
fn lines(dir: &Path) -> Vec<(i64, String)> {
    let files = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    files.filter(|f| !f.file_name().unwrap().to_string_lossy().starts_with('.')).flat_map(|f| csv(&f)).collect()
}
