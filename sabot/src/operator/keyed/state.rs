//! The states of all keys.

use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, UInt64Array, cast::AsArray};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::every;
use super::lives::{Lives, Ttl};
use super::saved::{BIRTH, FIELDS, Loaded, STATE, TOUCHED};
use crate::operator::kept::positions;
use crate::operator::key_ctx::By;
use crate::operator::keys::key_groups;
use crate::operator::{EventTime, Keys, ipc};
use crate::record::{State, StateSchema};
use crate::{Error, Result};

/// Keys of which more than half are dead are put together anew, from this many on.
const COMPACT: usize = 1024;

/// One state per key.
pub(super) struct States<S> {
    step: String,
    fields: Vec<FieldRef>,
    keys: Keys,
    states: Vec<S>,
    /// When keys live, if anyone wants to know: where state expires, or there are timers.
    pub(super) lives: Option<Lives>,
}

/// Keys and encoded states, and the timers of keys, by row of the batch.
pub(super) struct Cut {
    pub(super) batch: RecordBatch,
    pub(super) timers: Vec<(u32, By, EventTime)>,
}

impl<S: State> States<S> {
    pub(super) fn new(keys: &[String], input: &SchemaRef, step: &str, lives: Option<Lives>) -> Result<Self> {
        let at = positions(input, keys, step)?;
        let fields: Vec<FieldRef> = at.iter().filter_map(|i| input.fields().get(*i)).cloned().collect();
        Ok(States { step: step.to_owned(), keys: Keys::new(&fields)?, fields, states: Vec::new(), lives })
    }
    /// Whether state may expire, or have timers.
    pub(super) fn lives(ttl: Option<Ttl>, timers: bool) -> Option<Lives> {
        (ttl.is_some() || timers).then(|| Lives::new(ttl))
    }
    /// The key columns.
    pub(super) fn fields(&self) -> &[FieldRef] {
        &self.fields
    }
    /// The numbers of the rows' states; a new key gets the default.
    pub(super) fn find(&mut self, keys: &[ArrayRef], rows: usize, out: &mut Vec<u32>) -> Result<()> {
        self.keys.insert(keys, every(rows), out)?;
        self.states.resize_with(self.keys.len(), S::default);
        if let Some(lives) = &mut self.lives {
            lives.reach(self.states.len());
        }
        Ok(())
    }
    /// The state of a key, for a call at `at`.
    #[inline]
    pub(super) fn enter(&mut self, number: u32, group: u16, at: EventTime) -> Option<&mut S> {
        let state = self.states.get_mut(number as usize)?;
        if let Some(lives) = &mut self.lives
            && lives.enter(number, group, at)
        {
            *state = S::default();
        }
        Some(state)
    }
    #[inline]
    pub(super) fn get(&mut self, number: u32) -> Option<&mut S> {
        self.states.get_mut(number as usize)
    }
    /// The key columns of these keys.
    pub(super) fn columns(&self, numbers: &[u32]) -> Result<Vec<ArrayRef>> {
        self.keys.columns(numbers)
    }
    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes() + self.states.capacity() * size_of::<S>() + self.lives.as_ref().map_or(0, Lives::bytes)
    }
    /// Drops the states of keys that are dead at `now`.
    pub(super) fn sweep(&mut self, now: EventTime) {
        let (Some(lives), states) = (&mut self.lives, &mut self.states) else { return };
        lives.sweep(now, |number| {
            if let Some(state) = states.get_mut(number as usize) {
                *state = S::default();
            }
        });
    }
    /// Frees the memory of dead keys, once they are the majority. Numbers change.
    pub(super) fn compact(&mut self) -> Result<()> {
        let Some(lives) = self.lives.as_ref().filter(|l| self.states.len() > COMPACT && l.living() * 2 < self.states.len()) else {
            return Ok(());
        };
        let kept: Vec<u32> = (0..self.states.len() as u32).filter(|n| lives.life(*n).birth != 0).collect();
        self.keep(&kept)
    }
    /// Keeps these keys, in ascending order of their numbers.
    fn keep(&mut self, kept: &[u32]) -> Result<()> {
        let columns = self.keys.columns(kept)?;
        let mut keys = Keys::new(&self.fields)?;
        keys.insert(&columns, every(kept.len()), &mut Vec::new())?;
        let mut states = Vec::with_capacity(kept.len());
        for number in kept {
            states.extend(self.states.get_mut(*number as usize).map(std::mem::take));
        }
        (self.keys, self.states) = (keys, states);
        if let Some(lives) = &mut self.lives {
            lives.renumber(kept);
        }
        Ok(())
    }
    /// Keys and encoded states.
    pub(super) fn cut(&self) -> Result<Cut> {
        let all: Vec<u32> = match &self.lives {
            Some(lives) => (0..self.states.len() as u32).filter(|n| lives.life(*n).birth != 0).collect(),
            None => (0..self.states.len() as u32).collect(),
        };
        let mut columns = self.keys.columns(&all)?;
        let mut states = BinaryBuilder::with_capacity(all.len(), all.len() * 16);
        let mut bytes = Vec::new();
        for state in all.iter().filter_map(|n| self.states.get(*n as usize)) {
            bytes.clear();
            state.encode(&mut bytes);
            states.append_value(&bytes);
        }
        columns.push(Arc::new(states.finish()));
        let mut fields = self.fields.clone();
        fields.push(Arc::new(Field::new(STATE, DataType::Binary, false)));
        let mut timers = Vec::new();
        if let Some(lives) = &self.lives {
            columns.push(Arc::new(Int64Array::from_iter_values(all.iter().map(|n| lives.life(*n).touched))));
            fields.push(Arc::new(Field::new(TOUCHED, DataType::Int64, false)));
            columns.push(Arc::new(UInt64Array::from_iter_values(all.iter().map(|n| lives.life(*n).birth))));
            fields.push(Arc::new(Field::new(BIRTH, DataType::UInt64, false)));
            let row = |number: u32| all.binary_search(&number).ok().map(|row| row as u32);
            let groups = 0..crate::kernel::hash::KEY_GROUPS;
            timers.extend(groups.flat_map(|g| lives.all_timers(g)).filter_map(|(by, at, number)| Some((row(number)?, by, at))));
        }
        let written = serde_json::to_string(&S::schema()).map_err(|e| Error::internal(e.to_string()))?;
        let metadata = [(FIELDS.to_owned(), written)].into();
        Ok(Cut { batch: RecordBatch::try_new(Arc::new(Schema::new_with_metadata(fields, metadata)), columns)?, timers })
    }
    /// Loads a key group of what [`cut`](Self::cut) gave, perhaps in another version of the program.
    pub(super) fn load(&mut self, group: u16, loaded: &Loaded) -> Result<()> {
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
        let states = batch.column_by_name(STATE).and_then(|c| c.as_binary_opt::<i32>()).ok_or_else(|| broken("is missing"))?;
        let current = fields == S::schema();
        let mut numbers = Vec::new();
        self.find(batch.columns(), batch.num_rows(), &mut numbers)?;
        for ((number, bytes), row) in numbers.iter().zip(states.iter()).zip(0..) {
            let mut bytes = bytes.unwrap_or_default();
            let state = if current { S::decode(&mut bytes)? } else { S::decode_from(&mut bytes, &fields)? };
            if let Some(slot) = self.get(*number) {
                *slot = state;
            }
            if let Some(lives) = &mut self.lives {
                // a step that had no ttl before begins to count now
                let touched = loaded.touched.get(row).copied().unwrap_or(loaded.began(lives.by_clock()));
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
        let all: Vec<u32> = (0..self.keys.len() as u32).collect();
        let Ok(columns) = self.keys.columns(&all) else { return };
        let Ok(groups) = key_groups(&columns, all.len()) else { return };
        let keep: Vec<u32> = all.iter().zip(&groups).filter(|(_, g)| **g != group).map(|(i, _)| *i).collect();
        if let Some(lives) = &mut self.lives {
            lives.release(group);
        }
        // the same keys were inserted before
        let _ = self.keep(&keep);
    }
}
