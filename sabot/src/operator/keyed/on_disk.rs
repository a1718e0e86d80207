//! States on disk, with those that were used last decoded in memory.
//!
//! A key has a slot for as long as it is known, whatever its number becomes; its bytes are in the store under key group and slot. A
//! state is read when a call needs it. When decoded states take more than their share of memory, those that were not used lately leave (a
//! hand goes round them and takes those that were not used since it came by last), in one write that is sorted by key. What comes
//! out as the bytes that were read is not written.
//!
//! A cut encodes what is decoded, and reads the rest from a view of the store, beside the step.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow_array::builder::LargeBinaryBuilder;

use super::backend::{Backend, Encoded};
use crate::kernel::hash::hash_bytes;
use crate::operator::disk::{Put, StateDisk, Store, View, key};
use crate::record::State;
use crate::{Error, Result};

/// Not decoded.
const NOWHERE: u32 = u32::MAX;
/// A state that grows is measured anew after so many calls.
const MEASURED: u8 = 16;
/// The part of the share that leaves at a time: enough for one large write.
const PART: usize = 8;

/// A key.
#[derive(Clone, Copy, Debug)]
struct At {
    slot: u64,
    group: u16,
    /// The place of its decoded state.
    decoded: u32,
    /// Whether the store has something in the slot.
    written: bool,
    /// Whether that is its state, unless one is decoded; else it is the default.
    current: bool,
}

/// A decoded state.
struct Entry<S> {
    state: S,
    number: u32,
    /// Bytes when it was measured last, encoded.
    bytes: usize,
    calls: u8,
    /// Whether it was used since the hand came by.
    used: bool,
    /// Of the bytes in the store.
    hash: Option<u64>,
}

pub(super) struct OnDisk<S> {
    store: Box<dyn Store>,
    disk: StateDisk,
    keys: Vec<At>,
    slots: u64,
    entries: Vec<Option<Entry<S>>>,
    free: Vec<u32>,
    hand: usize,
    /// Of decoded states.
    bytes: usize,
    scratch: Vec<u8>,
}

impl<S: State> OnDisk<S> {
    pub(super) fn new(disk: &StateDisk, step: &str, instances: usize) -> Result<Self> {
        Ok(OnDisk {
            store: disk.store(step, instances)?,
            disk: disk.clone(),
            keys: Vec::new(),
            slots: 0,
            entries: Vec::new(),
            free: Vec::new(),
            hand: 0,
            bytes: 0,
            scratch: Vec::new(),
        })
    }
    /// Decodes the state of a key; returns its place.
    fn bring(&mut self, number: u32) -> Result<u32> {
        if self.bytes > self.disk.share() {
            self.evict()?;
        }
        let Some(at) = self.keys.get_mut(number as usize) else { return Err(Error::internal("a key without a slot")) };
        let (mut state, mut bytes, mut hash) = (S::default(), 0, None);
        if at.current {
            let found = self.store.get(&key(at.group, at.slot), &mut |from| {
                state = S::decode(&mut &*from)?;
                (bytes, hash) = (from.len(), Some(hash_bytes(from)));
                Ok(())
            })?;
            if !found {
                return Err(Error::internal("a state is not where it was written"));
            }
        }
        let entry = Some(Entry { state, number, bytes, calls: 0, used: true, hash });
        self.bytes += size_of_val(&entry) + bytes;
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.entries.push(None);
                self.entries.len() as u32 - 1
            }
        };
        at.decoded = place;
        if let Some(slot) = self.entries.get_mut(place as usize) {
            *slot = entry;
        }
        Ok(place)
    }
    /// Takes a decoded state out.
    fn take(&mut self, place: u32) -> Option<Entry<S>> {
        let entry = self.entries.get_mut(place as usize)?.take()?;
        self.free.push(place);
        self.bytes -= self.bytes.min(size_of::<Option<Entry<S>>>() + entry.bytes);
        if let Some(at) = self.keys.get_mut(entry.number as usize) {
            at.decoded = NOWHERE;
        }
        Some(entry)
    }
    /// Writes states that were not used lately until there is room.
    fn evict(&mut self) -> Result<()> {
        let share = self.disk.share();
        let enough = share - share / PART;
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        let mut put = Vec::new();
        // once round for the marks, once more for the states
        for _ in 0..self.entries.len() * 2 {
            if self.bytes <= enough {
                break;
            }
            self.hand = if self.hand + 1 < self.entries.len() { self.hand + 1 } else { 0 };
            let marked = self.entries.get_mut(self.hand).and_then(Option::as_mut).is_none_or(|e| std::mem::take(&mut e.used));
            let Some(entry) = (if marked { None } else { self.take(self.hand as u32) }) else { continue };
            let start = bytes.len();
            entry.state.encode(&mut bytes);
            let Some(at) = self.keys.get_mut(entry.number as usize) else { continue };
            if entry.hash.is_some() && entry.hash == bytes.get(start..).map(hash_bytes) {
                bytes.truncate(start);
            } else {
                put.push(Put { key: key(at.group, at.slot), bytes: start..bytes.len() });
            }
            (at.written, at.current) = (true, true);
        }
        put.sort_unstable_by_key(|p| p.key);
        if !put.is_empty() {
            self.store.write(&put, &bytes, &[])?;
        }
        self.scratch = bytes;
        Ok(())
    }
}

