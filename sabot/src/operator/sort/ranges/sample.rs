//! The first node: a sample of the sort keys, and how many rows there are.
//!
//! Which rows are in the sample is decided by a hash of their places: those of the smallest hashes are. So it is the same whoever reads
//! the splits, and the samples of several instances are put together as the smallest of all (a *bottom-k* sketch, Cohen and Kaplan 2007).
//! The keys of other rows are never looked at: of n rows about k·ln(n/k) are candidates at some time.

use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use arrow_array::builder::{LargeBinaryBuilder, PrimitiveBuilder};
use arrow_array::types::{UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, ArrowPrimitiveType, PrimitiveArray, RecordBatch, UInt32Array, cast::AsArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::take::take;

use super::labels::{Counts, Label, Labels};
use super::{SAMPLES, first_of};
use crate::kernel::hash::{combine, hash_integer};
use crate::kernel::{Morsel, Origin};
use crate::operator::kept::pick;
use crate::operator::sort::{SortSpec, Sorter};
use crate::operator::spill::Memory;
use crate::operator::{Account, Frozen, GroupState, Instance, Operator, OperatorFactory, Output, Progress, ipc};
use crate::{Error, Result};

/// A row of the sample: the smallest hashes stay.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Sampled {
    pub(super) hash: u64,
    pub(super) label: Label,
    /// The how many-th row of its label it is.
    pub(super) row: u64,
    /// Its key in row format.
    pub(super) key: Box<[u8]>,
}

/// Bytes of a key that are kept: a bound need not be a whole key.
const LONGEST: usize = 1 << 10;
/// Under a memory budget a sketch may have this part of what its operator may use.
const PART: usize = 16;

/// A sample of rows, and how many rows there are of each label.
#[derive(Clone, Debug)]
pub(super) struct Sketch {
    pub(super) smallest: BinaryHeap<Sampled>,
    pub(super) counts: Counts,
    /// All rows of smaller hashes are in the sample.
    below: u64,
    bytes: usize,
    room: usize,
}

impl Default for Sketch {
    fn default() -> Self {
        Sketch { smallest: BinaryHeap::new(), counts: Counts::new(), below: u64::MAX, bytes: 0, room: usize::MAX }
    }
}

const COLUMNS: [(&str, DataType, bool); 9] = [
    ("key", DataType::LargeBinary, true),
    ("hash", DataType::UInt64, false),
    ("source", DataType::UInt32, false),
    ("partition", DataType::UInt32, false),
    ("split", DataType::UInt64, false),
    ("generation", DataType::UInt32, false),
    ("instance", DataType::UInt32, false),
    ("from", DataType::UInt32, false),
    ("rows", DataType::UInt64, false),
];

impl Sketch {
    /// The columns of a sketch: a row of the sample, or, where there is no key, a label and its number of rows.
    pub(super) fn schema() -> SchemaRef {
        Arc::new(Schema::new(COLUMNS.iter().map(|(name, t, nullable)| Field::new(*name, t.clone(), *nullable)).collect::<Vec<_>>()))
    }
    /// May use this memory.
    pub(super) fn memory(&mut self, memory: &Memory) {
        self.room = memory.share() / PART;
    }
    /// Whether a row of this hash is in the sample of all rows so far.
    pub(super) fn wants(&self, hash: u64) -> bool {
        hash < self.below
    }
    pub(super) fn add(&mut self, row: Sampled) {
        self.bytes += size_of::<Sampled>() + row.key.len();
        self.smallest.push(row);
        while (self.smallest.len() > SAMPLES || self.bytes > self.room)
            && let Some(gone) = self.smallest.pop()
        {
            self.bytes -= size_of::<Sampled>() + gone.key.len();
            self.below = gone.hash;
        }
    }
    pub(super) fn count(&mut self, label: Label, rows: u64) {
        *self.counts.entry(label).or_default() += rows;
    }
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.counts.len() * 2 * size_of::<Label>()
    }
    /// As rows; none if nothing has come.
    pub(super) fn write(&self) -> Result<Option<RecordBatch>> {
        if self.counts.is_empty() && self.smallest.is_empty() {
            return Ok(None);
        }
        let mut sampled: Vec<&Sampled> = self.smallest.iter().collect();
        sampled.sort_unstable();
        let sampled = sampled.into_iter().map(|s| Line { key: Some(&s.key), hash: s.hash, label: s.label, rows: s.row });
        let counts = self.counts.iter().map(|(label, rows)| Line { key: None, hash: 0, label: *label, rows: *rows });
        table(sampled.chain(counts)).map(Some)
    }
    /// Adds what [`write`](Self::write) gave.
    pub(super) fn read(&mut self, batch: &RecordBatch) -> Result<()> {
        each(batch, |Line { key, hash, label, rows }| match key {
            None => self.count(label, rows),
            Some(key) if self.wants(hash) => self.add(Sampled { hash, label, row: rows, key: key.into() }),
            Some(_) => {}
        })
    }
    /// As a state of this group; none if there is nothing.
    pub(super) fn save(&self, group: u16) -> Result<Option<GroupState>> {
        let Some(batch) = self.write()? else { return Ok(None) };
        let mut bytes = Vec::new();
        ipc::push(&batch, &mut bytes)?;
        Ok(Some(GroupState { group, bytes }))
    }
    pub(super) fn restore(&mut self, state: &GroupState) -> Result<()> {
        let mut bytes = state.bytes.as_slice();
        while let Some(batch) = ipc::pop(&mut bytes)? {
            self.read(&batch)?;
        }
        Ok(())
    }
}

