//! Merging sorted runs that are on disk, a block of each in memory.
//!
//! A binary heap of runs by their next row: about log2(runs) comparisons per row, most of them of eight bytes. Between equal
//! rows the earlier run wins.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_row::Rows;

use super::sorter::Sorter;
use crate::Result;
use crate::operator::places::head;
use crate::operator::spill::{Block, Memory, SpillFile};
use crate::record::{bytes_of, own};

/// Sorted rows on disk.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) file: SpillFile,
    pub(crate) blocks: VecDeque<Block>,
}

impl Run {
    pub(crate) fn new(file: &SpillFile) -> Self {
        Run { file: file.clone(), blocks: VecDeque::new() }
    }
    /// Appends rows that are not before those it has.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() > 0 {
            self.blocks.push_back(self.file.append(batch)?);
        }
        Ok(())
    }
    /// Sorts batches, which are in source order, into a run.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn sorted(sorter: &Sorter, batches: &[RecordBatch], file: &SpillFile, memory: &Memory) -> Result<Self> {
        let mut run = Run::new(file);
        let places = sorter.order(batches)?.places;
        let rows = memory.block_rows(batches.iter().map(bytes_of).sum(), places.len());
        for some in places.chunks(rows) {
            run.push(&sorter.gather(batches, some)?)?;
        }
        Ok(run)
    }
}

struct Cursor {
    run: Run,
    rows: Option<Rows>,
    /// The next row, its head, and where its block is.
    at: usize,
    head: u64,
    slot: usize,
}

/// The rows of several runs in order.
pub(crate) struct Merge {
    sorter: Arc<Sorter>,
    cursors: Vec<Cursor>,
    heap: Vec<usize>,
    slots: Vec<RecordBatch>,
}

impl Merge {
    /// A merge of these runs; earlier runs come first among equals.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn new(sorter: &Arc<Sorter>, runs: impl IntoIterator<Item = Run>) -> Result<Self> {
        let cursors = runs.into_iter().map(|run| Cursor { run, rows: None, at: 0, head: 0, slot: 0 }).collect();
        let mut merge = Merge { sorter: Arc::clone(sorter), cursors, heap: Vec::new(), slots: Vec::new() };
        for cursor in 0..merge.cursors.len() {
            if merge.load(cursor)? {
                merge.heap.push(cursor);
            }
        }
        (0..merge.heap.len() / 2).rev().for_each(|at| merge.sift(at));
        Ok(merge)
    }
    /// Reads the next block of a run; `false` at its end.
    fn load(&mut self, cursor: usize) -> Result<bool> {
        let Some(cursor) = self.cursors.get_mut(cursor) else { return Ok(false) };
        cursor.rows = None;
        let Some(block) = cursor.run.blocks.pop_front() else { return Ok(false) };
        let batch = self.sorter.accept(cursor.run.file.read(&block)?)?;
        let rows = self.sorter.rows(&batch)?;
        (cursor.at, cursor.slot) = (0, self.slots.len());
        cursor.head = rows.iter().next().map_or(0, |r| head(r.data()));
        cursor.rows = Some(rows);
        self.slots.push(batch);
        Ok(true)
    }
    /// Whether the next row of one run comes before that of another.
    fn before(&self, a: usize, b: usize) -> bool {
        let (Some(x), Some(y)) = (self.cursors.get(a), self.cursors.get(b)) else { return false };
        let order = x.head.cmp(&y.head).then_with(|| match (&x.rows, &y.rows) {
            (Some(p), Some(q)) => p.row(x.at).cmp(&q.row(y.at)),
            _ => std::cmp::Ordering::Equal,
        });
        order.then(a.cmp(&b)).is_lt()
    }
    fn sift(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for below in [2 * at + 1, 2 * at + 2] {
                if let (Some(a), Some(b)) = (self.heap.get(below), self.heap.get(least))
                    && self.before(*a, *b)
                {
                    least = below;
                }
            }
            if least == at {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }
    /// The next rows, at most so many; `None` at the end.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn next(&mut self, rows: usize) -> Result<Option<RecordBatch>> {
        let mut places = Vec::with_capacity(rows);
        while places.len() < rows {
            let Some(&first) = self.heap.first() else { break };
            let Some(cursor) = self.cursors.get_mut(first) else { break };
            places.push((cursor.slot, cursor.at));
            cursor.at += 1;
            let next = cursor.rows.as_ref().filter(|r| cursor.at < r.num_rows()).map(|r| head(r.row(cursor.at).data()));
            match next {
                Some(next) => cursor.head = next,
                None => {
                    if !self.load(first)? {
                        self.heap.swap_remove(0);
                    }
                }
            }
            self.sift(0);
        }
        if places.is_empty() {
            return Ok(None);
        }
        let batch = own(&self.sorter.interleave(&self.slots, &places)?)?;
        // blocks that are used up go
        let mut slots = Vec::with_capacity(self.heap.len());
        for cursor in self.cursors.iter_mut().filter(|c| c.rows.is_some()) {
            slots.extend(self.slots.get(cursor.slot).cloned());
            cursor.slot = slots.len() - 1;
        }
        self.slots = slots;
        Ok(Some(batch))
    }
    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        let keys: usize = self.cursors.iter().filter_map(|c| c.rows.as_ref()).map(Rows::size).sum();
        keys + self.slots.iter().map(bytes_of).sum::<usize>()
    }
}
