//! Sorting bounded streams: sorted runs of splits, then one stable order of all. Equal rows keep source order.
//!
//! In memory the second phase is done by all threads, each of which makes its parts of the result ([`range_sort`]).
//! Over several processes nobody has all rows: each instance sorts a [range](ranges) of the result.
//!
//! Under a memory budget this is an external merge sort (Knuth, The Art of Computer Programming 3, 5.4): what the merge holds
//! goes to disk as a sorted run whenever memory is short, and the runs are merged a block of each at a time, in several
//! passes if there are too many. A run is a range of the input, and only neighbours are merged, so the result is the same,
//! ties included, wherever the input was cut.

mod last;
mod merge;
mod partial;
mod pile;
mod range;
mod ranges;
mod runs;
mod sorter;
mod state;

pub use last::MergeSort;
pub(crate) use merge::{Merge, Run};
pub use partial::PartialSort;
pub use range::range_sort;
pub use ranges::{InOrder, KeySample, RANGE, RangeBounds, RangeDeal, RangeMerge};
pub(crate) use sorter::Sorter;
pub use sorter::{SortKey, SortSpec};

use crate::kernel::Origin;

/// Rows of an output batch.
const OUT_ROWS: usize = 8192;
/// Rows of the result that have the same `split`: enough for a few blocks, and few enough for several instances to have some.
/// Not larger, since rows wait for those of earlier units; not smaller, since later steps keep a state for each.
const UNIT: usize = 1 << 17;

/// The origin of the row of this rank in the result of plan node `node`.
fn place_of(node: u32, rank: usize) -> Origin {
    Origin { source: node, partition: 0, split: (rank / UNIT) as u64, row: (rank % UNIT) as u64 }
}
