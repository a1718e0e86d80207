//! The directory of a job's checkpoints: whose it is, what is in it, what stays.
//!
//! - `lock` is held by the process that runs the job; the system frees it when the process dies. Where nothing can be locked, a process
//!   claims the place of the next manifest ([`claims`](super::claims)).
//! - `job.json` and `input.json` say whose checkpoints these are; `origin.json` names the savepoint that the job began with, if it did.
//! - `generation` counts the processes that have run the job; claims do so themselves.
//! - `<epoch>.checkpoint` is a manifest: there as a whole or not, written once, never changed.
//! - `<epoch>-<generation>-<number>.state`, of a share `<epoch>-<generation>-<share>-<number>.state`, holds states that one or several manifests name. It is written, and its name durable,
//!   before the first of these, and removed behind the last of them, so a manifest never names a file that is not there.
//! - `savepoints/<name>.savepoint` is a checkpoint with all of its states.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::basis::Basis;
use super::checkpoint::{NodeState, Stored};
use super::checksum::checksum;
use super::claims::{self, Seen};
use super::saved::Saved;
use super::seam::seam;
use super::storage::{Owner, Storage};
use super::util::lock;
use super::{Checkpoint, RunOptions, StepShape, place, requests};
use crate::operator::Delta;
use crate::{Error, Result};

const MANIFEST: &str = ".checkpoint";
const STATES: &str = ".state";

pub(super) struct Store {
    pub(super) storage: Arc<dyn Storage>,
    keep: usize,
    /// Larger than that of every process before.
    pub(super) generation: u64,
    /// The number of the first checkpoint that this process may write.
    pub(super) first: u64,
    /// That of the next one: where claims decide who writes, there may be no gap, in which a claim would hit nobody.
    next: AtomicU64,
    /// Whether others are not locked out, and calls wait for a network.
    pub(super) remote: bool,
    /// Whether there was no checkpoint.
    fresh: bool,
    basis: Mutex<Basis>,
    /// Numbers the files of this process.
    number: AtomicU64,
    /// Tells this writer's files apart: its generation and, of one of several, its number.
    writer: String,
    /// Whether someone else writes the manifests.
    beside: bool,
    /// Whether files were written whose names may not be durable yet.
    unsettled: AtomicBool,
    /// The files that each manifest names.
    named: Mutex<BTreeMap<u64, BTreeSet<String>>>,
    /// Files that no manifest names any more.
    unnamed: Mutex<BTreeSet<String>>,
}

/// The number of the newest checkpoint in a directory or object store, if there is one: where a job with this
/// [`RunOptions::checkpoint_dir`] continues.
///
/// # Errors
/// If the directory is there, but cannot be listed; if the object store cannot be reached.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dir = tempfile::tempdir()?;
/// assert_eq!(sabot::runtime::newest_checkpoint(dir.path())?, None);
/// # Ok(()) }
/// ```
pub fn newest_checkpoint(dir: &Path) -> Result<Option<u64>> {
    claims::newest(place::open(dir, false, place::usual())?.as_ref())
}

/// A directory that is this process's, and what the job begins with.
pub(super) struct Opened {
    pub(super) owner: Option<Owner>,
    pub(super) store: Store,
    pub(super) begin: Begin,
}

/// What a job begins with.
pub(super) enum Begin {
    Nothing,
    /// The newest checkpoint of its directory.
    Newest(Checkpoint),
    /// A savepoint, perhaps of another plan.
    Savepoint(Saved),
}

/// The physical nodes of what a job with these options would begin with; none if it begins anew.
///
/// # Errors
/// If the place of the checkpoints, or the savepoint, cannot be read.
pub(crate) fn steps_before(options: &RunOptions) -> Result<Vec<String>> {
    Ok(match Store::look(options)? {
        Begin::Nothing => Vec::new(),
        Begin::Newest(checkpoint) => checkpoint.nodes,
        Begin::Savepoint(saved) => saved.checkpoint.nodes,
    })
}

/// The savepoint that the checkpoints of a directory go back to.
#[derive(Serialize, Deserialize)]
struct From {
    savepoint: PathBuf,
    /// Tells it from others.
    id: String,
}

