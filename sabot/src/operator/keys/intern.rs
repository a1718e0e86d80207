//! Text and bytes as numbers.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

/// The code of null.
pub(super) const NULL: u32 = 0;
/// The code of a value that was never interned.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// Distinct byte strings, numbered from 1 in order of appearance.
///
/// Values are kept as Arrow views: up to 12 bytes inline, else length, prefix and an offset into `data`.
#[derive(Debug, Default)]
pub(super) struct Interner {
    table: HashTable<(u64, u32)>,
    views: Vec<u128>,
    data: Vec<u8>,
    long: FixedState,
}

const INLINE: u32 = 12;

#[inline(always)]
pub(super) fn mix(a: u64, b: u64) -> u64 {
    let wide = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd6e8_feb8_6659_fd93);
    (wide as u64) ^ ((wide >> 64) as u64)
}

impl Interner {
    pub(super) fn bytes(&self) -> usize {
        self.table.allocation_size() + self.views.capacity() * 16 + self.data.capacity()
    }
    pub(super) fn clear(&mut self) {
        self.table.clear();
        self.views.clear();
        self.data.clear();
    }
    #[inline(always)]
    fn hash(&self, view: u128, bytes: impl FnOnce() -> u64) -> u64 {
        if view as u32 <= INLINE { mix(view as u64, (view >> 64) as u64) } else { bytes() }
    }
    /// The number of a value given as a view (of any buffers) and, where it is not inline, its bytes.
    #[inline(always)]
    pub(super) fn code<'a, const INSERT: bool>(&mut self, view: u128, bytes: impl Fn() -> &'a [u8]) -> u32 {
        let hash = self.hash(view, || self.long.hash_one(bytes()));
        let (views, data) = (&self.views, &self.data);
        let same = |(h, code): &(u64, u32)| {
            *h == hash
                && views.get(*code as usize - 1).is_some_and(|v| {
                    if view as u32 <= INLINE { *v == view } else { *v as u64 == view as u64 && tail(data, *v) == Some(bytes()) }
                })
        };
        if let Some((_, code)) = self.table.find(hash, same) {
            return *code;
        }
        if INSERT { self.add(hash, view, bytes) } else { UNKNOWN }
    }
    #[cold]
    fn add<'a>(&mut self, hash: u64, view: u128, bytes: impl Fn() -> &'a [u8]) -> u32 {
        let view = if view as u32 <= INLINE {
            view
        } else {
            let offset = self.data.len() as u64;
            self.data.extend_from_slice(bytes());
            u128::from(view as u64) | u128::from(offset) << 64
        };
        self.views.push(view);
        let code = self.views.len() as u32;
        self.table.insert_unique(hash, (hash, code), |(h, _)| *h);
        code
    }
    /// Calls `f` with the bytes of a code; `None` for null.
    pub(super) fn value<T>(&self, code: u32, f: impl FnOnce(Option<&[u8]>) -> T) -> T {
        match (code as usize).checked_sub(1).and_then(|i| self.views.get(i)) {
            None => f(None),
            Some(view) if *view as u32 <= INLINE => {
                let bytes = view.to_le_bytes();
                f(bytes.get(4..4 + *view as u32 as usize))
            }
            Some(view) => f(tail(&self.data, *view)),
        }
    }
}

#[inline(always)]
fn tail(data: &[u8], view: u128) -> Option<&[u8]> {
    let (len, offset) = (view as u32 as usize, (view >> 64) as u64 as usize);
    data.get(offset..offset + len)
}
