//! NEXMark beside Flink: `cargo bench -p sabot-benches --bench nexmark`.
//!
//! This program is Sabot's worker, one question and one run per process; called otherwise it hands over to
//! `benches/nexmark/compare.py`, which runs the workers and Flink, and passes its options on (`--smoke`, `--events`, `--only`, ...).
#![allow(missing_docs, unreachable_pub, clippy::print_stdout)]

mod feed;
mod latency;
mod lines;
mod recover;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use sabot::connect::SinkSpec;
use sabot::stream::Job;
use sabot::{Error, Result};
use sabot_examples::nexmark::{Nexmark, Sequence};
use serde_json::{Value, json};

/// Seconds of processor time of this process, all threads.
fn cpu() -> f64 {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

/// What a worker is told: `QUERY generator|memory|batch EVENTS PER_SECOND THREADS CHECKPOINT_MS DIRECTORY`.
struct Task {
    query: String,
    mode: feed::Mode,
    events: u64,
    per_second: u64,
    threads: usize,
    every: Duration,
    directory: String,
}

impl Task {
    fn parse(args: &[String]) -> Result<Self> {
        let [query, mode, events, per_second, threads, every, directory] = args else {
            return Err(Error::usage("a worker takes: QUERY generator|memory|batch EVENTS PER_SECOND THREADS CHECKPOINT_MS DIRECTORY"));
        };
        let number = |text: &String| text.parse::<u64>().map_err(|_| Error::usage(format!("`{text}` is no number")));
        Ok(Task {
            query: query.clone(),
            mode: feed::Mode::parse(mode)?,
            events: number(events)?,
            per_second: number(per_second)?,
            threads: number(threads)? as usize,
            every: Duration::from_millis(number(every)?),
            directory: directory.clone(),
        })
    }
    fn nexmark(&self) -> Nexmark {
        Nexmark::new().sequence(Sequence::per_second(self.per_second)).events(self.events).partitions(self.threads as u32)
    }
    /// The job with its options; checkpoints unless they are off.
    fn options(&self, job: Job) -> Job {
        job.options(|o| {
            o.threads = self.threads;
            o.bypass_rows = 0;
            if !self.every.is_zero() {
                o.checkpoint_dir = Some(self.directory.clone().into());
                o.checkpoint_every = self.every;
            }
        })
    }
}

/// Runs once, with its result counted and dropped.
fn measure(task: &Task) -> Result<Value> {
    let feed = feed::Feed::new(task.nexmark(), task.mode);
    let job = task.options(feed.job(&task.query)?).sink("result", SinkSpec::Blackhole);
    let (wall, used) = (Instant::now(), cpu());
    let report = job.run()?;
    let (wall, used) = (wall.elapsed().as_secs_f64(), cpu() - used);
    let taken = report.checkpoints;
    let late: u64 = report.nodes.iter().map(|n| n.account.late).sum();
    if late > 0 {
        return Err(Error::usage(format!("{late} rows were late")));
    }
    Ok(json!({
        "wall": wall, "cpu": used, "events": task.events, "checkpoints": taken.taken, "bytes": taken.last_bytes,
        "longest": taken.longest.as_secs_f64(),
    }))
}

fn compare(args: &[String]) -> Result<i32> {
    let me = std::env::current_exe().map_err(|e| Error::io(Path::new("."), "cannot find", e))?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("nexmark/compare.py");
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
        Some((first, rest)) if first == "--worker" => Task::parse(rest).and_then(|t| measure(&t)).map(|v| println!("{v}")).map(|()| 0),
        Some((first, rest)) if first == "--latency" => {
            Task::parse(rest).and_then(|t| latency::measure(&t)).map(|v| println!("{v}")).map(|()| 0)
        }
        Some((first, rest)) if first == "--grow" => match rest.split_last() {
            Some((bytes, rest)) => Task::parse(rest).and_then(|t| recover::grow(&t, bytes.parse().unwrap_or(u64::MAX))).map(|()| 0),
            None => Err(Error::usage("`--grow` takes what a worker takes, and a number of bytes")),
        },
        Some((first, rest)) if first == "--recover" => {
            Task::parse(rest).and_then(|t| recover::recover(&t)).map(|v| println!("{v}")).map(|()| 0)
        }
        Some((first, rest)) if first == "--write" => Task::parse(rest).and_then(|t| lines::write(&t)).map(|()| 0),
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
