//! Carriers over real sockets of 127.0.0.1.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod calls;
mod carriers;
mod proxy;
mod share;
