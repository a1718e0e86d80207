//! Fused loops, SIMD dispatch, selection, hashing: the one place with `unsafe`.

mod morsel;

pub use morsel::{Morsel, Origin, Selection, SetBits};
