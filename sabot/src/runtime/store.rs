//! The directory of a job's checkpoints: who owns it, what is in it, which stay.
//!
//! `lock` is held by the process that runs the job; the system frees it when the process dies. `job.json` and
//! `input.json` say whose checkpoints these are. `generation` counts the processes that have run the job. `<epoch>.checkpoint` is a checkpoint: there
//! as a whole or not, written once, never changed.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::checkpoint_file::sync_parent;
use super::{Checkpoint, RunOptions};
use crate::kernel::hash::hash_bytes;
use crate::operator::{PhysicalPlan, Split};
use crate::{Error, Result};

const ENDING: &str = "checkpoint";

pub(super) struct Store {
    dir: PathBuf,
    keep: usize,
    /// Larger than that of every process before.
    pub(super) generation: u64,
    /// Whether there was no checkpoint.
    fresh: bool,
}

/// Makes a directory this process's alone, until dropped: also while parts of a job that is over still linger.
pub(super) struct Owner(File);

impl Drop for Owner {
    fn drop(&mut self) {
        // Closing it does the same, later.
        let _ = self.0.unlock();
    }
}

/// The number of the newest checkpoint in a directory, if there is one: where a job with this
/// [`RunOptions::checkpoint_dir`] continues.
///
/// # Errors
/// If the directory is there, but cannot be listed.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dir = tempfile::tempdir()?;
/// assert_eq!(sabot::runtime::newest_checkpoint(dir.path())?, None);
/// # Ok(()) }
/// ```
pub fn newest_checkpoint(dir: &Path) -> Result<Option<u64>> {
    match epochs(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        found => Ok(found.map_err(|e| Error::io(dir, "cannot list the checkpoints", e))?.last().copied()),
    }
}

impl Store {
    /// The directory that the options name, if they do, and the newest checkpoint in it.
    pub(super) fn open(options: &RunOptions) -> Result<Option<(Owner, Store, Option<Checkpoint>)>> {
        let Some(dir) = &options.checkpoint_dir else { return Ok(None) };
        let io = |what: &'static str| move |e| Error::io(dir, what, e);
        fs::create_dir_all(dir).map_err(io("cannot make the directory for checkpoints"))?;
        let lock = File::options().create(true).append(true).open(dir.join("lock")).map_err(io("cannot write checkpoints here"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let dir = dir.display();
                return Err(Error::Checkpoint(format!(
                    "another process runs the job of `{dir}`; end it first, or give this job a directory of its own"
                )));
            }
            Err(TryLockError::Error(e)) => return Err(io("cannot lock the directory of checkpoints")(e)),
        }
        let newest = newest_checkpoint(dir)?;
        own(dir, "job.json", &options.identity, newest.is_none())?;
        let generation = fs::read_to_string(dir.join("generation")).ok().and_then(|g| g.trim().parse().ok()).unwrap_or(0u64) + 1;
        replace(&dir.join("generation"), generation.to_string().as_bytes())?;
        for entry in fs::read_dir(dir).map_err(io("cannot list the checkpoints"))?.flatten() {
            if entry.path().extension().is_some_and(|e| e == "part") {
                // What a process that died had not finished; nobody reads it.
                let _ = fs::remove_file(entry.path());
            }
        }
        let store = Store { dir: dir.clone(), keep: options.checkpoint_keep.max(1), generation, fresh: newest.is_none() };
        let newest = newest.map(|epoch| Checkpoint::read_file(&store.path(epoch))).transpose()?;
        Ok(Some((Owner(lock), store, newest)))
    }
    /// Refuses input that is not what it was: a position in it would be another.
    pub(super) fn same_input(&self, plan: &PhysicalPlan, splits: &BTreeMap<usize, Vec<Split>>) -> Result<()> {
        let mut input = BTreeMap::new();
        for (number, node) in plan.nodes.iter().enumerate() {
            let Some(splits) = splits.get(&number).filter(|_| node.bounded) else { continue };
            let all = splits.iter().map(|s| (s.partition, s.sequence, s.rows, &s.spec)).collect::<Vec<_>>();
            let text = serde_json::to_vec(&all).map_err(|e| Error::internal(e.to_string()))?;
            input.insert(format!("the input of `{}`", node.name), format!("{:016x}", hash_bytes(&text)));
        }
        own(&self.dir, "input.json", &input, self.fresh)
    }
    fn path(&self, epoch: u64) -> PathBuf {
        self.dir.join(format!("{epoch:010}.{ENDING}"))
    }
    /// Makes a checkpoint durable. Returns its size.
    pub(super) fn write(&self, checkpoint: &Checkpoint) -> Result<u64> {
        let staged = self.dir.join(format!("{:010}-{}.part", checkpoint.epoch, self.generation));
        checkpoint.write_once(&self.path(checkpoint.epoch), &staged)
    }
    /// Removes all but the newest.
    pub(super) fn prune(&self) -> Result<()> {
        let io = |e| Error::io(&self.dir, "cannot remove old checkpoints", e);
        let epochs = epochs(&self.dir).map_err(io)?;
        let old = epochs.len().saturating_sub(self.keep);
        epochs.iter().take(old).try_for_each(|epoch| fs::remove_file(self.path(*epoch))).map_err(io)
    }
}

/// The checkpoints of a directory, in ascending order.
fn epochs(dir: &Path) -> io::Result<Vec<u64>> {
    let mut epochs = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == ENDING) {
            epochs.extend(path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse::<u64>().ok()));
        }
    }
    epochs.sort_unstable();
    Ok(epochs)
}

/// Claims a directory without checkpoints for a job; refuses that of another job.
fn own(dir: &Path, file: &str, identity: &BTreeMap<String, String>, fresh: bool) -> Result<()> {
    let path = dir.join(file);
    if fresh {
        let text = serde_json::to_vec_pretty(identity).map_err(|e| Error::internal(e.to_string()))?;
        return replace(&path, &text);
    }
    let text = fs::read(&path).map_err(|e| Error::io(&path, "cannot read whose checkpoints these are", e))?;
    let other: BTreeMap<String, String> =
        serde_json::from_slice(&text).map_err(|e| Error::Checkpoint(format!("{} is damaged: {e}", path.display())))?;
    let names = identity.keys().chain(other.keys().filter(|k| !identity.contains_key(*k)));
    let differing: Vec<&str> = names.filter(|k| identity.get(*k) != other.get(*k)).map(String::as_str).collect();
    if differing.is_empty() {
        return Ok(());
    }
    Err(Error::Checkpoint(format!(
        "those in `{}` belong to another job: {} {} not the same. Run that job, or give this one a directory of its own",
        dir.display(),
        differing.join(", "),
        if differing.len() == 1 { "is" } else { "are" }
    )))
}

/// Puts a small file in place, durably.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let staged = path.with_extension("part");
    let write = || {
        let mut file = File::create(&staged)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&staged, path)?;
        sync_parent(path)
    };
    write().map_err(|e| Error::io(path, "cannot write", e))
}
