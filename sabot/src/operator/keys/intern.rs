//! Text and bytes as numbers.

use std::sync::Arc;

use arrow_buffer::NullBuffer;

use super::slots::Slots;
use crate::kernel::prefetch;
use crate::operator::kept::Kept;

/// The code of null.
pub(super) const NULL: u32 = 0;
/// The code of a value that was never interned.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// Places for short values that were just seen, in a table that is small: 16 KiB, beside the table in the first-level cache.
const MEMO: usize = 512;
/// Rows that are looked up together.
const CHUNK: usize = 256;
/// Bytes of a value that its view holds itself.
pub(super) const INLINE: u32 = 12;

/// Distinct byte strings, numbered from 1 in order of appearance.
///
/// Values are kept as Arrow views: up to 12 bytes inline, else length, prefix and an offset into `data`. While the table is
/// large, rows are looked up a few hundred at a time, in stages that each ask for the memory of the next: slot, view, bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Interner {
    slots: Slots,
    /// A clone shares values until one of the two changes.
    views: Arc<Vec<u128>>,
    data: Arc<Vec<u8>>,
    hashes: Vec<u64>,
    found: Vec<u32>,
    /// Inline views with their codes, at a place that their bits give; code 0 is empty.
    memo: Vec<(u128, u32)>,
}

/// The place of an inline view in the memo.
#[inline(always)]
fn place(view: u128) -> usize {
    let bits = (view as u64 ^ (view >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (bits >> (64 - MEMO.trailing_zeros())) as usize
}

#[inline(always)]
pub(super) fn mix(a: u64, b: u64) -> u64 {
    let wide = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd6e8_feb8_6659_fd93);
    (wide as u64) ^ ((wide >> 64) as u64)
}

impl Interner {
    pub(super) fn bytes(&self) -> usize {
        self.slots.bytes() + self.views.capacity() * 16 + self.data.capacity()
    }
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        Arc::make_mut(&mut self.views).clear();
        Arc::make_mut(&mut self.data).clear();
        self.memo.clear();
    }
    /// Number of values, null aside.
    pub(super) fn len(&self) -> usize {
        self.views.len()
    }
    /// The codes of the kept rows, given as views (of any buffers) and, where they are not inline, as bytes.
    #[inline(always)]
    pub(super) fn codes<'a, const INSERT: bool>(
        &mut self,
        kept: Kept<'_>,
        nulls: Option<&NullBuffer>,
        view: impl Fn(usize) -> u128,
        bytes: impl Fn(usize) -> &'a [u8],
        out: &mut Vec<u64>,
    ) {
        let nulls = nulls.filter(|n| n.null_count() > 0);
        let null = |row: usize| nulls.is_some_and(|n| n.is_null(row));
        let mut done = 0;
        while done < kept.len() {
            let part = kept.part(done, CHUNK);
            done += part.len();
            if !self.slots.is_large() {
                self.memo.resize(MEMO, (0, NULL));
                part.each(|_, row| {
                    let code = if null(row) { NULL } else { self.remembered::<INSERT>(view(row), || bytes(row)) };
                    out.push(u64::from(code));
                });
                continue;
            }
            let (mut hashes, mut found) = (std::mem::take(&mut self.hashes), std::mem::take(&mut self.found));
            hashes.clear();
            part.each(|_, row| {
                let hash = if null(row) { 0 } else { hash(view(row), || bytes(row)) };
                self.slots.prefetch(hash);
                hashes.push(hash);
            });
            found.clear();
            found.extend(hashes.iter().map(|hash| {
                let code = self.slots.find(*hash, *hash, |_| true).unwrap_or(NULL);
                prefetch(&self.views, (code as usize).wrapping_sub(1));
                code
            }));
            for code in &found {
                if let Some(view) = self.views.get((*code as usize).wrapping_sub(1))
                    && *view as u32 > INLINE
                {
                    prefetch(&self.data, (*view >> 64) as usize);
                }
            }
            part.each(|i, row| {
                let (hash, code) = (hashes.get(i).copied().unwrap_or_default(), found.get(i).copied().unwrap_or_default());
                let code = match code {
                    _ if null(row) => NULL,
                    NULL => self.look::<INSERT>(hash, view(row), || bytes(row)),
                    code if self.is(code, view(row), || bytes(row)) => code,
                    _ => self.look::<INSERT>(hash, view(row), || bytes(row)),
                };
                out.push(u64::from(code));
            });
            (self.hashes, self.found) = (hashes, found);
        }
    }
    /// As [`code`](Self::code), by way of the memo.
    #[inline(always)]
    fn remembered<'a, const INSERT: bool>(&mut self, view: u128, bytes: impl Fn() -> &'a [u8]) -> u32 {
        let at = place(view);
        match self.memo.get(at) {
            Some((known, code)) if *known == view && *code != NULL => *code,
            _ => {
                let code = self.code::<INSERT>(view, bytes);
                if let Some(slot) = self.memo.get_mut(at).filter(|_| view as u32 <= INLINE && code != UNKNOWN) {
                    *slot = (view, code);
                }
                code
            }
        }
    }
    /// The number of a value given as a view (of any buffers) and, where it is not inline, its bytes.
    #[inline(always)]
    pub(super) fn code<'a, const INSERT: bool>(&mut self, view: u128, bytes: impl Fn() -> &'a [u8]) -> u32 {
        self.look::<INSERT>(hash(view, &bytes), view, bytes)
    }
    #[inline(always)]
    fn look<'a, const INSERT: bool>(&mut self, hash: u64, view: u128, bytes: impl Fn() -> &'a [u8]) -> u32 {
        match self.slots.find(hash, hash, |code| self.is(code, view, &bytes)) {
            Some(code) => code,
            None if INSERT => self.add(hash, view, bytes),
            None => UNKNOWN,
        }
    }
    /// Whether this is the value of a code.
    #[inline(always)]
    fn is<'a>(&self, code: u32, view: u128, bytes: impl Fn() -> &'a [u8]) -> bool {
        self.views.get(code as usize - 1).is_some_and(|v| {
            if view as u32 <= INLINE { *v == view } else { *v as u64 == view as u64 && tail(&self.data, *v) == Some(bytes()) }
        })
    }
    #[cold]
    fn add<'a>(&mut self, hash: u64, view: u128, bytes: impl Fn() -> &'a [u8]) -> u32 {
        let view = if view as u32 <= INLINE {
            view
        } else {
            let offset = self.data.len() as u64;
            Arc::make_mut(&mut self.data).extend_from_slice(bytes());
            u128::from(view as u64) | u128::from(offset) << 64
        };
        Arc::make_mut(&mut self.views).push(view);
        let code = self.views.len() as u32;
        self.slots.writer().insert(hash, hash, code, |tag| tag);
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
fn hash<'a>(view: u128, bytes: impl Fn() -> &'a [u8]) -> u64 {
    if view as u32 <= INLINE { mix(view as u64, (view >> 64) as u64) } else { hash_long(bytes()) }
}

