//! The second phase: partial states of all splits, merged in split order.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow_schema::{DataType, FieldRef, SchemaRef, TimeUnit};

use super::AggregateSpec;
use super::cut::{drop_group, load, with_rows};
use super::spec::{Groups, batch, state_slices};
use super::window::{Units, words};
use crate::kernel::hash::{KEY_GROUPS, instance_of};
use crate::kernel::{Morsel, Origin};
use crate::operator::instants::micros;
use crate::operator::ipc;
use crate::operator::kept::RowList;
use crate::operator::keys::{by_key_group, key_groups};
use crate::operator::{Account, END_OF_TIME, EventTime, Frozen, GroupState, Instance, Kept, Operator, OperatorFactory, Output, Progress};
use crate::{Error, Result};

/// Rows that a key group emitted, in a snapshot's metadata.
const EMITTED: &str = "sabot.emitted";
/// The watermark, in a snapshot's metadata.
const WATERMARK: &str = "sabot.watermark";

/// Panes that are merged at once, and windows that are emitted at once, where windows overlap.
const MANY: usize = 8192;

/// Result rows, and which of them belong to which key group.
type Results = (RecordBatch, Vec<(u16, std::ops::Range<usize>)>);

/// Merges partial states; see the [module](super).
///
/// Input: the output of [`PartialAggregate`](super::PartialAggregate), hashed by the key columns and ordered by split.
/// Output rows come by key group (the `split` of their origin), then window, then first appearance.
pub struct FinalAggregate {
    spec: Arc<AggregateSpec>,
    node: u32,
    instance: Instance,
    partial: SchemaRef,
    schema: SchemaRef,
    /// Key columns, and the start of a pane.
    fields: Vec<FieldRef>,
    counts: Vec<usize>,
    window: Option<Units>,
    groups: Groups,
    /// Groups of each pane of open windows, by its start.
    open: BTreeMap<i64, Vec<u32>>,
    /// Groups whose windows were emitted; dropped when they are the majority.
    dead: usize,
    watermark: EventTime,
    /// Rows that each key group emitted.
    emitted: Vec<u64>,
    list: RowList,
    numbers: Vec<u32>,
}

