//! Finding bytes, 64 at a time.

/// Bytes that are compared at once.
pub(crate) const BLOCK: usize = 64;

/// For each of `bytes`, which bytes of the block equal it, from the lowest bit on.
#[inline(always)]
pub(crate) fn equal<const N: usize>(block: &[u8; BLOCK], bytes: [u8; N]) -> [u64; N] {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has SSE2.
    unsafe {
        equal_sse2(block, bytes)
    }
    #[cfg(not(target_arch = "x86_64"))]
    bytes.map(|byte| equal_words(block, byte))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn equal_sse2<const N: usize>(block: &[u8; BLOCK], bytes: [u8; N]) -> [u64; N] {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};
    let mut masks = [0; N];
    for (i, part) in block.as_chunks::<16>().0.iter().enumerate() {
        let word = u128::from_le_bytes(*part);
        let part = _mm_set_epi64x((word >> 64) as i64, word as i64);
        for (mask, byte) in masks.iter_mut().zip(bytes) {
            let bits = _mm_movemask_epi8(_mm_cmpeq_epi8(part, _mm_set1_epi8(byte as i8)));
            *mask |= (bits as u64) << (16 * i);
        }
    }
    masks
}

/// The same in 64-bit words, for other processors.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn equal_words(block: &[u8; BLOCK], byte: u8) -> u64 {
    const LOW: u64 = 0x7F7F_7F7F_7F7F_7F7F;
    block.as_chunks::<8>().0.iter().enumerate().fold(0, |mask, (i, part)| {
        let differs = u64::from_le_bytes(*part) ^ u64::from_ne_bytes([byte; 8]);
        // The highest bit of each byte that is zero; then these bits side by side.
        let zero = !(((differs & LOW) + LOW) | differs | LOW);
        mask | ((zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_its_bit() {
        let mut seed = 7_u32;
        for _ in 0..200 {
            let block = std::array::from_fn(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                [0, 1, b'a', 0x7F, 0x80, 0x81, 0xFF, b','].get((seed >> 29) as usize).copied().unwrap_or_default()
            });
            for byte in [0, 1, b'a', 0x7F, 0x80, 0x81, 0xFF, b',', b'x'] {
                let expected = block.iter().enumerate().fold(0, |m, (i, b)| m | u64::from(*b == byte) << i);
                assert_eq!(equal(&block, [byte, b'?']), [expected, 0]);
                assert_eq!(equal_words(&block, byte), expected);
            }
        }
    }
}
