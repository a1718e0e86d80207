//! Two-phase hash aggregation, over all rows or per tumbling window.
//!
//! [`PartialAggregate`] runs in the source's stage and groups the rows of one split; at the end of the split (or of a
//! window) it sends one row per group, with partial states as Arrow columns, by hash to [`FinalAggregate`], which merges
//! them in split order. Results therefore do not depend on the number of threads or the size of morsels, floats included:
//! the rows of a split are added in row order, the splits in split order.
//!
//! What is computed is an [`Accumulator`]: the states of all groups, updated a batch at a time.

mod accumulator;
mod count;
mod custom;
mod cut;
mod extreme;
mod last;
mod mean;
mod number;
mod partial;
mod spec;
mod sum;
mod window;

pub use accumulator::{Accumulator, AccumulatorFactory};
pub use count::{count, count_of};
pub use custom::{UserAccumulator, user};
pub use extreme::{Extreme, max, min};
pub use last::FinalAggregate;
pub use mean::mean;
pub use number::{Mean, Summand};
pub use partial::PartialAggregate;
pub use spec::{AggregateSpec, Function};
pub use sum::sum;
pub use window::TumblingWindow;
