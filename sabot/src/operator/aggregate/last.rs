//! The second phase: partial states of all splits, merged in split order.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{FieldRef, SchemaRef};

use super::AggregateSpec;
use super::cut::{drop_group, load, with_rows};
use super::disk::Disk;
use super::emission::Emission;
use super::extent::bounds;
use super::finished::finished;
use super::hops::Ahead;
use super::sessions::Sessions;
use super::spec::{Groups, state_slices};
use super::window::{Units, words};
use crate::kernel::Morsel;
use crate::kernel::hash::{KEY_GROUPS, instance_of};
use crate::operator::ipc;
use crate::operator::kept::RowList;
use crate::operator::keys::{in_key_groups, key_groups};
use crate::operator::spill::{Memory, Part};
use crate::operator::{
    Account, END_OF_TIME, EventTime, Frozen, GroupState, Instance, Kept, Mark, Operator, OperatorFactory, Output, Progress,
};
use crate::{Error, Result};

/// Rows that a key group emitted, in a snapshot's metadata.
const EMITTED: &str = "sabot.emitted";
/// Groups that are written at once.
const CHUNK: usize = 8192;
/// The watermark, in a snapshot's metadata.
const WATERMARK: &str = "sabot.watermark";

/// Panes that are merged at once, and windows that are emitted at once.
pub(super) const MANY: usize = 8192;