impl std::fmt::Debug for FinalAggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FinalAggregate").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl FinalAggregate {
    /// Instances for plan node `node`. `input` is the schema of the rows that the first phase aggregates.
    ///
    /// # Errors
    /// If the specification does not fit the input.
    pub fn factory(spec: Arc<AggregateSpec>, input: &SchemaRef, node: u32) -> Result<Arc<dyn OperatorFactory>> {
        let output = spec.output_schema(input)?;
        Self::factory_as(spec, input, &output, node)
    }
    /// As [`factory`](Self::factory), with these output columns: by position, so names may differ from those of the key
    /// columns; the bounds of a window may be timestamps of another unit or zone.
    ///
    /// # Errors
    /// As for [`factory`](Self::factory), and if there are more or fewer columns.
    pub fn factory_as(spec: Arc<AggregateSpec>, input: &SchemaRef, output: &SchemaRef, node: u32) -> Result<Arc<dyn OperatorFactory>> {
        let (input, output) = (Arc::clone(input), Arc::clone(output));
        if spec.output_schema(&input)?.fields().len() != output.fields().len() {
            return Err(Error::Plan(format!("`{}` makes other columns than the plan says", spec.name)));
        }
        Self::build(Arc::clone(&spec), &input, &output, node, Instance { index: 0, of: 1 })?;
        Ok(Arc::new(move |i: Instance| Ok(Box::new(Self::build(Arc::clone(&spec), &input, &output, node, i)?) as Box<dyn Operator>)))
    }
    fn build(spec: Arc<AggregateSpec>, input: &SchemaRef, output: &SchemaRef, node: u32, instance: Instance) -> Result<Self> {
        let fields = spec.group_fields(input)?;
        Ok(FinalAggregate {
            node,
            instance,
            partial: spec.partial_schema(input)?,
            schema: Arc::clone(output),
            counts: spec.state_counts(),
            window: spec.window(input)?.map(|(units, _)| units),
            groups: Groups::new(&spec, &fields)?,
            fields,
            open: BTreeMap::new(),
            dead: 0,
            watermark: EventTime::MIN,
            emitted: vec![0; usize::from(KEY_GROUPS)],
            list: RowList::default(),
            numbers: Vec::new(),
            spec,
        })
    }
    /// Enters groups from number `from` on into their panes. The numbers are those of the rows `starts`.
    fn enter(&mut self, from: usize, starts: &[i64], kept: Kept<'_>) {
        let mut next = from as u32;
        let numbers = &self.numbers;
        let open = &mut self.open;
        kept.each(|i, row| {
            if numbers.get(i) == Some(&next)
                && let Some(start) = starts.get(row)
            {
                open.entry(*start).or_default().push(next);
                next += 1;
            }
        });
    }
    fn take(&mut self, batch: &RecordBatch, kept: Kept<'_>, out: &mut dyn Output) -> Result<()> {
        let columns = batch.columns();
        let states = state_slices(columns, self.fields.len(), &self.counts)?;
        let starts = match self.window {
            Some(units) => {
                let column = columns.get(self.fields.len() - 1).ok_or_else(|| Error::internal("a partial aggregate without its window"))?;
                Some((units, words(column)?))
            }
            None => None,
        };
        // panes behind the watermark take no more rows
        let mut in_time = Vec::new();
        let mut kept = kept;
        if let Some((units, starts)) = &starts {
            let late = |row: usize| starts.get(row).is_some_and(|s| units.pane_end(*s) <= self.watermark);
            let mut any = false;
            kept.each(|_, row| any |= late(row));
            if any {
                kept.each(|_, row| {
                    if !late(row) {
                        in_time.push(row as u32)
                    }
                });
                out.account(Account { late: (kept.len() - in_time.len()) as u64, ..Account::default() });
                kept = Kept::Some(&in_time);
            }
        }
        let before = self.groups.keys.len();
        self.groups.keys.insert(columns, kept, &mut self.numbers)?;
        self.groups.resize();
        self.groups.count(&self.numbers);
        for (state, columns) in self.groups.states.iter_mut().zip(states) {
            state.merge(&self.numbers, kept, columns).map_err(|f| f.at(&self.spec.name, None))?;
        }
        if let Some((_, starts)) = &starts {
            self.enter(before, starts, kept);
        }
        out.account(Account { held: kept.len() as i64, ..Account::default() });
        Ok(())
    }
    /// Emits these groups: by key group, then in this order.
    fn emit(&mut self, groups: &[u32], out: &mut dyn Output) -> Result<()> {
        let rows = self.groups.rows_of(groups);
        let result = self.results(&self.groups, groups)?;
        out.account(Account { used: rows, held: -(rows as i64), ..Account::default() });
        self.send(result, out);
        Ok(())
    }
    /// The results of these groups of `of`, and which of them belong to which key group.
    fn results(&self, of: &Groups, groups: &[u32]) -> Result<Results> {
        let keys = of.keys.columns(groups)?;
        let key_columns = keys.get(..self.spec.keys.len()).unwrap_or(&[]);
        let (order, ranges) = by_key_group(&key_groups(key_columns, groups.len())?);
        let groups: Vec<u32> = order.iter().filter_map(|i| groups.get(*i as usize)).copied().collect();
        let order = UInt32Array::from(order);
        let mut columns = arrow_select::take::take_arrays(&keys, &order, None)?;
        if let (Some(units), Some(starts)) = (self.window, columns.last()) {
            columns.push(units.ends(starts)?);
        }
        for state in &of.states {
            columns.push(state.finish(&groups).map_err(|f| f.at(&self.spec.name, None))?);
        }
        let columns = self.declared(columns)?;
        Ok((batch(&self.schema, columns, groups.len())?, ranges))
    }
    fn send(&mut self, (result, ranges): Results, out: &mut dyn Output) {
        for (group, range) in ranges {
            let Some(emitted) = self.emitted.get_mut(usize::from(group)) else { continue };
            let origin = Origin { source: self.node, partition: 0, split: u64::from(group), row: *emitted };
            *emitted += range.len() as u64;
            out.emit(Morsel::new(result.slice(range.start, range.len()), origin));
        }
    }
    /// The columns as the output declares them.
    fn declared(&self, mut columns: Vec<ArrayRef>) -> Result<Vec<ArrayRef>> {
        for (column, field) in columns.iter_mut().zip(self.schema.fields()) {
            if column.data_type() != field.data_type() {
                *column = match field.data_type() {
                    DataType::Timestamp(TimeUnit::Microsecond, None) => Arc::new(TimestampMicrosecondArray::from(micros(column)?)),
                    other => arrow_cast::cast(column, other)?,
                };
            }
            if !field.is_nullable() && column.null_count() > 0 {
                return Err(Error::Operator {
                    operator: self.spec.name.clone(),
                    what: format!(
                        "failed: `{0}` of no rows has no value; to get a null then, aggregate an `Option`, as in `{0}: min(Some(x))`",
                        field.name()
                    ),
                    row: "the end of its input".into(),
                });
            }
        }
        Ok(columns)
    }
    /// Emits the windows that end after `from`, by `until`.
    fn emit_windows(&mut self, from: EventTime, until: EventTime, out: &mut dyn Output) -> Result<()> {
        let Some(units) = self.window else { return Ok(()) };
        if !units.tumbling() {
            return self.emit_hops(units, from, until, out);
        }
        let mut groups = Vec::new();
        while let Some(first) = self.open.first_entry()
            && units.end(*first.key()) <= until
        {
            groups.extend(first.remove());
        }
        if groups.is_empty() {
            return Ok(());
        }
        self.emit(&groups, out)?;
        self.bury(groups.len())
    }
    /// As [`emit_windows`](Self::emit_windows), for windows of several panes: the states of the panes are merged in the
    /// order of time.
    fn emit_hops(&mut self, units: Units, from: EventTime, until: EventTime, out: &mut dyn Output) -> Result<()> {
        let mut windows = Groups::new(&self.spec, &self.fields)?;
        let (mut panes, mut starts, mut done) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = i64::MIN;
        while let Some((pane, _)) = self.open.first_key_value() {
            let start = units.first_window(*pane, from).max(next);
            if units.end(start) > until {
                break;
            }
            for (_, groups) in self.open.range(start..start.saturating_add(units.size)) {
                panes.extend_from_slice(groups);
            }
            starts.resize(panes.len(), start);
            next = start.saturating_add(units.slide);
            // no later window holds a pane before it
            while let Some(first) = self.open.first_entry()
                && *first.key() < next
            {
                done.extend(first.remove());
            }
            if panes.len() >= MANY {
                self.combine(units, &mut windows, &panes, std::mem::take(&mut starts))?;
                panes.clear();
            }
            if windows.keys.len() >= MANY {
                self.emit_combined(&mut windows, out)?;
            }
        }
        self.combine(units, &mut windows, &panes, starts)?;
        self.emit_combined(&mut windows, out)?;
        let rows = self.groups.rows_of(&done);
        out.account(Account { used: rows, held: -(rows as i64), ..Account::default() });
        self.bury(done.len())
    }
    /// Merges the states of panes into those of their windows, which begin at `starts`.
    fn combine(&self, units: Units, windows: &mut Groups, panes: &[u32], starts: Vec<i64>) -> Result<()> {
        if panes.is_empty() {
            return Ok(());
        }
        let mut columns = self.groups.keys.columns(panes)?;
        if let Some(last) = columns.last_mut() {
            *last = units.column(starts, last.data_type())?;
        }
        let kept = Kept::Range(0, panes.len());
        let mut numbers = Vec::new();
        windows.keys.insert(&columns, kept, &mut numbers)?;
        windows.resize();
        for (to, from) in windows.states.iter_mut().zip(&self.groups.states) {
            to.merge(&numbers, kept, &from.state(panes)?).map_err(|f| f.at(&self.spec.name, None))?;
        }
        Ok(())
    }
    fn emit_combined(&mut self, windows: &mut Groups, out: &mut dyn Output) -> Result<()> {
        if windows.keys.is_empty() {
            return Ok(());
        }
        let results = self.results(windows, &windows.all())?;
        self.send(results, out);
        windows.clear();
        Ok(())
    }
    /// Notes that so many groups are dead, and drops the dead if they are many.
    fn bury(&mut self, groups: usize) -> Result<()> {
        self.dead += groups;
        if self.dead * 2 > self.groups.keys.len() { self.compact() } else { Ok(()) }
    }
    /// Whether this instance gets the rows of an aggregation without keys.
    fn owns_all(&self) -> Result<bool> {
        let group = key_groups(&[], 1)?.first().copied().unwrap_or_default();
        Ok(instance_of(group, KEY_GROUPS, self.instance.of) == self.instance.index)
    }
    /// Drops the groups of emitted windows.
    fn compact(&mut self) -> Result<()> {
        let mut live: Vec<u32> = self.open.values().flatten().copied().collect();
        live.sort_unstable(); // order of appearance
        self.groups.retain(&live, &self.counts, &self.spec.name)?;
        self.dead = 0;
        self.reenter()
    }
    /// Finds the panes of all groups, none of which is dead.
    fn reenter(&mut self) -> Result<()> {
        self.open.clear();
        if self.window.is_none() {
            return Ok(());
        }
        let all = self.groups.all();
        let starts = self.groups.keys.columns(&all)?.pop().ok_or_else(|| Error::internal("a window without its start"))?;
        for (group, start) in all.iter().zip(words(&starts)?.iter()) {
            self.open.entry(*start).or_default().push(*group);
        }
        Ok(())
    }
}