impl<S: State> Backend<S> for OnDisk<S> {
    fn reach(&mut self, groups: &[u16]) {
        for group in groups.iter().skip(self.keys.len()) {
            self.keys.push(At { slot: self.slots, group: *group, decoded: NOWHERE, written: false, current: false });
            self.slots += 1;
        }
    }
    fn get(&mut self, number: u32) -> Result<Option<&mut S>> {
        let place = match self.keys.get(number as usize) {
            Some(at) if at.decoded == NOWHERE => self.bring(number)?,
            Some(at) => at.decoded,
            None => return Ok(None),
        };
        let Some(entry) = self.entries.get_mut(place as usize).and_then(Option::as_mut) else { return Ok(None) };
        entry.used = true;
        entry.calls = (entry.calls + 1) % MEASURED;
        if entry.calls == 0 {
            self.scratch.clear();
            entry.state.encode(&mut self.scratch);
            self.bytes = self.bytes.saturating_sub(entry.bytes) + self.scratch.len();
            entry.bytes = self.scratch.len();
        }
        Ok(Some(&mut entry.state))
    }
    fn reset(&mut self, number: u32) {
        let Some(at) = self.keys.get_mut(number as usize) else { return };
        at.current = false;
        let place = at.decoded;
        self.take(place);
    }
    fn keep(&mut self, kept: &[u32]) -> Result<()> {
        let mut old = std::mem::take(&mut self.keys);
        let mut stays = vec![false; old.len()];
        for number in kept {
            stays.iter_mut().skip(*number as usize).take(1).for_each(|s| *s = true);
        }
        let mut remove = Vec::new();
        for (at, _) in old.iter_mut().zip(&stays).filter(|(_, stays)| !**stays) {
            self.take(at.decoded);
            if at.written {
                remove.push(key(at.group, at.slot));
            }
        }
        for (new, number) in (0u32..).zip(kept) {
            let Some(at) = old.get(*number as usize).copied() else { continue };
            if let Some(entry) = self.entries.get_mut(at.decoded as usize).and_then(Option::as_mut) {
                entry.number = new;
            }
            self.keys.push(at);
        }
        if remove.is_empty() { Ok(()) } else { self.store.write(&[], &[], &remove) }
    }
    fn encoded(&self, numbers: &[u32]) -> Result<Encoded> {
        let mut bytes = Vec::new();
        let mut rows: Vec<Range<usize>> = Vec::with_capacity(numbers.len());
        let mut stored: BTreeMap<u16, Vec<(u64, usize)>> = BTreeMap::new();
        for (row, number) in numbers.iter().enumerate() {
            let start = bytes.len();
            let Some(at) = self.keys.get(*number as usize) else { return Err(Error::internal("a key without a slot")) };
            match self.entries.get(at.decoded as usize).and_then(Option::as_ref) {
                Some(entry) => entry.state.encode(&mut bytes),
                None if at.current => stored.entry(at.group).or_default().push((at.slot, row)),
                None => S::default().encode(&mut bytes),
            }
            rows.push(start..bytes.len());
        }
        let view = if stored.is_empty() { None } else { Some(self.store.view()?) };
        Ok(Box::new(move || {
            if let Some(view) = view {
                stored.into_iter().try_for_each(|(group, slots)| read(view.as_ref(), group, slots, &mut rows, &mut bytes))?;
            }
            let mut states = LargeBinaryBuilder::with_capacity(rows.len(), bytes.len());
            for row in rows {
                states.append_value(bytes.get(row).ok_or_else(|| Error::internal("a state that is not among the bytes"))?);
            }
            Ok(states.finish())
        }))
    }
    fn bytes(&self) -> usize {
        self.keys.capacity() * size_of::<At>() + self.bytes
    }
}

/// Reads the states in these slots of a key group, each for a row.
fn read(view: &dyn View, group: u16, mut slots: Vec<(u64, usize)>, rows: &mut [Range<usize>], bytes: &mut Vec<u8>) -> Result<()> {
    slots.sort_unstable();
    let mut wanted = slots.iter().peekable();
    view.scan(group, &mut |slot, state| {
        // what is between is of keys that have no state now, or have it decoded
        while let Some((_, row)) = wanted.next_if(|(want, _)| *want == slot) {
            let start = bytes.len();
            bytes.extend_from_slice(state);
            rows.iter_mut().skip(*row).take(1).for_each(|r| *r = start..bytes.len());
        }
    })?;
    if wanted.next().is_some() { Err(Error::internal("a state is not where it was written")) } else { Ok(()) }
}