/// Merges partial states; see the [module](super).
///
/// Input: the output of [`PartialAggregate`](super::PartialAggregate), hashed by the key columns and ordered by split.
/// Output rows come by key group (the `split` of their origin), then window, then first appearance.
pub struct FinalAggregate {
    pub(super) spec: Arc<AggregateSpec>,
    pub(super) node: u32,
    instance: Instance,
    pub(super) partial: SchemaRef,
    pub(super) schema: SchemaRef,
    /// Key columns, and the start of a pane.
    pub(super) fields: Vec<FieldRef>,
    pub(super) counts: Vec<usize>,
    pub(super) window: Option<Units>,
    pub(super) groups: Groups,
    /// Groups of each pane of open windows, by its start; not of sessions.
    pub(super) open: BTreeMap<i64, Vec<u32>>,
    pub(super) sessions: Option<Sessions>,
    /// The next of windows that overlap, as far as it can be known.
    pub(super) ahead: Option<Ahead>,
    /// Whether more of it may be known than is merged.
    behind: bool,
    /// Groups whose windows were emitted; dropped when they are the majority.
    pub(super) dead: usize,
    pub(super) watermark: EventTime,
    /// Until then nothing is done that takes long.
    quiet: EventTime,
    /// Rows that each key group emitted.
    pub(super) emitted: Vec<u64>,
    list: RowList,
    numbers: Vec<u32>,
    pub(super) memory: Option<Memory>,
    pub(super) disk: Option<Disk>,
    pub(super) finishing: Option<Emission>,
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
        let window = spec.window(input)?.map(|(units, _)| units);
        Ok(FinalAggregate {
            node,
            instance,
            partial: spec.partial_schema(input)?,
            schema: Arc::clone(output),
            counts: spec.state_counts(),
            window,
            sessions: match window {
                Some(units) if units.session => Some(Sessions::new(units, fields.get(..spec.keys.len()).unwrap_or(&[]))?),
                _ => None,
            },
            groups: Groups::new(&spec, &fields)?,
            fields,
            open: BTreeMap::new(),
            ahead: None,
            behind: false,
            dead: 0,
            watermark: EventTime::MIN,
            quiet: EventTime::MIN,
            emitted: vec![0; usize::from(KEY_GROUPS)],
            list: RowList::default(),
            numbers: Vec::new(),
            memory: None,
            disk: None,
            finishing: None,
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
            let last = units.last_pane(self.watermark);
            let late = |row: usize| starts.get(row).is_some_and(|s| *s <= last);
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
        out.account(Account { held: kept.len() as i64, ..Account::default() });
        let stays;
        if let Some(disk) = &mut self.disk {
            stays = disk.divert(batch, kept)?;
            kept = Kept::Some(&stays);
        }
        let before = self.groups.keys.len();
        self.groups.keys.insert(columns, kept, &mut self.numbers)?;
        self.groups.resize();
        self.groups.count(&self.numbers);
        for (state, columns) in self.groups.states.iter_mut().zip(states) {
            state.merge(&self.numbers, kept, columns).map_err(|f| f.at(&self.spec.name, None))?;
        }
        match (&starts, &mut self.sessions) {
            (Some((_, starts)), Some(sessions)) => {
                let extents = columns.len().checked_sub(2).and_then(|at| columns.get(at..));
                sessions.enter(columns, &self.numbers, kept, starts, bounds(extents.unwrap_or(&[]))?)?;
            }
            (Some((_, starts)), None) => self.enter(before, starts, kept),
            (None, _) => {}
        }
        Ok(())
    }
    /// The result of these groups, of the window that begins at `start` if their keys do not tell.
    pub(super) fn result(&self, of: &Groups, groups: &[u32], start: Option<i64>) -> Result<RecordBatch> {
        let start = match (self.window, start, self.fields.last()) {
            (Some(units), Some(start), Some(field)) => Some(units.column(vec![start; groups.len()], field.data_type())?),
            _ => None,
        };
        finished(&self.spec, &self.schema, self.window, of, groups, start)
    }
    /// Emits the windows that end after `from`, by `until`.
    fn emit_windows(&mut self, from: EventTime, until: EventTime, out: &mut dyn Output) -> Result<()> {
        let Some(units) = self.window else { return Ok(()) };
        if self.hops() {
            return self.emit_hops(units, from, until, out);
        }
        let groups = self.close(until)?;
        let mut emission = self.emission(&self.groups, &groups)?;
        while self.emit_some(&mut emission, u16::MAX, out)? {}
        self.emit_windows_on_disk(until, out)?;
        self.dead += groups.len();
        Ok(())
    }
    /// Takes the tumbling windows, or the sessions, that end by `until`: their groups, in order.
    fn close(&mut self, until: EventTime) -> Result<Vec<u32>> {
        if self.sessions.is_some() {
            return self.close_sessions(until);
        }
        let mut groups = Vec::new();
        while let (Some(units), Some(first)) = (self.window, self.open.first_entry())
            && units.end(*first.key()) <= until
        {
            groups.extend(first.remove());
        }
        Ok(groups)
    }
    /// Reads all of them, for there is no other way to find the rows of a window.
    fn emit_windows_on_disk(&mut self, until: EventTime, out: &mut dyn Output) -> Result<()> {
        let (Some(units), Some(disk)) = (self.window, &mut self.disk) else { return Ok(()) };
        if disk.earliest == i64::MAX || units.end(disk.earliest) > until {
            return Ok(());
        }
        disk.parts.flush()?;
        disk.earliest = i64::MAX;
        let over = |start: i64| units.end(start) <= until;
        for group in disk.parts.all() {
            let Some(disk) = &mut self.disk else { break };
            let part = disk.take_until(group, &over)?;
            if let Some((_, mut merge)) = self.emit_part(group, &part, out)? {
                while self.emit_merged(group, &mut merge, out)? {}
            }
        }
        Ok(())
    }
    /// What results need not wait for: drops dead groups if they are many, and merges what is known of the next window. Dropping takes long, and steps
    /// behind that have just got results may need the thread, so it waits a little; unless memory is short of use.
    fn tidy(&mut self) -> Result<()> {
        let (dead, all) = (self.dead, self.groups.keys.len());
        if dead * 2 > all && (self.watermark >= self.quiet || dead * 4 > all * 3) {
            self.compact()?;
        }
        if let Some(units) = self.window.filter(|_| self.behind) {
            self.behind = self.merge_ahead(units)?;
        }
        Ok(())
    }
    /// Whether this instance gets the rows of an aggregation without keys.
    fn owns_all(&self) -> Result<bool> {
        let group = key_groups(&[], 1)?.first().copied().unwrap_or_default();
        Ok(instance_of(group, KEY_GROUPS, self.instance.of) == self.instance.index)
    }
    /// Bytes of the groups.
    fn table_bytes(&self) -> usize {
        let sessions = self.sessions.as_ref().map_or(0, Sessions::bytes);
        self.groups.bytes() + self.open.values().map(|g| g.capacity() * 4 + 48).sum::<usize>() + sessions
    }
    /// Moves the largest key groups to disk, about half of all groups.
    fn evict(&mut self) -> Result<()> {
        let Some(memory) = self.memory.clone() else { return Ok(()) };
        let live = self.live();
        let mut lists: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
        for (group, of) in live.iter().zip(self.key_groups_of(&self.groups, &live)?) {
            lists.entry(of).or_default().push(*group);
        }
        let mut by_size: Vec<(u16, usize)> = lists.iter().map(|(of, list)| (*of, list.len())).collect();
        by_size.sort_by_key(|(of, size)| (std::cmp::Reverse(*size), *of));
        let disk = match &mut self.disk {
            Some(disk) => disk,
            none => none.insert(Disk::new(&memory, self.spec.keys.len(), self.window.is_some())?),
        };
        let mut gone = 0;
        for (of, size) in by_size {
            if gone * 2 >= live.len() {
                break;
            }
            gone += size;
            for some in lists.remove(&of).unwrap_or_default().chunks(CHUNK) {
                disk.write(of, &with_rows(&self.groups.partial(some, &self.partial)?, rows_at(&self.groups, some))?)?;
            }
        }
        // a new table, since a cleared one keeps its memory
        let mut stay: Vec<u32> = lists.into_values().flatten().collect();
        stay.sort_unstable();
        let mut groups = Groups::new(&self.spec, &self.fields)?;
        for some in stay.chunks(CHUNK) {
            let cut = with_rows(&self.groups.partial(some, &self.partial)?, rows_at(&self.groups, some))?;
            load(&mut groups, &cut, &self.partial, self.fields.len(), &self.counts, &self.spec.name)?;
        }
        self.groups = groups;
        self.dead = 0;
        self.reenter()
    }
    /// Whether windows overlap.
    fn hops(&self) -> bool {
        self.window.is_some_and(|units| !units.tumbling() && !units.session)
    }
    /// The groups that are still to be emitted, in order of appearance.
    fn live(&self) -> Vec<u32> {
        let mut live: Vec<u32> = match (&self.sessions, self.window) {
            (Some(sessions), _) => sessions.groups().collect(),
            (None, Some(_)) => self.open.values().flatten().copied().collect(),
            (None, None) => return self.groups.all(),
        };
        live.sort_unstable();
        live
    }
    /// Drops the groups of emitted windows.
    fn compact(&mut self) -> Result<()> {
        let live = self.live();
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
        let columns = self.groups.keys.columns(&all)?;
        let starts = words(columns.last().ok_or_else(|| Error::internal("a window without its start"))?)?;
        if let (Some(sessions), Some(extent)) = (&mut self.sessions, self.groups.states.last()) {
            return sessions.rebuild(&columns, &all, &starts, bounds(&extent.state(&all)?)?);
        }
        for (group, start) in all.iter().zip(starts.iter()) {
            self.open.entry(*start).or_default().push(*group);
        }
        Ok(())
    }
}

fn rows_at(groups: &Groups, some: &[u32]) -> Vec<u64> {
    some.iter().map(|g| groups.rows.get(*g as usize).copied().unwrap_or_default()).collect()
}

impl Operator for FinalAggregate {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        self.tidy()?;
        let mut list = std::mem::take(&mut self.list);
        let kept = list.of(&morsel);
        let result = self.take(&morsel.batch, kept, out);
        self.list = list;
        result.map(|()| Progress::Done)
    }
    fn watermark(&mut self, _port: usize, time: EventTime, out: &mut dyn Output) -> Result<()> {
        let before = self.watermark;
        self.watermark = before.max(time);
        self.behind = self.hops();
        // at the end of time `finish` follows, which may pause between windows
        if time == END_OF_TIME && !self.hops() {
            return Ok(());
        }
        let dead = self.dead;
        self.emit_windows(before, self.watermark, out)?;
        if self.dead > dead {
            self.quiet = self.window.map_or(self.watermark, |units| self.watermark.saturating_add(units.pause()));
        }
        if self.dead == dead { self.tidy() } else { Ok(()) }
    }
    fn hold(&self) -> EventTime {
        if let Some(sessions) = &self.sessions {
            return sessions.hold();
        }
        let disk = self.disk.as_ref().map(|d| d.earliest).filter(|start| *start < i64::MAX);
        let first = self.open.first_key_value().map(|(pane, _)| *pane).into_iter().chain(disk).min();
        match (self.window, first) {
            // the results of a window carry its end - 1
            (Some(units), Some(start)) if units.tumbling() => units.end(start).saturating_sub(1),
            (Some(units), Some(pane)) => units.end(units.first_window(pane, self.watermark)).saturating_sub(1),
            _ => END_OF_TIME,
        }
    }
    fn resume(&mut self, out: &mut dyn Output) -> Result<Progress> {
        self.pump(out)
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        if self.hops() {
            self.emit_windows(self.watermark, EventTime::MAX, out)?;
            return Ok(Progress::Done);
        }
        if self.spec.global() && self.owns_all()? && self.groups.keys.is_empty() && self.disk.is_none() {
            self.groups.keys.insert(&[], Kept::Range(0, 1), &mut self.numbers)?;
            self.groups.resize();
        }
        if let Some(disk) = &mut self.disk {
            disk.parts.flush()?;
        }
        let groups = if self.window.is_some() { self.close(EventTime::MAX)? } else { self.groups.all() };
        let emission = self.emission(&self.groups, &groups)?;
        if let Some(first) = emission.first(self.node, self.disk.as_ref().and_then(|d| d.parts.first())) {
            out.pass(Mark::Ascending(first));
        }
        self.finishing = Some(emission);
        self.pump(out)
    }
    fn held_bytes(&self) -> usize {
        let disk = self.disk.as_ref().map_or(0, |d| d.parts.bytes());
        let ahead = self.ahead.as_ref().map_or(0, Ahead::bytes);
        self.table_bytes() + disk + ahead + self.finishing.as_ref().map_or(0, Emission::bytes)
    }
    fn memory(&mut self, memory: Memory) {
        self.memory = Some(memory);
    }
    fn spillable_bytes(&self) -> usize {
        // a pane on disk would belong to several windows
        let can =
            self.memory.is_some() && self.finishing.is_none() && self.window.is_none_or(Units::tumbling) && self.groups.keys.len() > 1;
        if can { self.table_bytes() } else { 0 }
    }
    fn spill(&mut self) -> Result<()> {
        if self.spillable_bytes() > 0 { self.evict() } else { Ok(()) }
    }
    /// Keys and states of the open groups, by key group; what is on disk is read back.
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        if let Some(disk) = &mut self.disk {
            disk.parts.flush()?;
        }
        let mut on_disk: BTreeMap<u16, Part> = self.disk.iter().flat_map(|d| d.parts.parts()).collect();
        let live = self.live();
        let rows = live.iter().map(|g| self.groups.rows.get(*g as usize).copied().unwrap_or_default()).collect();
        let cut = with_rows(&self.groups.partial(&live, &self.partial)?, rows)?;
        let (keys, emitted, watermark) = (self.spec.keys.len(), self.emitted.clone(), self.watermark);
        Ok(Frozen::new(move || {
            let parts = in_key_groups(&cut, cut.columns().get(..keys).unwrap_or(&[]))?;
            let mut in_memory: BTreeMap<u16, RecordBatch> = parts.into_iter().collect();
            let mut states = Vec::new();
            for (group, count) in emitted.iter().enumerate() {
                let tags = [(EMITTED.to_owned(), count.to_string()), (WATERMARK.to_owned(), watermark.to_string())];
                let mut bytes = Vec::new();
                if let Some(part) = on_disk.remove(&(group as u16)) {
                    for block in &part.blocks {
                        ipc::push(&ipc::tagged(&part.file.read(block)?, tags.clone())?, &mut bytes)?;
                    }
                }
                if !bytes.is_empty() {
                    states.push(GroupState { group: group as u16, bytes });
                    continue;
                }
                let part = match in_memory.remove(&(group as u16)) {
                    Some(part) => part,
                    None if *count > 0 => cut.slice(0, 0),
                    None => continue,
                };
                ipc::push(&ipc::tagged(&part, tags)?, &mut bytes)?;
                states.push(GroupState { group: group as u16, bytes });
            }
            Ok(states)
        }))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        self.ahead = None;
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
        self.ahead = None;
        if let Some(slot) = self.emitted.get_mut(usize::from(group)) {
            *slot = 0;
        }
        if let Some(disk) = &mut self.disk {
            // what cannot be written now stays in memory
            let _ = disk.parts.flush();
            disk.parts.take(group);
        }
        if self.window.is_none() || self.compact().is_ok() {
            drop_group(&mut self.groups, group, self.spec.keys.len(), &self.counts, &self.spec.name);
            // cannot fail where `compact` did not
            let _ = self.reenter();
        }
    }
}
