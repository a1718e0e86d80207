//! The state of an updating aggregate: which groups there are, and its layers in checkpoints.
//!
//! A layer holds keys, states and what is known of groups, with the old rows of those that are dirty, and then the keys of groups that are not
//! there any more. Layers are read from the last to the first: of each key the first that is met counts.
//!
//! Cost: what changes is noted ([`Changes`](crate::operator::layers::Changes)); when a cut is made, these groups are packed, a few thousand at
//! a time. A copy of them that is packed beside the processing thread would cost as much time there, and the packing besides.

use std::sync::Arc;

use arrow_array::types::{UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array, UInt64Array, cast::AsArray};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{DataType, Field, FieldRef, Schema};
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;

use super::cut::{ROWS, load};
use super::updating::{NONE, Told, UpdatingAggregate};
use super::window::words;
use crate::operator::keys::{NO_GROUP, key_groups, rows_of};
use crate::operator::layers::Written;
use crate::operator::{EventTime, Frozen, Kept, Keys, Layer, LayerRows, Piece, ipc, packed};
use crate::{Error, Result};

/// In a layer: the watermark of an instance; whether a group was sent, is dirty, and its old row.
const WATERMARK: &str = "sabot.watermark";
const SENT: &str = "sabot.sent";
const DIRTY: &str = "sabot.dirty";
const OLD: &str = "sabot.old";

