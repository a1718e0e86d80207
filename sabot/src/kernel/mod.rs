//! Fused loops, SIMD dispatch, selection, hashing: the one place with `unsafe`.

pub mod hash;
mod morsel;

pub use morsel::{Morsel, Origin, Selection, SetBits};
