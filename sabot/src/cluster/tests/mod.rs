//! The pure parts of the cluster, under virtual time and over seeds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used)]

mod control;
mod load;
mod membership;
mod placement;
pub(super) mod world;

/// Random numbers of a seed, by xorshift.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n.max(1)
    }
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Seeds 0 to `n`; `SABOT_SEEDS` multiplies them for a long search.
fn seeds(n: u64) -> std::ops::Range<u64> {
    0..n * std::env::var("SABOT_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(1)
}
