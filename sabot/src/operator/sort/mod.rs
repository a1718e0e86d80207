//! Sorting bounded streams: sorted runs per split, then one stable merge. Equal rows keep source order.
//!
//! Under a memory budget this is an external merge sort (Knuth, The Art of Computer Programming 3, 5.4): what the merge holds
//! goes to disk as a sorted run whenever memory is short, and the runs are merged a block of each at a time, in several
//! passes if there are too many. A run is a range of the input, and only neighbours are merged, so the result is the same,
//! ties included, wherever the input was cut.

mod last;
mod merge;
mod partial;
mod sorter;
mod state;

pub use last::MergeSort;
pub(crate) use merge::{Merge, Run};
pub use partial::PartialSort;
pub(crate) use sorter::Sorter;
pub use sorter::{SortKey, SortSpec};

/// Rows of an output batch.
const OUT_ROWS: usize = 8192;
