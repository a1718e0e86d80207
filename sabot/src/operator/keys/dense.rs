//! Groups of keys from a dense range of integers: found by index, without a hash.
//!
//! Small codes and counters are common keys. The range grows with the keys while at least a quarter of it is in use, or
//! while it is small; keys outside of it belong into a hash table.

/// Width of a range that may be as empty as it likes: 64 KiB.
const SMALL: u64 = 1 << 14;
/// A larger range has at most this many places for each key.
const PLACES_PER_KEY: u64 = 4;
/// As many in a range that is only looked up in: then it takes what a hash table would, 32 to 64 bytes per key.
const PLACES_TO_FIND: u64 = 16;

use std::sync::Arc;

use crate::kernel::prefetch;

/// Group + 1 by key, from `base` on. A clone shares the memory until one of them changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Dense {
    range: Range,
    groups: Arc<Vec<u32>>,
    /// The range was made for all keys to come.
    whole: bool,
    /// A bit for each place with a key, if most are empty and the table is only looked up in: these bits stay in a cache.
    present: Arc<Vec<u64>>,
}

/// Where a table begins, and which keys came.
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    base: u64,
    /// The least and the greatest key seen, inside or not; none if there was not `any`.
    low: i64,
    high: i64,
    any: bool,
}

impl Dense {
    pub(super) fn bytes(&self) -> usize {
        self.groups.capacity() * 4 + self.present.capacity() * 8
    }
    pub(super) fn clear(&mut self) {
        Arc::make_mut(&mut self.groups).clear();
        self.range.any = false;
        self.whole = false;
    }
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
    /// The group + 1 of a key, or 0.
    #[inline(always)]
    pub(super) fn get(&self, key: u64) -> u32 {
        self.groups.get(key.wrapping_sub(self.range.base) as usize).copied().unwrap_or(0)
    }
    /// Whether most places are empty, which [`find_all`](Self::find_all) then knows without looking at them.
    pub(super) fn is_sparse(&self) -> bool {
        !self.present.is_empty()
    }
    /// The group of each key, or all ones, for a [sparse](Self::is_sparse) table; whether one is not there.
    ///
    /// Without a branch on what is found, so that all bits are on their way at once, and then all groups: a mispredicted branch per
    /// hit would make them wait for each other.
    pub(super) fn find_all(&self, keys: &[u64], hits: &mut Vec<(u32, u32)>, out: &mut Vec<u32>) -> bool {
        let from = out.len();
        out.resize(from + keys.len(), u32::MAX);
        hits.clear();
        hits.resize(keys.len() + 1, (0, 0));
        let mut found = 0;
        for (number, key) in (0u32..).zip(keys) {
            // a range that is made of bits has fewer than 2^32 places
            let at = usize::try_from(key.wrapping_sub(self.range.base)).unwrap_or(usize::MAX);
            let word = self.present.get(at / 64).copied().unwrap_or(0);
            if let Some(hit) = hits.get_mut(found) {
                *hit = (number, at as u32);
            }
            found += (word >> (at % 64) & 1) as usize;
        }
        let hits = hits.get(..found).unwrap_or(&[]);
        hits.iter().for_each(|(_, at)| prefetch(&self.groups, *at as usize));
        for (number, at) in hits {
            if let (Some(slot), Some(group)) = (out.get_mut(from + *number as usize), self.groups.get(*at as usize)) {
                *slot = group.wrapping_sub(1);
            }
        }
        found < keys.len()
    }
    /// For insertions.
    pub(super) fn writer(&mut self) -> Writer<'_> {
        Writer { range: &mut self.range, groups: Arc::make_mut(&mut self.groups) }
    }
    /// Makes the range for this many keys to come, which are known to lie in it, unless it would be too empty for a table that
    /// is only looked up in afterwards.
    pub(super) fn open(&mut self, low: i64, high: i64, keys: usize) -> bool {
        let span = (high as u64).wrapping_sub(low as u64);
        if self.range.any || span >= SMALL.max(keys as u64 * PLACES_TO_FIND) {
            return false;
        }
        let groups = Arc::new(vec![0; span as usize + 1]);
        let range = Range { base: low as u64, low, high, any: true };
        *self = Dense { range, groups, whole: true, present: Arc::default() };
        true
    }
    /// Adds keys to a range that was made for them, and tells their groups. Stops at a key outside; returns how many it took.
    pub(super) fn insert(&mut self, words: &[u64], keys: &mut Vec<u64>, out: &mut Vec<u32>) -> usize {
        if !self.whole {
            return 0;
        }
        let (base, groups) = (self.range.base, Arc::make_mut(&mut self.groups));
        for (done, word) in words.iter().enumerate() {
            let Some(slot) = groups.get_mut(word.wrapping_sub(base) as usize) else { return done };
            if *slot == 0 {
                keys.push(*word);
                *slot = keys.len() as u32;
            }
            out.push(*slot - 1);
        }
        words.len()
    }
    /// The ranges of several tables as one, if they are dense together: for each its keys by group, and the number of its first group.
    pub(super) fn chain<'a>(parts: impl Iterator<Item = (&'a Dense, &'a [u64], u32)> + Clone) -> Option<Dense> {
        let any = || parts.clone().filter(|(dense, ..)| dense.range.any);
        let (low, high) = (any().map(|(d, ..)| d.range.low).min()?, any().map(|(d, ..)| d.range.high).max()?);
        let keys: usize = any().map(|(_, keys, _)| keys.len()).sum();
        let span = (high as u64).wrapping_sub(low as u64);
        if span >= SMALL.max(keys as u64 * PLACES_TO_FIND) {
            return None;
        }
        let mut groups = vec![0; span as usize + 1];
        for (dense, keys, first) in parts {
            if dense.whole {
                // in the order of memory rather than of the keys
                let from = dense.range.base.wrapping_sub(low as u64) as usize;
                for (to, group) in groups.get_mut(from..)?.iter_mut().zip(dense.groups.iter()).filter(|(_, group)| **group > 0) {
                    *to = group + first;
                }
                continue;
            }
            for (group, key) in (first + 1..).zip(keys) {
                *groups.get_mut(key.wrapping_sub(low as u64) as usize)? = group;
            }
        }
        let mut present = Vec::new();
        if keys as u64 * PLACES_PER_KEY < span && u32::try_from(span).is_ok() {
            let word = |places: &[u32]| places.iter().zip(0..).fold(0u64, |word, (group, bit)| word | u64::from(*group > 0) << bit);
            present = groups.chunks(64).map(word).collect();
        }
        let range = Range { base: low as u64, low, high, any: true };
        Some(Dense { range, groups: Arc::new(groups), whole: false, present: Arc::new(present) })
    }
}

