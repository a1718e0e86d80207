//! A hash table from 64-bit tags to numbers, flat in memory.
//!
//! Open addressing with linear probing over 16-byte slots, at most half full: a look-up usually touches one cache line,
//! and since that line is known from the hash alone it can be asked for ahead of time. Tables that outgrow the
//! second-level cache live from that (S. Chen, A. Ailamaki, P. Gibbons, T. Mowry: "Improving Hash Join Performance through
//! Prefetching", 2004).

use std::sync::Arc;

use crate::kernel::prefetch;

/// Slots that fit a second-level cache beside other things: 512 KiB.
const LARGE: usize = 1 << 15;
/// Smaller tables grow faster, since they soon would again.
const SOON: usize = 1 << 10;
/// Slots of a table with an entry.
const SMALLEST: usize = 64;

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    tag: u64,
    /// The number + 1; 0 is empty.
    number: u32,
}

/// Numbers by tag. Tags need not be unique, nor hashes: `same` decides.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    /// A clone shares them until one of the two changes.
    slots: Arc<Vec<Slot>>,
    entries: usize,
}

impl Slots {
    pub(super) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }
    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }
    pub(super) fn clear(&mut self) {
        if self.entries > 0 {
            Arc::make_mut(&mut self.slots).fill(Slot::default());
            self.entries = 0;
        }
    }
    /// Whether look-ups gain from [`prefetch`](Self::prefetch).
    pub(super) fn is_large(&self) -> bool {
        self.slots.len() >= LARGE
    }
    #[inline(always)]
    fn mask(&self) -> usize {
        self.slots.len().wrapping_sub(1)
    }
    #[inline(always)]
    pub(super) fn prefetch(&self, hash: u64) {
        prefetch(&self.slots, hash as usize & self.mask());
    }
    /// The number of the first entry of this hash with this tag for which `same` holds.
    #[inline(always)]
    pub(super) fn find(&self, hash: u64, tag: u64, same: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.mask();
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots.get(at)?;
            let number = slot.number.checked_sub(1)?;
            if slot.tag == tag && same(number) {
                return Some(number);
            }
            at = (at + 1) & mask;
        }
    }
    /// Adds an entry that is not there. `hash_of` gives the hash of a tag.
    pub(super) fn insert(&mut self, hash: u64, tag: u64, number: u32, hash_of: impl Fn(u64) -> u64) {
        if (self.entries + 1) * 2 > self.slots.len() {
            self.grow(hash_of);
        }
        self.entries += 1;
        self.put(hash, Slot { tag, number: number + 1 });
    }
    fn put(&mut self, hash: u64, entry: Slot) {
        let mask = self.mask();
        let mut at = hash as usize & mask;
        let slots = Arc::make_mut(&mut self.slots);
        while let Some(slot) = slots.get_mut(at) {
            if slot.number == 0 {
                *slot = entry;
                return;
            }
            at = (at + 1) & mask;
        }
    }
    #[cold]
    fn grow(&mut self, hash_of: impl Fn(u64) -> u64) {
        let times = if self.slots.len() < SOON { 4 } else { 2 };
        let larger = vec![Slot::default(); (self.slots.len() * times).max(SMALLEST)];
        for entry in std::mem::replace(&mut self.slots, Arc::new(larger)).iter().filter(|s| s.number > 0) {
            self.put(hash_of(entry.tag), *entry);
        }
    }
}