impl Store {
    /// The directory that the options name, if they do.
    pub(super) fn open(options: &RunOptions) -> Result<Option<Opened>> {
        let Some(dir) = &options.checkpoint_dir else {
            return match &options.from_savepoint {
                Some(_) => Err(Error::usage(
                    "a job that begins with a savepoint keeps checkpoints: name a directory for them (`--checkpoint-dir`)",
                )),
                None => Ok(None),
            };
        };
        let storage = place::open(dir, true, place::patience(options))?;
        let owner = storage.own()?;
        let Taken { seen, savepoint, generation, first } =
            claims::until_claimed(storage.as_ref(), || take(storage.as_ref(), options, owner.is_some()))?;
        requests::clear(storage.as_ref());
        let newest = seen.manifests.last().copied();
        let fresh = newest.is_none() || savepoint.is_some();
        if let Some((_, from)) = &savepoint {
            let text = serde_json::to_vec_pretty(from).map_err(|e| Error::internal(e.to_string()))?;
            storage.replace("origin.json", &text)?;
        }
        own(storage.as_ref(), "job.json", &options.identity, fresh)?;
        if owner.is_some() {
            storage.replace("generation", generation.to_string().as_bytes())?;
        }
        let store = Store {
            storage,
            keep: options.checkpoint_keep.max(1),
            generation,
            first,
            next: AtomicU64::new(first),
            remote: owner.is_none(),
            fresh,
            basis: Mutex::default(),
            number: AtomicU64::new(0),
            writer: generation.to_string(),
            beside: false,
            unsettled: AtomicBool::new(false),
            named: Mutex::default(),
            unnamed: Mutex::default(),
        };
        let mut checkpoint = None;
        for epoch in seen.manifests {
            // An older one that cannot be read is not needed, and keeps nothing.
            let read = store.manifest(epoch);
            lock(&store.named).insert(epoch, read.as_ref().map_or_else(|_| BTreeSet::new(), files_of));
            if Some(epoch) == newest && savepoint.is_none() {
                checkpoint = Some(read?);
            }
        }
        store.remove_orphans()?;
        let begin = match (savepoint, checkpoint) {
            (Some((savepoint, _)), _) => Begin::Savepoint(savepoint),
            (None, Some(newest)) => Begin::Newest(newest),
            (None, None) => Begin::Nothing,
        };
        Ok(Some(Opened { owner, store, begin }))
    }
    /// What a job with these options would begin with, for one who only looks.
    ///
    /// # Errors
    /// If the place of the checkpoints cannot be read, or does not fit the savepoint.
    pub(super) fn look(options: &RunOptions) -> Result<Begin> {
        let Some(dir) = &options.checkpoint_dir else { return Ok(Begin::Nothing) };
        let storage = place::open(dir, false, place::patience(options))?;
        let newest = claims::newest(storage.as_ref())?;
        if let Some(path) = &options.from_savepoint
            && let Some((savepoint, _)) = begins_with(storage.as_ref(), path, newest)?
        {
            return Ok(Begin::Savepoint(savepoint));
        }
        newest.map_or(Ok(Begin::Nothing), |epoch| read_manifest(storage.as_ref(), epoch).map(Begin::Newest))
    }
    /// The directory that the options name, to put states by for the manifests that another process writes, which has it.
    pub(super) fn beside(dir: &Path, options: &RunOptions, (generation, share): (u64, usize)) -> Result<Store> {
        Ok(Store {
            storage: place::open(dir, false, place::patience(options))?,
            keep: 1,
            generation,
            first: 0,
            next: AtomicU64::new(0),
            remote: place::is_remote(dir),
            fresh: false,
            basis: Mutex::default(),
            number: AtomicU64::new(0),
            writer: format!("{generation}-{share}"),
            beside: true,
            unsettled: AtomicBool::new(false),
            named: Mutex::default(),
            unnamed: Mutex::default(),
        })
    }
    /// The checkpoint of this number, without the states that are in files.
    pub(super) fn manifest(&self, epoch: u64) -> Result<Checkpoint> {
        read_manifest(self.storage.as_ref(), epoch)
    }
    /// Reads the states that are kept in files.
    pub(super) fn load(&self, checkpoint: &mut Checkpoint) -> Result<()> {
        self.load_some(checkpoint, |_| true)
    }
    /// Reads those that are wanted.
    pub(super) fn load_some(&self, checkpoint: &mut Checkpoint, wanted: impl Fn(&NodeState) -> bool) -> Result<()> {
        let mut by_file: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (i, state) in checkpoint.states.iter().enumerate().filter(|(_, s)| wanted(s)) {
            if let Some(stored) = &state.stored {
                by_file.entry(stored.file.clone()).or_default().push(i);
            }
        }
        for (file, states) in by_file {
            let broken = |what: &str| {
                Error::Checkpoint(format!("{} {what}, and checkpoint {} needs it", self.storage.place(&file).display(), checkpoint.epoch))
            };
            let bytes = self.storage.read(&file)?.ok_or_else(|| broken("is missing"))?;
            for i in states {
                let stored = checkpoint.states.get(i).and_then(|s| s.stored.clone());
                let part =
                    stored.as_ref().and_then(|s| bytes.get(usize::try_from(s.offset).ok()?..)?.get(..usize::try_from(s.length).ok()?));
                let part =
                    part.filter(|p| stored.as_ref().is_some_and(|s| checksum(p) == s.hash)).ok_or_else(|| broken("is damaged"))?.to_vec();
                if let Some(state) = checkpoint.states.get_mut(i) {
                    state.state.bytes = part;
                }
            }
            lock(&self.basis).file(&file, bytes.len() as u64);
        }
        Ok(())
    }
    /// What the job begins with, by the instances that have it now.
    pub(super) fn restored(&self, states: Vec<(usize, NodeState)>) {
        lock(&self.basis).restored(states);
    }
    /// Whether an instance may name what has not changed since its last cut.
    pub(super) fn knows(&self, node: &str, instance: usize) -> bool {
        lock(&self.basis).knows(node, instance)
    }
    /// Puts the cut of an instance by for the checkpoint to come: what is new and not small goes to a file. Returns what the
    /// checkpoint is to hold, and the bytes that were written.
    pub(super) fn put_by(&self, epoch: u64, node: &str, instance: usize, delta: Delta) -> Result<(Vec<NodeState>, u64)> {
        let spare = delta.layer.as_ref().map(|l| l.spare.clone());
        let mut sorted = lock(&self.basis).sort(node, instance, delta)?;
        let mut written = 0;
        if !sorted.to_file.is_empty() {
            let file = format!("{epoch:010}-{}-{}{STATES}", self.writer, self.number.fetch_add(1, SeqCst));
            let take = |i: &usize| sorted.states.get_mut(*i).map(|s| std::mem::take(&mut s.state.bytes)).unwrap_or_default();
            let bytes: Vec<Vec<u8>> = sorted.to_file.iter().map(take).collect();
            let pieces: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
            if !self.storage.add(&file, &self.writer, &pieces)? {
                return Err(overtaken(&self.storage.place(&file)));
            }
            seam("stated");
            if self.beside {
                // whoever writes the manifest may be on another machine
                self.storage.settle()?;
            } else {
                self.unsettled.store(true, SeqCst);
            }
            for (i, bytes) in sorted.to_file.iter().zip(&pieces) {
                if let Some(state) = sorted.states.get_mut(*i) {
                    let length = bytes.len() as u64;
                    state.stored = Some(Stored { file: file.clone(), offset: written, length, hash: checksum(bytes) });
                    written += length;
                }
            }
            lock(&self.basis).file(&file, written);
            if let Some((spare, layer)) = spare.zip(bytes.into_iter().max_by_key(Vec::capacity)) {
                spare.give(layer);
            }
        }
        lock(&self.basis).note(node, instance, &sorted.states);
        Ok((sorted.states, written))
    }
    /// Forgets files that no instance names any more. For who does not [prune](Self::prune) them.
    pub(super) fn tidy(&self) {
        lock(&self.basis).tidy();
    }
    /// Refuses input that is not what it was: a position in it would be another.
    pub(super) fn same_input(&self, steps: &[StepShape]) -> Result<()> {
        let input = steps.iter().filter_map(|s| Some((format!("the input of `{}`", s.name), s.input.clone()?))).collect();
        own(self.storage.as_ref(), "input.json", &input, self.fresh)
    }
    /// Makes a checkpoint durable. Returns its size, without that of the files that it names.
    pub(super) fn write(&self, checkpoint: &Checkpoint) -> Result<u64> {
        if self.unsettled.load(SeqCst) {
            self.storage.settle()?;
            self.unsettled.store(false, SeqCst);
        }
        let next = self.next.load(SeqCst);
        if self.remote && checkpoint.epoch != next {
            return Err(Error::internal(format!("checkpoint {} would be written where {next} belongs", checkpoint.epoch)));
        }
        let mut head = Vec::new();
        let pieces = checkpoint.pieces(false, &mut head)?;
        let bytes = pieces.iter().map(|p| p.len() as u64).sum();
        let name = manifest(checkpoint.epoch);
        if !self.storage.create(&name, &self.generation.to_string(), &pieces)? {
            return Err(overtaken(&self.storage.place(&name)));
        }
        self.next.store(checkpoint.epoch + 1, SeqCst);
        lock(&self.named).insert(checkpoint.epoch, files_of(checkpoint));
        Ok(bytes)
    }
    /// Removes all manifests but the newest, then the files that none of the rest names. After an error it may be called again.
    pub(super) fn prune(&self) -> Result<()> {
        let mut named = lock(&self.named);
        let mut gone = lock(&self.unnamed);
        while named.len() > self.keep {
            let Some(epoch) = named.keys().next().copied() else { break };
            self.storage.remove(&manifest(epoch))?;
            gone.extend(named.remove(&epoch).unwrap_or_default());
        }
        gone.retain(|file| !named.values().any(|files| files.contains(file)));
        if gone.is_empty() {
            return Ok(());
        }
        seam("pruning");
        self.storage.settle()?;
        lock(&self.basis).retain(|file| !gone.contains(file));
        while let Some(file) = gone.first().cloned() {
            self.storage.remove(&file)?;
            gone.remove(&file);
            seam("pruned");
        }
        Ok(())
    }
    /// Removes files that no manifest names: those of a checkpoint that was not completed, and of one whose manifest was removed.
    /// What a later process writes is none of this one's business.
    fn remove_orphans(&self) -> Result<()> {
        let named = lock(&self.named);
        let before = |file: &str| file.split('-').nth(1).and_then(|g| g.parse().ok()).is_none_or(|g: u64| g < self.generation);
        for file in self.storage.list("")?.iter().filter(|f| f.ends_with(STATES) && before(f)) {
            if !named.values().any(|files| files.contains(file)) {
                self.storage.remove(file)?;
                seam("swept");
            }
        }
        Ok(())
    }
}

