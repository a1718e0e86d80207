//! Boolean columns: bits in Arrow, `bool` for users.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, cast::AsArray};
use arrow_buffer::BooleanBuffer;
use arrow_schema::DataType;

use super::{Bits, Buffers, Env, Lane, Value, Window, Writer};

impl Value for bool {
    type Ref<'a> = bool;
    type Array = BooleanArray;
    type Read<'a> = Option<Bits<'a>>;
    type Chunk<'a> = u64;
    type Write = BoolWrite;
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
pub struct BoolWrite(Vec<u8>);

impl Writer<bool> for BoolWrite {
    fn new(rows: usize) -> Self {
        BoolWrite(vec![0; rows])
    }
    #[inline(always)]
    fn put(&mut self, at: usize, value: bool, _env: &Env<'_>) {
        debug_assert!(at < self.0.len());
        // SAFETY: callers write rows below the number given to `new`.
        unsafe { *self.0.get_unchecked_mut(at) = u8::from(value) }
    }
    #[inline(always)]
    fn shift(&mut self, from: usize, to: usize) {
        debug_assert!(to <= from && from < self.0.len());
        // SAFETY: as in `put`.
        unsafe { *self.0.get_unchecked_mut(to) = *self.0.get_unchecked(from) }
    }
    fn finish(self, rows: usize, _buffers: &Buffers) -> ArrayRef {
        Arc::new(BooleanArray::new(pack(&self.0, rows), None))
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
pub(crate) fn pack_word(bytes: &[u8; 64]) -> u64 {
    let mut word = 0u64;
    for (i, b) in bytes.iter().enumerate() {
        word |= u64::from(*b) << i;
    }
    word
}
