//! The results of a final aggregate on their way out: key group by key group, a piece at a time.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, UInt64Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::cut::load;
use super::disk::{NUMBER, divide, numbers};
use super::last::FinalAggregate;
use super::spec::Groups;
use super::window::words;
use crate::kernel::{Morsel, Origin};
use crate::operator::kept::batch_with;
use crate::operator::keys::{by_key_group, key_groups};
use crate::operator::sort::{Merge, Run, SortKey, SortSpec, Sorter};
use crate::operator::spill::{DEPTH, Part};
use crate::operator::{Account, Output, Progress};
use crate::record::bytes_of;
use crate::{Error, Result};

/// Rows of an output batch.
const OUT_ROWS: usize = 8192;
/// Groups whose keys are made into columns at once.
const CHUNK: usize = 1 << 16;
/// The start of a row's window, beside results on disk.
const WINDOW: &str = "sabot.window";

/// What is still to be sent.
#[derive(Default)]
pub(super) struct Emission {
    /// Groups in memory, by key group.
    order: Vec<u32>,
    ranges: VecDeque<(u16, Range<usize>)>,
    /// Results on disk of a key group that did not fit into memory.
    merge: Option<(u16, Merge)>,
}

/// Results of groups that lie one behind the other in an emission, by key group.
pub(super) struct Piece {
    batch: RecordBatch,
    ranges: Vec<(u16, Range<usize>)>,
    /// Input rows of these groups.
    rows: u64,
}

impl Emission {
    /// Of these groups, listed by key group.
    pub(super) fn listed(by_key_group: &[Vec<u32>]) -> Self {
        let mut ends = 0;
        let ranges = by_key_group.iter().zip(0u16..).filter(|(list, _)| !list.is_empty()).map(|(list, group)| {
            let start = ends;
            ends += list.len();
            (group, start..ends)
        });
        Emission { ranges: ranges.collect(), order: by_key_group.concat(), merge: None }
    }
    pub(super) fn bytes(&self) -> usize {
        self.order.capacity() * 4 + self.merge.as_ref().map_or(0, |(_, m)| m.bytes())
    }
    /// Where its first row will be, if it has any.
    pub(super) fn first(&self, node: u32, on_disk: Option<u16>) -> Option<Origin> {
        let group = self.ranges.front().map(|(group, _)| *group).into_iter().chain(on_disk).min()?;
        Some(Origin { source: node, partition: 0, split: u64::from(group), row: 0 })
    }
    /// The next groups to send of the key groups before `until`: ranges of `order`, one behind the other, of about [`OUT_ROWS`].
    fn next(&mut self, until: u16) -> Vec<(u16, Range<usize>)> {
        let (mut rows, mut out) = (0, Vec::new());
        while let Some((group, range)) = self.ranges.front_mut().filter(|(g, _)| *g < until && rows < OUT_ROWS) {
            let end = range.end.min(range.start + OUT_ROWS - rows);
            out.push((*group, range.start..end));
            rows += end - range.start;
            range.start = end;
            if range.start >= range.end {
                self.ranges.pop_front();
            }
        }
        out
    }
}

