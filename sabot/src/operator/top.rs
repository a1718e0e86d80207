//! The first `n` rows in an order, of all rows or of each key; rows of equal rank in source order.
//!
//! [`PartialTop`] keeps the best rows of each split, [`Top`] the best of those. Rows are compared with the worst of the
//! best `n` so far by their *heads* (see [`Order`]), 64 at a time without a key, so that most of them cost a comparison of
//! words; those that may be better are copied, and from time to time sorted and cut to `n` again. So the order is exact,
//! nothing depends on how splits are cut, and memory is twice the result.

use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_row::Rows;
use arrow_schema::{FieldRef, SchemaRef};
use arrow_select::take::{take_arrays, take_record_batch};

use super::by_group::{ByGroup, as_declared, gather};
use super::kept::{RowList, pick, positions, split_of};
use super::keys::{by_key_group, key_groups};
use super::order::{BEYOND, Order};
use super::{Account, Frozen, GroupState, Instance, Kept, Keys, Mark, Operator, OperatorFactory, Output, Progress, SortSpec, ipc};
use crate::Result;
use crate::kernel::{Morsel, Origin, SetBits};

/// Rows that are collected before the first cut: as many as sort within the first-level cache.
const FIRST_CUT: usize = 4096;
/// Rows at which the first phase sends on what it has, so that a split of many keys is not held twice.
const MAX_ROWS: usize = 1 << 18;

/// How many rows, of what, in which order.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TopSpec {
    /// Rows to keep: of each key, if there are keys.
    pub rows: u64,
    /// Key columns.
    pub keys: Vec<String>,
    /// The step's stable id, and the order.
    pub order: SortSpec,
}

/// A row that may stay. Field order, with the row's comparable form behind the head, is the order of the result.
#[derive(Clone, Copy, Debug)]
struct Place {
    group: u32,
    head: u64,
    batch: u32,
    row: u32,
}

/// The worst row that stays of a group that is full, as a place among the sorted ones.
#[derive(Clone, Copy, Debug)]
struct Bar {
    /// Rows with this head, or a greater one, are behind it.
    below: u64,
    /// Its own head.
    head: u64,
    place: u32,
}

/// Of a group that is not full.
const NO_BAR: Bar = Bar { below: BEYOND, head: BEYOND, place: 0 };

/// The best rows so far.
#[derive(Debug)]
struct Best {
    rows: usize,
    schema: SchemaRef,
    order: Order,
    keys: Keys,
    key_at: Vec<usize>,
    batches: Vec<RecordBatch>,
    forms: Vec<Rows>,
    places: Vec<Place>,
    /// Places up to here are sorted and cut.
    sorted: usize,
    bars: Vec<Bar>,
    /// Without keys: rows with this head, or a greater one, are behind the best of another split.
    hint: u64,
    /// Rows looked at.
    seen: usize,
    /// Rows of a checkpoint that were dropped while it was read, and are still counted as held.
    lost: usize,
    heads: Vec<u64>,
    groups: Vec<u32>,
    candidates: Vec<u32>,
}

