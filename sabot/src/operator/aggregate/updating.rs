//! Results that are sent whenever they change, or of rows that are taken back.
//!
//! Input are the partial states of [`PartialAggregate`](super::PartialAggregate), or, where rows are taken back, the rows themselves with
//! their weights; both hashed by key. A group whose result may have changed since it was last sent is *dirty*. Of those that were
//! sent before, the row that was sent is computed before the first change and kept until the next one is sent: then the old row leaves
//! with weight -1, the new one with weight 1, unless they are equal. States do not change in between, and a state that goes
//! through a checkpoint gives the result that it gave before, so the old row is exactly the one that was sent.
//!
//! When dirty groups are sent: at the end of each morsel; when the watermark passes a multiple of a span; or when their window is over,
//! and from then on, if it may still take late rows, at the end of each morsel; without windows and updates at the end of the input.
//! How many updates there are depends on morsels; their sum does not.
//!
//! A group whose rows were all taken back is taken back itself and forgotten. State: keys and accumulators of all groups, and of windows of
//! those that still take rows. It is written in layers (`updating_state.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int8Array, RecordBatch, UInt32Array};
use arrow_row::{RowConverter, SortField};
use arrow_schema::{FieldRef, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use arrow_select::take::{take_arrays, take_record_batch};

use super::AggregateSpec;
use super::finished::finished;
use super::spec::{Groups, state_slices};
use super::window::{Units, words};
use crate::kernel::Morsel;
use crate::kernel::hash::{KEY_GROUPS, instance_of};
use crate::operator::kept::{RowList, pick, positions};
use crate::operator::keys::key_groups;
use crate::operator::layers::{Changes, Written};
use crate::operator::numbered::Numbered;
use crate::operator::weights::{Carried, WEIGHT, weights};
use crate::operator::{Account, EventTime, Frozen, GroupState, Instance, Kept, Operator, OperatorFactory, Output, Progress, Spare};
use crate::plan::{Emit, When};
use crate::{Error, Result};

/// Rows of an output batch.
const OUT_ROWS: usize = 8192;
/// No old row.
pub(super) const NONE: u32 = u32::MAX;

/// What comes in.
#[derive(Clone, Debug)]
enum Source {
    /// Partial states.
    States,
    /// Rows with weights: where keys, inputs and the event time are.
    Rows { keys: Vec<usize>, inputs: Vec<Vec<usize>>, time: Option<usize> },
}

/// What is known of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    /// The weights of its rows.
    pub(super) net: i64,
    /// Start of its window.
    pub(super) start: i64,
    /// Whether its result is known downstream.
    pub(super) sent: bool,
    /// Whether it may have changed since.
    pub(super) dirty: bool,
    /// Its old row, if it is dirty and was sent.
    pub(super) old: u32,
    /// Whether its window takes no more rows.
    pub(super) over: bool,
    /// What layers hold of it.
    pub(super) written: Written,
}

impl Told {
    /// Whether its state is needed.
    pub(super) fn live(&self) -> bool {
        !self.over && (self.net != 0 || self.dirty || self.sent)
    }
}

/// Sends results as they change; see the module.
pub struct UpdatingAggregate {
    pub(super) spec: Arc<AggregateSpec>,
    instance: Instance,
    pub(super) sent: Numbered,
    source: Source,
    emit: Emit,
    pub(super) window: Option<Units>,
    pub(super) partial: SchemaRef,
    /// The columns of results.
    pub(super) schema: SchemaRef,
    /// Adds weights, if results are taken back.
    weighed: Option<Carried>,
    pub(super) fields: Vec<FieldRef>,
    pub(super) counts: Vec<usize>,
    pub(super) groups: Groups,
    pub(super) told: Vec<Told>,
    /// Groups that are dirty, in the order in which they became so.
    pub(super) dirty: Vec<u32>,
    /// Old rows of dirty groups.
    pub(super) olds: Vec<RecordBatch>,
    pub(super) old_rows: u32,
    /// Groups of windows that still take rows, by the start of the window.
    pub(super) open: BTreeMap<i64, Vec<u32>>,
    /// Groups that are over.
    pub(super) dead: usize,
    pub(super) watermark: EventTime,
    pub(super) changes: Changes,
    /// Memory for layers.
    pub(super) spare: Spare,
    /// Compares the results of functions.
    converter: RowConverter,
    list: RowList,
    numbers: Vec<u32>,
}

impl std::fmt::Debug for UpdatingAggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpdatingAggregate").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// Columns of keys and of what functions take, row by row.
struct Work<'a> {
    keys: Vec<ArrayRef>,
    data: Vec<Vec<ArrayRef>>,
    weights: Option<Vec<i8>>,
    kept: Kept<'a>,
}

