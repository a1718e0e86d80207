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
        find(&self.slots, hash, tag, same)
    }
    /// For insertions.
    pub(super) fn writer(&mut self) -> Writer<'_> {
        Writer { slots: Arc::make_mut(&mut self.slots), entries: &mut self.entries }
    }
}

/// A table that is made its own once for many insertions: an atomic operation per entry would wait for all memory that those before it asked for.
pub(super) struct Writer<'a> {
    slots: &'a mut Vec<Slot>,
    entries: &'a mut usize,
}

impl Writer<'_> {
    #[inline(always)]
    pub(super) fn find(&self, hash: u64, tag: u64, same: impl Fn(u32) -> bool) -> Option<u32> {
        find(self.slots, hash, tag, same)
    }
    /// Adds an entry that is not there. `hash_of` gives the hash of a tag.
    #[inline(always)]
    pub(super) fn insert(&mut self, hash: u64, tag: u64, number: u32, hash_of: impl Fn(u64) -> u64) {
        if (*self.entries + 1) * 2 > self.slots.len() {
            self.grow(hash_of);
        }
        *self.entries += 1;
        put(self.slots, hash, Slot { tag, number: number + 1 });
    }
    #[cold]
    fn grow(&mut self, hash_of: impl Fn(u64) -> u64) {
        let times = if self.slots.len() < SOON { 4 } else { 2 };
        let mut larger = vec![Slot::default(); (self.slots.len() * times).max(SMALLEST)];
        for entry in self.slots.iter().filter(|s| s.number > 0) {
            put(&mut larger, hash_of(entry.tag), *entry);
        }
        *self.slots = larger;
    }
}

#[inline(always)]
fn find(slots: &[Slot], hash: u64, tag: u64, same: impl Fn(u32) -> bool) -> Option<u32> {
    let mask = slots.len().wrapping_sub(1);
    let mut at = hash as usize & mask;
    loop {
        let slot = slots.get(at)?;
        let number = slot.number.checked_sub(1)?;
        if slot.tag == tag && same(number) {
            return Some(number);
        }
        at = (at + 1) & mask;
    }
}

#[inline(always)]
fn put(slots: &mut [Slot], hash: u64, entry: Slot) {
    let mask = slots.len().wrapping_sub(1);
    let mut at = hash as usize & mask;
    while let Some(slot) = slots.get_mut(at) {
        if slot.number == 0 {
            *slot = entry;
            return;
        }
        at = (at + 1) & mask;
    }
}
