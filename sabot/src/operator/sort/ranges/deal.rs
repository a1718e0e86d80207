//! The third node: keeps rows until their ranges are known, then sends them there.
//!
//! It takes rows at any time, since whoever makes them also has to finish the sample without which no bounds come: to refuse rows would be
//! to wait for itself. Under a memory budget they go to disk instead.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use arrow_array::types::{UInt8Type, UInt64Type};
use arrow_array::{ArrayRef, PrimitiveArray, RecordBatch};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;

use super::bounds::Told;
use super::labels::{Label, Labels};
use super::{BELOW, dealt, owned};
use crate::kernel::hash::KEY_GROUPS;
use crate::kernel::{Morsel, Origin};
use crate::operator::sort::{OUT_ROWS, SortSpec, Sorter};
use crate::operator::spill::{Block, Memory, SpillFile};
use crate::operator::{Account, Frozen, GroupState, Instance, Operator, OperatorFactory, Output, Progress, ipc};
use crate::record::{bytes_of, own};
use crate::{Error, Result};

/// In a snapshot: where rows are in source order.
const LABEL: &str = "sabot.label";

/// Rows of a label, in order.
#[derive(Clone)]
struct Chunk {
    /// How many rows of the label come before.
    first: u64,
    rows: usize,
    at: Stored,
}

#[derive(Clone)]
enum Stored {
    Memory(RecordBatch),
    Disk(Block),
}

/// Keeps the rows of an instance, then deals them out.
pub struct RangeDeal {
    sorter: Sorter,
    schema: SchemaRef,
    labels: Labels,
    kept: BTreeMap<Label, Vec<Chunk>>,
    /// Bytes of the rows in memory.
    bytes: usize,
    rows: usize,
    memory: Option<Memory>,
    file: Option<SpillFile>,
    told: Told,
    /// Ports that have not ended.
    open: usize,
    dealing: Option<Dealing>,
}

/// What is left to do once bounds are known.
struct Dealing {
    /// With the numbers of their first rows.
    chunks: VecDeque<(u64, Chunk)>,
    /// Rows that were sent to each range.
    sent: Vec<u64>,
    /// Some row.
    one: Option<RecordBatch>,
}

impl std::fmt::Debug for RangeDeal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RangeDeal").field("spec", self.sorter.spec()).finish_non_exhaustive()
    }
}

