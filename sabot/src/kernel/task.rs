//! What the loop of a run is given, and what it gives back.

use crate::record::{Bits, Faults, Make};

/// What to do with a batch.
pub(super) struct Task<'a> {
    /// Number of rows.
    pub rows: usize,
    /// Rows alive on entry; `None` is all.
    pub alive: Option<&'a [u64]>,
    /// Validity of the nullable columns in use.
    pub nullable: &'a [Bits<'a>],
    /// Validity that predicates need, if nulls are handled by words.
    pub predicate: &'a [Bits<'a>],
    /// Columns whose nulls make everything behind the leading predicates null or dropped.
    pub common: &'a [Bits<'a>],
    /// Nulls are handled by words: lanes read nullable columns as if valid.
    pub hoisted: bool,
    /// All steps may be called on any lane.
    pub lanes: bool,
    /// The leading predicates may be called on any lane.
    pub lead: bool,
    /// Text is read.
    pub text: bool,
    /// Outputs are written densely; else at their row number.
    pub dense: bool,
    /// Which predicates and outputs are wanted, where text goes, who collects errors.
    pub make: Make<'a>,
    /// Whether to report the row before each call.
    pub track: Option<&'a Faults>,
    /// Whether rows on which user code fails are dropped. Only while tracking.
    pub drops: bool,
    /// Buffers that text may point into.
    pub buffers: &'a [arrow_buffer::Buffer],
}

/// What came of it.
pub(super) struct Driven {
    /// Kept rows, one bit each.
    pub kept: Vec<u64>,
    /// Number of kept rows.
    pub count: usize,
    /// Whether user code returned an error on a kept row.
    pub bad: bool,
}
