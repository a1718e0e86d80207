//! How long a job takes to go on: one process runs until its checkpoints hold enough state and dies; the next one continues, and the time counts
//! from its start until the first reader is opened, which is when all states are there.

use std::path::Path;
use std::time::{Duration, Instant};

use sabot::connect::SinkSpec;
use sabot::prelude::*;
use serde_json::{Value, json};

use super::{Task, cpu, feed};

/// How often the other thread looks.
const LOOK: Duration = Duration::from_millis(1);

/// Runs until a checkpoint holds this many bytes of state, then dies without a word, as by `kill -9`.
pub fn grow(task: &Task, bytes: u64) -> Result<()> {
    let directory = task.directory.clone();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(20));
            if newest(Path::new(&directory)).is_some_and(|held| held >= bytes) {
                std::process::abort();
            }
        }
    });
    let job = task.options(feed::Feed::new(task.nexmark(), task.mode).job(&task.query)?);
    job.sink("result", SinkSpec::Blackhole).run()?;
    Err(Error::usage(format!("{} events make less than {bytes} bytes of state", task.events)))
}

/// Continues, and ends the process as soon as rows are read.
pub fn recover(task: &Task) -> Result<Value> {
    let held = newest(Path::new(&task.directory)).ok_or_else(|| Error::usage("there is no checkpoint to continue from"))?;
    let (begun, used, nexmark) = (Instant::now(), cpu(), task.nexmark());
    let watched = nexmark.clone();
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(LOOK);
            if let Some(opened) = watched.began() {
                let wall = opened.duration_since(begun).as_secs_f64();
                println!("{}", json!({ "bytes": held, "wall": wall, "cpu": cpu() - used }));
                std::process::exit(0);
            }
        }
    });
    task.options(feed::Feed::new(nexmark, task.mode).job(&task.query)?).sink("result", SinkSpec::Blackhole).run()?;
    Err(Error::usage("the job ended before anything was read"))
}

/// Bytes of the files of states that the newest checkpoint names.
fn newest(directory: &Path) -> Option<u64> {
    let files: Vec<_> = std::fs::read_dir(directory).ok()?.flatten().collect();
    let ends = |f: &std::fs::DirEntry, with: &str| f.file_name().to_string_lossy().ends_with(with);
    let manifest = files.iter().filter(|f| ends(f, ".checkpoint")).max_by_key(|f| f.file_name())?;
    let named = std::fs::read(manifest.path()).ok()?;
    let named = String::from_utf8_lossy(&named).into_owned();
    let state = files.iter().filter(|f| ends(f, ".state") && named.contains(f.file_name().to_string_lossy().as_ref()));
    Some(state.filter_map(|f| f.metadata().ok()).map(|m| m.len()).sum())
}