impl Operator for FinalAggregate {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let mut list = std::mem::take(&mut self.list);
        let kept = list.of(&morsel);
        let result = self.take(&morsel.batch, kept, out);
        self.list = list;
        result.map(|()| Progress::Done)
    }
    fn watermark(&mut self, _port: usize, time: EventTime, out: &mut dyn Output) -> Result<()> {
        let before = self.watermark;
        self.watermark = before.max(time);
        self.emit_windows(before, self.watermark, out)
    }
    fn hold(&self) -> EventTime {
        match (self.window, self.open.first_key_value()) {
            // the results of a window carry its end - 1
            (Some(units), Some((pane, _))) => units.end(units.first_window(*pane, self.watermark)).saturating_sub(1),
            _ => END_OF_TIME,
        }
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        if self.window.is_some() {
            self.emit_windows(self.watermark, EventTime::MAX, out)?;
            return Ok(Progress::Done);
        }
        if self.spec.global() && self.owns_all()? && self.groups.keys.is_empty() {
            self.groups.keys.insert(&[], Kept::Range(0, 1), &mut self.numbers)?;
            self.groups.resize();
        }
        let all = self.groups.all();
        if !all.is_empty() {
            self.emit(&all, out)?;
        }
        self.groups.clear();
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.groups.bytes() + self.open.values().map(|g| g.capacity() * 4 + 48).sum::<usize>()
    }
    /// Keys and states of the open groups, by key group.
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let live: Vec<u32> = if self.window.is_some() {
            let mut live: Vec<u32> = self.open.values().flatten().copied().collect();
            live.sort_unstable();
            live
        } else {
            self.groups.all()
        };
        let rows = live.iter().map(|g| self.groups.rows.get(*g as usize).copied().unwrap_or_default()).collect();
        let cut = with_rows(&self.groups.partial(&live, &self.partial)?, rows)?;
        let (keys, emitted, watermark) = (self.spec.keys.len(), self.emitted.clone(), self.watermark);
        Ok(Frozen::new(move || {
            let (order, ranges) = by_key_group(&key_groups(cut.columns().get(..keys).unwrap_or(&[]), cut.num_rows())?);
            let sorted = arrow_select::take::take_record_batch(&cut, &UInt32Array::from(order))?;
            let mut states = Vec::new();
            let mut ranges: BTreeMap<u16, std::ops::Range<usize>> = ranges.into_iter().collect();
            for (group, count) in emitted.iter().enumerate() {
                let range = match ranges.remove(&(group as u16)) {
                    Some(range) => range,
                    None if *count > 0 => 0..0,
                    None => continue,
                };
                let tags = [(EMITTED.to_owned(), count.to_string()), (WATERMARK.to_owned(), watermark.to_string())];
                let mut bytes = Vec::new();
                ipc::push(&ipc::tagged(&sorted.slice(range.start, range.len()), tags)?, &mut bytes)?;
                states.push(GroupState { group: group as u16, bytes });
            }
            Ok(states)
        }))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        let mut bytes = state.bytes.as_slice();
        while let Some(batch) = ipc::pop(&mut bytes)? {
            let number = |name| {
                ipc::tag(&batch, name)
                    .and_then(|t| t.parse::<i64>().ok())
                    .ok_or_else(|| Error::Checkpoint(format!("the state of `{}` lacks {name}", self.spec.name)))
            };
            let (emitted, watermark) = (number(EMITTED)?, number(WATERMARK)?);
            if let Some(slot) = self.emitted.get_mut(usize::from(state.group)) {
                *slot = emitted as u64;
            }
            self.watermark = self.watermark.max(watermark);
            load(&mut self.groups, &batch, &self.partial, self.fields.len(), &self.counts, &self.spec.name)?;
        }
        self.reenter()
    }
    fn release(&mut self, group: u16) {
        if let Some(slot) = self.emitted.get_mut(usize::from(group)) {
            *slot = 0;
        }
        if self.window.is_none() || self.compact().is_ok() {
            drop_group(&mut self.groups, group, self.spec.keys.len(), &self.counts, &self.spec.name);
            // cannot fail where `compact` did not
            let _ = self.reenter();
        }
    }
}