impl Best {
    fn new(spec: &TopSpec, schema: &SchemaRef) -> Result<Self> {
        let key_at = positions(schema, &spec.keys, &spec.order.name)?;
        let fields: Vec<FieldRef> = key_at.iter().filter_map(|i| schema.fields().get(*i)).cloned().collect();
        Ok(Best {
            rows: usize::try_from(spec.rows).unwrap_or(usize::MAX),
            schema: Arc::clone(schema),
            order: Order::new(&spec.order, schema)?,
            keys: Keys::new(&fields)?,
            key_at,
            batches: Vec::new(),
            forms: Vec::new(),
            places: Vec::new(),
            sorted: 0,
            bars: Vec::new(),
            hint: BEYOND,
            seen: 0,
            lost: 0,
            heads: Vec::new(),
            groups: Vec::new(),
            candidates: Vec::new(),
        })
    }
    fn clear(&mut self) {
        self.keys.clear();
        self.batches.clear();
        self.forms.clear();
        self.places.clear();
        self.sorted = 0;
        self.seen = 0;
        self.bars.clear();
    }
    /// Takes rows in, in source order. Returns how many of them may stay, and how many that were held go.
    fn offer(&mut self, batch: &RecordBatch, kept: Kept<'_>) -> Result<(usize, usize)> {
        if self.rows == 0 || kept.is_empty() {
            return Ok((0, 0));
        }
        self.order.heads(batch, &mut self.heads)?;
        let (mut done, mut taken, mut gone) = (0, 0, 0);
        while done < kept.len() {
            // pieces double, so that the bar is up before many rows were let through
            let piece = kept.part(done, FIRST_CUT.max(self.seen));
            let (t, g) = self.piece(batch, piece)?;
            (taken, gone) = (taken + t, gone + g);
            self.seen += piece.len();
            done += piece.len();
        }
        Ok((taken, gone))
    }
    fn piece(&mut self, batch: &RecordBatch, kept: Kept<'_>) -> Result<(usize, usize)> {
        self.choose(batch, kept)?;
        self.check(batch)?;
        let taken = self.candidates.len();
        if taken == 0 {
            return Ok((0, 0));
        }
        let rows = UInt32Array::from(std::mem::take(&mut self.candidates));
        let number = self.batches.len() as u32;
        for ((candidate, group), row) in rows.values().iter().zip(&self.groups).zip(0u32..) {
            let head = self.heads.get(*candidate as usize).copied().unwrap_or_default();
            self.places.push(Place { group: *group, head, batch: number, row });
        }
        let batch = as_declared(take_record_batch(batch, &rows)?, &self.schema)?;
        self.forms.push(self.order.rows(&self.order.columns(&batch)?)?);
        self.batches.push(batch);
        let room = FIRST_CUT.max(self.sorted * 2);
        let gone = if self.places.len() >= room { self.cut()? } else { 0 };
        Ok((taken, gone))
    }
    /// Takes rows of a checkpoint in.
    fn restore(&mut self, batch: &RecordBatch) -> Result<()> {
        let (taken, gone) = self.offer(batch, Kept::Range(0, batch.num_rows()))?;
        self.lost += batch.num_rows() - taken + gone;
        Ok(())
    }
    /// Rows whose heads are not behind the bar of their group: `candidates`, with their `groups`.
    fn choose(&mut self, batch: &RecordBatch, kept: Kept<'_>) -> Result<()> {
        let candidates = &mut self.candidates;
        candidates.clear();
        if self.key_at.is_empty() {
            let below = self.bars.first().map_or(BEYOND, |b| b.below).min(self.hint);
            match kept {
                Kept::Range(from, to) => {
                    let heads = self.heads.get(from..to).unwrap_or(&[]);
                    for (chunk, start) in heads.chunks(64).zip((from as u32..).step_by(64)) {
                        let word = chunk.iter().zip(0..).fold(0u64, |w, (head, bit)| w | (u64::from(*head < below) << bit));
                        candidates.extend(SetBits(word).map(|bit| start + bit as u32));
                    }
                }
                Kept::Some(rows) => candidates.extend(rows.iter().filter(|r| self.heads.get(**r as usize).is_some_and(|h| *h < below))),
            }
            self.groups.clear();
            self.groups.resize(candidates.len(), 0);
            return Ok(());
        }
        self.keys.insert(&pick(batch, &self.key_at)?, kept, &mut self.groups)?;
        self.bars.resize(self.keys.len(), NO_BAR);
        let (heads, bars, groups) = (&self.heads, &self.bars, &mut self.groups);
        let mut next = 0;
        kept.each(|i, row| {
            let Some(group) = groups.get(i).copied() else { return };
            if let (Some(head), Some(bar)) = (heads.get(row), bars.get(group as usize))
                && *head < bar.below
            {
                candidates.push(row as u32);
                if let Some(slot) = groups.get_mut(next) {
                    *slot = group;
                }
                next += 1;
            }
        });
        groups.truncate(next);
        Ok(())
    }
    /// Drops candidates that are behind their bar after all: equal heads, or equal rows.
    fn check(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.candidates.is_empty() || self.sorted == 0 {
            return Ok(());
        }
        let columns = take_arrays(&self.order.columns(batch)?, &UInt32Array::from(self.candidates.clone()), None)?;
        let forms = self.order.rows(&columns)?;
        let (places, bars, known) = (&self.places, &self.bars, &self.forms);
        let better = |i: usize, group: u32| {
            let Some(bar) = bars.get(group as usize).filter(|b| b.below < BEYOND) else { return true };
            let worst = places.get(bar.place as usize).and_then(|p| Some(known.get(p.batch as usize)?.row(p.row as usize)));
            worst.is_none_or(|worst| forms.row(i) < worst)
        };
        let stays: Vec<bool> = self.groups.iter().enumerate().map(|(i, g)| better(i, *g)).collect();
        let mut flags = stays.iter();
        self.candidates.retain(|_| flags.next().copied().unwrap_or_default());
        let mut flags = stays.iter();
        self.groups.retain(|_| flags.next().copied().unwrap_or_default());
        Ok(())
    }
    /// Sorts by group and order, and drops what is behind the first rows of each group. Returns how many rows went.
    fn cut(&mut self) -> Result<usize> {
        let lost = std::mem::take(&mut self.lost);
        if self.places.len() == self.sorted {
            return Ok(lost);
        }
        let forms = &self.forms;
        let form = |p: &Place| forms.get(p.batch as usize).map(|rows| rows.row(p.row as usize));
        // batches are in order of arrival, and in the first, of an earlier cut, equal rows are
        self.places.sort_unstable_by(|a, b| {
            (a.group, a.head).cmp(&(b.group, b.head)).then_with(|| form(a).cmp(&form(b))).then((a.batch, a.row).cmp(&(b.batch, b.row)))
        });
        let (rows, all) = (self.rows, self.places.len());
        let (mut group, mut count) = (None, 0);
        self.places.retain(|p| {
            count = if group == Some(p.group) { count + 1 } else { 1 };
            group = Some(p.group);
            count <= rows
        });
        let at: Vec<(usize, usize)> = self.places.iter().map(|p| (p.batch as usize, p.row as usize)).collect();
        let batch = gather(&self.schema, &self.batches, &at)?;
        self.forms = vec![self.order.rows(&self.order.columns(&batch)?)?];
        self.batches = vec![batch];
        self.sorted = self.places.len();
        self.bars.clear();
        self.bars.resize(self.keys.len().max(1), NO_BAR);
        (group, count) = (None, 0);
        for (place, number) in self.places.iter_mut().zip(0u32..) {
            count = if group == Some(place.group) { count + 1 } else { 1 };
            group = Some(place.group);
            (place.batch, place.row) = (0, number);
            if count == rows
                && let Some(bar) = self.bars.get_mut(place.group as usize)
            {
                *bar = Bar { below: self.order.below(place.head), head: place.head, place: number };
            }
        }
        Ok(all - self.places.len() + lost)
    }
    /// The rows that stay, by group and order, after a [`cut`](Self::cut).
    fn result(&self) -> RecordBatch {
        self.batches.first().cloned().unwrap_or_else(|| RecordBatch::new_empty(Arc::clone(&self.schema)))
    }
    fn bytes(&self) -> usize {
        let rows: usize = self.batches.iter().map(RecordBatch::get_array_memory_size).sum();
        let forms: usize = self.forms.iter().map(Rows::size).sum();
        rows + forms + self.keys.bytes() + self.places.capacity() * size_of::<Place>() + self.bars.capacity() * size_of::<Bar>()
    }
}

