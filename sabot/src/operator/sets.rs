//! `intersect` and `except`, as SQL has them: distinct rows of the left side that are, or are not, on the right. Nulls are
//! equal, floats compare by value.
//!
//! The right side (port 1) is read to its end into a table of rows; then the left side streams past. Both come hashed by
//! all columns. Of equal left rows the first in source order stays; rows leave by key group (see [`ByGroup`]).

use std::sync::Arc;

use arrow_array::{ArrayRef, UInt8Array, cast::AsArray, types::UInt8Type};
use arrow_schema::{DataType, Field, FieldRef, SchemaRef};

use super::by_group::ByGroup;
use super::distinct::{keys_of, read, take_rows, write_with};
use super::kept::{RowList, batch_with, named};
use super::keys::{NO_GROUP, key_groups};
use super::{Account, Frozen, GroupState, Instance, Kept, Keys, Operator, OperatorFactory, Output, Progress};
use crate::kernel::Morsel;
use crate::plan::SetKind;
use crate::{Error, Result};

/// The row is on the right.
const RIGHT: u8 = 1;
/// The row was seen on the left, and sent on or dropped.
const LEFT: u8 = 2;
/// The column of these marks, in a snapshot.
const MARKS: &str = "sabot.marks";

/// Which rows, and of which columns.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SetSpec {
    /// Stable id of the step, for messages.
    pub name: String,
    /// Intersection or difference.
    pub kind: SetKind,
    /// The columns, all of them.
    pub columns: Vec<String>,
}

/// A set operation.
#[derive(Debug)]
pub struct SetOperator {
    spec: Arc<SetSpec>,
    fields: Vec<FieldRef>,
    keys: Keys,
    /// [`RIGHT`] and [`LEFT`] of each key.
    marks: Vec<u8>,
    complete: bool,
    out: ByGroup,
    list: RowList,
    groups: Vec<u32>,
    fresh: Vec<u32>,
}

impl SetOperator {
    /// Instances for plan node `node`. `left` is the schema of port 0, and of the result; port 1 has columns of the same
    /// names and types, text perhaps in another encoding.
    ///
    /// # Errors
    /// If a column does not exist or cannot be compared.
    pub fn factory(spec: Arc<SetSpec>, left: &SchemaRef, node: u32) -> Result<Arc<dyn OperatorFactory>> {
        let left = Arc::clone(left);
        Self::build(&spec, &left, node)?;
        Ok(Arc::new(move |_: Instance| Ok(Box::new(Self::build(&spec, &left, node)?) as Box<dyn Operator>)))
    }
    fn build(spec: &Arc<SetSpec>, left: &SchemaRef, node: u32) -> Result<Self> {
        let field = |name: &String| left.field_with_name(name).map(|f| Arc::new(f.clone()));
        let fields = spec.columns.iter().map(field).collect::<Result<Vec<FieldRef>, _>>()?;
        Ok(SetOperator {
            keys: Keys::new(&fields)?,
            fields,
            marks: Vec::new(),
            complete: false,
            out: ByGroup::new(node, left),
            list: RowList::default(),
            groups: Vec::new(),
            fresh: Vec::new(),
            spec: Arc::clone(spec),
        })
    }
    fn take_right(&mut self, morsel: &Morsel, out: &mut dyn Output) -> Result<()> {
        let columns = named(&morsel.batch, &self.spec.columns, &self.spec.name)?;
        let before = self.keys.len();
        self.keys.insert(&columns, self.list.of(morsel), &mut self.groups)?;
        self.marks.resize(self.keys.len(), RIGHT);
        let new = self.keys.len() - before;
        out.account(Account { held: new as i64, filtered: (self.groups.len() - new) as u64, ..Account::default() });
        Ok(())
    }
    fn take_left(&mut self, morsel: &Morsel, out: &mut dyn Output) -> Result<()> {
        let columns = named(&morsel.batch, &self.spec.columns, &self.spec.name)?;
        let kept = self.list.of(morsel);
        let wanted = match self.spec.kind {
            SetKind::Intersect => {
                self.keys.find_same(&columns, kept, &mut self.groups)?;
                RIGHT
            }
            SetKind::Except => {
                self.keys.insert(&columns, kept, &mut self.groups)?;
                self.marks.resize(self.keys.len(), 0);
                0
            }
        };
        self.fresh.clear();
        let (groups, marks, fresh) = (&self.groups, &mut self.marks, &mut self.fresh);
        kept.each(|i, row| {
            if let Some(group) = groups.get(i).filter(|g| **g != NO_GROUP)
                && let Some(mark) = marks.get_mut(*group as usize)
                && *mark == wanted
            {
                *mark |= LEFT;
                fresh.push(row as u32);
            }
        });
        out.account(Account { filtered: (kept.len() - fresh.len()) as u64, ..Account::default() });
        if !self.fresh.is_empty() {
            let batch = take_rows(&morsel.batch, &self.fresh)?;
            let groups = key_groups(&named(&batch, &self.spec.columns, &self.spec.name)?, batch.num_rows())?;
            self.out.add(batch, &groups, out)?;
        }
        Ok(())
    }
}

impl Operator for SetOperator {
    fn ready(&self, port: usize) -> bool {
        port == 1 || self.complete
    }
    fn process(&mut self, port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        if port == 1 {
            self.take_right(&morsel, out)?
        } else {
            self.take_left(&morsel, out)?
        }
        Ok(Progress::Done)
    }
    fn finish(&mut self, port: usize, out: &mut dyn Output) -> Result<Progress> {
        if port == 1 {
            self.complete = true;
        } else {
            self.out.flush(out)?;
            let right = self.marks.iter().filter(|m| **m & RIGHT != 0).count();
            out.account(Account { used: right as u64, held: -(right as i64), ..Account::default() });
            self.keys.clear();
            self.marks.clear();
        }
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.keys.bytes() + self.marks.capacity() + self.out.bytes()
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let keys = keys_of(&self.keys, &self.fields)?;
        let marks: ArrayRef = Arc::new(UInt8Array::from(self.marks.clone()));
        Ok(write_with(batch_with(&keys, Field::new(MARKS, DataType::UInt8, false), marks)?, 1, Some(self.out.clone())))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        let (keys, marks) = read(state, 1, &self.spec.name, Some(&mut self.out))?;
        let marks = marks
            .first()
            .and_then(|m| m.as_primitive_opt::<UInt8Type>())
            .ok_or_else(|| Error::Checkpoint(format!("the state of `{}` lacks its marks", self.spec.name)))?;
        self.keys.insert(keys.columns(), Kept::Range(0, keys.num_rows()), &mut self.groups)?;
        self.marks.resize(self.keys.len(), 0);
        for (group, mark) in self.groups.iter().zip(marks.values()) {
            if let Some(slot) = self.marks.get_mut(*group as usize) {
                *slot = *mark;
            }
        }
        Ok(())
    }
    fn release(&mut self, group: u16) {
        let Ok(all) = keys_of(&self.keys, &self.fields) else { return };
        let Ok(of) = key_groups(all.columns(), all.num_rows()) else { return };
        let live: Vec<u32> = of.iter().zip(0..).filter(|(g, _)| **g != group).map(|(_, row)| row).collect();
        self.marks = live.iter().filter_map(|row| self.marks.get(*row as usize)).copied().collect();
        self.keys.clear();
        // neither can fail on what came from the same table
        let _ = self.keys.insert(all.columns(), Kept::Some(&live), &mut self.groups);
        self.out.release(group);
    }
}