impl RangeDeal {
    /// Instances over rows of this schema, on port 0, and what [`RangeBounds`](super::RangeBounds) says, on port 1; and the schema of what
    /// they send. `sources` are the nodes before it that are sources.
    ///
    /// # Errors
    /// If a sort column does not exist or has no order.
    pub fn factory(spec: Arc<SortSpec>, schema: &SchemaRef, sources: Arc<BTreeSet<u32>>) -> Result<(Arc<dyn OperatorFactory>, SchemaRef)> {
        let (from, to) = (Arc::clone(schema), dealt(schema));
        Sorter::new(Arc::clone(&spec), &from)?;
        let schema = Arc::clone(&to);
        let factory = move |instance: Instance| {
            Ok(Box::new(RangeDeal {
                sorter: Sorter::new(Arc::clone(&spec), &from)?,
                schema: Arc::clone(&schema),
                labels: Labels::new(Arc::clone(&sources), instance),
                kept: BTreeMap::new(),
                bytes: 0,
                rows: 0,
                memory: None,
                file: None,
                told: Told::default(),
                open: 2,
                dealing: None,
            }) as Box<dyn Operator>)
        };
        Ok((Arc::new(factory), to))
    }
    fn keep(&mut self, label: Label, first: u64, batch: RecordBatch) {
        self.bytes += bytes_of(&batch);
        self.rows += batch.num_rows();
        self.kept.entry(label).or_default().push(Chunk { first, rows: batch.num_rows(), at: Stored::Memory(batch) });
    }
    fn begin(&mut self) -> Result<()> {
        let mut chunks = VecDeque::new();
        for (label, kept) in std::mem::take(&mut self.kept) {
            let base = self.told.bases.get(&label).ok_or_else(|| Error::internal("rows of a sort that no sample has counted"))?;
            chunks.extend(kept.into_iter().map(|chunk| (base + chunk.first, chunk)));
        }
        self.dealing = Some(Dealing { chunks, sent: vec![0; usize::from(KEY_GROUPS)], one: None });
        Ok(())
    }
    fn pump(&mut self, out: &mut dyn Output) -> Result<Progress> {
        while let Some((number, batch)) = self.next()? {
            let rows = batch.num_rows();
            let dealt = self.deal(&batch, number)?;
            out.account(Account { used: rows as u64, held: -(rows as i64), ..Account::default() });
            out.emit(Morsel::new(dealt, Origin::default()));
            if out.full() {
                return Ok(Progress::More);
            }
        }
        if let Some(Dealing { sent, one: Some(one), .. }) = self.dealing.take() {
            out.emit(Morsel::new(self.below(&sent, &one)?, Origin::default()));
        }
        self.file = None;
        (self.bytes, self.rows) = (0, 0);
        Ok(Progress::Done)
    }
    /// The next rows, with the number of the first of them.
    fn next(&mut self) -> Result<Option<(u64, RecordBatch)>> {
        let Some(dealing) = &mut self.dealing else { return Ok(None) };
        let (mut first, mut next, mut batches) = (0, None, Vec::new());
        let mut rows = 0;
        while let Some((number, chunk)) = dealing.chunks.front() {
            if next.is_some_and(|next| next != *number || rows + chunk.rows > OUT_ROWS) {
                break;
            }
            let batch = match &chunk.at {
                Stored::Memory(batch) => {
                    self.bytes = self.bytes.saturating_sub(bytes_of(batch));
                    batch.clone()
                }
                Stored::Disk(block) => {
                    let file = self.file.as_ref().ok_or_else(|| Error::internal("rows on a disk without a file"))?;
                    self.sorter.accept(file.read(block)?)?
                }
            };
            if batches.is_empty() {
                first = *number;
            }
            next = Some(number + chunk.rows as u64);
            rows += chunk.rows;
            batches.push(batch);
            dealing.chunks.pop_front();
        }
        Ok(match batches.as_slice() {
            [] => None,
            [one] => Some((first, one.clone())),
            some => Some((first, concat_batches(&self.sorter.schema(), some)?)),
        })
    }
    /// The rows with their ranges and numbers.
    fn deal(&mut self, batch: &RecordBatch, first: u64) -> Result<RecordBatch> {
        let keys = self.sorter.rows(batch)?;
        let ranges: Vec<u8> = keys.iter().zip(first..).map(|(key, number)| self.told.range(key.data(), number)).collect();
        if let Some(dealing) = &mut self.dealing {
            for range in &ranges {
                if let Some(sent) = dealing.sent.get_mut(usize::from(*range)) {
                    *sent += 1;
                }
            }
            if dealing.one.is_none() {
                dealing.one = Some(own(&batch.slice(0, 1))?);
            }
        }
        let numbers = (first..).take(ranges.len()).collect();
        self.with(batch, ranges, numbers)
    }
    /// For each range that has some below it, a row that says how many.
    fn below(&self, sent: &[u64], one: &RecordBatch) -> Result<RecordBatch> {
        let (mut ranges, mut numbers, mut below) = (Vec::new(), Vec::new(), 0);
        for (range, rows) in (0u8..).zip(sent) {
            if below > 0 {
                ranges.push(range);
                numbers.push(BELOW | below);
            }
            below += rows;
        }
        let rows = take_record_batch(one, &PrimitiveArray::<arrow_array::types::UInt32Type>::from_value(0, ranges.len()))?;
        self.with(&rows, ranges, numbers)
    }
    fn with(&self, batch: &RecordBatch, ranges: Vec<u8>, numbers: Vec<u64>) -> Result<RecordBatch> {
        let own: [ArrayRef; 2] =
            [Arc::new(PrimitiveArray::<UInt8Type>::from(ranges)), Arc::new(PrimitiveArray::<UInt64Type>::from(numbers))];
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().iter().cloned().chain(own).collect())?)
    }
}

