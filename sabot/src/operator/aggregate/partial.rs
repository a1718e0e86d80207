//! The first phase: groups of one split.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{FieldRef, SchemaRef};

use super::AggregateSpec;
use super::raw::Raw;
use super::spec::Groups;
use super::window::{Units, words};
use crate::kernel::{Morsel, Origin};
use crate::operator::ipc;
use crate::operator::kept::{RowList, pick, split_of};
use crate::operator::keys::in_key_groups;
use crate::operator::{Account, EventTime, Frozen, GroupState, Instance, Kept, Operator, OperatorFactory, Output, Progress};
use crate::{Error, Result};

/// Rows between two looks at the size of the table, counted from the start of the split, so that flushes do not depend
/// on how a split is cut into morsels.
const PIECE: u64 = 4096;
/// Rows of a split after which it is decided whether grouping pays.
const TRIAL: u64 = 2 * PIECE;
/// It does not if more than this many of a hundred rows began a group: then a split has so many keys that it would have to
/// be many times as long as the trial to repeat most of them.
const NEW_OF_100: u64 = 95;
/// Groups at which a table is sent on before its split ends: about 10 MB of keys and states, and the whole life of a
/// split that never ends.
const MAX_GROUPS: usize = 1 << 18;

/// Groups at which a table of a window that has not ended is looked at: keys and states that fit into a second-level cache.
const PASSING: usize = 1 << 13;
/// It is sent on if so many rows came for each of its groups, so that few rows are sent for those that came.
const ROWS_PER_GROUP: usize = 4;
/// And if its last rows began so many of a hundred of the groups that its rows began on average: keys pass by, such as auctions or
/// orders. If the same keys came again and again, hardly any would be new by now (of uniform ones, 8 of a hundred of the average).
const STEADY_OF_100: usize = 75;

/// Rows of a split so far, in a snapshot's metadata.
const SEEN: &str = "sabot.seen";
/// Whether rows of a split are sent as they come, in a snapshot's metadata.
const RAW: &str = "sabot.raw";

/// Aggregates the rows of each split, in row order; see the [module](super).
pub struct PartialAggregate {
    spec: Arc<AggregateSpec>,
    schema: SchemaRef,
    fields: Vec<FieldRef>,
    keys: Vec<usize>,
    inputs: Vec<Vec<usize>>,
    counts: Vec<usize>,
    window: Option<(Units, usize)>,
    splits: Vec<Split>,
    spare: Vec<Groups>,
    list: RowList,
    groups: Vec<u32>,
    max_groups: usize,
    pace: Pace,
    raw: Raw,
}

/// When groups are sent on, besides at the end of their split or pane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// When the table is large.
    Tables,
    /// Also when it has grown a little, and will not be of use for the rows to come: less is left to do when the window ends.
    Passing,
    /// Rows are sent as they come, one partial state each.
    Rows,
    /// At the end of each morsel.
    Morsels,
}

struct Split {
    origin: Origin,
    groups: Groups,
    seen: u64,
    sent: u64,
    /// Whether rows are sent as they come. Decided by the first rows of the split alone, so that it does not depend on
    /// threads or morsels.
    raw: bool,
    /// No pane begins earlier: watermarks that end none are over at once.
    earliest: i64,
    /// Rows in the table, and its groups as they were some rows ago.
    rows: usize,
    before: usize,
}

impl Split {
    /// Whether keys pass by: the table will not be of use for the rows to come. Asked once for each [`PIECE`].
    fn passes(&mut self) -> bool {
        let groups = self.groups.keys.len();
        let new = groups - std::mem::replace(&mut self.before, groups).min(groups);
        groups >= PASSING && self.rows >= groups * ROWS_PER_GROUP && new * self.rows * 100 >= groups * PIECE as usize * STEADY_OF_100
    }
}

