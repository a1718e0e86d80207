//! The checksum of what is kept of a job.

use crate::kernel::hash::{combine, hash_bytes};

/// Bytes are taken in turn by so many sums that do not wait for each other: multiplications follow one another faster than each is done.
const LANES: usize = 4;
const BLOCK: usize = 8 * LANES;
/// Odd, with as many ones as zeros: 2^64 by the golden ratio.
const MUL: u64 = 0x9e37_79b9_7f4a_7c15;

/// The checksum of these bytes. It finds damage, not forgery.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let mut lanes: [u64; LANES] = std::array::from_fn(|lane| MUL.wrapping_mul(lane as u64 + 1));
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (lane, word) in lanes.iter_mut().zip(words) {
            let product = u128::from(*lane ^ u64::from_le_bytes(*word)) * u128::from(MUL);
            *lane = ((product as u64) ^ (product >> 64) as u64).wrapping_add(MUL);
        }
    }
    let length = combine(hash_bytes(rest), bytes.len() as u64);
    lanes.into_iter().fold(length, combine)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_bit_and_the_length_count() {
        let bytes: Vec<u8> = (0..3 * BLOCK + 11).map(|n| (n * n / 7 + 1) as u8).collect();
        let mut seen = BTreeSet::new();
        for length in 0..=bytes.len() {
            assert!(seen.insert(checksum(&bytes[..length])), "{length} bytes");
            assert!(seen.insert(checksum(&vec![0; length + 1])), "{length} zeros");
        }
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(checksum(&other)), "bit {bit}");
        }
        for at in (0..2 * BLOCK).step_by(8) {
            let mut other = bytes.clone();
            other[at..at + 16].rotate_left(8);
            assert!(seen.insert(checksum(&other)), "words at {at} change places");
        }
    }
}
