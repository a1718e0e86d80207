//! Boolean columns: bits in Arrow, `bool` for users.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, cast::AsArray};
use arrow_buffer::BooleanBuffer;
use arrow_schema::DataType;

use super::may_fail::never_fails;
use super::raw::{Raw, compress, unwritten, written, zeroed};
use super::{Bits, Buffers, Env, Keep, LANES, Lane, Spots, Value, Window, Writer};

impl Value for bool {
    type Ref<'a> = bool;
    type Array = BooleanArray;
    type Read<'a> = Option<Bits<'a>>;
    type Chunk<'a> = u64;
    type Write = BoolWrite;
    never_fails!(Option<Self>);
    fn data_type() -> DataType {
        DataType::Boolean
    }
    fn read<'a>(array: Option<&'a ArrayRef>) -> Self::Read<'a> {
        array.and_then(|a| a.as_boolean_opt()).map(|a| Bits::new(a.values().values(), a.values().offset()))
    }
    #[inline(always)]
    fn chunk<'a>(read: Self::Read<'a>, at: Window) -> Self::Chunk<'a> {
        read.map_or(0, |bits| bits.word(at))
    }
    #[inline(always)]
    fn lane<'a, const VALID: bool>(chunk: Self::Chunk<'a>, lane: Lane) -> Self::Ref<'a> {
        chunk >> lane.index() & 1 == 1
    }
    #[inline(always)]
    fn blank<'a>() -> Self::Ref<'a> {
        false
    }
    fn borrow(&self) -> bool {
        *self
    }
    fn own(value: bool) -> bool {
        value
    }
}

/// Collects a boolean column, one byte per row, packed at the end.
#[derive(Debug)]
pub struct BoolWrite(Raw<u8>);

impl Writer<bool> for BoolWrite {
    const LANES: bool = true;
    fn new(rows: usize) -> Self {
        BoolWrite(zeroed(rows))
    }
    unsafe fn raw(rows: usize) -> Self {
        BoolWrite(unwritten(rows + LANES))
    }
    fn blank(&mut self, at: usize, len: usize) {
        if let Some(rows) = self.0.get_mut(at..at + len) {
            rows.fill(std::mem::MaybeUninit::new(0));
        }
    }
    #[inline(always)]
    fn direct<'w>(&'w mut self, at: usize, stack: Spots<'w>) -> Spots<'w> {
        stack.direct(&mut self.0, at)
    }
    #[inline(always)]
    fn set(spots: Spots<'_>, lane: Lane, value: bool) {
        spots.write(lane, u8::from(value));
    }
    #[inline(always)]
    fn compress(&mut self, from: Spots<'_>, at: usize, keep: Keep<'_>) {
        compress(from, &mut self.0, at, keep);
    }
    #[inline(always)]
    fn put(&mut self, at: usize, value: bool, _env: &Env<'_>) {
        debug_assert!(at < self.0.len());
        // SAFETY: callers write rows below the number given to `new`, which is at most the vector's length.
        unsafe { self.0.get_unchecked_mut(at).write(u8::from(value)) };
    }
    #[inline(always)]
    fn shift(&mut self, from: usize, to: usize) {
        debug_assert!(to <= from && from < self.0.len());
        // SAFETY: as in `put`.
        unsafe { *self.0.get_unchecked_mut(to) = *self.0.get_unchecked(from) }
    }
    fn finish(self, rows: usize, _buffers: &Buffers) -> ArrayRef {
        // SAFETY: `new` zeroes all rows; the user of `raw` has written them.
        Arc::new(BooleanArray::new(pack(&unsafe { written(self.0, rows) }, rows), None))
    }
}

/// Packs bytes that are 0 or 1 into bits.
pub(crate) fn pack(bytes: &[u8], rows: usize) -> BooleanBuffer {
    let mut out = Vec::with_capacity(rows.div_ceil(64));
    let bytes = bytes.get(..rows).unwrap_or(bytes);
    let (chunks, rest) = bytes.as_chunks::<64>();
    out.extend(chunks.iter().map(pack_word));
    if !rest.is_empty() {
        let mut last = [0u8; 64];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        out.push(pack_word(&last));
    }
    BooleanBuffer::new(arrow_buffer::Buffer::from_vec(out), 0, rows)
}

/// Packs 64 bytes that are 0 or 1 into a word, lane 0 in bit 0.
#[inline(always)]
#[cfg(target_arch = "x86_64")]
pub(crate) fn pack_word(bytes: &[u8; 64]) -> u64 {
    use std::arch::x86_64::{_mm_loadu_si128, _mm_movemask_epi8, _mm_slli_epi16};
    let mut word = 0u64;
    let (sixteens, _) = bytes.as_chunks::<16>();
    for (i, part) in sixteens.iter().enumerate() {
        // SAFETY: SSE2 is part of x86-64, and `part` is 16 bytes. Bit 0 of each byte moves to bit 7, where `movemask`
        // looks; what a shift carries over from the byte below lands in bits 0 to 6.
        let bits = unsafe { _mm_movemask_epi8(_mm_slli_epi16::<7>(_mm_loadu_si128(part.as_ptr().cast()))) };
        word |= u64::from(bits as u16) << (16 * i);
    }
    word
}

/// Packs 64 bytes that are 0 or 1 into a word, lane 0 in bit 0.
#[inline(always)]
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn pack_word(bytes: &[u8; 64]) -> u64 {
    let mut word = 0u64;
    let (eights, _) = bytes.as_chunks::<8>();
    for (i, part) in eights.iter().enumerate() {
        // a multiplication that gathers bit 0 of each byte in the top byte
        word |= (u64::from_le_bytes(*part).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
    }
    word
}
