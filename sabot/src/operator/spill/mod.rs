//! Rows on disk, for operators that hold more than the memory budget allows.
//!
//! Idea: an operator that can give memory back says how much ([`Operator::spillable_bytes`](super::Operator)) and is told
//! to ([`Operator::spill`](super::Operator)) between two calls. It writes rows to a [`SpillFile`] as blocks: Arrow IPC, each
//! with its length and an XXH3 checksum, read back one at a time. Files live in a directory of the job ([`SpillDir`]), which is
//! locked by its owner: removed when the job is over, however it ends, and by the next job if its process died.
//!
//! Reading and writing is synchronous, on the worker that runs the operator: a block is at most about a megabyte and mostly
//! goes to or comes from the page cache, the executor may run "read a file" as any other work, and under the seeded executor a
//! run stays a function of its seed. Nothing is synced: the files mean nothing to another process.
//!
//! Spilling never changes a result: what is on disk comes back in the order in which it would have been in memory.

mod dir;
mod file;
mod memory;
mod parts;

pub use dir::SpillDir;
pub(crate) use file::{Block, SpillFile};
pub use memory::Memory;
pub(crate) use parts::{DEPTH, Part, Parts};