fn broken() -> Error {
    Error::internal("the samples of a sort lack a column")
}

/// A row of a sketch's [schema](Sketch::schema).
pub(super) struct Line<'a> {
    pub(super) key: Option<&'a [u8]>,
    pub(super) hash: u64,
    pub(super) label: Label,
    pub(super) rows: u64,
}

/// These rows as a batch.
pub(super) fn table<'a>(lines: impl Iterator<Item = Line<'a>>) -> Result<RecordBatch> {
    let (mut keys, mut labels) = (LargeBinaryBuilder::new(), Vec::new());
    let (mut hashes, mut numbers) = (PrimitiveBuilder::<UInt64Type>::new(), PrimitiveBuilder::<UInt64Type>::new());
    for Line { key, hash, label, rows } in lines {
        keys.append_option(key);
        hashes.append_value(hash);
        numbers.append_value(rows);
        labels.push(label);
    }
    let columns = [Arc::new(keys.finish()) as ArrayRef, Arc::new(hashes.finish())];
    let columns = columns.into_iter().chain(label_columns(&labels)).chain([Arc::new(numbers.finish()) as ArrayRef]);
    Ok(RecordBatch::try_new(Sketch::schema(), columns.collect())?)
}

/// Takes the rows of such a batch.
pub(super) fn each(batch: &RecordBatch, mut take: impl FnMut(Line<'_>)) -> Result<()> {
    let keys = batch.column_by_name("key").and_then(|c| c.as_binary_opt::<i64>()).ok_or_else(broken)?;
    let (hashes, rows) = (words::<UInt64Type>(batch, "hash")?, words::<UInt64Type>(batch, "rows")?);
    for ((key, label), (hash, rows)) in keys.iter().zip(labels_of(batch)?).zip(hashes.values().iter().zip(rows.values())) {
        take(Line { key, hash: *hash, label, rows: *rows });
    }
    Ok(())
}

/// A column of numbers.
fn words<T: ArrowPrimitiveType>(batch: &RecordBatch, name: &str) -> Result<PrimitiveArray<T>> {
    batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<T>()).cloned().ok_or_else(broken)
}

/// The columns of labels.
fn label_columns(labels: &[Label]) -> [ArrayRef; 6] {
    let small = |of: fn(&Label) -> u32| -> ArrayRef { Arc::new(labels.iter().map(of).collect::<PrimitiveArray<UInt32Type>>()) };
    let split: ArrayRef = Arc::new(labels.iter().map(|l| l.split).collect::<PrimitiveArray<UInt64Type>>());
    [small(|l| l.source), small(|l| l.partition), split, small(|l| l.generation), small(|l| l.instance), small(|l| l.from)]
}

/// The labels that [`label_columns`] wrote.
fn labels_of(batch: &RecordBatch) -> Result<Vec<Label>> {
    let small = |name: &str| words::<UInt32Type>(batch, name);
    let (source, partition, generation) = (small("source")?, small("partition")?, small("generation")?);
    let (instance, from, split) = (small("instance")?, small("from")?, words::<UInt64Type>(batch, "split")?);
    let rest = generation.values().iter().zip(instance.values()).zip(from.values());
    let all = source.values().iter().zip(partition.values()).zip(split.values()).zip(rest);
    let label = |(((source, partition), split), ((generation, instance), from)): (((&u32, &u32), &u64), ((&u32, &u32), &u32))| Label {
        source: *source,
        partition: *partition,
        split: *split,
        generation: *generation,
        instance: *instance,
        from: *from,
    };
    Ok(all.map(label).collect())
}

