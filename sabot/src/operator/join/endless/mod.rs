//! Joins whose sides may both be endless: rows of both are kept as long as a partner may still come, and no longer.
//!
//! The result is a function of the rows and never of timing: which rows are partners is decided by keys and event times alone, and
//! a watermark only says when that is known for good. So each of these joins, run on rows that end, gives what the
//! [batch joins](super) give.
//!
//! - [`interval`]: pairs whose event times are near. Symmetric: a row looks for partners among those of the other side that came before it,
//!   and then waits for those that come after it, until the other side's watermark rules them out. Also with rows that stay alone,
//!   which are known when they are ruled out: nothing is ever taken back.
//! - [`asof`]: each left row with one right row, looked up once the right watermark has passed it.
//! - [`windowed`]: pairs of one window, made when it closes.
//! - [`updating`]: pairs by keys alone, sent at once and taken back when a row of theirs is; rows without a partner are taken back when they get one. What
//!   its changes add up to is the batch join of the rows so far.
//!
//! State is columnar: [pieces] of the sides' batches and hash tables of their keys beside them, by stretches of event time, so that time
//! that has passed is forgotten as a whole. [Interval](interval) and [window](windowed) joins write it in [layers], the others by key group.

mod asof;
mod bucket;
mod counted;
mod counted_state;
mod existence;
mod interval;
mod layers;
mod pairing;
mod pieces;
mod places;
mod sending;
mod shape;
mod store;
mod updating;
mod versions;
mod waiting;
mod windowed;

pub use asof::AsOfJoin;
pub use interval::{IntervalJoin, TimesNeeded};
pub use updating::UpdatingJoin;
pub use windowed::WindowJoin;
