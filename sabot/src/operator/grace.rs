//! Joins with more rows than memory: a join in memory, and key groups on disk.
//!
//! Idea: hybrid hash join (DeWitt et al. 1984) around any operator that joins rows of equal keys. As long as memory suffices it
//! is that operator and nothing else. When memory is short while the build side (port 1) comes in, half of its key groups go
//! to disk; probe rows (port 0) of those key groups follow them. At the end each key group on disk is joined by a new
//! instance of the operator, divided by more bits of the hash first if its build side does not fit.
//!
//! Rows whose key group was on disk come out at the end, by key group (in partition 1 of their origin), behind the build rows without
//! a partner that were in memory; so what follows does not see them in source order; a
//! hash join promises none, unless all of its rows come by key group. Only the build side of one key cannot be divided: it must fit into memory.

use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_select::take::take_record_batch;

use super::kept::{RowList, positions};
use super::spill::{DEPTH, Memory, Part, Parts};
use super::{Account, EventTime, Frozen, GroupState, Instance, Kept, Mark, Operator, OperatorFactory, Output, Progress, ipc};
use crate::kernel::hash::KEY_GROUPS;
use crate::kernel::{Morsel, Origin};
use crate::record::{bytes_of, own};
use crate::{Error, Result};
use arrow_schema::{Schema, SchemaRef};

/// What a join in memory takes, about, for a byte of its build side: the rows as they came, in one piece, and their index.
const BUILT: usize = 3;

/// In a snapshot's metadata: which rows a batch holds.
const SIDE: &str = "sabot.side";

/// A join that can spill.
pub struct Grace {
    name: Arc<str>,
    factory: Arc<dyn OperatorFactory>,
    instance: Instance,
    inner: Box<dyn Operator>,
    /// Positions of the key columns of both sides.
    keys: [Vec<usize>; 2],
    memory: Option<Memory>,
    /// Build rows that are not in the join yet.
    rows: Vec<RecordBatch>,
    bytes: usize,
    built: bool,
    /// Key groups on disk: probe side, build side.
    disk: Option<[Parts; 2]>,
    work: Work,
    /// Whether the join's rows come out by key group, those from disk in their place among them.
    by_group: bool,
    /// The key group on disk that is being joined, and how many rows it has sent.
    sent: (u16, u64),
}

/// What comes after the last row.
enum Work {
    Input,
    /// The join in memory finishes.
    Inner,
    /// Pairs of parts to join, the last first, with their key group and how often they were divided.
    Parts(Vec<(u16, usize, [Part; 2])>, Option<Joining>),
}

/// A pair of parts under way.
struct Joining {
    join: Box<dyn Operator>,
    group: u16,
    probe: Part,
    /// The next block, and the next row.
    at: usize,
    row: u64,
    /// The join has more for the last block; and it was told that there is no other.
    more: bool,
    finished: bool,
}

/// Output that nobody sees: rows that are counted already.
struct Silent;

impl Output for Silent {
    fn emit(&mut self, _: Morsel) {}
    fn full(&self) -> bool {
        false
    }
    fn account(&mut self, _: Account) {}
    fn satisfied(&mut self) {}
    fn pass(&mut self, _: Mark) {}
    fn emit_failed(&mut self, _: Morsel) {}
}

/// Output of a key group that was on disk: rows are numbered, so that they come in the order of their origins.
struct Numbered<'a> {
    out: &'a mut dyn Output,
    partition: u32,
    sent: &'a mut (u16, u64),
}

/// The place of a row of a key group that was on disk. The runtime sets the source.
fn place(partition: u32, (group, row): (u16, u64)) -> Origin {
    Origin { source: 0, partition, split: u64::from(group), row }
}