impl FinalAggregate {
    /// The key group of each of these groups of a table.
    pub(super) fn key_groups_of(&self, of: &Groups, groups: &[u32]) -> Result<Vec<u16>> {
        let mut out = Vec::with_capacity(groups.len());
        for some in groups.chunks(CHUNK) {
            let columns = of.keys.columns(some)?;
            out.extend(key_groups(columns.get(..self.spec.keys.len()).unwrap_or(&[]), some.len())?);
        }
        Ok(out)
    }
    /// These groups of a table, by key group, then in this order.
    pub(super) fn emission(&self, of: &Groups, groups: &[u32]) -> Result<Emission> {
        let (mut order, ranges) = by_key_group(&self.key_groups_of(of, groups)?);
        order.iter_mut().for_each(|at| *at = groups.get(*at as usize).copied().unwrap_or_default());
        Ok(Emission { order, ranges: ranges.into(), merge: None })
    }
    /// Sends groups of memory, of key groups before `until`, and counts their rows; `false` if there is none.
    pub(super) fn emit_some(&mut self, emission: &mut Emission, until: u16, out: &mut dyn Output) -> Result<bool> {
        let Some(piece) = self.piece(&self.groups, emission, until, None)? else { return Ok(false) };
        out.account(Account { used: piece.rows, held: -(piece.rows as i64), ..Account::default() });
        self.send_piece(piece, out);
        Ok(true)
    }
    /// The next results of a table, of the window that begins at `start` if its keys do not tell.
    pub(super) fn piece(&self, of: &Groups, emission: &mut Emission, until: u16, start: Option<i64>) -> Result<Option<Piece>> {
        let ranges = emission.next(until);
        let (Some(first), Some(last)) = (ranges.first().map(|r| r.1.start), ranges.last().map(|r| r.1.end)) else { return Ok(None) };
        let groups = emission.order.get(first..last).unwrap_or(&[]);
        Ok(Some(Piece { batch: self.result(of, groups, start)?, rows: of.rows_of(groups), ranges }))
    }
    pub(super) fn send_piece(&mut self, piece: Piece, out: &mut dyn Output) {
        let first = piece.ranges.first().map_or(0, |r| r.1.start);
        for (group, range) in piece.ranges {
            self.send(group, piece.batch.slice(range.start - first, range.len()), out);
        }
    }
    fn send(&mut self, group: u16, batch: RecordBatch, out: &mut dyn Output) {
        let Some(emitted) = self.emitted.get_mut(usize::from(group)) else { return };
        let origin = Origin { source: self.node, partition: 0, split: u64::from(group), row: *emitted };
        *emitted += batch.num_rows() as u64;
        out.emit(Morsel::new(batch, origin));
    }
    /// Sends what is left, ascending by key group.
    pub(super) fn pump(&mut self, out: &mut dyn Output) -> Result<Progress> {
        let Some(mut emission) = self.finishing.take() else { return Ok(Progress::Done) };
        let mut worked = false;
        loop {
            if out.full() && worked {
                self.finishing = Some(emission);
                return Ok(Progress::More);
            }
            worked = true;
            if let Some((group, merge)) = &mut emission.merge {
                if !self.emit_merged(*group, merge, out)? {
                    emission.merge = None;
                }
                continue;
            }
            let disk = self.disk.as_ref().and_then(|d| d.parts.first());
            if self.emit_some(&mut emission, disk.unwrap_or(u16::MAX), out)? {
                continue;
            }
            let Some((group, disk)) = disk.zip(self.disk.as_mut()) else { break };
            let part = disk.parts.take(group);
            emission.merge = self.emit_part(group, &part, out)?;
        }
        self.open.clear();
        if let Some(sessions) = &mut self.sessions {
            sessions.clear();
        }
        self.disk = None;
        self.groups.clear();
        Ok(Progress::Done)
    }
    /// Sends a key group that was on disk, or returns its results as a merge if its groups do not fit into memory.
    pub(super) fn emit_part(&mut self, group: u16, part: &Part, out: &mut dyn Output) -> Result<Option<(u16, Merge)>> {
        let Some(memory) = &self.memory else { return Ok(None) };
        if let Some((groups, _)) = self.table(part, Some(memory.share()))? {
            let list = self.listed(&groups)?;
            let rows = groups.rows_of(&list);
            out.account(Account { used: rows, held: -(rows as i64), ..Account::default() });
            for some in list.chunks(OUT_ROWS) {
                let result = self.result(&groups, some, None)?;
                self.send(group, result, out);
            }
            return Ok(None);
        }
        let mut rows = 0;
        let (sorter, runs) = self.divided(part, 0, &mut rows)?;
        out.account(Account { used: rows, held: -(rows as i64), ..Account::default() });
        match sorter {
            Some(sorter) => Ok(Some((group, Merge::new(&sorter, runs)?))),
            None => Ok(None),
        }
    }
    /// Sends results from disk; `false` if there are no more.
    pub(super) fn emit_merged(&mut self, group: u16, merge: &mut Merge, out: &mut dyn Output) -> Result<bool> {
        let Some(batch) = merge.next(OUT_ROWS)? else { return Ok(false) };
        let columns = batch.columns().get(..self.schema.fields().len()).unwrap_or(&[]).to_vec();
        self.send(group, super::spec::batch(&self.schema, columns, batch.num_rows())?, out);
        Ok(true)
    }
    /// Merges the rows of a part, in order, with the number of the first row of each group; `None` if the groups take more
    /// than `limit` bytes.
    fn table(&self, part: &Part, limit: Option<usize>) -> Result<Option<(Groups, Vec<u64>)>> {
        let mut groups = Groups::new(&self.spec, &self.fields)?;
        let mut firsts = Vec::new();
        for block in &part.blocks {
            let (batch, given) = numbers(part.file.read(block)?, &self.partial)?;
            let of = load(&mut groups, &batch, &self.partial, self.fields.len(), &self.counts, &self.spec.name)?;
            for (group, number) in of.iter().zip(given.into_iter().flatten()) {
                if *group as usize == firsts.len() {
                    firsts.push(number);
                }
            }
            if limit.is_some_and(|limit| groups.bytes() > limit) {
                return Ok(None);
            }
        }
        Ok(Some((groups, firsts)))
    }
    /// All groups: by window, then in order of appearance.
    fn listed(&self, groups: &Groups) -> Result<Vec<u32>> {
        let mut list = groups.all();
        if self.window.is_some() && !list.is_empty() {
            let starts = groups.keys.columns(&list)?.pop().ok_or_else(|| Error::internal("a window without its start"))?;
            let starts = words(&starts)?;
            list.sort_by_key(|g| starts.get(*g as usize).copied().unwrap_or_default());
        }
        Ok(list)
    }
    /// Divides a part, and makes the results of its parts runs in the order in which they are sent.
    fn divided(&self, part: &Part, depth: usize, rows: &mut u64) -> Result<(Option<Arc<Sorter>>, Vec<Run>)> {
        let Some(memory) = &self.memory else { return Ok((None, Vec::new())) };
        let file = memory.file()?;
        let (mut sorter, mut runs) = (None, Vec::new());
        for part in divide(part, memory, self.fields.len(), depth)?.into_iter().filter(|p| !p.blocks.is_empty()) {
            let limit = (depth + 1 < DEPTH).then(|| memory.share());
            let mut run = Run::new(&file);
            match self.table(&part, limit)? {
                Some((groups, firsts)) => {
                    let list = self.listed(&groups)?;
                    *rows += groups.rows_of(&list);
                    let mut size = OUT_ROWS;
                    for (at, some) in (0..list.len()).step_by(OUT_ROWS).zip(list.chunks(OUT_ROWS)) {
                        let batch = self.numbered(&groups, some, &firsts)?;
                        if at == 0 {
                            size = memory.block_rows(bytes_of(&batch), batch.num_rows());
                        }
                        sorter.get_or_insert(batch.schema());
                        for from in (0..batch.num_rows()).step_by(size) {
                            run.push(&batch.slice(from, size.min(batch.num_rows() - from)))?;
                        }
                    }
                }
                None => {
                    let (Some(inner), parts) = self.divided(&part, depth + 1, rows)? else { continue };
                    sorter.get_or_insert(inner.schema());
                    let mut merge = Merge::new(&inner, parts)?;
                    while let Some(batch) = merge.next(OUT_ROWS)? {
                        let size = memory.block_rows(bytes_of(&batch), batch.num_rows());
                        for from in (0..batch.num_rows()).step_by(size) {
                            run.push(&batch.slice(from, size.min(batch.num_rows() - from)))?;
                        }
                    }
                }
            }
            runs.push(run);
        }
        let sorter = match sorter {
            Some(schema) => Some(Arc::new(Sorter::new(Arc::new(order(self.window.is_some(), &self.spec.name)), &schema)?)),
            None => None,
        };
        Ok((sorter, runs))
    }
    /// Results with the columns that tell their order.
    fn numbered(&self, groups: &Groups, list: &[u32], firsts: &[u64]) -> Result<RecordBatch> {
        let mut batch = self.result(groups, list, None)?;
        // names of the user's are not in the way
        let fields = batch.schema_ref().fields().iter().enumerate().map(|(i, f)| f.as_ref().clone().with_name(format!("{i}")));
        let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        batch = super::spec::batch(&schema, batch.columns().to_vec(), list.len())?;
        if self.window.is_some() {
            let starts = groups.keys.columns(list)?.pop().ok_or_else(|| Error::internal("a window without its start"))?;
            let starts: Int64Array = words(&starts)?.iter().copied().collect();
            batch = batch_with(&batch, Field::new(WINDOW, DataType::Int64, false), Arc::new(starts))?;
        }
        let numbers: UInt64Array = list.iter().map(|g| firsts.get(*g as usize).copied().unwrap_or_default()).collect();
        batch_with(&batch, Field::new(NUMBER, DataType::UInt64, false), Arc::new(numbers))
    }
}

fn order(windowed: bool, name: &str) -> SortSpec {
    let key = |column: &str| SortKey { column: column.into(), ascending: true, nulls_first: false };
    let by = if windowed { vec![key(WINDOW), key(NUMBER)] } else { vec![key(NUMBER)] };
    SortSpec { name: name.into(), by }
}