/// Counts what a call of [`Best::offer`] did with `rows` rows.
fn counted(rows: usize, (taken, gone): (usize, usize)) -> Account {
    Account { held: taken as i64 - gone as i64, filtered: (rows - taken + gone) as u64, ..Account::default() }
}

/// Keeps the first rows of each split.
#[derive(Debug)]
pub struct PartialTop {
    spec: Arc<TopSpec>,
    schema: SchemaRef,
    splits: Vec<(Origin, Best)>,
    spare: Vec<Best>,
    list: RowList,
}

impl PartialTop {
    /// Instances over rows of this schema.
    ///
    /// # Errors
    /// If a column does not exist, or has no order.
    pub fn factory(spec: Arc<TopSpec>, schema: &SchemaRef) -> Result<Arc<dyn OperatorFactory>> {
        let schema = Arc::clone(schema);
        Best::new(&spec, &schema)?;
        Ok(Arc::new(move |_: Instance| {
            let (spec, schema) = (Arc::clone(&spec), Arc::clone(&schema));
            Ok(Box::new(PartialTop { spec, schema, splits: Vec::new(), spare: Vec::new(), list: RowList::default() }) as Box<dyn Operator>)
        }))
    }
    /// The split's place; its origin's row counts the rows sent.
    fn split(&mut self, origin: Origin) -> Result<usize> {
        let origin = split_of(origin);
        if let Some(at) = self.splits.iter().rposition(|(o, _)| split_of(*o) == origin) {
            return Ok(at);
        }
        let best = self.spare.pop().map_or_else(|| Best::new(&self.spec, &self.schema), Ok)?;
        self.splits.push((origin, best));
        Ok(self.splits.len() - 1)
    }
    fn send((origin, best): &mut (Origin, Best), out: &mut dyn Output) -> Result<()> {
        let gone = best.cut()?;
        let batch = best.result();
        let rows = batch.num_rows();
        out.account(Account { used: rows as u64, filtered: gone as u64, held: -((rows + gone) as i64), ..Account::default() });
        if rows > 0 {
            out.emit(Morsel::new(batch, *origin));
        }
        origin.row += rows as u64;
        if let (true, Some(bar)) = (best.key_at.is_empty(), best.bars.first()) {
            best.hint = best.hint.min(bar.head.saturating_add(1));
        }
        best.clear();
        Ok(())
    }
}

