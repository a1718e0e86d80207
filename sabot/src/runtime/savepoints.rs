//! Checkpoints with a name, that stay until they are deleted.
//!
//! A savepoint is one file with everything in it, so it can be copied, moved, and restored where its checkpoints are long gone.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::{Checkpoint, NodeState};
use super::place;
use super::saved::{Blobs, Saved};
use super::storage::Storage;
use super::store::Store;
#[cfg(feature = "cluster")]
use super::{RunOptions, newest_checkpoint};
use crate::{Error, Result};

const DIR: &str = "savepoints/";
const ENDING: &str = ".savepoint";

/// A savepoint of a job.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Savepoint {
    /// Its name.
    pub name: String,
    /// The number of the checkpoint that it is.
    pub epoch: u64,
    /// Its bytes.
    pub bytes: u64,
    /// The file, or its address in an object store.
    pub path: PathBuf,
}

impl Checkpoint {
    /// The same with all of its states in it; they were loaded before.
    pub(super) fn whole(&self) -> Checkpoint {
        let state = |s: &NodeState| NodeState { stored: None, ..s.clone() };
        Checkpoint { states: self.states.iter().map(state).collect(), ..self.clone() }
    }
}

impl Store {
    /// Keeps a checkpoint under a name. Its states go from their files into the savepoint without being in memory all at once.
    ///
    /// # Errors
    /// If there is a savepoint of this name, it cannot be written, or a state cannot be read; nothing is left of it then.
    pub(super) fn save(&self, name: &str, checkpoint: &Checkpoint) -> Result<Savepoint> {
        let file = file_of(name);
        let path = self.storage.place(&file);
        let (head, bytes) = checkpoint.head_of_all()?;
        let parts = || -> Box<dyn Iterator<Item = Result<Cow<'_, [u8]>>> + '_> {
            let mut stored = Blobs::new(self.storage.as_ref(), checkpoint.states.iter().filter_map(|s| s.stored.as_ref()).collect());
            let lost = || Err(Error::internal("a state has no place"));
            let states = checkpoint.states.iter().map(move |s| match &s.stored {
                Some(_) => stored.next().unwrap_or_else(lost).map(Cow::Owned).map_err(|e| needed(e, checkpoint.epoch)),
                None => Ok(Cow::Borrowed(s.state.bytes.as_slice())),
            });
            let rows = checkpoint.in_flight.iter().map(|f| Ok(Cow::Borrowed(f.rows.as_slice())));
            Box::new(std::iter::once(Ok(Cow::Borrowed(head.as_slice()))).chain(states).chain(rows))
        };
        if !self.storage.create_of(&file, &self.generation.to_string(), bytes, &parts)? {
            return Err(Error::Checkpoint(format!(
                "there is a savepoint `{name}` already, in {}; delete it, or choose another name",
                path.display()
            )));
        }
        Ok(Savepoint { name: name.to_owned(), epoch: checkpoint.epoch, bytes, path })
    }
}

fn needed(error: Error, epoch: u64) -> Error {
    Error::Checkpoint(format!("{}; checkpoint {epoch} needs it", error.to_string().trim_start_matches("checkpoint: ")))
}

/// Refuses what could not be the name of a file everywhere.
pub(super) fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=100).contains(&name.len()) && name.chars().all(fits) && !name.starts_with(['.', '-']) {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "`{name}` cannot be the name of a savepoint: use up to 100 letters, digits, `-`, `_` and `.`, and begin with a letter or a digit"
    )))
}

fn file_of(name: &str) -> String {
    format!("{DIR}{name}{ENDING}")
}

/// The store of checkpoints at `dir`, for one who only looks.
fn at(dir: &Path) -> Result<Arc<dyn Storage>> {
    place::open(dir, false, place::usual())
}

fn names(storage: &dyn Storage) -> Result<Vec<String>> {
    Ok(storage.list(DIR)?.iter().filter_map(|file| file.strip_suffix(ENDING).map(str::to_owned)).collect())
}

/// The names of the savepoints of a directory of checkpoints, or of its like in an object store.
#[cfg(feature = "cluster")]
pub(crate) fn savepoint_names(dir: &Path) -> Result<Vec<String>> {
    names(at(dir)?.as_ref())
}