impl Output for Numbered<'_> {
    fn emit(&mut self, morsel: Morsel) {
        let rows = morsel.rows() as u64;
        self.out.emit(Morsel { origin: place(self.partition, *self.sent), ..morsel });
        self.sent.1 += rows;
    }
    fn full(&self) -> bool {
        self.out.full()
    }
    fn account(&mut self, rows: Account) {
        self.out.account(rows);
    }
    fn satisfied(&mut self) {
        self.out.satisfied();
    }
    /// Of the whole join the caller speaks.
    fn pass(&mut self, _: Mark) {}
    fn emit_failed(&mut self, morsel: Morsel) {
        self.out.emit_failed(morsel);
    }
}

impl std::fmt::Debug for Grace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grace").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Grace {
    /// Instances around those of `join`, which takes its build side on port 1. `on` are the key columns of both sides.
    ///
    /// # Errors
    /// If a key column does not exist.
    #[allow(clippy::too_many_arguments)]
    pub fn factory(
        name: &str,
        join: Arc<dyn OperatorFactory>,
        (left, left_on): (&SchemaRef, &[String]),
        (right, right_on): (&SchemaRef, &[String]),
        by_group: bool,
    ) -> Result<Arc<dyn OperatorFactory>> {
        let keys = [positions(left, left_on, name)?, positions(right, right_on, name)?];
        let name: Arc<str> = name.into();
        Ok(Arc::new(move |instance: Instance| {
            let inner = join.create(instance)?;
            let (name, factory, keys) = (Arc::clone(&name), Arc::clone(&join), keys.clone());
            let (rows, work) = (Vec::new(), Work::Input);
            let grace = Grace {
                name,
                factory,
                instance,
                inner,
                keys,
                memory: None,
                rows,
                bytes: 0,
                built: false,
                disk: None,
                work,
                by_group,
                sent: (0, 0),
            };
            Ok(Box::new(grace) as Box<dyn Operator>)
        }))
    }
    fn keep(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = own(batch)?;
        self.bytes += bytes_of(&batch);
        self.rows.push(batch);
        Ok(())
    }
    /// The key group of each build row.
    fn build_groups(&self, batch: &RecordBatch) -> Result<Vec<u16>> {
        let [_, on] = &self.keys;
        let columns: Vec<_> = on.iter().filter_map(|k| batch.columns().get(*k)).cloned().collect();
        super::keys::key_groups(&columns, batch.num_rows())
    }
    /// Gives the kept build rows to the join.
    fn give(&mut self) -> Result<()> {
        self.bytes = 0;
        for batch in std::mem::take(&mut self.rows) {
            self.inner.process(1, Morsel::new(batch, Origin::default()), &mut Silent)?;
        }
        Ok(())
    }
    /// Puts the rows of a side that belong on disk there; returns the others, if there are any.
    fn divert(&mut self, port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Option<Morsel>> {
        let Some(side) = self.disk.as_mut().and_then(|d| d.get_mut(port)) else { return Ok(Some(morsel)) };
        let mut list = RowList::default();
        let (goes, stays) = side.sort_out(&morsel.batch, list.of(&morsel))?;
        if goes.is_empty() {
            return Ok(Some(morsel));
        }
        out.account(Account { held: goes.len() as i64, ..Account::default() });
        side.push(&take_record_batch(&morsel.batch, &UInt32Array::from(goes))?)?;
        if stays.is_empty() {
            return Ok(None);
        }
        Ok(Some(Morsel::new(take_record_batch(&morsel.batch, &UInt32Array::from(stays))?, morsel.origin)))
    }
    fn disk(&mut self) -> Result<&mut [Parts; 2]> {
        if self.disk.is_none() {
            let memory = self.memory.as_ref().ok_or_else(|| Error::internal("a join without memory spills"))?;
            let [left, right] = &self.keys;
            self.disk = Some([Parts::new(memory, left.clone())?, Parts::new(memory, right.clone())?]);
        }
        self.disk.as_mut().ok_or_else(|| Error::internal("a join lost its files"))
    }
    /// Moves the largest key groups of the build side to disk, about half of its rows.
    fn evict(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let [probe, build] = self.disk()?;
        let groups = rows.iter().map(|b| build.key_groups(b)).collect::<Result<Vec<_>>>()?;
        let mut sizes: Vec<(usize, u16)> = (0..KEY_GROUPS).map(|g| (0, g)).collect();
        for group in groups.iter().flatten() {
            sizes.iter_mut().skip(usize::from(*group)).take(1).for_each(|s| s.0 += 1);
        }
        let total: usize = sizes.iter().map(|s| s.0).sum();
        sizes.sort_by_key(|(size, group)| (std::cmp::Reverse(*size), *group));
        let mut gone = 0;
        for (size, group) in sizes {
            if gone * 2 >= total {
                break;
            }
            gone += size;
            build.open(group);
            probe.open(group);
        }
        for batch in rows {
            let [_, build] = self.disk()?;
            let (goes, stays) = build.sort_out(&batch, Kept::Range(0, batch.num_rows()))?;
            if !goes.is_empty() {
                build.push(&take_record_batch(&batch, &UInt32Array::from(goes))?)?;
            }
            if !stays.is_empty() {
                self.keep(&take_record_batch(&batch, &UInt32Array::from(stays))?)?;
            }
        }
        Ok(())
    }
    /// The next pair of parts, divided until its build side fits.
    fn next_part(&mut self) -> Result<Option<Joining>> {
        let (Some(memory), Work::Parts(stack, _)) = (&self.memory, &mut self.work) else { return Ok(None) };
        loop {
            if stack.is_empty() {
                let Some([probe, build]) = &mut self.disk else { return Ok(None) };
                let Some(group) = build.first().or_else(|| probe.first()) else { return Ok(None) };
                stack.push((group, 0, [probe.take(group), build.take(group)]));
            }
            let Some((group, depth, [probe, build])) = stack.pop() else { continue };
            if build.bytes() * BUILT > memory.share() && depth < DEPTH {
                let [left, right] = &self.keys;
                let probes = probe.divide(memory, left, depth, Ok)?;
                let builds = build.divide(memory, right, depth, Ok)?;
                stack.extend(probes.into_iter().zip(builds).rev().map(|(p, b)| (group, depth + 1, [p, b])));
                continue;
            }
            if build.blocks.is_empty() && probe.blocks.is_empty() {
                continue;
            }
            let mut join = self.factory.create(self.instance)?;
            for block in &build.blocks {
                join.process(1, Morsel::new(build.file.read(block)?, Origin::default()), &mut Silent)?;
            }
            join.finish(1, &mut Silent)?;
            return Ok(Some(Joining { join, group, probe, at: 0, row: 0, more: false, finished: false }));
        }
    }
    fn pump(&mut self, out: &mut dyn Output) -> Result<Progress> {
        loop {
            let Work::Parts(_, joining) = &mut self.work else { return Ok(Progress::Done) };
            let mut current = match joining.take() {
                Some(joining) => joining,
                None => match self.next_part()? {
                    Some(joining) => joining,
                    None => {
                        (self.work, self.disk) = (Work::Input, None);
                        return Ok(Progress::Done);
                    }
                },
            };
            if self.sent.0 != current.group {
                self.sent = (current.group, 0);
            }
            let over = current.step(&mut Numbered { out: &mut *out, partition: u32::from(!self.by_group), sent: &mut self.sent })?;
            if let (Work::Parts(_, joining), false) = (&mut self.work, over) {
                *joining = Some(current);
            }
            if out.full() {
                return Ok(Progress::More);
            }
        }
    }
    /// What the join in memory did at its end; the parts on disk follow.
    fn after_inner(&mut self, progress: Progress, out: &mut dyn Output) -> Result<Progress> {
        if progress == Progress::More {
            self.work = Work::Inner;
            return Ok(progress);
        }
        let Some(disk) = &mut self.disk else {
            self.work = Work::Input;
            return Ok(progress);
        };
        disk.iter_mut().try_for_each(Parts::flush)?;
        if let (Some(group), false) = (disk.iter().filter_map(Parts::first).min(), self.by_group) {
            out.pass(Mark::Ascending(place(1, (group, 0))));
        }
        self.work = Work::Parts(Vec::new(), None);
        self.pump(out)
    }
}

