//! Rows by key group, of which some are on disk.
//!
//! Grace hashing (Kitsuregawa, Tanaka and Moto-oka, 1983) by key groups: those that are on disk get their later rows written
//! behind, in order, and are worked through one by one when all have come. One that does not fit into memory is divided by
//! lower bits of the hash.

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;

use super::{Block, Memory, SpillFile};
use crate::Result;
use crate::kernel::hash::{KEY_GROUPS, hash_arrays};
use crate::operator::Kept;
use crate::operator::keys::{by_key_group, key_groups};
use crate::record::{bytes_of, own};

/// Parts of a key group that does not fit into memory.
const PARTS: u64 = 8;
/// Bits of the hash that choose a part.
const PART_BITS: usize = 3;
/// How often a key group is divided: into 8^5 parts. One that is still too large then has few keys with many rows, and dividing
/// it further would not help.
pub(crate) const DEPTH: usize = 5;
/// Rows for the disk are collected to this part of the operator's share, so that blocks are not tiny.
const WAITING: usize = 8;

/// Blocks of one file.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) file: SpillFile,
    pub(crate) blocks: Vec<Block>,
}

impl Part {
    /// Bytes on disk: about those in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks.iter().map(Block::bytes).sum()
    }
    /// Divides the rows by these columns; each part keeps their order. `prepare` sees every batch first.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn divide(
        &self,
        memory: &Memory,
        keys: &[usize],
        depth: usize,
        mut prepare: impl FnMut(RecordBatch) -> Result<RecordBatch>,
    ) -> Result<Vec<Part>> {
        let file = memory.file()?;
        let mut parts: Vec<(Part, Vec<RecordBatch>, usize)> =
            (0..PARTS).map(|_| (Part { file: file.clone(), blocks: Vec::new() }, Vec::new(), 0)).collect();
        let mut hashes = Vec::new();
        let block_bytes = memory.block_rows(1, 1);
        for block in &self.blocks {
            let batch = prepare(self.file.read(block)?)?;
            hash_arrays(keys.iter().filter_map(|k| batch.columns().get(*k)), batch.num_rows(), &mut hashes)?;
            let mut lists = vec![Vec::new(); parts.len()];
            for (hash, row) in hashes.iter().zip(0u32..) {
                let part = (hash >> (depth * PART_BITS)) % PARTS;
                lists.iter_mut().skip(part as usize).take(1).for_each(|l: &mut Vec<u32>| l.push(row));
            }
            for ((part, waiting, bytes), list) in parts.iter_mut().zip(lists).filter(|(_, l)| !l.is_empty()) {
                let piece = take_record_batch(&batch, &UInt32Array::from(list))?;
                *bytes += bytes_of(&piece);
                waiting.push(piece);
                if *bytes >= block_bytes {
                    part.blocks.push(file.append(&concat_batches(&batch.schema(), &*waiting)?)?);
                    waiting.clear();
                    *bytes = 0;
                }
            }
        }
        for (part, waiting, _) in &mut parts {
            if let Some(first) = waiting.first() {
                part.blocks.push(file.append(&concat_batches(&first.schema(), &*waiting)?)?);
            }
        }
        Ok(parts.into_iter().map(|(part, ..)| part).collect())
    }
}

/// The key groups that are on disk, with their rows.
pub(crate) struct Parts {
    memory: Memory,
    file: SpillFile,
    keys: Vec<usize>,
    /// By key group; `None` is in memory.
    groups: Vec<Option<Vec<Block>>>,
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
}

impl Parts {
    /// No key group is on disk yet; `keys` are the positions of the key columns.
    pub(crate) fn new(memory: &Memory, keys: Vec<usize>) -> Result<Self> {
        let groups = vec![None; usize::from(KEY_GROUPS)];
        Ok(Parts { file: memory.file()?, memory: memory.clone(), keys, groups, waiting: Vec::new(), waiting_bytes: 0 })
    }
    fn columns(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        self.keys.iter().filter_map(|k| batch.columns().get(*k)).cloned().collect()
    }
    /// The key group of each row.
    pub(crate) fn key_groups(&self, batch: &RecordBatch) -> Result<Vec<u16>> {
        key_groups(&self.columns(batch), batch.num_rows())
    }
    pub(crate) fn has(&self, group: u16) -> bool {
        self.groups.get(usize::from(group)).is_some_and(Option::is_some)
    }
    /// From now on the key group is on disk.
    pub(crate) fn open(&mut self, group: u16) {
        if let Some(blocks) = self.groups.get_mut(usize::from(group)) {
            blocks.get_or_insert_default();
        }
    }
    pub(crate) fn bytes(&self) -> usize {
        self.waiting_bytes
    }
    /// Writes a batch of new memory for the disk.
    pub(crate) fn append(&self, batch: &RecordBatch) -> Result<Block> {
        self.file.append(batch)
    }
    /// Writes rows of one key group, which from now on is on disk.
    pub(crate) fn write(&mut self, group: u16, batch: &RecordBatch) -> Result<()> {
        let block = self.file.append(batch)?;
        if let Some(blocks) = self.groups.get_mut(usize::from(group)) {
            blocks.get_or_insert_default().push(block);
        }
        Ok(())
    }
    /// Sorts the kept rows of a batch into those of key groups that are on disk, and others.
    pub(crate) fn sort_out(&self, batch: &RecordBatch, kept: Kept<'_>) -> Result<(Vec<u32>, Vec<u32>)> {
        let of = self.key_groups(batch)?;
        let (mut goes, mut stays) = (Vec::new(), Vec::new());
        kept.each(|_, row| {
            let list = if of.get(row).is_some_and(|g| self.has(*g)) { &mut goes } else { &mut stays };
            list.push(row as u32);
        });
        Ok((goes, stays))
    }
    /// Takes rows of key groups that are on disk; they are written now or later.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = own(batch)?;
        self.waiting_bytes += bytes_of(&batch);
        self.waiting.push(batch);
        if self.waiting_bytes > self.memory.share() / WAITING { self.flush() } else { Ok(()) }
    }
    /// Writes what waits.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let Some(first) = self.waiting.first() else { return Ok(()) };
        let all = concat_batches(&first.schema(), &self.waiting)?;
        let (order, ranges) = by_key_group(&self.key_groups(&all)?);
        let sorted = take_record_batch(&all, &UInt32Array::from(order))?;
        for (group, range) in ranges {
            self.write(group, &sorted.slice(range.start, range.len()))?;
        }
        self.waiting.clear();
        self.waiting_bytes = 0;
        Ok(())
    }
    /// The first key group on disk.
    pub(crate) fn first(&self) -> Option<u16> {
        self.groups.iter().position(Option::is_some).map(|g| g as u16)
    }
    /// Takes a key group off, with all its rows.
    pub(crate) fn take(&mut self, group: u16) -> Part {
        let blocks = self.groups.get_mut(usize::from(group)).and_then(Option::take).unwrap_or_default();
        Part { file: self.file.clone(), blocks }
    }
    /// The key groups on disk.
    pub(crate) fn all(&self) -> Vec<u16> {
        self.groups.iter().zip(0u16..).filter(|(g, _)| g.is_some()).map(|(_, n)| n).collect()
    }
    /// The rows on disk, for a snapshot after [`flush`](Self::flush).
    pub(crate) fn parts(&self) -> Vec<(u16, Part)> {
        let part = |blocks: &Vec<Block>| Part { file: self.file.clone(), blocks: blocks.clone() };
        self.groups.iter().zip(0u16..).filter_map(|(g, n)| g.as_ref().map(|blocks| (n, part(blocks)))).collect()
    }
}