impl UpdatingAggregate {
    /// Instances for plan node `node`. `input` is the schema of the rows that are aggregated: if they have weights, they come themselves, else
    /// as partial states. `output` is the schema of the results, with weights if they are taken back.
    ///
    /// # Errors
    /// If the specification does not fit the input.
    pub fn factory(
        spec: Arc<AggregateSpec>,
        input: &SchemaRef,
        output: &SchemaRef,
        emit: Emit,
        node: u32,
    ) -> Result<Arc<dyn OperatorFactory>> {
        let (input, output) = (Arc::clone(input), Arc::clone(output));
        Self::build(&spec, &input, &output, emit, node, Instance { index: 0, of: 1 })?;
        Ok(Arc::new(move |i: Instance| Ok(Box::new(Self::build(&spec, &input, &output, emit, node, i)?) as Box<dyn Operator>)))
    }
    fn build(spec: &Arc<AggregateSpec>, input: &SchemaRef, output: &SchemaRef, emit: Emit, node: u32, instance: Instance) -> Result<Self> {
        let results: Vec<FieldRef> = output.fields().iter().filter(|f| f.name() != WEIGHT).cloned().collect();
        if spec.output_schema(input)?.fields().len() != results.len() {
            return Err(Error::Plan(format!("`{}` makes other columns than the plan says", spec.name)));
        }
        let fields = spec.group_fields(input)?;
        let made = results.iter().skip(results.len() - spec.functions.len());
        let converter = RowConverter::new(made.map(|f| SortField::new(f.data_type().clone())).collect())?;
        let weighed = output.fields().len() > results.len();
        let schema: SchemaRef = Arc::new(Schema::new(results));
        let window = spec.window(input)?.map(|(units, _)| units);
        if window.is_some_and(|units| units.session) {
            return Err(Error::Usage(format!(
                "`{}`: sessions are sent once, when they are over, and of rows that stay; use `tumbling` or `hop` windows, or `changelog()` before",
                spec.name
            )));
        }
        let source = if input.column_with_name(WEIGHT).is_some() {
            let (keys, inputs) = spec.inputs(input)?;
            let time = spec.window.as_ref().map(|w| positions(input, std::slice::from_ref(&w.column), &spec.name)).transpose()?;
            Source::Rows { keys, inputs, time: time.and_then(|t| t.first().copied()) }
        } else {
            Source::States
        };
        Ok(UpdatingAggregate {
            spec: Arc::clone(spec),
            instance,
            sent: Numbered::new(node, instance),
            source,
            emit,
            window,
            partial: spec.partial_schema(input)?,
            weighed: weighed.then(Carried::default),
            schema,
            counts: spec.state_counts(),
            groups: Groups::new(spec, &fields)?,
            fields,
            told: Vec::new(),
            dirty: Vec::new(),
            olds: Vec::new(),
            old_rows: 0,
            open: BTreeMap::new(),
            dead: 0,
            watermark: EventTime::MIN,
            changes: Changes::default(),
            spare: Spare::default(),
            converter,
            list: RowList::default(),
            numbers: Vec::new(),
        })
    }
    /// The columns of a batch, with the start of its window as the last key of each row; a row of several windows is there several
    /// times.
    fn work<'a>(&self, batch: &RecordBatch, kept: Kept<'a>) -> Result<Work<'a>> {
        let columns = batch.columns();
        let mut work = match &self.source {
            Source::States => {
                let keys = columns.get(..self.fields.len()).unwrap_or(&[]).to_vec();
                let data = state_slices(columns, self.fields.len(), &self.counts)?.into_iter().map(<[ArrayRef]>::to_vec).collect();
                Work { keys, data, weights: None, kept }
            }
            Source::Rows { keys, inputs, time } => {
                let weights = weights(batch).ok_or_else(|| Error::internal(format!("`{}` got rows without a weight", self.spec.name)))?;
                let mut keys = pick(batch, keys)?;
                if let (Some(units), Some(time)) = (self.window, time) {
                    keys.push(units.starts(batch.column(*time))?);
                }
                let data = inputs.iter().map(|at| pick(batch, at)).collect::<Result<Vec<_>>>()?;
                Work { keys, data, weights: Some(weights.to_vec()), kept }
            }
        };
        if let Some(units) = self.window.filter(|units| !units.tumbling()) {
            let panes = work.keys.pop().ok_or_else(|| Error::internal("a window without its start"))?;
            let (mut rows, mut starts) = (Vec::new(), Vec::new());
            let words = words(&panes)?;
            kept.each(|_, row| {
                if let Some(pane) = words.get(row) {
                    units.windows_of(*pane, |start| {
                        rows.push(row as u32);
                        starts.push(start);
                    });
                }
            });
            let at = UInt32Array::from(rows);
            work.keys = take_arrays(&work.keys, &at, None)?;
            work.keys.push(units.column(starts, panes.data_type())?);
            work.data = work.data.iter().map(|c| take_arrays(c, &at, None)).collect::<Result<Vec<_>, _>>()?;
            let weight = |w: Vec<i8>| at.values().iter().filter_map(|row| w.get(*row as usize).copied()).collect();
            work.weights = work.weights.take().map(weight);
            work.kept = Kept::Range(0, at.len());
        }
        Ok(work)
    }
    fn take(&mut self, batch: &RecordBatch, kept: Kept<'_>, out: &mut dyn Output) -> Result<()> {
        let mut work = self.work(batch, kept)?;
        // windows that take no more rows
        let mut in_time = Vec::new();
        let starts = match (self.window, work.keys.last()) {
            (Some(units), Some(column)) => Some((units, words(column)?)),
            _ => None,
        };
        if let Some((units, starts)) = &starts {
            let late = |row: usize| starts.get(row).is_some_and(|s| self.closed(*units, *s));
            work.kept.each(|_, row| {
                if !late(row) {
                    in_time.push(row as u32);
                }
            });
            if in_time.len() < work.kept.len() {
                // of rows in several windows those are counted that are in none any more
                let lost = if units.tumbling() { work.kept.len() - in_time.len() } else { usize::from(in_time.is_empty()) * kept.len() };
                out.account(Account { late: lost as u64, used: (kept.len() - lost) as u64, ..Account::default() });
                work.kept = Kept::Some(&in_time);
            } else {
                out.account(Account { used: kept.len() as u64, ..Account::default() });
            }
        } else {
            out.account(Account { used: kept.len() as u64, ..Account::default() });
        }
        if work.kept.is_empty() {
            return Ok(());
        }
        let before = self.groups.keys.len();
        self.groups.keys.insert(&work.keys, work.kept, &mut self.numbers)?;
        self.groups.resize();
        self.enter(before, starts.as_ref().map(|(_, s)| s.as_ref()), work.kept);
        self.touch()?;
        self.apply(&work)?;
        self.flush(out)
    }
    /// Enters groups from number `from` on.
    fn enter(&mut self, from: usize, starts: Option<&[i64]>, kept: Kept<'_>) {
        let mut next = from as u32;
        let (numbers, told, open) = (&self.numbers, &mut self.told, &mut self.open);
        kept.each(|i, row| {
            if numbers.get(i) == Some(&next) {
                let start = starts.and_then(|s| s.get(row).copied()).unwrap_or_default();
                told.push(Told { net: 0, start, sent: false, dirty: false, old: NONE, over: false, written: Written::No });
                if starts.is_some() {
                    open.entry(start).or_default().push(next);
                }
                next += 1;
            }
        });
    }
    /// Makes the groups of the rows dirty, and keeps the rows that were sent of them.
    fn touch(&mut self) -> Result<()> {
        let mut sent = Vec::new();
        for group in &self.numbers {
            let Some(told) = self.told.get_mut(*group as usize) else { continue };
            self.changes.note(*group, &mut told.written);
            if !told.dirty {
                told.dirty = true;
                self.dirty.push(*group);
                if told.sent {
                    told.old = self.old_rows + sent.len() as u32;
                    sent.push(*group);
                }
            }
        }
        if !sent.is_empty() {
            self.olds.push(self.result(&sent)?);
            self.old_rows += sent.len() as u32;
        }
        Ok(())
    }
    fn apply(&mut self, work: &Work<'_>) -> Result<()> {
        let name = &self.spec.name;
        let Some(weights) = &work.weights else {
            for group in &self.numbers {
                if let Some(told) = self.told.get_mut(*group as usize) {
                    told.net += 1;
                }
            }
            for (state, columns) in self.groups.states.iter_mut().zip(&work.data) {
                state.merge(&self.numbers, work.kept, columns).map_err(|f| f.at(name, None))?;
            }
            return Ok(());
        };
        let (mut come, mut gone) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        let (numbers, told) = (&self.numbers, &mut self.told);
        work.kept.each(|i, row| {
            let (Some(group), Some(weight)) = (numbers.get(i), weights.get(row)) else { return };
            let (groups, rows) = if *weight > 0 { &mut come } else { &mut gone };
            groups.push(*group);
            rows.push(row as u32);
            if let Some(told) = told.get_mut(*group as usize) {
                told.net += i64::from(*weight);
            }
        });
        for (state, columns) in self.groups.states.iter_mut().zip(&work.data) {
            state.update(&come.0, Kept::Some(&come.1), columns).map_err(|f| f.at(name, None))?;
            if !gone.0.is_empty() {
                state.retract(&gone.0, Kept::Some(&gone.1), columns).map_err(|f| f.at(name, None))?;
            }
        }
        Ok(())
    }
    fn result(&self, groups: &[u32]) -> Result<RecordBatch> {
        finished(&self.spec, &self.schema, self.window, &self.groups, groups, None)
    }
    /// Whether a window takes no more rows.
    fn closed(&self, units: Units, start: i64) -> bool {
        units.end(start).saturating_add(self.emit.lateness) <= self.watermark
    }
    /// Whether a dirty group is sent now.
    fn due(&self, told: &Told) -> bool {
        match self.window {
            _ if self.emit.when == When::OnUpdate => true,
            Some(units) => units.end(told.start) <= self.watermark,
            None => false,
        }
    }
    /// Sends the dirty groups that are due.
    fn flush(&mut self, out: &mut dyn Output) -> Result<()> {
        let dirty = std::mem::take(&mut self.dirty);
        let (due, rest): (Vec<u32>, Vec<u32>) = dirty.into_iter().partition(|g| self.told.get(*g as usize).is_some_and(|t| self.due(t)));
        self.dirty = rest;
        self.send(&due, out)
    }
    /// Sends dirty groups, which are no more dirty then.
    fn send(&mut self, due: &[u32], out: &mut dyn Output) -> Result<()> {
        if due.is_empty() {
            return Ok(());
        }
        let all = self.spec.global();
        let told = |g: &u32| self.told.get(*g as usize);
        let live: Vec<u32> = due.iter().copied().filter(|g| all || told(g).is_some_and(|t| t.net > 0)).collect();
        let new = self.result(&live)?;
        let old = concat_batches(&self.schema, &self.olds)?;
        let (rows, weights) = self.compare(due, &live, &old, &new)?;
        if !rows.is_empty() {
            let both = if old.num_rows() == 0 { new } else { concat_batches(&self.schema, [&old, &new])? };
            self.emit(&both, &rows, &weights, out)?;
        }
        let mut gone = Vec::new();
        for group in due {
            if let Some(told) = self.told.get_mut(*group as usize) {
                self.changes.note(*group, &mut told.written);
                (told.sent, told.dirty, told.old) = (told.net > 0 || all, false, NONE);
                if told.net == 0 {
                    gone.push(*group);
                }
            }
        }
        // the key may come back, to an empty group
        if matches!(self.source, Source::Rows { .. }) {
            self.groups.states.iter_mut().for_each(|s| s.empty(&gone));
            if self.window.is_none() {
                self.bury(&gone)?;
            }
        }
        self.keep_old(&old)
    }
    /// What is sent of these groups: rows of the old and, behind them, the new results, with weights.
    fn compare(&self, due: &[u32], live: &[u32], old: &RecordBatch, new: &RecordBatch) -> Result<(Vec<u32>, Vec<i8>)> {
        let keys = self.schema.fields().len() - self.spec.functions.len();
        let made = |batch: &RecordBatch| batch.columns().get(keys..).unwrap_or(&[]).to_vec();
        let none = self.spec.functions.is_empty() || old.num_rows() == 0;
        let encoded =
            if none { None } else { Some((self.converter.convert_columns(&made(old))?, self.converter.convert_columns(&made(new))?)) };
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        let (mut next, olds) = (0, old.num_rows() as u32);
        for group in due {
            let at_old = self.told.get(*group as usize).map_or(NONE, |t| t.old);
            let at_new = (live.get(next) == Some(group)).then_some(next as u32);
            next += usize::from(at_new.is_some());
            if let (true, Some(at_new)) = (at_old != NONE, at_new) {
                let same = encoded.as_ref().is_none_or(|(o, n)| o.row(at_old as usize) == n.row(at_new as usize));
                if same {
                    continue;
                }
            }
            if at_old != NONE {
                rows.push(at_old);
                weights.push(-1);
            }
            if let Some(at_new) = at_new {
                rows.push(olds + at_new);
                weights.push(1);
            }
        }
        Ok((rows, weights))
    }
    fn emit(&mut self, both: &RecordBatch, rows: &[u32], weights: &[i8], out: &mut dyn Output) -> Result<()> {
        for (rows, weights) in rows.chunks(OUT_ROWS).zip(weights.chunks(OUT_ROWS)) {
            let mut some = take_record_batch(both, &UInt32Array::from(rows.to_vec()))?;
            if let Some(weighed) = &mut self.weighed {
                some = weighed.with(some, Arc::new(Int8Array::from(weights.to_vec())))?;
            }
            self.sent.emit(some, out);
        }
        Ok(())
    }
    /// Keeps the old rows of the groups that are still dirty.
    fn keep_old(&mut self, old: &RecordBatch) -> Result<()> {
        self.olds.clear();
        let mut rows = Vec::new();
        for group in &self.dirty {
            if let Some(told) = self.told.get_mut(*group as usize).filter(|t| t.old != NONE) {
                rows.push(told.old);
                told.old = rows.len() as u32 - 1;
            }
        }
        self.old_rows = rows.len() as u32;
        if !rows.is_empty() {
            self.olds.push(take_record_batch(old, &UInt32Array::from(rows))?);
        }
        Ok(())
    }
    /// Drops the windows that take no more rows: their results stay.
    fn close(&mut self, units: Units) -> Result<()> {
        let mut gone = Vec::new();
        while let Some(first) = self.open.first_entry() {
            if units.end(*first.key()).saturating_add(self.emit.lateness) > self.watermark {
                break;
            }
            gone.extend(first.remove());
        }
        for group in &gone {
            if let Some(told) = self.told.get_mut(*group as usize) {
                self.changes.note(*group, &mut told.written);
                told.over = true;
            }
        }
        self.bury(&gone)
    }
    /// Whether this instance gets the rows of an aggregation without keys.
    fn owns_all(&self) -> Result<bool> {
        let group = key_groups(&[], 1)?.first().copied().unwrap_or_default();
        Ok(instance_of(group, KEY_GROUPS, self.instance.of) == self.instance.index)
    }
}