/// What a process that starts goes by.
struct Taken {
    seen: Seen,
    savepoint: Option<(Saved, From)>,
    generation: u64,
    first: u64,
}

/// Looks at what is there, refuses what does not fit and, if others are not locked out, claims the place of the next manifest. `None`
/// if another process was faster.
fn take(storage: &dyn Storage, options: &RunOptions, locked: bool) -> Result<Option<Taken>> {
    let seen = claims::look(storage)?;
    let newest = seen.manifests.last().copied();
    let savepoint = match &options.from_savepoint {
        Some(path) => begins_with(storage, path, newest)?,
        None => None,
    };
    // The number that was written where processes lock each other out, perhaps before it was copied.
    let noted = storage.read("generation")?.and_then(|g| String::from_utf8(g).ok()).and_then(|g| g.trim().parse().ok());
    let generation = seen.generation.max(noted.unwrap_or(0)) + 1;
    let behind = seen.next.max(savepoint.as_ref().map_or(0, |(s, _)| s.checkpoint.epoch + 1));
    if locked {
        return Ok(Some(Taken { seen, savepoint, generation, first: behind }));
    }
    if newest.is_some() && savepoint.is_none() {
        // Before the process that runs is cut off.
        own(storage, "job.json", &options.identity, false)?;
    }
    let first = behind.max(seen.next + 1);
    Ok(claims::claim(storage, &seen, generation, first)?.then_some(Taken { seen, savepoint, generation, first }))
}