impl UpdatingAggregate {
    /// Notes that groups are empty, and drops them if they are many.
    pub(super) fn bury(&mut self, gone: &[u32]) -> Result<()> {
        self.dead += gone.len();
        if self.dead * 2 > self.told.len().max(64) { self.compact(&|_| true) } else { Ok(()) }
    }
    /// Drops the groups that are over, or empty, and those of key groups that are not `mine`.
    pub(super) fn compact(&mut self, mine: &dyn Fn(u16) -> bool) -> Result<()> {
        let all = self.groups.all();
        let keys = self.groups.keys.columns(&all)?;
        let of = key_groups(keys.get(..self.spec.keys.len()).unwrap_or(&[]), all.len())?;
        let stays = |g: &u32| self.told.get(*g as usize).is_some_and(Told::live) && of.get(*g as usize).is_some_and(|group| mine(*group));
        let live: Vec<u32> = all.iter().copied().filter(stays).collect();
        // layers hold groups that are forgotten here, at least as many as those that stay
        self.changes.forget();
        self.groups.retain(&live, &self.counts, &self.spec.name)?;
        self.told = live.iter().filter_map(|g| self.told.get(*g as usize).copied()).collect();
        self.dead = 0;
        self.reenter();
        Ok(())
    }
    /// Finds the dirty groups, and those of open windows.
    fn reenter(&mut self) {
        self.open.clear();
        self.dirty.clear();
        for (number, told) in self.told.iter().enumerate() {
            if self.window.is_some() {
                self.open.entry(told.start).or_default().push(number as u32);
            }
            if told.dirty {
                self.dirty.push(number as u32);
            }
        }
    }
    /// A layer: of all groups, or of those that have changed.
    pub(super) fn cut(&mut self, whole: bool) -> Result<Frozen> {
        let (listed, whole) = self.changes.cut(whole, self.told.len());
        let (mut some, mut gone) = (listed, Vec::new());
        some.retain(|group| {
            let Some(told) = self.told.get_mut(*group as usize) else { return false };
            let (live, before) = (told.live(), told.written);
            told.written = if live { Written::Yes } else { Written::No };
            if !live && !whole && before == Written::Changed {
                gone.push(*group);
            }
            live
        });
        let tags = [self.sent.tag(), (WATERMARK.to_owned(), self.watermark.to_string())];
        let rows = LayerRows {
            written: (some.len() + gone.len()) as u64,
            live: if whole { some.len() } else { self.told.len().saturating_sub(self.dead) } as u64,
        };
        let same = self.changes.said(&tags);
        if rows.written == 0 && (whole || same) {
            return Ok(if whole { Frozen::empty() } else { Frozen::layer(move || Ok(Layer { rows, ..Layer::default() })) });
        }
        let fields = Arc::new(Schema::new(self.fields.clone()));
        let gone = super::spec::batch(&fields, self.groups.keys.columns(&gone)?, gone.len())?;
        let mut bytes = self.spare.take();
        let mut olds = 0;
        packed::begin(&Arc::new(Schema::new_with_metadata(self.columns(), tags.into())), &mut bytes)?;
        // few enough that they stay in the cache from their state to their bytes
        for (at, piece) in some.chunks(packed::ROWS).enumerate() {
            self.pack(piece, &mut olds, &mut bytes)?;
            if at == 0 {
                // what grows piece by piece is moved again and again
                bytes.reserve(bytes.len().saturating_mul(some.len() / packed::ROWS));
            }
        }
        packed::end(&mut bytes);
        for batch in [self.olds_of(&some)?, gone] {
            packed::push(&batch.schema(), &[batch], &mut bytes)?;
        }
        let spare = self.spare.clone();
        Ok(Frozen::layer(move || Ok(Layer { bytes, whole, rows, spare })))
    }
    /// The old rows of these groups.
    fn olds_of(&self, groups: &[u32]) -> Result<RecordBatch> {
        let told = groups.iter().filter_map(|g| self.told.get(*g as usize));
        let rows: UInt32Array = told.map(|t| t.old).filter(|old| *old != NONE).collect::<Vec<u32>>().into();
        Ok(take_record_batch(&concat_batches(&self.schema, &self.olds)?, &rows)?)
    }
    /// The columns of a layer: keys, states, and what is known of groups.
    fn columns(&self) -> Vec<FieldRef> {
        let known = [
            Field::new(ROWS, DataType::UInt64, false),
            Field::new(SENT, DataType::Boolean, false),
            Field::new(DIRTY, DataType::Boolean, false),
            Field::new(OLD, DataType::UInt32, true),
        ];
        self.partial.fields().iter().cloned().chain(known.map(Arc::new)).collect()
    }
    /// Appends the rows of these groups; old rows are numbered on from `olds`.
    fn pack(&self, groups: &[u32], olds: &mut u32, bytes: &mut Vec<u8>) -> Result<()> {
        let mut piece = Piece::begin(groups.len(), bytes);
        self.groups.pack(groups, &mut piece)?;
        let told: Vec<Told> = groups.iter().filter_map(|g| self.told.get(*g as usize).copied()).collect();
        let flags = |of: &dyn Fn(&Told) -> bool| {
            Arc::new(BooleanArray::new(BooleanBuffer::collect_bool(told.len(), |at| told.get(at).is_some_and(of)), None))
        };
        let mut next = || {
            *olds += 1;
            *olds - 1
        };
        let rows = told.iter().map(|t| t.net as u64).collect::<Vec<u64>>();
        let old = told.iter().map(|t| (t.old != NONE).then(&mut next)).collect::<UInt32Array>();
        let known: [ArrayRef; 4] = [Arc::new(UInt64Array::from(rows)), flags(&|t| t.sent), flags(&|t| t.dirty), Arc::new(old)];
        known.iter().try_for_each(|column| piece.column(column))?;
        piece.end()
    }
    /// Loads the layers of one instance.
    pub(super) fn load_layers(&mut self, layers: &[&[u8]], mine: &dyn Fn(u16) -> bool) -> Result<bool> {
        let mut gone = Keys::new(&self.fields)?;
        let mut found = false;
        for layer in layers.iter().rev() {
            found |= self.load_layer(layer, &mut gone, mine)?;
        }
        self.reenter();
        self.changes.settled(self.told.len());
        Ok(found)
    }
    /// Loads what is in no later layer; `gone` are the groups of which later layers say that they are not there any more.
    fn load_layer(&mut self, mut bytes: &[u8], gone: &mut Keys, mine: &dyn Fn(u16) -> bool) -> Result<bool> {
        let name = self.spec.name.clone();
        let broken = |what: &str| Error::Checkpoint(format!("the state of `{name}` lacks {what}"));
        let (written, groups) = packed::pop(&mut bytes)?;
        let ((olds, old_rows), (keys, missing)) = (packed::pop(&mut bytes)?, packed::pop(&mut bytes)?);
        let (olds, missing) = (concat_batches(&olds, &old_rows)?, concat_batches(&keys, &missing)?);
        let head = RecordBatch::new_empty(written);
        self.sent.restore(&head, &name)?;
        let watermark: EventTime = ipc::tag(&head, WATERMARK).and_then(|t| t.parse().ok()).ok_or_else(|| broken(WATERMARK))?;
        self.watermark = self.watermark.max(watermark);
        if head.num_columns() != self.partial.fields().len() + 4 {
            return Err(broken(OLD));
        }
        let not_there = self.of(&missing, mine)?;
        let mut found = !not_there.is_empty();
        for batch in groups {
            found |= self.load_groups(batch, &olds, gone, mine)?;
        }
        gone.insert(missing.columns(), Kept::Some(&not_there), &mut Vec::new())?;
        Ok(found)
    }
    fn load_groups(&mut self, batch: RecordBatch, olds: &RecordBatch, gone: &mut Keys, mine: &dyn Fn(u16) -> bool) -> Result<bool> {
        let name = self.spec.name.clone();
        let broken = |what: &str| Error::Checkpoint(format!("the state of `{name}` lacks {what}"));
        let known = self.partial.fields().len() + 1;
        // which rows are of this instance, and not of a later layer
        let mut rows = self.of(&batch, mine)?;
        let found = !rows.is_empty();
        let keys = batch.columns().get(..self.fields.len()).unwrap_or(&[]);
        for table in [&mut self.groups.keys, &mut *gone] {
            if !table.is_empty() {
                let mut numbers = Vec::new();
                table.find_same(keys, Kept::Some(&rows), &mut numbers)?;
                let mut numbers = numbers.into_iter();
                rows.retain(|_| numbers.next() == Some(NO_GROUP));
            }
        }
        let batch = if rows.len() == batch.num_rows() { batch } else { take_record_batch(&batch, &UInt32Array::from(rows))? };
        let states = batch.project(&(0..known).collect::<Vec<_>>())?;
        let numbers = load(&mut self.groups, &states, &self.partial, self.fields.len(), &self.counts, &name)?;
        let column = |at: usize| batch.columns().get(known + at);
        let flags = |at: usize| column(at).and_then(|c| c.as_boolean_opt()).ok_or_else(|| broken(DIRTY));
        let (sent, dirty) = (flags(0)?, flags(1)?);
        let old = column(2).and_then(|c| c.as_primitive_opt::<UInt32Type>()).ok_or_else(|| broken(OLD))?;
        let nets = batch.columns().get(known - 1).and_then(|c| c.as_primitive_opt::<UInt64Type>()).ok_or_else(|| broken(SENT))?;
        let starts: Option<Int64Array> = match (self.window, batch.columns().get(self.fields.len() - 1)) {
            (Some(_), Some(column)) => Some(Int64Array::new(words(column)?, None)),
            _ => None,
        };
        let (olds, old) = picked(olds, old)?;
        for (row, group) in numbers.iter().enumerate() {
            let told = Told {
                net: nets.value(row) as i64,
                start: starts.as_ref().map_or(0, |s| s.value(row)),
                sent: sent.value(row),
                dirty: dirty.value(row),
                old: if old.is_valid(row) { self.old_rows + old.value(row) } else { NONE },
                over: false,
                written: Written::Yes,
            };
            let at = *group as usize;
            self.told.resize(self.told.len().max(at + 1), told);
            if let Some(slot) = self.told.get_mut(at) {
                *slot = told;
            }
        }
        if olds.num_rows() > 0 {
            self.old_rows += olds.num_rows() as u32;
            self.olds.push(super::spec::batch(&self.schema, olds.columns().to_vec(), olds.num_rows())?);
        }
        Ok(found)
    }
    /// The rows of key groups that are `mine`.
    fn of(&self, batch: &RecordBatch, mine: &dyn Fn(u16) -> bool) -> Result<Vec<u32>> {
        rows_of(batch.columns().get(..self.spec.keys.len()).unwrap_or(&[]), batch.num_rows(), mine)
    }
}

/// The old rows that are named, and their numbers among these in place of those before.
fn picked(olds: &RecordBatch, at: &UInt32Array) -> Result<(RecordBatch, UInt32Array)> {
    let rows: UInt32Array = at.iter().flatten().collect::<Vec<u32>>().into();
    let mut next = 0..;
    let numbered = at.iter().map(|old| old.and_then(|_| next.next())).collect();
    Ok((take_record_batch(olds, &rows)?, numbered))
}
