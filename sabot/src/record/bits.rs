//! Validity bitmaps, 64 rows at a time.

use arrow_array::Array;
use arrow_buffer::NullBuffer;

use super::Window;

/// A borrowed bitmap; absent means that all bits are set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bits<'a> {
    bytes: &'a [u8],
    offset: usize,
    present: bool,
}

impl<'a> Bits<'a> {
    /// All rows valid.
    pub const ALL: Bits<'static> = Bits { bytes: &[], offset: 0, present: false };

    /// The bitmap of an array's own (physical) nulls.
    pub fn of(array: &'a dyn Array) -> Self {
        array.nulls().map_or(Bits::ALL, Bits::from_nulls)
    }
    /// The bitmap of a null buffer.
    pub fn from_nulls(nulls: &'a NullBuffer) -> Self {
        if nulls.null_count() == 0 {
            return Bits::ALL;
        }
        Bits { bytes: nulls.validity(), offset: nulls.offset(), present: true }
    }
    /// Any bitmap: `offset` in bits.
    pub fn new(bytes: &'a [u8], offset: usize) -> Self {
        Bits { bytes, offset, present: true }
    }
    /// Whether there is a bitmap at all.
    #[inline(always)]
    pub fn present(self) -> bool {
        self.present
    }
    /// The word of a window; bits beyond the window's length are unspecified.
    #[inline(always)]
    pub fn word(self, at: Window) -> u64 {
        if !self.present {
            return !0;
        }
        load(self.bytes, self.offset + at.base())
    }
    /// One bit.
    #[inline]
    pub fn get(self, row: usize) -> bool {
        if !self.present {
            return true;
        }
        let bit = self.offset + row;
        self.bytes.get(bit / 8).is_some_and(|b| b >> (bit % 8) & 1 == 1)
    }
}

/// Loads 64 bits starting at bit `bit`; bits beyond the slice are zero.
#[inline(always)]
pub(crate) fn load(bytes: &[u8], bit: usize) -> u64 {
    let (byte, shift) = (bit / 8, bit % 8);
    let rest = bytes.get(byte..).unwrap_or(&[]);
    if let Some(nine) = rest.first_chunk::<9>() {
        let [b0, b1, b2, b3, b4, b5, b6, b7, b8] = *nine;
        let low = u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
        if shift == 0 { low } else { low >> shift | u64::from(b8) << (64 - shift) }
    } else {
        tail(rest, shift)
    }
}

#[cold]
fn tail(rest: &[u8], shift: usize) -> u64 {
    let mut wide = 0u128;
    for (i, b) in rest.iter().take(9).enumerate() {
        wide |= u128::from(*b) << (8 * i);
    }
    (wide >> shift) as u64
}
