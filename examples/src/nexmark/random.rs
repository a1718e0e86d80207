//! Numbers that look random and follow from an event's number.

/// 64 bits for one purpose (`salt`) of event `id`: the finaliser of SplitMix64 over both.
#[inline]
pub(super) fn draw(id: u64, salt: u64) -> u64 {
    let mut x = id.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(salt.wrapping_mul(0xd1b5_4a32_d192_ed03));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A number below `n` (at most 2^32) from the upper half of the bits.
#[inline]
pub(super) fn below(bits: u64, n: u64) -> u64 {
    ((bits >> 32) * n) >> 32
}
