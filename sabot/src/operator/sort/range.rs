//! The second phase where all sorted runs are in memory: several instances, each of which puts its ranges of the result out.
//!
//! Every instance gets every run, without a copy, in the same order. So each knows the same order of all rows, and makes
//! the units of it that are its own ([`UNIT`] rows; of n instances each makes every n-th), a block at a time. Units are numbered by their
//! place in the result, which is the `split` of their origin: who restores order gets them in turn while all instances work.
//!
//! Not under a memory budget, where one instance holds the rows, or has them on disk, and not where checkpoints may be taken, of which
//! the runs would be part once per instance ([`MergeSort`](super::MergeSort)). Both give the same rows the same origins.
//!
//! Cost: sorting each row once more, in the cache, and copying it. Nothing is done by one thread alone.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_schema::SchemaRef;

use super::partial::KEY;
use super::runs::{Bytes, Keys, Runs, Words};
use super::sorter::Sorter;
use super::{OUT_ROWS, SortSpec, UNIT, place_of};
use crate::kernel::Morsel;
use crate::operator::{Account, Instance, Mark, Operator, OperatorFactory, Output, Progress};
use crate::{Error, Result};

/// Rows that are sorted at once: their places, twice, fill a megabyte.
const BLOCK: usize = 1 << 15;
/// Rows that are sorted at once for each run: cutting a run takes about as long as sorting ten rows.
const OF_RUN: usize = 64;

/// Puts one of several interleaved parts of a sorted result out.
struct RangeSort<K: Keys> {
    sorter: Arc<Sorter>,
    node: u32,
    instance: Instance,
    take: Take<K>,
    batches: Vec<RecordBatch>,
    keys: Vec<K>,
    rows: usize,
    work: Option<Work<K>>,
}

/// Splits the batch of a run into its rows and their keys.
type Take<K> = fn(&Sorter, RecordBatch) -> Result<(RecordBatch, K)>;

struct Work<K: Keys> {
    runs: Runs<K>,
    /// Rank of the next row, and where its part ends.
    next: usize,
    end: usize,
    /// Rows of a part, and of a block.
    part: usize,
    block: usize,
}

impl<K: Keys> std::fmt::Debug for RangeSort<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RangeSort").field("spec", &self.sorter.spec).finish_non_exhaustive()
    }
}

/// Instances that sort the runs of a [`PartialSort`](super::PartialSort) [with keys](super::PartialSort::with_keys) over rows of this
/// schema, as plan node `node`. Each must be sent all runs, in source order.
///
/// # Errors
/// If a sort column does not exist or has no order.
pub fn range_sort(spec: Arc<SortSpec>, schema: &SchemaRef, node: u32) -> Result<Arc<dyn OperatorFactory>> {
    let schema = Arc::clone(schema);
    let words = Sorter::new(Arc::clone(&spec), &schema)?.word().is_some();
    Ok(Arc::new(move |instance: Instance| {
        let sorter = Arc::new(Sorter::new(Arc::clone(&spec), &schema)?);
        Ok(match words {
            true => Box::new(RangeSort::new(sorter, node, instance, of_words)) as Box<dyn Operator>,
            false => Box::new(RangeSort::new(sorter, node, instance, of_bytes)),
        })
    }))
}

fn of_words(sorter: &Sorter, run: RecordBatch) -> Result<(RecordBatch, Words)> {
    let word = sorter.word().ok_or_else(|| Error::internal("a sort of words without a word"))?;
    let batch = sorter.accept(run)?;
    let keys = Words::new(&batch, word)?;
    Ok((batch, keys))
}

fn of_bytes(sorter: &Sorter, mut run: RecordBatch) -> Result<(RecordBatch, Bytes)> {
    let at = run.schema_ref().index_of(KEY)?;
    let keys = run.remove_column(at).as_binary::<i64>().clone();
    Ok((sorter.accept(run)?, Bytes(keys)))
}

impl<K: Keys> RangeSort<K> {
    fn new(sorter: Arc<Sorter>, node: u32, instance: Instance, take: Take<K>) -> Self {
        RangeSort { sorter, node, instance, take, batches: Vec::new(), keys: Vec::new(), rows: 0, work: None }
    }
    fn pump(&mut self, out: &mut dyn Output) -> Result<Progress> {
        let Some(work) = &mut self.work else { return Ok(Progress::Done) };
        while work.next < work.runs.rows() {
            let to = work.runs.rows().min(work.next + work.block).min(work.end);
            for some in work.runs.range(work.next, to).chunks(OUT_ROWS) {
                let batch = self.sorter.gather(&self.batches, some)?;
                out.emit(Morsel::new(batch, place_of(self.node, work.next)));
                work.next += some.len();
            }
            if work.next != to {
                return Err(Error::internal("a range of sorted rows is not whole"));
            }
            if work.next == work.end {
                // the parts between are those of the other instances
                work.next += work.part * (self.instance.of - 1);
                work.end = work.next + work.part;
            }
            if out.full() && work.next < work.runs.rows() {
                return Ok(Progress::More);
            }
        }
        self.work = None;
        self.batches.clear();
        Ok(Progress::Done)
    }
}

impl<K: Keys> Operator for RangeSort<K> {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let (batch, keys) = (self.take)(&self.sorter, morsel.compact()?)?;
        out.account(Account { held: batch.num_rows() as i64, ..Account::default() });
        self.rows += batch.num_rows();
        self.batches.push(batch);
        self.keys.push(keys);
        Ok(Progress::Done)
    }
    fn resume(&mut self, out: &mut dyn Output) -> Result<Progress> {
        self.pump(out)
    }
    /// All rows are used now, whether this instance or another puts them out.
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        out.pass(Mark::Ascending(place_of(self.node, 0)));
        out.account(Account { used: self.rows as u64, held: -(self.rows as i64), ..Account::default() });
        let block = BLOCK.max((self.keys.len() * OF_RUN).next_multiple_of(OUT_ROWS));
        let part = block.next_multiple_of(UNIT);
        let next = part * self.instance.index;
        self.work = Some(Work { runs: Runs::new(std::mem::take(&mut self.keys)), next, end: next + part, part, block });
        self.pump(out)
    }
    fn held_bytes(&self) -> usize {
        // shared by all instances, so only one counts them
        if self.instance.index == 0 { self.batches.iter().map(crate::record::bytes_of).sum() } else { 0 }
    }
}