/// Draws the sample of an instance's rows, and counts them.
pub struct KeySample {
    sorter: Sorter,
    labels: Labels,
    sketch: Sketch,
    candidates: Vec<(u32, u64, u64)>,
}

impl std::fmt::Debug for KeySample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySample").field("spec", self.sorter.spec()).finish_non_exhaustive()
    }
}

impl KeySample {
    /// Instances over rows of this schema, and the schema of samples; `sources` are the nodes before it that are sources.
    ///
    /// # Errors
    /// If a sort column does not exist or has no order.
    pub fn factory(spec: Arc<SortSpec>, schema: &SchemaRef, sources: Arc<BTreeSet<u32>>) -> Result<(Arc<dyn OperatorFactory>, SchemaRef)> {
        let schema = Arc::clone(schema);
        Sorter::new(Arc::clone(&spec), &schema)?;
        let factory = move |instance: Instance| {
            let sorter = Sorter::new(Arc::clone(&spec), &schema)?;
            let labels = Labels::new(Arc::clone(&sources), instance);
            Ok(Box::new(KeySample { sorter, labels, sketch: Sketch::default(), candidates: Vec::new() }) as Box<dyn Operator>)
        };
        Ok((Arc::new(factory), Sketch::schema()))
    }
    /// The kept rows of a morsel that are in the sample as it is now, of which so many rows of the label come before them: their numbers in
    /// the batch and in the label, and their hashes.
    fn candidates(&mut self, morsel: &Morsel, label: Label, before: u64) {
        self.candidates.clear();
        let seed = [label.source.into(), label.partition.into(), label.split, label.from.into()].into_iter().fold(hash_integer(0), combine);
        let (sketch, found) = (&self.sketch, &mut self.candidates);
        let mut look = |(row, number): (usize, u64)| {
            let hash = combine(seed, number);
            if sketch.wants(hash) {
                found.push((row as u32, number, hash));
            }
        };
        match &morsel.selection {
            Some(selection) => selection.rows().zip(before..).for_each(&mut look),
            None => (0..morsel.batch.num_rows()).zip(before..).for_each(&mut look),
        }
    }
}

impl Operator for KeySample {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let rows = morsel.rows() as u64;
        out.account(Account { used: rows, ..Account::default() });
        if rows == 0 {
            return Ok(Progress::Done);
        }
        let label = self.labels.of(morsel.origin);
        let before = self.sketch.counts.get(&label).copied().unwrap_or_default();
        self.sketch.count(label, rows);
        self.candidates(&morsel, label, before);
        if self.candidates.is_empty() {
            return Ok(Progress::Done);
        }
        let at: UInt32Array = self.candidates.iter().map(|(row, ..)| *row).collect();
        let columns = pick(&self.sorter.accept(morsel.batch)?, self.sorter.columns())?;
        let columns = columns.iter().map(|c| Ok(take(c.as_ref(), &at, None)?)).collect::<Result<Vec<_>>>()?;
        let keys = self.sorter.keys(&columns)?;
        for ((_, number, hash), key) in self.candidates.iter().zip(keys.iter()) {
            // those before may have left no room
            if self.sketch.wants(*hash) {
                let key = key.data();
                self.sketch.add(Sampled { hash: *hash, label, row: *number, key: key.get(..LONGEST).unwrap_or(key).into() });
            }
        }
        Ok(Progress::Done)
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        if let Some(batch) = std::mem::take(&mut self.sketch).write()? {
            out.emit(Morsel::new(batch, Origin::default()));
        }
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.sketch.bytes()
    }
    fn memory(&mut self, memory: Memory) {
        self.sketch.memory(&memory);
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let (sketch, labels) = (self.sketch.clone(), self.labels.clone());
        let group = first_of(labels.instance()) as u16;
        Ok(Frozen::new(move || Ok([Some(labels.save()), sketch.save(group)?].into_iter().flatten().collect())))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        if self.labels.restore(state)? { Ok(()) } else { self.sketch.restore(state) }
    }
}
