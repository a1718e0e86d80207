//! What another process asks of a running job: small files in the directory of checkpoints.
//!
//! `requests/<id>.request` is written by the one who asks, as a whole (a rename), and removed by the job, which writes
//! `requests/<id>.answer`. A job that starts removes what is left of former ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Savepoint;
use super::storage::Disk;
use crate::{Error, Result};

/// How often a job looks for requests: one listing of a directory that is mostly missing.
pub(super) const EVERY: Duration = Duration::from_millis(100);

/// How often one who waits looks for an answer.
const LOOK: Duration = Duration::from_millis(20);

/// A savepoint that another process wants.
#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) name: String,
    pub(super) stop: bool,
    #[serde(skip)]
    answer: PathBuf,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Done(Savepoint),
    Refused(String),
}

fn folder(dir: &Path) -> PathBuf {
    dir.join("requests")
}

/// Writes a file as a whole.
fn put(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let staged = path.with_extension("part");
    fs::write(&staged, text)?;
    fs::rename(&staged, path)
}

/// The requests that have come since; what is no request is left alone.
pub(super) fn take(dir: &Path) -> Vec<Request> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder(dir)).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|e| e != "request") {
            continue;
        }
        let request = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Request>(&text).ok());
        if let (Some(request), Ok(())) = (request, fs::remove_file(&path)) {
            found.push(Request { answer: path.with_extension("answer"), ..request });
        }
    }
    found
}

/// Removes what is left of former processes.
pub(super) fn clear(dir: &Path) {
    for entry in fs::read_dir(folder(dir)).into_iter().flatten().flatten() {
        // Whoever waits for it sees that the job has ended.
        let _ = fs::remove_file(entry.path());
    }
}

impl Request {
    /// Tells the one who asked. If that is not possible, they will see that the job has ended.
    pub(super) fn answer(&self, answer: &Result<Savepoint>) {
        let answer = match answer {
            Ok(savepoint) => Answer::Done(savepoint.clone()),
            Err(error) => Answer::Refused(error.to_string()),
        };
        if let Ok(text) = serde_json::to_vec(&answer) {
            let _ = put(&self.answer, &text);
        }
    }
}

/// Asks the process that runs the job of a directory of checkpoints for a savepoint, and waits for it, at most for `patience`.
/// With `stop` the job ends with it.
///
/// # Errors
/// If no process runs the job, it ends before, it refuses, or it takes longer.
pub fn ask_for_savepoint(dir: &Path, name: &str, stop: bool, patience: Duration) -> Result<Savepoint> {
    super::savepoints::check_name(name)?;
    let job = Disk::at(dir);
    let none =
        || Error::Usage(format!("no process runs the job of `{}`: a savepoint is made of a job that runs; start it first", dir.display()));
    if job.is_idle()? {
        return Err(none());
    }
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.as_nanos());
    let request = folder(dir).join(format!("{}-{nanos}.request", std::process::id()));
    let answer = request.with_extension("answer");
    let text = serde_json::to_vec(&Request { name: name.to_owned(), stop, answer: PathBuf::new() });
    let text = text.map_err(|e| Error::internal(e.to_string()))?;
    let written = fs::create_dir_all(folder(dir)).and_then(|()| put(&request, &text));
    written.map_err(|e| Error::io(&request, "cannot ask for a savepoint", e))?;
    let started = Instant::now();
    loop {
        let idle = job.is_idle()?;
        if let Ok(text) = fs::read(&answer) {
            // It was for this process alone.
            let _ = fs::remove_file(&answer);
            return match serde_json::from_slice(&text) {
                Ok(Answer::Done(savepoint)) => Ok(savepoint),
                Ok(Answer::Refused(why)) => Err(Error::Checkpoint(why.trim_start_matches("checkpoint: ").to_owned())),
                Err(e) => Err(Error::Checkpoint(format!("the job's answer makes no sense: {e}"))),
            };
        }
        let late = started.elapsed() > patience;
        if idle || late {
            // The job may have taken it, or not.
            let _ = fs::remove_file(&request);
            return Err(Error::Checkpoint(if idle {
                format!("the job of `{}` ended before it made savepoint `{name}`", dir.display())
            } else {
                format!("savepoint `{name}` was not there after {patience:?}; it may still come: list the savepoints later")
            }));
        }
        std::thread::sleep(LOOK);
    }
}