fn read_manifest(storage: &dyn Storage, epoch: u64) -> Result<Checkpoint> {
    let name = manifest(epoch);
    let place = storage.place(&name);
    let bytes = storage.read(&name)?.ok_or_else(|| Error::Checkpoint(format!("{} has gone", place.display())))?;
    Checkpoint::parse(&bytes, &place)
}

pub(super) fn manifest(epoch: u64) -> String {
    format!("{epoch:010}{MANIFEST}")
}

fn files_of(checkpoint: &Checkpoint) -> BTreeSet<String> {
    checkpoint.states.iter().filter_map(|s| s.stored.as_ref()).map(|s| s.file.clone()).collect()
}

/// Another process wrote what this one was about to write.
fn overtaken(place: &Path) -> Error {
    let path: PathBuf = place.to_path_buf();
    let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
    Error::io(path, "cannot write the checkpoint (another process runs the same job, and has taken over)", source)
}

/// The numbers of manifests, and of claims, in ascending order.
pub(super) fn slots(storage: &dyn Storage) -> Result<Vec<u64>> {
    let names = storage.list("")?;
    let mut slots: Vec<u64> = names.iter().filter_map(|n| n.strip_suffix(MANIFEST)?.parse().ok()).collect();
    slots.sort_unstable();
    Ok(slots)
}

