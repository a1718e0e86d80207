//! Kernels against a naive interpreter: every physical form of the same rows, at every level, bit for bit.
#![forbid(unsafe_code)]
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod calls;
mod dictionary;
mod failures;
mod kit;
mod levels;
mod nulls;
mod text;
mod types;