/// A table that is made its own once for many insertions: an atomic operation per key would wait for all memory that those before it asked for.
pub(super) struct Writer<'a> {
    range: &'a mut Range,
    groups: &'a mut Vec<u32>,
}

impl Writer<'_> {
    /// The group + 1 of a key, or 0.
    #[inline(always)]
    pub(super) fn get(&self, key: u64) -> u32 {
        self.groups.get(key.wrapping_sub(self.range.base) as usize).copied().unwrap_or(0)
    }
    /// Sets the group of a new key if it lies in the range, which may grow for it. `all` are the keys by group, those of the
    /// hash table too: from now on they are found here where the range covers them.
    #[inline(always)]
    pub(super) fn set(&mut self, key: u64, group: u32, all: &[u64], except: u32) -> bool {
        let (signed, range) = (key as i64, &mut *self.range);
        (range.low, range.high) = if range.any { (range.low.min(signed), range.high.max(signed)) } else { (signed, signed) };
        range.any = true;
        if self.groups.get(key.wrapping_sub(self.range.base) as usize).is_none() && !self.extend(signed, all, except) {
            return false;
        }
        match self.groups.get_mut(key.wrapping_sub(self.range.base) as usize) {
            Some(slot) => {
                *slot = group + 1;
                true
            }
            None => false,
        }
    }
    fn extend(&mut self, key: i64, all: &[u64], except: u32) -> bool {
        let Range { low, high, .. } = *self.range;
        let span = (high as u64).wrapping_sub(low as u64);
        if span >= SMALL.max(all.len() as u64 * PLACES_PER_KEY) {
            return false;
        }
        let places = (span + 1).next_power_of_two().max(1024);
        // room where the keys grow
        let down = !self.groups.is_empty() && key < self.range.base as i64;
        self.range.base = if down { (high as u64).wrapping_sub(places - 1) } else { low as u64 };
        self.groups.clear();
        self.groups.resize(places as usize, 0);
        for (group, key) in (0u32..).zip(all).filter(|(group, _)| *group != except) {
            if let Some(slot) = self.groups.get_mut(key.wrapping_sub(self.range.base) as usize) {
                *slot = group + 1;
            }
        }
        true
    }
}