/// The savepoint at `path`, unless the job has gone on from it in this directory, whose newest checkpoint is `newest`.
fn begins_with(storage: &dyn Storage, path: &Path, newest: Option<u64>) -> Result<Option<(Saved, From)>> {
    let saved = Saved::open(path)?;
    let (savepoint, id) = (&saved.checkpoint, saved.id.clone());
    let from: Option<From> = storage.read("origin.json")?.and_then(|text| serde_json::from_slice(&text).ok());
    let goes_on = from.is_some_and(|from| from.id == id);
    let epoch = savepoint.epoch;
    match newest {
        Some(newest) if newest > epoch && goes_on => return Ok(None),
        Some(newest) if newest == epoch => {
            let name = manifest(newest);
            let place = storage.place(&name);
            let other = Checkpoint::parse(&storage.read(&name)?.unwrap_or_default(), &place)?;
            if (&other.positions, &other.nodes, &other.accounts) != (&savepoint.positions, &savepoint.nodes, &savepoint.accounts) {
                return Err(elsewhere(storage, newest, epoch));
            }
        }
        Some(newest) => return Err(elsewhere(storage, newest, epoch)),
        None => {}
    }
    Ok(Some((saved, From { savepoint: path.to_path_buf(), id })))
}

fn elsewhere(storage: &dyn Storage, newest: u64, epoch: u64) -> Error {
    Error::Checkpoint(format!(
        "the directory {} has checkpoint {newest} of a job that does not go back to this savepoint (of checkpoint {epoch}): give the restored job a directory of its own, and its sinks too",
        storage.place("").display()
    ))
}

/// Claims a directory without checkpoints for a job; refuses that of another job.
fn own(storage: &dyn Storage, file: &str, identity: &BTreeMap<String, String>, fresh: bool) -> Result<()> {
    if fresh {
        let text = serde_json::to_vec_pretty(identity).map_err(|e| Error::internal(e.to_string()))?;
        return storage.replace(file, &text);
    }
    let path = storage.place(file);
    let text = storage
        .read(file)?
        .ok_or_else(|| Error::Checkpoint(format!("{} is missing, which says whose checkpoints these are", path.display())))?;
    let other: BTreeMap<String, String> =
        serde_json::from_slice(&text).map_err(|e| Error::Checkpoint(format!("{} is damaged: {e}", path.display())))?;
    let names = identity.keys().chain(other.keys().filter(|k| !identity.contains_key(*k)));
    let differing: Vec<&str> = names.filter(|k| identity.get(*k) != other.get(*k)).map(String::as_str).collect();
    if differing.is_empty() {
        return Ok(());
    }
    let dir = storage.place("");
    Err(Error::Checkpoint(format!(
        "those in `{}` belong to another job: {} {} not the same. Run that job, or give this one a directory of its own",
        dir.display().to_string().trim_end_matches('/'),
        differing.join(", "),
        if differing.len() == 1 { "is" } else { "are" }
    )))
}