/// Of more than 12 bytes: eight at a time, the last eight also where they overlap.
#[inline(always)]
fn hash_long(bytes: &[u8]) -> u64 {
    let word = |chunk: Option<&[u8; 8]>| chunk.map_or(0, |c| u64::from_le_bytes(*c));
    let mut h = mix(word(bytes.first_chunk()) ^ bytes.len() as u64, word(bytes.last_chunk()));
    if bytes.len() > 16 {
        for chunk in bytes.get(8..).unwrap_or(&[]).as_chunks::<8>().0 {
            h = mix(h, u64::from_le_bytes(*chunk));
        }
    }
    h
}

/// The bytes `from..to` of `data` as an Arrow view, without a place for long ones.
#[inline(always)]
pub(super) fn view_in(data: &[u8], from: usize, to: usize) -> u128 {
    let len = to.wrapping_sub(from);
    match data.get(from..).and_then(|rest| rest.first_chunk::<16>()) {
        // what a view holds, out of one load
        Some(bytes) => {
            let held = if len <= INLINE as usize { len } else { 4 };
            let bits = u128::from_le_bytes(*bytes) & ((1u128 << (held * 8)) - 1);
            bits << 32 | u128::from(len as u32)
        }
        None => view_of(data.get(from..to).unwrap_or(&[])),
    }
}

/// The bytes as an Arrow view, without a place for long ones.
pub(super) fn view_of(bytes: &[u8]) -> u128 {
    let mut view = [0u8; 16];
    let (head, tail) = view.split_at_mut(4);
    head.copy_from_slice(&(bytes.len() as u32).to_le_bytes());
    let inline = if bytes.len() <= INLINE as usize { bytes } else { bytes.get(..4).unwrap_or(&[]) };
    tail.iter_mut().zip(inline).for_each(|(to, from)| *to = *from);
    u128::from_le_bytes(view)
}

#[inline(always)]
fn tail(data: &[u8], view: u128) -> Option<&[u8]> {
    let (len, offset) = (view as u32 as usize, (view >> 64) as u64 as usize);
    data.get(offset..offset + len)
}
