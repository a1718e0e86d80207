//! Joins: every left row (port 0, the probe side) with its partners among the right rows (port 1, the build side).
//!
//! Idea: the build side is read to its end and [indexed](index): dense numbers of its distinct keys, and for each the
//! list of its rows, in source order or in order of event time. The probe side streams past it in its own order. For
//! each probe row the [candidates](find) are a range of the list of its key: all of it, those within some span of time,
//! or the one that is nearest in time. A further [condition](condition) is a kernel over batches of candidates. What
//! comes out of that depends on the kind: [pairs](pairs), with or without rows that have no partner, or a
//! [selection](semi) of left rows. The nulls of keys never match.
//!
//! Cost: build `O(n)`, and `O(n log n)` per key whose rows do not come in order of time; probe one lookup per row, and for
//! the joins in time a gallop from where the key's last row found its place. Pairs are gathered a few thousand rows at a
//! time with Arrow's `take`.

mod build;
mod condition;
mod endless;
mod find;
mod index;
mod join_operator;
mod pairs;
mod semi;
mod shared;
mod spec;
mod state;

pub use condition::Condition;
pub use endless::{AsOfJoin, IntervalJoin, TimesNeeded, UpdatingJoin, WindowJoin};
pub use join_operator::Join;
pub use shared::{BuildSide, Shared};
pub use spec::JoinSpec;
