//! Rows that are to be sorted, in memory or, as sorted runs, on disk; then their order, a batch at a time.

use std::sync::Arc;

use arrow_array::RecordBatch;

use super::sorter::Sorter;
use super::{Merge, OUT_ROWS, Run, place_of};
use crate::Result;
use crate::kernel::Morsel;
use crate::operator::places::Place;
use crate::operator::spill::{Memory, SpillFile};
use crate::operator::{Account, Output, Progress};
use crate::record::{bytes_of, own};

/// What sorting takes beside the rows: their places and, about, their keys.
const KEY_BYTES: usize = 48;
/// Blocks that a pass over the runs writes in one call.
const PASS_BLOCKS: usize = 4;

/// What is sorted. Equal rows leave in the order in which they came.
pub(super) struct Pile {
    pub(super) sorter: Arc<Sorter>,
    batches: Vec<RecordBatch>,
    bytes: usize,
    rows: usize,
    places: Vec<Place>,
    sent: usize,
    memory: Option<Memory>,
    disk: Option<Disk>,
}

/// What is on disk.
struct Disk {
    memory: Memory,
    file: SpillFile,
    /// Rows of a block.
    block: usize,
    /// In source order.
    runs: Vec<Run>,
    /// Where the next pass begins.
    next: usize,
    work: Work,
}

enum Work {
    Collect,
    /// Makes one run of several, which stood from this number on.
    Pass(Merge, usize, Run),
    Last(Merge),
}

/// What [`Pile::next`] found.
enum Next {
    /// Rows, behind those before.
    Rows(RecordBatch),
    /// None yet: call again.
    Later,
    /// No more.
    Over,
}

impl Disk {
    /// Merges all runs if their blocks fit into memory, else some neighbours, as few as will do.
    fn begin(&mut self, sorter: &Arc<Sorter>) -> Result<()> {
        let (count, most) = (self.runs.len(), self.memory.fan_in());
        self.work = if count <= most {
            Work::Last(Merge::new(sorter, self.runs.drain(..))?)
        } else {
            let some = most.min(count - most + 1);
            let at = if self.next + some > count { 0 } else { self.next };
            self.next = at + 1;
            Work::Pass(Merge::new(sorter, self.runs.drain(at..at + some))?, at, Run::new(&self.file))
        };
        Ok(())
    }
    fn next(&mut self, sorter: &Arc<Sorter>, rows: usize) -> Result<Next> {
        match &mut self.work {
            Work::Collect => self.begin(sorter)?,
            Work::Last(merge) => return Ok(merge.next(rows)?.map_or(Next::Over, Next::Rows)),
            Work::Pass(merge, at, run) => {
                for _ in 0..PASS_BLOCKS {
                    match merge.next(self.block)? {
                        Some(batch) => run.push(&batch)?,
                        None => {
                            self.runs.insert(*at, run.clone());
                            self.begin(sorter)?;
                            break;
                        }
                    }
                }
            }
        }
        Ok(Next::Later)
    }
}

impl Pile {
    pub(super) fn new(sorter: Sorter) -> Self {
        let (batches, places) = (Vec::new(), Vec::new());
        Pile { sorter: Arc::new(sorter), batches, bytes: 0, rows: 0, places, sent: 0, memory: None, disk: None }
    }
    /// May use this memory, and spill.
    pub(super) fn memory(&mut self, memory: Memory) {
        self.memory = Some(memory);
    }
    /// Adds rows of the sorter's schema.
    pub(super) fn add(&mut self, batch: RecordBatch) -> Result<()> {
        let batch = if self.memory.is_some() { own(&batch)? } else { batch };
        self.bytes += bytes_of(&batch);
        self.rows += batch.num_rows();
        if batch.num_rows() > 0 {
            self.batches.push(batch);
        }
        Ok(())
    }
    /// Nothing is added any more.
    pub(super) fn finish(&mut self) -> Result<()> {
        match self.disk {
            Some(_) => self.spill()?,
            None => self.places = self.sorter.order(&self.batches)?.places,
        }
        Ok(())
    }
    /// The next rows of the result, as many as are asked for unless they are the last.
    fn next(&mut self, rows: usize) -> Result<Next> {
        if let Some(disk) = &mut self.disk {
            let next = disk.next(&self.sorter, rows)?;
            if matches!(next, Next::Over) {
                self.disk = None;
            }
            return Ok(next);
        }
        if let Some(rest) = self.places.get(self.sent..).filter(|r| !r.is_empty()) {
            let some = rest.get(..rows).unwrap_or(rest);
            let batch = self.sorter.gather(&self.batches, some)?;
            self.sent += some.len();
            return Ok(Next::Rows(batch));
        }
        self.batches.clear();
        self.places = Vec::new();
        (self.bytes, self.rows, self.sent) = (0, 0, 0);
        Ok(Next::Over)
    }
    /// Sends the result, from the row of this rank on, as that of plan node `node`, while there is room. Batches end where those of the whole result do.
    pub(super) fn send(
        &mut self,
        node: u32,
        rank: &mut usize,
        columns: impl Fn(RecordBatch) -> Result<RecordBatch>,
        out: &mut dyn Output,
    ) -> Result<Progress> {
        loop {
            match self.next(OUT_ROWS - *rank % OUT_ROWS)? {
                Next::Rows(batch) => {
                    let rows = batch.num_rows();
                    out.account(Account { used: rows as u64, held: -(rows as i64), ..Account::default() });
                    out.emit(Morsel::new(columns(batch)?, place_of(node, *rank)));
                    *rank += rows;
                    if out.full() {
                        return Ok(Progress::More);
                    }
                }
                Next::Later => return Ok(Progress::More),
                Next::Over => return Ok(Progress::Done),
            }
        }
    }
    /// Bytes of the rows that are to be sorted.
    fn waiting(&self) -> usize {
        self.bytes + self.rows * KEY_BYTES
    }
    pub(super) fn held_bytes(&self) -> usize {
        let merging = self.disk.as_ref().map_or(0, |d| match &d.work {
            Work::Collect => 0,
            Work::Pass(merge, ..) | Work::Last(merge) => merge.bytes(),
        });
        merging + self.waiting()
    }
    pub(super) fn spillable_bytes(&self) -> usize {
        // sorted rows in memory are on their way out
        if self.memory.is_some() && self.places.is_empty() { self.waiting() } else { 0 }
    }
    pub(super) fn spill(&mut self) -> Result<()> {
        let (Some(memory), true) = (&self.memory, self.places.is_empty() && !self.batches.is_empty()) else { return Ok(()) };
        let disk = match &mut self.disk {
            Some(disk) => disk,
            none => {
                let file = memory.file()?;
                let block = memory.block_rows(self.bytes, self.rows);
                none.insert(Disk { memory: memory.clone(), file, block, runs: Vec::new(), next: 0, work: Work::Collect })
            }
        };
        let batches = std::mem::take(&mut self.batches);
        (self.bytes, self.rows) = (0, 0);
        disk.runs.push(Run::sorted(&self.sorter, &batches, &disk.file, memory)?);
        Ok(())
    }
    /// What was added, as long as it is not over: the runs on disk, then the batches in memory.
    pub(super) fn parts(&self) -> (Vec<Run>, Vec<RecordBatch>) {
        (self.disk.as_ref().map(|d| d.runs.clone()).unwrap_or_default(), self.batches.clone())
    }
}