impl Joining {
    /// One call of the join; `true` if it was the last.
    fn step(&mut self, out: &mut dyn Output) -> Result<bool> {
        let progress = if self.more {
            self.join.resume(out)?
        } else if let Some(block) = self.probe.blocks.get(self.at) {
            let batch = self.probe.file.read(block)?;
            let origin = Origin { source: 0, partition: 0, split: u64::from(self.group), row: self.row };
            self.at += 1;
            self.row += batch.num_rows() as u64;
            // the join counts them again
            out.account(Account { held: -(batch.num_rows() as i64), ..Account::default() });
            self.join.process(0, Morsel::new(batch, origin), out)?
        } else {
            self.finished = true;
            self.join.finish(0, out)?
        };
        self.more = progress == Progress::More;
        Ok(self.finished && !self.more)
    }
}

impl Operator for Grace {
    fn ready(&self, port: usize) -> bool {
        self.inner.ready(port)
    }
    fn process(&mut self, port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let Some(morsel) = self.divert(port, morsel, out)? else { return Ok(Progress::Done) };
        if port == 1 && self.memory.is_some() {
            out.account(Account { held: morsel.rows() as i64, ..Account::default() });
            self.keep(&morsel.compact()?)?;
            return Ok(Progress::Done);
        }
        if port == 1 {
            self.give()?;
        }
        self.inner.process(port, morsel, out)
    }
    fn resume(&mut self, out: &mut dyn Output) -> Result<Progress> {
        match self.work {
            Work::Input => self.inner.resume(out),
            Work::Inner => {
                let progress = self.inner.resume(out)?;
                self.after_inner(progress, out)
            }
            Work::Parts(..) => self.pump(out),
        }
    }
    fn watermark(&mut self, port: usize, time: EventTime, out: &mut dyn Output) -> Result<()> {
        self.inner.watermark(port, time, out)
    }
    fn hold(&self) -> EventTime {
        // rows on disk may be of any time
        if self.disk.is_some() { EventTime::MIN } else { self.inner.hold() }
    }
    fn split_end(&mut self, port: usize, origin: Origin, out: &mut dyn Output) -> Result<()> {
        self.inner.split_end(port, origin, out)
    }
    fn finish(&mut self, port: usize, out: &mut dyn Output) -> Result<Progress> {
        if port == 1 {
            self.give()?;
            self.built = true;
            return self.inner.finish(port, out);
        }
        let progress = self.inner.finish(port, out)?;
        self.after_inner(progress, out)
    }
    fn held_bytes(&self) -> usize {
        let disk: usize = self.disk.iter().flatten().map(Parts::bytes).sum();
        let joining = if let Work::Parts(_, Some(j)) = &self.work { j.join.held_bytes() } else { 0 };
        self.bytes * BUILT + disk + joining + self.inner.held_bytes()
    }
    fn memory(&mut self, memory: Memory) {
        self.memory = Some(memory);
    }
    fn spillable_bytes(&self) -> usize {
        if self.memory.is_some() && !self.built { self.bytes * BUILT } else { 0 }
    }
    fn spill(&mut self) -> Result<()> {
        if self.spillable_bytes() > 0 { self.evict() } else { Ok(()) }
    }
    /// The state of the join, build rows that are not in it yet, and what is on disk, by key group.
    fn snapshot(&mut self, epoch: u64) -> Result<Frozen> {
        let inner = self.inner.snapshot(epoch)?;
        let mut batches: Vec<(u16, &str, Kind)> = Vec::new();
        if let Some(disk) = &mut self.disk {
            disk.iter_mut().try_for_each(Parts::flush)?;
            for (side, name) in disk.iter().zip(["probe", "disk"]) {
                batches.extend(side.parts().into_iter().map(|(group, part)| (group, name, Kind::Disk(part))));
            }
        }
        for batch in &self.rows {
            let (order, ranges) = super::keys::by_key_group(&self.build_groups(batch)?);
            let sorted = take_record_batch(batch, &UInt32Array::from(order))?;
            batches.extend(ranges.into_iter().map(|(g, r)| (g, "build", Kind::Memory(sorted.slice(r.start, r.len())))));
        }
        Ok(Frozen::new(move || {
            let mut states: std::collections::BTreeMap<u16, Vec<u8>> = std::collections::BTreeMap::new();
            for state in inner.write()? {
                let mut bytes = (state.bytes.len() as u64).to_le_bytes().to_vec();
                bytes.extend(state.bytes);
                states.insert(state.group, bytes);
            }
            for (group, side, kind) in batches {
                let bytes = states.entry(group).or_insert_with(|| vec![0; 8]);
                let mut add = |batch: &RecordBatch| ipc::push(&ipc::tagged(batch, [(SIDE.to_owned(), side.to_owned())])?, bytes);
                match kind {
                    Kind::Memory(batch) => add(&batch)?,
                    Kind::Disk(part) => part.blocks.iter().try_for_each(|b| add(&part.file.read(b)?))?,
                }
            }
            Ok(states.into_iter().map(|(group, bytes)| GroupState { group, bytes }).collect())
        }))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        let mut bytes = state.bytes.as_slice();
        let head = crate::record::take(&mut bytes, 8)?.first_chunk::<8>().copied().unwrap_or_default();
        let length = usize::try_from(u64::from_le_bytes(head)).map_err(|_| Error::Checkpoint("state is cut short".into()))?;
        let inner = crate::record::take(&mut bytes, length)?;
        if !inner.is_empty() {
            self.inner.restore(&GroupState { group: state.group, bytes: inner.to_vec() })?;
        }
        while let Some(batch) = ipc::pop(&mut bytes)? {
            let side = ipc::tag(&batch, SIDE).unwrap_or_default().to_owned();
            let schema = Arc::new(Schema::new(batch.schema_ref().fields().clone()));
            let batch = RecordBatch::try_new(schema, batch.columns().to_vec())?;
            match (side.as_str(), self.memory.is_some()) {
                ("probe", false) => {
                    return Err(Error::Checkpoint(format!(
                        "`{}` had rows on disk, because its memory was limited; go on with a limit (`--memory`)",
                        self.name
                    )));
                }
                ("build", _) | ("disk", false) => self.keep(&batch)?,
                (other, true) => {
                    let [probe, build] = self.disk()?;
                    probe.open(state.group);
                    build.open(state.group);
                    if other == "probe" { probe.push(&batch)? } else { build.push(&batch)? }
                }
                _ => return Err(Error::Checkpoint(format!("the state of `{}` has rows of no side", self.name))),
            }
        }
        Ok(())
    }
    fn release(&mut self, group: u16) {
        self.inner.release(group);
        for side in self.disk.iter_mut().flatten() {
            let _ = side.flush();
            side.take(group);
        }
        let kept = self.rows.iter().map(|batch| {
            let rows = self.build_groups(batch)?.into_iter().zip(0u32..).filter(|(g, _)| *g != group);
            Ok(take_record_batch(batch, &rows.map(|(_, row)| row).collect::<UInt32Array>())?)
        });
        if let Ok(rows) = kept.collect::<Result<Vec<_>>>() {
            self.bytes = rows.iter().map(bytes_of).sum();
            self.rows = rows;
        }
    }
}

/// Rows of a snapshot.
enum Kind {
    Memory(RecordBatch),
    Disk(Part),
}
