//! Files that grow, copied by a program that is killed: every line once.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::ledger::{check, kill_after, mix, start, stop};

fn append(path: &Path, text: &str) {
    std::fs::File::options().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// The numbers in all files that everyone sees.
fn copied(dir: &Path) -> Vec<i64> {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let files = files.filter(|f| !f.file_name().unwrap().to_string_lossy().starts_with('.'));
    files.flat_map(|f| std::fs::read_to_string(f).unwrap().lines().skip(1).map(|l| l.parse().unwrap()).collect::<Vec<i64>>()).collect()
}

#[test]
fn every_line_once_whoever_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in"), dir.path().join("out"));
    std::fs::create_dir(&input).unwrap();
    let source = format!("numbers=follow:{}?every_ms=20", input.join("*.jsonl").display());
    let sink = format!("all=csv:{}/", output.display());
    let args = ["copy", "--source", &source, "--sink", &sink];
    let mut counts = [0i64; 3];
    for life in 0..10 {
        let child = start(dir.path(), &args, None);
        // a file more every third life; each grows by whole lines and a half one
        for (partition, count) in counts.iter_mut().enumerate().take(1 + life / 3) {
            let path = input.join(format!("part-{partition}.jsonl"));
            let rows = 100 + (mix(life as u64) % 50) as i64;
            let lines: String = (*count..*count + rows).map(|i| format!("{{\"n\":{}}}\n", i * 3 + partition as i64)).collect();
            let (whole, rest) = lines.split_at(lines.len() - 4);
            append(&path, whole);
            std::thread::sleep(Duration::from_millis(30));
            append(&path, rest);
            *count += rows;
        }
        kill_after(child, Duration::from_millis(200 + mix(life as u64 + 3) % 400));
    }
    let child = start(dir.path(), &args, None);
    let (begun, wanted) = (Instant::now(), counts.iter().sum::<i64>() as usize);
    while copied(&output).len() < wanted && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_millis(300));
    stop(child);
    assert_eq!(check(copied(&output)), wanted, "{counts:?}");
}
