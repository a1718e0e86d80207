//! What an operator instance gets of the job's memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::{SpillDir, SpillFile};
use crate::Result;

/// The largest block: large enough that reading one costs more than finding it.
const BLOCK: usize = 1 << 20;
/// The smallest: below this, the schema in each block is most of it.
const SMALLEST_BLOCK: usize = 4 << 10;

/// The memory of one operator instance in a job with a budget, given to it by
/// [`Operator::memory`](crate::operator::Operator::memory) before anything else. Clones share.
#[derive(Clone, Debug)]
pub struct Memory {
    operator: Arc<str>,
    share: usize,
    dir: SpillDir,
    spilled: Arc<AtomicU64>,
}

impl Memory {
    /// Of the operator of this name; `share` bytes may be used to work on what was spilled.
    pub fn new(operator: &str, share: usize, dir: SpillDir) -> Self {
        Memory { operator: operator.into(), share, dir, spilled: Arc::default() }
    }
    /// Bytes that the instance may use to work on what it spilled, beside what it holds.
    pub fn share(&self) -> usize {
        self.share
    }
    /// Bytes that were written so far.
    pub fn spilled(&self) -> u64 {
        self.spilled.load(SeqCst)
    }
    /// Rows of a block, if a row takes so many bytes.
    pub(crate) fn block_rows(&self, bytes: usize, rows: usize) -> usize {
        let block = (self.share / 32).clamp(SMALLEST_BLOCK, BLOCK);
        (block / (bytes / rows.max(1)).max(1)).clamp(1, 1 << 16)
    }
    /// How many blocks, with what is computed from them, fit into the share; at least 2.
    pub(crate) fn fan_in(&self) -> usize {
        let block = (self.share / 32).clamp(SMALLEST_BLOCK, BLOCK);
        (self.share / (3 * block)).clamp(2, 256)
    }
    /// A new file.
    pub(crate) fn file(&self) -> Result<SpillFile> {
        SpillFile::new(&self.dir, &self.operator, &self.spilled)
    }
}
