//! Sabot turns plain Rust functions into vectorised Arrow operators and connects them into one dataflow that runs as a
//! batch job or as an endless stream.

mod error;
pub mod kernel;
pub mod operator;
pub mod runtime;
pub mod shuffle;

pub use error::{Error, Result};