impl Operator for PartialTop {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let at = self.split(morsel.origin)?;
        let kept = self.list.of(&morsel);
        let Some(split) = self.splits.get_mut(at) else { return Ok(Progress::Done) };
        out.account(counted(kept.len(), split.1.offer(&morsel.batch, kept)?));
        if split.1.sorted > MAX_ROWS {
            Self::send(split, out)?;
        }
        Ok(Progress::Done)
    }
    fn split_end(&mut self, _port: usize, origin: Origin, out: &mut dyn Output) -> Result<()> {
        let origin = split_of(origin);
        if let Some(at) = self.splits.iter().position(|(o, _)| split_of(*o) == origin) {
            let mut split = self.splits.remove(at);
            Self::send(&mut split, out)?;
            self.spare.push(split.1);
        }
        Ok(())
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        let mut splits = std::mem::take(&mut self.splits);
        splits.sort_by_key(|(o, _)| *o);
        splits.iter_mut().try_for_each(|split| Self::send(split, out))?;
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.splits.iter().map(|(_, best)| best.bytes()).sum()
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let cut: Vec<(Origin, Vec<RecordBatch>)> = self.splits.iter().map(|(o, best)| (*o, best.batches.clone())).collect();
        Ok(Frozen::new(move || {
            let mut bytes = Vec::new();
            for (origin, batches) in cut {
                batches.iter().try_for_each(|batch| ipc::push_with_origin(batch, origin, &mut bytes))?;
            }
            Ok(if bytes.is_empty() { Vec::new() } else { vec![GroupState { group: 0, bytes }] })
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
            if let Some((sent, best)) = self.splits.get_mut(at) {
                sent.row = origin.row;
                best.restore(&batch)?;
            }
        }
        Ok(true)
    }
}

/// Keeps the first rows of all, or of each key, and sends them in order at the end.
#[derive(Debug)]
pub struct Top {
    best: Best,
    node: u32,
    list: RowList,
}

impl Top {
    /// Instances for plan node `node`, with input in source order: hashed by the keys, or, without, gathered. Rows come by
    /// key group (the split of their origin), key, and order.
    ///
    /// # Errors
    /// If a column does not exist, or has no order.
    pub fn factory(spec: Arc<TopSpec>, schema: &SchemaRef, node: u32) -> Result<Arc<dyn OperatorFactory>> {
        let schema = Arc::clone(schema);
        Best::new(&spec, &schema)?;
        Ok(Arc::new(move |_: Instance| {
            Ok(Box::new(Top { best: Best::new(&spec, &schema)?, node, list: RowList::default() }) as Box<dyn Operator>)
        }))
    }
    /// The key group of each row; without keys they are one.
    fn key_groups(&self, batch: &RecordBatch) -> Result<Vec<u16>> {
        if self.best.key_at.is_empty() {
            Ok(vec![0; batch.num_rows()])
        } else {
            key_groups(&pick(batch, &self.best.key_at)?, batch.num_rows())
        }
    }
}

impl Operator for Top {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let kept = self.list.of(&morsel);
        out.account(counted(kept.len(), self.best.offer(&morsel.batch, kept)?));
        Ok(Progress::Done)
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        let gone = self.best.cut()?;
        out.account(Account { filtered: gone as u64, held: -(gone as i64), ..Account::default() });
        let batch = self.best.result();
        let mut by_group = ByGroup::new(self.node, &self.best.schema);
        by_group.put(batch.clone(), &self.key_groups(&batch)?)?;
        if let Some(group) = by_group.groups().first() {
            out.pass(Mark::Ascending(Origin { source: self.node, partition: 0, split: u64::from(*group), row: 0 }));
        }
        by_group.flush(out)?;
        self.best.clear();
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.best.bytes()
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let mut cut = Vec::new();
        for batch in &self.best.batches {
            cut.push((batch.clone(), self.key_groups(batch)?));
        }
        Ok(Frozen::new(move || {
            let mut states: std::collections::BTreeMap<u16, Vec<u8>> = std::collections::BTreeMap::new();
            for (batch, groups) in cut {
                let (order, ranges) = by_key_group(&groups);
                let sorted = take_record_batch(&batch, &UInt32Array::from(order))?;
                for (group, range) in ranges {
                    ipc::push(&sorted.slice(range.start, range.len()), states.entry(group).or_default())?;
                }
            }
            Ok(states.into_iter().map(|(group, bytes)| GroupState { group, bytes }).collect())
        }))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        let mut bytes = state.bytes.as_slice();
        while let Some(batch) = ipc::pop(&mut bytes)? {
            self.best.restore(&batch)?;
        }
        Ok(())
    }
    fn release(&mut self, group: u16) {
        let batches = self.best.batches.clone();
        self.best.clear();
        for batch in batches {
            let Ok(groups) = self.key_groups(&batch) else { return };
            let live: Vec<u32> = groups.iter().zip(0..).filter(|(g, _)| **g != group).map(|(_, row)| row).collect();
            // cannot fail on rows that were taken in before
            let _ = self.best.offer(&batch, Kept::Some(&live));
        }
    }
}
