//! What another process asks of a running job: small objects where its checkpoints are.
//!
//! `requests/<id>.request` is written by the one who asks, and removed by the job, which writes `requests/<id>.answer`. A job that starts
//! removes what is left of former ones.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::storage::Storage;
use super::util::lock;
use super::{Savepoint, Ticket, claims, place};
use crate::clock::time_of_day;
use crate::{Error, Result};

const DIR: &str = "requests/";

/// How many looks of a job a request may stay, where nobody knows whether one runs.
const PATIENCE: u32 = 3;

/// A savepoint that another process wants.
#[derive(Default, Serialize, Deserialize)]
struct Request {
    name: String,
    stop: bool,
    /// The object that is to hold the answer.
    #[serde(skip)]
    answer: String,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Done(Savepoint),
    Refused(String),
}

/// The requests that have come since; what is no request is left alone.
fn take(storage: &dyn Storage) -> Vec<Request> {
    let mut found = Vec::new();
    // A store that cannot be reached is asked again soon.
    for file in storage.list(DIR).unwrap_or_default() {
        let Some(id) = file.strip_suffix(".request") else { continue };
        let name = format!("{DIR}{file}");
        let request = storage.read(&name).ok().flatten().and_then(|text| serde_json::from_slice::<Request>(&text).ok());
        if let (Some(request), Ok(())) = (request, storage.remove(&name)) {
            found.push(Request { answer: format!("{DIR}{id}.answer"), ..request });
        }
    }
    found
}

/// Those who wait for a savepoint in other processes.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Vec<(Request, Ticket<Savepoint>)>>);

impl Waiting {
    /// Takes in what was asked for since, which `ask` asks the job for, and answers what is ready.
    pub(super) fn look(&self, storage: &dyn Storage, ask: impl Fn(&str, bool) -> Ticket<Savepoint>) {
        for request in take(storage) {
            let ticket = ask(&request.name, request.stop);
            lock(&self.0).push((request, ticket));
        }
        self.answer(storage);
    }
    /// Gives the answers that are ready.
    pub(super) fn answer(&self, storage: &dyn Storage) {
        let mut ready = Vec::new();
        lock(&self.0).retain_mut(|(request, ticket)| match ticket.try_take() {
            None => true,
            Some(answer) => {
                ready.push((std::mem::take(request), answer));
                false
            }
        });
        ready.iter().for_each(|(request, answer)| request.answer(storage, answer));
    }
    /// The job is over: answers all.
    pub(super) fn hang_up(&self, storage: &dyn Storage) {
        for (request, ticket) in lock(&self.0).drain(..) {
            let answer = ticket.try_take().unwrap_or_else(|| Err(Error::Checkpoint("the job ended before".into())));
            request.answer(storage, &answer);
        }
    }
}

/// Removes what is left of former processes.
pub(super) fn clear(storage: &dyn Storage) {
    for file in storage.list(DIR).unwrap_or_default() {
        // Whoever waits for it sees that the job has ended.
        let _ = storage.remove(&format!("{DIR}{file}"));
    }
}

impl Request {
    /// Tells the one who asked. If that is not possible, they will see that the job has ended.
    fn answer(&self, storage: &dyn Storage, answer: &Result<Savepoint>) {
        let answer = match answer {
            Ok(savepoint) => Answer::Done(savepoint.clone()),
            Err(error) => Answer::Refused(error.to_string()),
        };
        if let Ok(text) = serde_json::to_vec(&answer) {
            let _ = storage.replace(&self.answer, &text);
        }
    }
}

/// Asks the process that runs the job of a directory of checkpoints, or of its like in an object store, for a savepoint, and waits
/// for it, at most for `patience`. With `stop` the job ends with it.
///
/// # Errors
/// If no process runs the job, it ends before, it refuses, or it takes longer. Where it cannot be known whether a process runs, none does
/// if the request stays for a quarter of a minute.
pub fn ask_for_savepoint(dir: &Path, name: &str, stop: bool, patience: Duration) -> Result<Savepoint> {
    super::savepoints::check_name(name)?;
    let storage = place::open(dir, false, place::usual())?;
    let job = storage.as_ref();
    let none =
        || Error::Usage(format!("no process runs the job of `{}`: a savepoint is made of a job that runs; start it first", dir.display()));
    if job.idle()?.unwrap_or_else(|| claims::look(job).is_ok_and(|seen| seen.generation == 0)) {
        return Err(none());
    }
    let nanos = time_of_day().as_nanos();
    let id = format!("{DIR}{}-{nanos}", std::process::id());
    let (request, answer) = (format!("{id}.request"), format!("{id}.answer"));
    let text = serde_json::to_vec(&Request { name: name.to_owned(), stop, answer: String::new() });
    job.replace(&request, &text.map_err(|e| Error::internal(e.to_string()))?)?;
    let started = Instant::now();
    let mut taken = false;
    loop {
        let idle = job.idle()?;
        if let Some(text) = job.read(&answer)? {
            // It was for this process alone.
            let _ = job.remove(&answer);
            return match serde_json::from_slice(&text) {
                Ok(Answer::Done(savepoint)) => Ok(savepoint),
                Ok(Answer::Refused(why)) => Err(Error::Checkpoint(why.trim_start_matches("checkpoint: ").to_owned())),
                Err(e) => Err(Error::Checkpoint(format!("the job's answer makes no sense: {e}"))),
            };
        }
        let waited = started.elapsed();
        let alone = idle.is_none() && !taken && waited > job.pace().requests * PATIENCE && {
            taken = job.part(&request, 0..1)?.is_none();
            !taken
        };
        if idle == Some(true) || alone || waited > patience {
            // The job may have taken it, or not.
            let _ = job.remove(&request);
            return Err(if alone {
                none()
            } else if idle == Some(true) {
                Error::Checkpoint(format!("the job of `{}` ended before it made savepoint `{name}`", dir.display()))
            } else {
                Error::Checkpoint(format!(
                    "savepoint `{name}` was not there after {patience:?}; it may still come: list the savepoints later"
                ))
            });
        }
        std::thread::sleep(job.pace().answers);
    }
}
