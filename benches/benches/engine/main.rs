//! Sabot beside DuckDB, Polars and DataFusion: `cargo bench -p sabot-benches --bench engine`.
//!
//! This program is Sabot's worker (`--worker CASE memory|parquet THREADS DIRECTORY`), which answers as
//! `benches/engine/peer.py` does for the others. Called otherwise it hands over to `benches/engine/compare.py`, which
//! lets the workers take turns; its options are passed on (`--smoke`, `--rows`, `--threads`, `--only`, ...).
#![allow(missing_docs, unreachable_pub, clippy::print_stdout)]

mod cases;
mod load;

use std::io::{BufRead, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use arrow_array::RecordBatch;
use rustix::time::{ClockId, clock_gettime};
use sabot::operator::Sink;
use sabot::{Error, Result};
use serde_json::{Value, json};

/// Seconds of processor time of this process, all threads.
fn cpu() -> f64 {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

/// The most memory this process has held, in bytes.
fn peak() -> Result<u64> {
    let file = Path::new("/proc/self/status");
    let status = std::fs::read_to_string(file).map_err(|e| Error::io(file, "cannot read", e))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
    kib.map(|k| k * 1024).ok_or_else(|| Error::usage("the kernel does not tell VmHWM"))
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

fn answer(request: &str, run: &cases::Run) -> Result<Value> {
    Ok(match request.split_once(' ').unwrap_or((request, "")) {
        ("run", _) => {
            let (wall, used) = (Instant::now(), cpu());
            let result = run()?;
            let (wall, used) = (wall.elapsed().as_secs_f64(), cpu() - used);
            json!({ "wall": wall, "cpu": used, "rows": rows(&result) })
        }
        ("write", file) => {
            let result = run()?;
            let mut sink = sabot::connect::ArrowSink::new(file);
            if let Some(first) = result.first() {
                sink.open(&first.schema())?;
                result.iter().try_for_each(|b| sink.write(b))?;
                sink.commit()?;
            }
            json!({ "rows": rows(&result) })
        }
        ("reset", _) => {
            let file = Path::new("/proc/self/clear_refs");
            std::fs::write(file, "5").map_err(|e| Error::io(file, "cannot write", e))?;
            json!({})
        }
        ("peak", _) => json!({ "peak": peak()? }),
        (other, _) => return Err(Error::usage(format!("unknown request `{other}`"))),
    })
}

fn worker(args: &[String]) -> Result<()> {
    let [case, mode, threads, directory] = args else {
        return Err(Error::usage("a worker takes: CASE memory|parquet THREADS DIRECTORY"));
    };
    let threads = threads.parse().map_err(|_| Error::usage(format!("`{threads}` threads")))?;
    let run = cases::open(case, &load::Place { directory: directory.into(), memory: mode == "memory" }, threads)?;
    let mut out = std::io::stdout();
    let io = |e| Error::io(Path::new("stdout"), "cannot write", e);
    writeln!(out, "ready").map_err(io)?;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|e| Error::io(Path::new("stdin"), "cannot read", e))?;
        writeln!(out, "{}", answer(line.trim(), &run)?).map_err(io)?;
    }
    Ok(())
}

fn compare(args: &[String]) -> Result<i32> {
    let me = std::env::current_exe().map_err(|e| Error::io(Path::new("."), "cannot find", e))?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("engine/compare.py");
    let mut python = Command::new("python3");
    python.arg(script).arg("--sabot").arg(me).args(args.iter().filter(|a| *a != "--bench"));
    match python.status() {
        Ok(status) => Ok(status.code().unwrap_or(1)),
        Err(e) => Err(Error::usage(format!("python3 cannot be run: {e}"))),
    }
}

fn main() -> std::process::ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.split_first() {
        Some((first, rest)) if first == "--worker" => worker(rest).map(|()| 0),
        Some((first, _)) if first == "--cases" => {
            println!("{}", cases::NAMES.join(" "));
            Ok(0)
        }
        _ => compare(&args),
    };
    match done {
        Ok(code) => std::process::ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(e) => {
            eprintln!("{e}");
            std::process::ExitCode::FAILURE
        }
    }
}
