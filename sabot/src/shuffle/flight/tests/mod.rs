//! Carriers over real sockets of 127.0.0.1.
// a link's number is that of its channels, its messages, and what came of them
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::needless_range_loop)]

mod calls;
mod carriers;
mod proxy;
mod share;