impl Operator for RangeDeal {
    fn process(&mut self, port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let rows = morsel.rows();
        if port == 1 {
            out.account(Account { used: rows as u64, ..Account::default() });
            self.told.read(&morsel.compact()?)?;
            return Ok(Progress::Done);
        }
        out.account(Account { held: rows as i64, ..Account::default() });
        if rows > 0 {
            let batch = own(&self.sorter.accept(morsel.compact()?)?)?;
            let label = self.labels.of(morsel.origin);
            let last = self.kept.get(&label).and_then(|kept| kept.last());
            let first = last.map_or(0, |last| last.first + last.rows as u64);
            self.keep(label, first, batch);
        }
        Ok(Progress::Done)
    }
    fn resume(&mut self, out: &mut dyn Output) -> Result<Progress> {
        self.pump(out)
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        self.open = self.open.saturating_sub(1);
        if self.open > 0 {
            return Ok(Progress::Done);
        }
        self.begin()?;
        self.pump(out)
    }
    fn held_bytes(&self) -> usize {
        self.bytes
    }
    fn memory(&mut self, memory: Memory) {
        self.memory = Some(memory);
    }
    fn spillable_bytes(&self) -> usize {
        // rows that are dealt are on their way out
        if self.memory.is_some() && self.dealing.is_none() { self.bytes } else { 0 }
    }
    fn spill(&mut self) -> Result<()> {
        let (Some(memory), None) = (&self.memory, &self.dealing) else { return Ok(()) };
        let file = match &self.file {
            Some(file) => file.clone(),
            None => self.file.insert(memory.file()?).clone(),
        };
        let block = memory.block_rows(self.bytes, self.rows);
        let schema = self.sorter.schema();
        for kept in self.kept.values_mut() {
            // what is on disk came first
            let from = kept.iter().position(|c| matches!(c.at, Stored::Memory(_))).unwrap_or(kept.len());
            for run in Runs(kept.split_off(from).into()) {
                let first = run.first().map_or(0, |c| c.first);
                let batches: Vec<RecordBatch> =
                    run.into_iter().filter_map(|c| if let Stored::Memory(b) = c.at { Some(b) } else { None }).collect();
                let all = concat_batches(&schema, &batches)?;
                for start in (0..all.num_rows()).step_by(block) {
                    let rows = block.min(all.num_rows() - start);
                    let at = Stored::Disk(file.append(&all.slice(start, rows))?);
                    kept.push(Chunk { first: first + start as u64, rows, at });
                }
            }
        }
        (self.bytes, self.rows) = (0, 0);
        Ok(())
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        if !self.told.bases.is_empty() || self.dealing.is_some() {
            return Err(Error::internal("a barrier behind the bounds of a sort"));
        }
        let (labels, kept, file) = (self.labels.clone(), self.kept.clone(), self.file.clone());
        Ok(Frozen::new(move || {
            let groups = owned(labels.instance());
            let groups = if groups.is_empty() { vec![0] } else { groups };
            let mut states: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
            let chunks = kept.iter().flat_map(|(label, chunks)| chunks.iter().map(move |chunk| (label, chunk)));
            for ((label, chunk), group) in chunks.zip(groups.iter().cycle()) {
                let batch = match (&chunk.at, &file) {
                    (Stored::Memory(batch), _) => batch.clone(),
                    (Stored::Disk(block), Some(file)) => file.read(block)?,
                    (Stored::Disk(_), None) => return Err(Error::internal("rows on a disk without a file")),
                };
                let Label { source, partition, split, generation, instance, from } = label;
                let tag = format!("{source} {partition} {split} {generation} {instance} {from} {}", chunk.first);
                ipc::push(&ipc::tagged(&batch, [(LABEL.to_owned(), tag)])?, states.entry(*group).or_default())?;
            }
            let states = states.into_iter().map(|(group, bytes)| GroupState { group, bytes });
            Ok([labels.save()].into_iter().chain(states).collect())
        }))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        if self.labels.restore(state)? {
            return Ok(());
        }
        let mut bytes = state.bytes.as_slice();
        while let Some(batch) = ipc::pop(&mut bytes)? {
            let (label, first) = label_of(&batch)?;
            let batch = own(&self.sorter.accept(batch)?)?;
            self.keep(label, first, batch);
        }
        Ok(())
    }
}

/// Chunks in memory, those together that follow each other.
struct Runs(VecDeque<Chunk>);

impl Iterator for Runs {
    type Item = Vec<Chunk>;
    fn next(&mut self) -> Option<Vec<Chunk>> {
        let mut run = vec![self.0.pop_front()?];
        while let (Some(last), Some(next)) = (run.last(), self.0.front())
            && last.first + last.rows as u64 == next.first
        {
            run.extend(self.0.pop_front());
        }
        Some(run)
    }
}

/// What a snapshot says of these rows.
fn label_of(batch: &RecordBatch) -> Result<(Label, u64)> {
    let broken = || Error::Checkpoint("rows of the state of a sort have no place".into());
    let words: Vec<u64> = ipc::tag(batch, LABEL).ok_or_else(broken)?.split(' ').map_while(|w| w.parse().ok()).collect();
    let [source, partition, split, generation, instance, from, first] = words.as_slice() else { return Err(broken()) };
    let small = |v: &u64| u32::try_from(*v).map_err(|_| broken());
    let label = Label {
        source: small(source)?,
        partition: small(partition)?,
        split: *split,
        generation: small(generation)?,
        instance: small(instance)?,
        from: small(from)?,
    };
    Ok((label, *first))
}