/// The savepoint of a name in a directory of checkpoints, or in its like in an object store.
#[cfg(feature = "cluster")]
pub(crate) fn savepoint_named(dir: &Path, name: &str) -> Result<Savepoint> {
    savepoint_at(at(dir)?, name)
}

/// Keeps the newest checkpoint in a directory, or in its like in an object store, under a name, while nobody runs the job. Nothing, if there is none; what is
/// kept so already is answered.
///
/// # Errors
/// If another checkpoint has this name; if the store cannot be read or written.
#[cfg(feature = "cluster")]
pub(crate) fn keep_newest(dir: &Path, name: &str) -> Result<Option<Savepoint>> {
    check_name(name)?;
    let Some(newest) = newest_checkpoint(dir)? else { return Ok(None) };
    if savepoint_names(dir)?.iter().any(|n| n == name) {
        let kept = savepoint_named(dir, name)?;
        if kept.epoch == newest {
            return Ok(Some(kept));
        }
        return Err(Error::Checkpoint(format!(
            "there is a savepoint `{name}` already, of checkpoint {}, and the newest is {newest}: delete it, or choose another name",
            kept.epoch
        )));
    }
    let store = Store::beside(dir, &RunOptions::default(), (0, 0))?;
    store.save(name, &store.manifest(newest)?).map(Some)
}

/// The savepoints of a directory of checkpoints, or of its like in an object store, in the order of their epochs, then names. Those that
/// cannot be read come as errors.
///
/// # Errors
/// If the directory cannot be listed.
pub fn savepoints(dir: &Path) -> Result<Vec<Result<Savepoint>>> {
    let storage = at(dir)?;
    let mut found: Vec<Result<Savepoint>> = names(storage.as_ref())?.iter().map(|name| savepoint_at(Arc::clone(&storage), name)).collect();
    found.sort_by_key(|s| s.as_ref().map_or((u64::MAX, String::new()), |s| (s.epoch, s.name.clone())));
    Ok(found)
}

fn savepoint_at(storage: Arc<dyn Storage>, name: &str) -> Result<Savepoint> {
    let file = file_of(name);
    let path = storage.place(&file);
    let saved = Saved::open_in(storage, &file, &path)?;
    Ok(Savepoint { name: name.to_owned(), epoch: saved.checkpoint.epoch, bytes: saved.bytes, path })
}

/// Deletes a savepoint of a directory of checkpoints, or of its like in an object store.
///
/// # Errors
/// If there is none of this name, or it cannot be removed.
pub fn delete_savepoint(dir: &Path, name: &str) -> Result<()> {
    let storage = at(dir)?;
    if !names(storage.as_ref())?.iter().any(|n| n == name) {
        return Err(unknown(Some(dir), name)?);
    }
    storage.remove(&file_of(name))
}

/// The file of a savepoint, or its address in an object store: one of the directory by its name, else a path or an address.
///
/// # Errors
/// If there is neither. That there is something at an address shows when it is read.
pub fn find_savepoint(dir: Option<&Path>, name: &str) -> Result<PathBuf> {
    if let Some(dir) = dir.filter(|_| check_name(name).is_ok()) {
        let storage = at(dir)?;
        if names(storage.as_ref())?.iter().any(|n| n == name) {
            return Ok(storage.place(&file_of(name)));
        }
    }
    let path = PathBuf::from(name);
    if place::is_remote(&path) || (path.is_file() && (name.contains(std::path::is_separator) || name.ends_with(ENDING))) {
        return Ok(path);
    }
    Err(unknown(dir, name)?)
}

fn unknown(dir: Option<&Path>, name: &str) -> Result<Error> {
    let known: Vec<String> = dir.map(savepoints).transpose()?.into_iter().flatten().flatten().map(|s| format!("`{}`", s.name)).collect();
    let known = if known.is_empty() { "there is none".to_owned() } else { format!("there are {}", known.join(", ")) };
    let place = dir.map_or_else(String::new, |d| format!(" in {}", d.display()));
    Ok(Error::Usage(format!("no savepoint `{name}`{place} ({known}); a file elsewhere is given by its path")))
}