impl std::fmt::Debug for PartialAggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartialAggregate").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl PartialAggregate {
    /// Instances over rows of schema `input`; their output has [`AggregateSpec::partial_schema`]. About `tables` splits are
    /// open at a time.
    ///
    /// # Errors
    /// If the specification does not fit the input.
    pub fn factory(spec: Arc<AggregateSpec>, input: &SchemaRef, tables: usize) -> Result<Arc<dyn OperatorFactory>> {
        Self::factory_with(spec, input, MAX_GROUPS / tables.max(1))
    }
    /// As [`factory`](Self::factory), with the number of groups at which a table is sent on early.
    pub(crate) fn factory_with(spec: Arc<AggregateSpec>, input: &SchemaRef, max_groups: usize) -> Result<Arc<dyn OperatorFactory>> {
        Self::make(spec, input, max_groups, Pace::Tables)
    }
    /// As [`factory`](Self::factory), for windows whose end is not that of a pane: rows are sent as they come, one partial state
    /// each, so that the second phase knows all rows before the watermark.
    ///
    /// # Errors
    /// As for [`factory`](Self::factory).
    pub fn prompt(spec: Arc<AggregateSpec>, input: &SchemaRef) -> Result<Arc<dyn OperatorFactory>> {
        Self::make(spec, input, MAX_GROUPS, Pace::Rows)
    }
    /// As [`factory`](Self::factory), for windows of rows that need not end: where keys pass by, groups are sent on before a window ends.
    ///
    /// # Errors
    /// As for [`factory`](Self::factory).
    pub fn passing(spec: Arc<AggregateSpec>, input: &SchemaRef) -> Result<Arc<dyn OperatorFactory>> {
        Self::make(spec, input, MAX_GROUPS, Pace::Passing)
    }
    /// As [`factory`](Self::factory), for results that are sent as they change: groups are sent on at the end of each morsel.
    ///
    /// # Errors
    /// As for [`factory`](Self::factory).
    pub fn each_morsel(spec: Arc<AggregateSpec>, input: &SchemaRef) -> Result<Arc<dyn OperatorFactory>> {
        Self::make(spec, input, MAX_GROUPS, Pace::Morsels)
    }
    fn make(spec: Arc<AggregateSpec>, input: &SchemaRef, max_groups: usize, pace: Pace) -> Result<Arc<dyn OperatorFactory>> {
        let input = Arc::clone(input);
        Self::build(Arc::clone(&spec), &input, max_groups, pace)?;
        Ok(Arc::new(move |_: Instance| Ok(Box::new(Self::build(Arc::clone(&spec), &input, max_groups, pace)?) as Box<dyn Operator>)))
    }
    fn build(spec: Arc<AggregateSpec>, input: &SchemaRef, max_groups: usize, pace: Pace) -> Result<Self> {
        let (keys, inputs) = spec.inputs(input)?;
        let window = match spec.window(input)? {
            Some((units, field)) => Some((units, input.index_of(field.name())?)),
            None => None,
        };
        let fields = spec.group_fields(input)?;
        Groups::new(&spec, &fields)?;
        Ok(PartialAggregate {
            schema: spec.partial_schema(input)?,
            counts: spec.state_counts(),
            fields,
            keys,
            inputs,
            window,
            splits: Vec::new(),
            spare: Vec::new(),
            list: RowList::default(),
            groups: Vec::new(),
            max_groups,
            pace,
            raw: Raw::new(&spec),
            spec,
        })
    }
    fn split(&mut self, origin: Origin) -> Result<usize> {
        let origin = split_of(origin);
        if let Some(at) = self.splits.iter().rposition(|s| s.origin == origin) {
            return Ok(at);
        }
        let groups = match self.spare.pop() {
            Some(groups) => groups,
            None => Groups::new(&self.spec, &self.fields)?,
        };
        let raw = self.pace == Pace::Rows;
        self.splits.push(Split { origin, groups, seen: 0, sent: 0, raw, earliest: i64::MAX, rows: 0, before: 0 });
        Ok(self.splits.len() - 1)
    }
    /// Sends the groups of a split whose panes end by `until` (all of them without a window).
    fn flush(&mut self, at: usize, until: EventTime, out: &mut dyn Output) -> Result<()> {
        let Some(split) = self.splits.get_mut(at) else { return Ok(()) };
        let (sent, kept) = match self.window {
            Some((units, _)) if until < EventTime::MAX => {
                if units.pane_end(split.earliest) > until {
                    return Ok(());
                }
                let all = split.groups.all();
                let starts = split.groups.keys.columns(&all)?.pop().ok_or_else(|| Error::internal("a window without its start"))?;
                let starts = words(&starts)?;
                let last = units.last_pane(until);
                let closed = |g: &u32| starts.get(*g as usize).is_some_and(|s| *s <= last);
                let parts = all.into_iter().partition::<Vec<u32>, _>(closed);
                split.earliest = parts.1.iter().filter_map(|g| starts.get(*g as usize)).copied().min().unwrap_or(i64::MAX);
                parts
            }
            _ => (split.groups.all(), Vec::new()),
        };
        if sent.is_empty() {
            return Ok(());
        }
        let batch = split.groups.partial(&sent, &self.schema)?;
        let rows = split.groups.rows_of(&sent);
        let origin = Origin { row: split.sent, ..split.origin };
        split.sent += sent.len() as u64;
        split.rows = split.rows.saturating_sub(rows as usize);
        split.before = kept.len();
        if kept.is_empty() {
            split.groups.clear();
        } else {
            split.groups.retain(&kept, &self.counts, &self.spec.name)?;
        }
        out.account(Account { used: rows, held: -(rows as i64), ..Account::default() });
        out.emit(Morsel::new(batch, origin));
        Ok(())
    }
    fn flush_all(&mut self, until: EventTime, out: &mut dyn Output) -> Result<()> {
        self.splits.sort_by_key(|s| s.origin);
        (0..self.splits.len()).try_for_each(|at| self.flush(at, until, out))
    }
    fn take(&mut self, at: usize, batch: &RecordBatch, origin: Origin, kept: Kept<'_>, out: &mut dyn Output) -> Result<()> {
        let mut columns = pick(batch, &self.keys)?;
        if let Some((units, time)) = self.window {
            let starts = units.starts(batch.column(time))?;
            if let Some(split) = self.splits.get_mut(at).filter(|s| !s.raw)
                && let Some(first) = words(&starts)?.iter().min()
            {
                split.earliest = split.earliest.min(*first);
            }
            columns.push(starts);
        }
        let inputs = self.inputs.iter().map(|at| pick(batch, at)).collect::<Result<Vec<_>>>()?;
        let (mut done, mut shifted) = (0, Vec::new());
        while done < kept.len() {
            let Some(split) = self.splits.get_mut(at) else { return Err(Error::internal("a split got lost")) };
            if split.raw {
                let rest = kept.part(done, kept.len());
                let batch = self.raw.rows(&self.schema, &columns, &inputs, rest, (&self.spec.name, origin))?;
                let sent = Origin { row: split.sent, ..split.origin };
                split.seen += rest.len() as u64;
                split.sent += rest.len() as u64;
                out.account(Account { used: rest.len() as u64, held: -(rest.len() as i64), ..Account::default() });
                out.emit(Morsel::new(batch, sent));
                return Ok(());
            }
            let piece = kept.part(done, (PIECE - split.seen % PIECE) as usize);
            split.groups.keys.insert(&columns, piece, &mut self.groups)?;
            split.groups.resize();
            split.groups.count(&self.groups);
            // functions that convert their input convert the piece, not the batch
            let (from, to) = piece.span();
            let rows = piece.counted_from(from, &mut shifted);
            let origin = Origin { row: origin.row + from as u64, ..origin };
            for (state, input) in split.groups.states.iter_mut().zip(&inputs) {
                let input: Vec<ArrayRef> = input.iter().map(|c| c.slice(from, to - from)).collect();
                state.update(&self.groups, rows, &input).map_err(|f| f.at(&self.spec.name, Some(origin)))?;
            }
            split.seen += piece.len() as u64;
            split.rows += piece.len();
            done += piece.len();
            if split.seen == TRIAL && self.window.is_none() && !self.keys.is_empty() {
                split.raw = split.groups.keys.len() as u64 * 100 > TRIAL * NEW_OF_100;
            }
            let look = split.seen.is_multiple_of(PIECE);
            let early = look && self.pace == Pace::Passing && split.passes();
            if split.raw || early || look && split.groups.keys.len() > self.max_groups {
                self.flush(at, EventTime::MAX, out)?;
            }
        }
        Ok(())
    }
}

