//! The states of all keys.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, UInt64Array, cast::AsArray};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::backend::{Backend, Encoded, InMemory, Place};
use super::changed::Changed;
use super::every;
use super::lives::{Lives, Ttl};
use super::on_disk::OnDisk;
use super::saved::{BIRTH, FIELDS, Loaded, STATE, TOUCHED};
use crate::operator::kept::positions;
use crate::operator::key_ctx::By;
use crate::operator::keys::{by_key_group, key_groups};
use crate::operator::{EventTime, Keys, StateDisk, ipc};
use crate::record::{State, StateSchema};
use crate::{Error, Result};

/// Keys of which more than half are dead are put together anew, from this many on.
const COMPACT: usize = 1024;

/// One state per key.
pub(super) struct States<S> {
    step: String,
    fields: Vec<FieldRef>,
    keys: Keys,
    /// The key group of each key.
    groups: Vec<u16>,
    pub(super) changed: Changed,
    states: Place<S>,
    /// When keys live, if anyone wants to know: where state expires, or there are timers.
    pub(super) lives: Option<Lives>,
}

/// Keys and encoded states of the key groups that are to be written.
pub(super) struct Cut {
    pub(super) batch: Encoding,
    /// The rows of each group that has keys.
    pub(super) rows: BTreeMap<u16, Range<usize>>,
    /// The timers of a group, by row in the group.
    pub(super) timers: BTreeMap<u16, Vec<(u32, By, EventTime)>>,
    /// Whether a group is to be written, by its number.
    pub(super) written: Vec<bool>,
    /// The groups that have keys, written or not.
    pub(super) used: BTreeSet<u16>,
}

/// Keys and states, by key group, in it in order of birth.
pub(super) struct Encoding {
    schema: SchemaRef,
    /// All columns but that of states.
    columns: Vec<ArrayRef>,
    /// Number of key columns.
    keys: usize,
    states: Encoded,
}

impl Encoding {
    /// With the column of states.
    pub(super) fn batch(self) -> Result<RecordBatch> {
        let Encoding { schema, mut columns, keys, states } = self;
        columns.insert(keys, Arc::new(states()?));
        Ok(RecordBatch::try_new(schema, columns)?)
    }
}

