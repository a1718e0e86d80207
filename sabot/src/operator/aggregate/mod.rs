//! Two-phase hash aggregation, over all rows or per window of event time.
//!
//! [`PartialAggregate`] runs in the source's stage and groups the rows of one split; at the end of the split (or of a
//! window) it sends one row per group, with partial states as Arrow columns, by hash to [`FinalAggregate`], which merges
//! them in split order. Results therefore do not depend on the number of threads or the size of morsels, floats included:
//! the rows of a split are added in row order, the splits in split order.
//! Where the first rows of a split have nearly as many keys as rows, grouping them would be done twice: then rows go on as
//! they are, each as a partial state (Trino calls this adaptive partial aggregation).
//!
//! Windows are aggregated per pane, and put together from panes in the second phase (see [`EventWindow`], `hops`, `sessions`).
//!
//! Under a memory budget the final phase moves key groups to disk (see `disk`); the partial phase is bounded by itself: it sends
//! a table on when it has grown large, at places that depend on nothing but the rows, or else sums of floats would depend on the
//! budget.
//!
//! What is computed is an [`Accumulator`]: the states of all groups, updated a batch at a time.

mod accumulator;
mod approx_distinct;
mod approx_quantile;
mod bag;
mod collect;
mod count;
mod custom;
mod cut;
pub(crate) mod digest;
mod disk;
mod distinct;
mod edge;
mod emission;
mod exact;
mod extent;
mod extreme;
mod finished;
mod hops;
mod last;
mod lists;
mod mean;
mod moments;
mod net_sum;
mod number;
mod partial;
mod quantile;
mod raw;
mod reduce;
mod sessions;
pub(crate) mod sketch;
mod spec;
mod spread;
mod store;
mod sum;
mod truth;
mod updating;
mod updating_state;
mod window;

pub use accumulator::{Accumulator, AccumulatorFactory, OverChanges};
pub use approx_distinct::approx_count_distinct;
pub use approx_quantile::{Digested, approx_quantile};
pub(crate) use bag::bag;
pub use bag::{Kind, Needs};
pub use collect::collect;
pub use count::{count, count_of};
pub use custom::{UserAccumulator, user};
pub use distinct::{Distinct, count_distinct};
pub use edge::{first, last};
pub use extreme::{Extreme, max, min};
pub use last::FinalAggregate;
pub use mean::mean;
pub use number::{Mean, Summand, Whole};
pub use partial::PartialAggregate;
pub use quantile::{Ranked, median, quantile};
pub use reduce::reduce;
pub use spec::{AggregateSpec, Function};
pub use spread::{Spread, Varies, spread};
pub use sum::sum;
pub use truth::{Truth, all, any};
pub use updating::UpdatingAggregate;
pub use window::EventWindow;
