//! The second phase where rows may have to go to disk: all sorted runs become one, at a single instance.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::sorter::Sorter;
use super::{Merge, OUT_ROWS, Run, SortSpec, place_of, state};
use crate::Result;
use crate::kernel::{Morsel, Origin};
use crate::operator::places::Place;
use crate::operator::spill::{Memory, SpillFile};
use crate::operator::{Account, Frozen, GroupState, Instance, Mark, Operator, OperatorFactory, Output, Progress};
use crate::record::{bytes_of, own};

/// What sorting takes beside the rows: their places and, about, their keys.
const KEY_BYTES: usize = 48;
/// Blocks that a pass over the runs writes in one call.
const PASS_BLOCKS: usize = 4;

/// Merges the sorted runs of all splits, stably. A single instance with ordered, gathered input.
pub struct MergeSort {
    sorter: Arc<Sorter>,
    node: u32,
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
    /// The next rows of the result; `None` inside if there are none yet, outside if there are no more.
    fn next(&mut self, sorter: &Arc<Sorter>) -> Result<Option<Option<RecordBatch>>> {
        match &mut self.work {
            Work::Collect => self.begin(sorter)?,
            Work::Last(merge) => return Ok(merge.next(OUT_ROWS)?.map(Some)),
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
        Ok(Some(None))
    }
}

impl std::fmt::Debug for MergeSort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MergeSort").field("spec", &self.sorter.spec).finish_non_exhaustive()
    }
}

impl MergeSort {
    /// The instance for plan node `node`, which is the source of its rows.
    ///
    /// # Errors
    /// If a sort column does not exist or has no order.
    pub fn factory(spec: Arc<SortSpec>, schema: &SchemaRef, node: u32) -> Result<Arc<dyn OperatorFactory>> {
        let schema = Arc::clone(schema);
        Sorter::new(Arc::clone(&spec), &schema)?;
        Ok(Arc::new(move |_: Instance| {
            let sorter = Arc::new(Sorter::new(Arc::clone(&spec), &schema)?);
            let (batches, places) = (Vec::new(), Vec::new());
            let sort = MergeSort { sorter, node, batches, bytes: 0, rows: 0, places, sent: 0, memory: None, disk: None };
            Ok(Box::new(sort) as Box<dyn Operator>)
        }))
    }
    fn add(&mut self, batch: RecordBatch) -> Result<()> {
        let batch = if self.memory.is_some() { own(&batch)? } else { batch };
        self.bytes += bytes_of(&batch);
        self.rows += batch.num_rows();
        if batch.num_rows() > 0 {
            self.batches.push(batch);
        }
        Ok(())
    }
    /// Bytes of the rows that are to be sorted.
    fn waiting(&self) -> usize {
        self.bytes + self.rows * KEY_BYTES
    }
    fn emit(&mut self, batch: RecordBatch, out: &mut dyn Output) {
        let rows = batch.num_rows();
        let origin = place_of(self.node, self.sent);
        self.sent += rows;
        out.account(Account { used: rows as u64, held: -(rows as i64), ..Account::default() });
        out.emit(Morsel::new(batch, origin));
    }
    fn pump(&mut self, out: &mut dyn Output) -> Result<Progress> {
        while let Some(disk) = &mut self.disk {
            match disk.next(&self.sorter)? {
                Some(None) => return Ok(Progress::More),
                Some(Some(batch)) => {
                    self.emit(batch, out);
                    if out.full() {
                        return Ok(Progress::More);
                    }
                }
                None => self.disk = None,
            }
        }
        while let Some(rest) = self.places.get(self.sent..).filter(|r| !r.is_empty()) {
            let some = rest.get(..OUT_ROWS).unwrap_or(rest);
            let batch = self.sorter.gather(&self.batches, some)?;
            self.emit(batch, out);
            if out.full() && self.sent < self.places.len() {
                return Ok(Progress::More);
            }
        }
        self.batches.clear();
        self.places = Vec::new();
        (self.bytes, self.rows, self.sent) = (0, 0, 0);
        Ok(Progress::Done)
    }
}

impl Operator for MergeSort {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let batch = self.sorter.accept(morsel.compact()?)?;
        out.account(Account { held: batch.num_rows() as i64, ..Account::default() });
        self.add(batch)?;
        Ok(Progress::Done)
    }
    fn resume(&mut self, out: &mut dyn Output) -> Result<Progress> {
        self.pump(out)
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        out.pass(Mark::Ascending(place_of(self.node, 0)));
        if self.disk.is_some() {
            self.spill()?;
        } else {
            self.places = self.sorter.order(&self.batches)?.places;
        }
        self.pump(out)
    }
    fn held_bytes(&self) -> usize {
        let merging = self.disk.as_ref().map_or(0, |d| match &d.work {
            Work::Collect => 0,
            Work::Pass(merge, ..) | Work::Last(merge) => merge.bytes(),
        });
        merging + self.waiting()
    }
    fn memory(&mut self, memory: Memory) {
        self.memory = Some(memory);
    }
    fn spillable_bytes(&self) -> usize {
        // sorted rows in memory are on their way out
        if self.memory.is_some() && self.places.is_empty() { self.waiting() } else { 0 }
    }
    fn spill(&mut self) -> Result<()> {
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
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let runs = self.disk.as_ref().map(|d| d.runs.clone()).unwrap_or_default();
        Ok(state::write(runs, self.batches.iter().map(|b| (Origin::default(), b.clone())).collect()))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        for (_, batch) in state::read(state)? {
            let batch = self.sorter.accept(batch)?;
            self.add(batch)?;
        }
        Ok(())
    }
}