impl<S: State> States<S> {
    pub(super) fn new(keys: &[String], input: &SchemaRef, step: &str, lives: Option<Lives>) -> Result<Self> {
        let at = positions(input, keys, step)?;
        let fields: Vec<FieldRef> = at.iter().filter_map(|i| input.fields().get(*i)).cloned().collect();
        Ok(States {
            step: step.to_owned(),
            keys: Keys::new(&fields)?,
            fields,
            groups: Vec::new(),
            changed: Changed::default(),
            states: Place::Memory(InMemory::default()),
            lives,
        })
    }
    /// Keeps states on disk. There are none yet.
    pub(super) fn on_disk(&mut self, disk: &StateDisk, instances: usize) -> Result<()> {
        self.states = Place::Disk(Box::new(OnDisk::new(disk, &self.step, instances)?));
        Ok(())
    }
    /// Whether state may expire, or have timers.
    pub(super) fn lives(ttl: Option<Ttl>, timers: bool) -> Option<Lives> {
        (ttl.is_some() || timers).then(|| Lives::new(ttl))
    }
    /// The key columns.
    pub(super) fn fields(&self) -> &[FieldRef] {
        &self.fields
    }
    /// The numbers of the rows' states, which are about to change; a new key gets the default.
    pub(super) fn find(&mut self, keys: &[ArrayRef], rows: usize, out: &mut Vec<u32>) -> Result<()> {
        self.enlist(keys, rows, out)?;
        if !self.changed.all() {
            let (groups, changed) = (&self.groups, &mut self.changed);
            out.iter().filter_map(|n| groups.get(*n as usize)).for_each(|group| changed.mark(*group));
        }
        Ok(())
    }
    fn enlist(&mut self, keys: &[ArrayRef], rows: usize, out: &mut Vec<u32>) -> Result<()> {
        self.keys.insert(keys, every(rows), out)?;
        let (before, now) = (self.groups.len(), self.keys.len());
        if now > before {
            let new: Vec<u32> = (before as u32..now as u32).collect();
            self.groups.extend(key_groups(&self.keys.columns(&new)?, new.len())?);
            self.groups.iter().skip(before).for_each(|group| self.changed.used(*group));
            self.states.reach(&self.groups);
            if let Some(lives) = &mut self.lives {
                lives.reach(now);
            }
        }
        Ok(())
    }
    /// The state of a key, for a call at `at`.
    #[inline]
    pub(super) fn enter(&mut self, number: u32, group: u16, at: EventTime) -> Result<Option<&mut S>> {
        if let Some(lives) = &mut self.lives
            && lives.enter(number, group, at)
        {
            self.states.reset(number);
        }
        self.states.get(number)
    }
    #[inline]
    pub(super) fn get(&mut self, number: u32) -> Result<Option<&mut S>> {
        self.states.get(number)
    }
    /// The key columns of these keys.
    pub(super) fn columns(&self, numbers: &[u32]) -> Result<Vec<ArrayRef>> {
        self.keys.columns(numbers)
    }
    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes() + self.groups.capacity() * 2 + self.states.bytes() + self.lives.as_ref().map_or(0, Lives::bytes)
    }
    /// Drops the states of keys that are dead at `now`.
    pub(super) fn sweep(&mut self, now: EventTime) {
        let States { lives: Some(lives), states, groups, changed, .. } = self else { return };
        lives.sweep(now, |number| {
            states.reset(number);
            groups.get(number as usize).into_iter().for_each(|group| changed.mark(*group));
        });
    }
    /// Frees the memory of dead keys, once they are the majority. Numbers change.
    pub(super) fn compact(&mut self) -> Result<()> {
        let Some(lives) = self.lives.as_ref().filter(|l| self.groups.len() > COMPACT && l.living() * 2 < self.groups.len()) else {
            return Ok(());
        };
        let kept: Vec<u32> = (0..self.groups.len() as u32).filter(|n| lives.life(*n).birth != 0).collect();
        self.keep(&kept)
    }
    /// Keeps these keys, in ascending order of their numbers.
    fn keep(&mut self, kept: &[u32]) -> Result<()> {
        let columns = self.keys.columns(kept)?;
        let mut keys = Keys::new(&self.fields)?;
        keys.insert(&columns, every(kept.len()), &mut Vec::new())?;
        self.groups = kept.iter().filter_map(|n| self.groups.get(*n as usize).copied()).collect();
        self.keys = keys;
        if let Some(lives) = &mut self.lives {
            lives.renumber(kept);
        }
        self.states.keep(kept)
    }
    /// Keys and states: all, or those of the groups that have changed since the last cut. States in memory are encoded here and not beside
    /// the step, since they need not be `Clone`; but only those that are to be written.
    pub(super) fn cut(&mut self, all: bool) -> Result<Cut> {
        let written = self.changed.take(all);
        let lives = self.lives.as_ref();
        let used: Vec<bool> = (0..).zip(&self.groups).map(|(n, _)| lives.is_none_or(|l| l.life(n).birth != 0)).collect();
        let mut has = BTreeSet::new();
        let mut numbers: Vec<u32> = Vec::new();
        for ((number, group), _) in (0..).zip(&self.groups).zip(&used).filter(|(_, used)| **used) {
            has.insert(*group);
            if written.get(usize::from(*group)) == Some(&true) {
                numbers.push(number);
            }
        }
        let groups: Vec<u16> = numbers.iter().filter_map(|n| self.groups.get(*n as usize).copied()).collect();
        let (order, rows) = by_key_group(&groups);
        let mut order: Vec<u32> = order.iter().filter_map(|i| numbers.get(*i as usize).copied()).collect();
        let mut timers = BTreeMap::new();
        for (group, range) in &rows {
            let (Some(lives), Some(numbers)) = (lives, order.get_mut(range.clone())) else { continue };
            numbers.sort_unstable_by_key(|n| lives.life(*n).birth);
            let set: Vec<_> = lives.all_timers(*group).collect();
            if !set.is_empty() {
                let mut row_of: Vec<(u32, u32)> = numbers.iter().copied().zip(0..).collect();
                row_of.sort_unstable();
                let row = |number: u32| row_of.binary_search_by_key(&number, |r| r.0).ok().and_then(|at| row_of.get(at)).map(|r| r.1);
                let rows: Vec<_> = set.into_iter().filter_map(|(by, at, number)| Some((row(number)?, by, at))).collect();
                timers.insert(*group, rows);
            }
        }
        let mut columns = self.keys.columns(&order)?;
        let mut fields = self.fields.clone();
        fields.push(Arc::new(Field::new(STATE, DataType::LargeBinary, false)));
        if let Some(lives) = lives {
            columns.push(Arc::new(Int64Array::from_iter_values(order.iter().map(|n| lives.life(*n).touched))));
            fields.push(Arc::new(Field::new(TOUCHED, DataType::Int64, false)));
            columns.push(Arc::new(UInt64Array::from_iter_values(order.iter().map(|n| lives.life(*n).birth))));
            fields.push(Arc::new(Field::new(BIRTH, DataType::UInt64, false)));
        }
        let fields_of = serde_json::to_string(&S::schema()).map_err(|e| Error::internal(e.to_string()))?;
        let schema = Arc::new(Schema::new_with_metadata(fields, [(FIELDS.to_owned(), fields_of)].into()));
        let states = self.states.encoded(&order)?;
        let batch = Encoding { schema, columns, keys: self.fields.len(), states };
        Ok(Cut { batch, rows: rows.into_iter().collect(), timers, written, used: has })
    }
    /// Loads a key group of what [`cut`](Self::cut) gave, perhaps in another version of the program.
    /// `began`: when a key counts as touched that was written by a step for which this did not matter.
    pub(super) fn load(&mut self, group: u16, loaded: &Loaded, began: EventTime) -> Result<()> {
        let batch = &loaded.states;
        let step = self.step.clone();
        let broken = |what: &str| Error::Checkpoint(format!("the state of `{step}` {what}"));
        let fields: StateSchema =
            ipc::tag(batch, FIELDS).and_then(|t| serde_json::from_str(t).ok()).ok_or_else(|| broken("does not say which fields it has"))?;
        let written = batch.schema_ref();
        let same = written.fields().iter().position(|f| f.name() == STATE) == Some(self.fields.len())
            && written.fields().iter().zip(&self.fields).all(|(w, k)| w.name() == k.name() && w.data_type() == k.data_type());
        if !same {
            return Err(broken("was written for other key columns"));
        }
        let states = batch.column_by_name(STATE).and_then(|s| s.as_binary_opt::<i64>()).ok_or_else(|| broken("is missing"))?;
        let current = fields == S::schema();
        let mut numbers = Vec::new();
        self.enlist(batch.columns(), batch.num_rows(), &mut numbers)?;
        self.changed.restored(group);
        if !current || (self.lives.is_some() && loaded.touched.len() < batch.num_rows()) {
            // it will not be written as it was
            self.changed.mark(group);
        }
        for ((number, bytes), row) in numbers.iter().zip(states).zip(0..) {
            let mut bytes = bytes.unwrap_or_default();
            let state = if current { S::decode(&mut bytes)? } else { S::decode_from(&mut bytes, &fields)? };
            if let Some(slot) = self.get(*number)? {
                *slot = state;
            }
            if let Some(lives) = &mut self.lives {
                // a step that had no ttl before begins to count now
                let touched = loaded.touched.get(row).copied().unwrap_or(began);
                lives.load(*number, group, touched);
            }
        }
        if let Some(lives) = &mut self.lives {
            for (row, by, at) in &loaded.timers {
                if let Some(number) = numbers.get(*row as usize) {
                    lives.set(*by, *number, group, *at);
                }
            }
        } else if !loaded.timers.is_empty() {
            return Err(broken("has timers, which its operator takes no more"));
        }
        Ok(())
    }
    pub(super) fn release(&mut self, group: u16) {
        let keep: Vec<u32> = (0..).zip(&self.groups).filter(|(_, g)| **g != group).map(|(n, _)| n).collect();
        if let Some(lives) = &mut self.lives {
            lives.release(group);
        }
        self.changed.mark(group);
        // the same keys were inserted before; what a disk does not remove is not read again
        let _ = self.keep(&keep);
    }
}
