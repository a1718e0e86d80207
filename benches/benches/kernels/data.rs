//! The rows that every contender gets.

use sabot::prelude::*;

pub use crate::generate::{batch, fail};

/// A row of the benchmark.
#[derive(Record, Clone, Debug)]
pub struct Row {
    /// 0.00 to 19.99.
    pub p: f64,
    /// 0 to 99.
    pub q: i64,
    /// 0.5 to 1.5.
    pub f: f64,
    /// -20 to 179, null as often as the case says.
    pub d: Option<i64>,
    /// 1 to 1000.
    pub m: i64,
    /// A request line; half of them begin with `GET`.
    pub s: Str,
}
