//! A savepoint that is being read: what is small is in memory, its states are still where they are.
//!
//! A savepoint may be larger than the memory of any process: whoever restores it reads the states of its own instances, and whoever only compares plans
//! reads none.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use super::checkpoint::{Checkpoint, NodeState, Stored};
use super::checkpoint_file::{FIXED, Opening};
use super::checksum::checksum;
use super::place;
use super::storage::Storage;
use crate::{Error, Result};

/// Bytes that are read by one request, of states that stand one behind the other.
const AT_ONCE: u64 = 16 << 20;

/// A savepoint without its states.
pub(super) struct Saved {
    storage: Arc<dyn Storage>,
    /// States say where they are in it.
    pub(super) checkpoint: Checkpoint,
    /// Tells it from others.
    pub(super) id: String,
    /// Bytes of the whole.
    pub(super) bytes: u64,
}

impl Saved {
    /// The savepoint at a path or address.
    ///
    /// # Errors
    /// If it cannot be read, or is none.
    pub(super) fn open(path: &Path) -> Result<Saved> {
        let (storage, name) = place::apart(path)?;
        Self::open_in(storage, &name, path)
    }
    /// The savepoint that is kept under this name.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub(super) fn open_in(storage: Arc<dyn Storage>, name: &str, path: &Path) -> Result<Saved> {
        let missing = || Error::io(path, "cannot read the savepoint", std::io::ErrorKind::NotFound.into());
        let opening = Opening::read(&storage.part(name, 0..FIXED)?.ok_or_else(missing)?, path)?;
        let header = storage.part(name, FIXED..opening.end())?.ok_or_else(missing)?;
        let (mut checkpoint, blobs) = opening.header(&header, path)?;
        if checkpoint.states.iter().any(|s| s.stored.is_some()) {
            return Err(Error::Checkpoint(format!("{} is a checkpoint and no savepoint: continue from its directory", path.display())));
        }
        let mut offset = opening.end();
        let mut blobs = blobs.into_iter().map(|(length, hash)| {
            offset += length;
            Stored { file: name.to_owned(), offset: offset - length, length, hash }
        });
        for state in &mut checkpoint.states {
            state.stored = blobs.next();
        }
        let flights: Vec<Stored> = blobs.by_ref().take(checkpoint.in_flight.len()).collect();
        if flights.len() != checkpoint.in_flight.len() || checkpoint.states.iter().any(|s| s.stored.is_none()) || blobs.next().is_some() {
            return Err(damaged(path));
        }
        drop(blobs);
        let rows = Blobs::new(storage.as_ref(), flights.iter().collect()).collect::<Result<Vec<_>>>()?;
        checkpoint.in_flight.iter_mut().zip(rows).for_each(|(flight, rows)| flight.rows = rows);
        let mut saved = Saved { storage, checkpoint: Checkpoint::default(), id: opening.id(), bytes: offset };
        // what sinks have prepared is asked for wherever a job begins
        let sinks: Vec<String> = checkpoint.steps.iter().filter(|s| s.kind == "sink").map(|s| s.name.clone()).collect();
        saved.read(&mut checkpoint, |state| sinks.contains(&state.node))?;
        saved.checkpoint = checkpoint;
        Ok(saved)
    }
    /// Reads the states that are wanted of what was made of it. The others stay empty: they are of no use to this process.
    ///
    /// # Errors
    /// If it cannot be read, or is damaged.
    pub(super) fn load(&self, checkpoint: &mut Checkpoint, wanted: impl Fn(&NodeState) -> bool) -> Result<()> {
        self.read(checkpoint, wanted)?;
        checkpoint.states.iter_mut().for_each(|s| s.stored = None);
        Ok(())
    }
    fn read(&self, checkpoint: &mut Checkpoint, wanted: impl Fn(&NodeState) -> bool) -> Result<()> {
        let places: Vec<(usize, Stored)> =
            checkpoint.states.iter().enumerate().filter(|(_, s)| wanted(s)).filter_map(|(at, s)| Some((at, s.stored.clone()?))).collect();
        let blobs = Blobs::new(self.storage.as_ref(), places.iter().map(|(_, stored)| stored).collect());
        for (bytes, (at, _)) in blobs.zip(&places) {
            if let Some(state) = checkpoint.states.get_mut(*at) {
                (state.state.bytes, state.stored) = (bytes?, None);
            }
        }
        Ok(())
    }
    /// The states of one step.
    ///
    /// # Errors
    /// As for [`load`](Self::load).
    pub(super) fn of(&self, step: &str) -> Result<Vec<NodeState>> {
        let states = self.checkpoint.states.iter().filter(|s| s.node == step).cloned().collect();
        let mut part = Checkpoint { states, ..Checkpoint::default() };
        self.load(&mut part, |_| true)?;
        Ok(part.states)
    }
}

pub(super) fn damaged(path: &Path) -> Error {
    Error::Checkpoint(format!("{} is damaged; restore it from a copy", path.display()))
}

/// Byte strings out of objects, one after the other; neighbours are read together.
pub(super) struct Blobs<'a> {
    storage: &'a dyn Storage,
    wanted: VecDeque<&'a Stored>,
    read: VecDeque<Vec<u8>>,
}

impl<'a> Blobs<'a> {
    pub(super) fn new(storage: &'a dyn Storage, wanted: VecDeque<&'a Stored>) -> Self {
        Blobs { storage, wanted, read: VecDeque::new() }
    }
    fn fetch(&mut self, first: &Stored) -> Result<()> {
        let mut parts = vec![first];
        let mut end = first.offset + first.length;
        while let Some(next) = self.wanted.front()
            && (next.file.as_str(), next.offset) == (first.file.as_str(), end)
            && end + next.length - first.offset <= AT_ONCE
        {
            parts.push(next);
            end += next.length;
            self.wanted.pop_front();
        }
        let place = self.storage.place(&first.file);
        let bytes = match first.offset == end {
            true => Vec::new(),
            false => self
                .storage
                .part(&first.file, first.offset..end)?
                .ok_or_else(|| Error::io(&place, "cannot read states", std::io::ErrorKind::NotFound.into()))?,
        };
        let mut rest = bytes.as_slice();
        for part in parts {
            let cut = usize::try_from(part.length).ok().and_then(|length| rest.split_at_checked(length));
            let (bytes, after) = cut.filter(|(bytes, _)| checksum(bytes) == part.hash).ok_or_else(|| damaged(&place))?;
            self.read.push_back(bytes.to_vec());
            rest = after;
        }
        Ok(())
    }
}

impl Iterator for Blobs<'_> {
    type Item = Result<Vec<u8>>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.read.is_empty() {
            let first = self.wanted.pop_front()?;
            if let Err(error) = self.fetch(first) {
                self.wanted.clear();
                return Some(Err(error));
            }
        }
        self.read.pop_front().map(Ok)
    }
}