impl Operator for UpdatingAggregate {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let mut list = std::mem::take(&mut self.list);
        let kept = list.of(&morsel);
        let result = if kept.is_empty() { Ok(()) } else { self.take(&morsel.batch, kept, out) };
        self.list = list;
        result.map(|()| Progress::Done)
    }
    fn watermark(&mut self, _port: usize, time: EventTime, out: &mut dyn Output) -> Result<()> {
        let before = self.watermark;
        self.watermark = before.max(time);
        let Some(units) = self.window else { return Ok(()) };
        if let When::Every(span) = self.emit.when
            && before.div_euclid(span) < self.watermark.div_euclid(span)
        {
            let dirty = std::mem::take(&mut self.dirty);
            self.send(&dirty, out)?;
        } else {
            self.flush(out)?;
        }
        self.close(units)
    }
    fn hold(&self) -> EventTime {
        let Some(units) = self.window else { return EventTime::MAX };
        // a window that may still be opened by a late row
        let late = (self.emit.lateness > 0).then(|| match self.watermark.checked_sub(self.emit.lateness) {
            Some(time) => units.first_window(i64::MIN, time),
            None => i64::MIN,
        });
        let first = self.open.first_key_value().map(|(start, _)| *start);
        match late.into_iter().chain(first).min() {
            Some(i64::MIN) => EventTime::MIN,
            // the results of a window carry its end - 1
            Some(start) => units.end(start).saturating_sub(1),
            None => EventTime::MAX,
        }
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        if self.spec.global() && self.owns_all()? && self.groups.keys.is_empty() {
            self.groups.keys.insert(&[], Kept::Range(0, 1), &mut self.numbers)?;
            self.groups.resize();
            self.enter(0, None, Kept::Range(0, 1));
            self.touch()?;
        }
        let dirty = std::mem::take(&mut self.dirty);
        self.send(&dirty, out)?;
        self.groups.clear();
        self.told.clear();
        self.open.clear();
        self.changes.forget();
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        let open = self.open.values().map(|g| g.capacity() * 4 + 48).sum::<usize>();
        let olds = self.olds.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
        let cuts = self.changes.bytes() + self.spare.bytes();
        self.groups.bytes() + self.told.capacity() * size_of::<Told>() + self.dirty.capacity() * 4 + cuts + open + olds
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        self.cut(true)
    }
    fn snapshot_changes(&mut self, _epoch: u64) -> Result<Frozen> {
        self.cut(false)
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        self.load_layers(&[&state.bytes], &|_| true).map(|_| ())
    }
    fn restore_layers(&mut self, layers: &[&[u8]], mine: &dyn Fn(u16) -> bool) -> Result<bool> {
        self.load_layers(layers, mine)
    }
    fn release(&mut self, group: u16) {
        // cannot fail on what came from the same table
        let _ = self.compact(&|g| g != group);
    }
}