impl Operator for PartialAggregate {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let at = self.split(morsel.origin)?;
        let mut list = std::mem::take(&mut self.list);
        let kept = list.of(&morsel);
        out.account(Account { held: kept.len() as i64, ..Account::default() });
        let result = self.take(at, &morsel.batch, morsel.origin, kept, out);
        self.list = list;
        result?;
        if self.pace == Pace::Morsels {
            self.flush(at, EventTime::MAX, out)?;
        }
        Ok(Progress::Done)
    }
    /// Sends panes that are complete: no later row of any split belongs to them, so what is sent does not depend on when.
    fn watermark(&mut self, _port: usize, time: EventTime, out: &mut dyn Output) -> Result<()> {
        if self.window.is_some() { self.flush_all(time, out) } else { Ok(()) }
    }
    /// The second phase waits for this instance no more, but its rows came in time: panes that are not complete go too.
    fn idle(&mut self, out: &mut dyn Output) -> Result<()> {
        if self.window.is_some() { self.flush_all(EventTime::MAX, out) } else { Ok(()) }
    }
    fn split_end(&mut self, _port: usize, origin: Origin, out: &mut dyn Output) -> Result<()> {
        let origin = split_of(origin);
        if let Some(at) = self.splits.iter().position(|s| s.origin == origin) {
            self.flush(at, EventTime::MAX, out)?;
            self.spare.push(self.splits.remove(at).groups);
        }
        Ok(())
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        self.flush_all(EventTime::MAX, out)?;
        self.splits.clear();
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.splits.iter().map(|s| &s.groups).chain(&self.spare).map(Groups::bytes).sum::<usize>() + self.raw.bytes()
    }
    /// The groups that were not sent yet, by key group, with the counts of their rows; and how far each split is.
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let mut cut = Vec::new();
        for split in self.splits.iter().filter(|s| s.seen > 0 || !s.groups.keys.is_empty()) {
            let all = split.groups.all();
            let batch = super::cut::with_rows(&split.groups.partial(&all, &self.schema)?, split.groups.rows.clone())?;
            let tags = [(SEEN.to_owned(), split.seen.to_string()), (RAW.to_owned(), u8::from(split.raw).to_string())];
            cut.push((Origin { row: split.sent, ..split.origin }, tags, batch));
        }
        let keys = self.keys.len();
        Ok(Frozen::new(move || {
            let mut states: std::collections::BTreeMap<u16, Vec<u8>> = std::collections::BTreeMap::new();
            for (origin, tags, batch) in cut {
                if batch.num_rows() == 0 {
                    ipc::push_with(&batch, origin, tags, states.entry(0).or_default())?;
                    continue;
                }
                for (group, part) in in_key_groups(&batch, batch.columns().get(..keys).unwrap_or(&[]))? {
                    ipc::push_with(&part, origin, tags.clone(), states.entry(group).or_default())?;
                }
            }
            Ok(states.into_iter().map(|(group, bytes)| GroupState { group, bytes }).collect())
        }))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        self.restore_splits(state, &|_| true).map(|_| ())
    }
    fn restore_splits(&mut self, state: &GroupState, mine: &dyn Fn(Origin) -> bool) -> Result<bool> {
        let mut bytes = state.bytes.as_slice();
        while let Some(batch) = ipc::pop(&mut bytes)? {
            let origin = ipc::origin_of(&batch)?;
            if !mine(origin) {
                continue;
            }
            let at = self.split(origin)?;
            let Some(split) = self.splits.get_mut(at) else { continue };
            split.sent = split.sent.max(origin.row);
            // not known: the next watermark looks
            split.earliest = i64::MIN;
            if let Some(seen) = ipc::tag(&batch, SEEN).and_then(|t| t.parse().ok()) {
                split.seen = seen;
                split.raw = ipc::tag(&batch, RAW) == Some("1");
            }
            super::cut::load(&mut split.groups, &batch, &self.schema, self.fields.len(), &self.counts, &self.spec.name)?;
            split.rows = split.groups.rows.iter().sum::<u64>() as usize;
            split.before = split.groups.keys.len();
        }
        Ok(true)
    }
    fn release(&mut self, group: u16) {
        for split in &mut self.splits {
            super::cut::drop_group(&mut split.groups, group, self.keys.len(), &self.counts, &self.spec.name);
        }
    }
}
