//! What a join is, and the columns of its result.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::operator::instants;
use crate::operator::kept::{is_utf8, no_column, plain_type};
use crate::operator::weights::{WEIGHT, weight_field};
use crate::plan::{EventColumn, HAS_LEFT, HAS_RIGHT, JoinKind, Matching};
use crate::{Error, Result};

/// A join: keys, columns and kind.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct JoinSpec {
    /// Stable id of the step, for messages.
    pub name: String,
    /// Which rows come out.
    pub kind: JoinKind,
    /// Which rows of equal keys are partners.
    pub matching: Matching,
    /// Key columns of the probe side; none if all rows have the same key.
    pub left_on: Vec<String>,
    /// Key columns of the build side, in the same order and of the same types; text may differ in encoding.
    pub right_on: Vec<String>,
    /// Columns of the probe side to keep; named `left.<name>` in pairs.
    pub left: Vec<String>,
    /// Columns of the build side to keep; named `right.<name>` in pairs. Dictionaries come out plain.
    pub right: Vec<String>,
    /// Event time of the probe side and of the build side, for a matching in time.
    pub times: Option<(EventColumn, EventColumn)>,
    /// Number of the physical node: the origin of rows that stem from no probe row.
    pub node: u32,
    /// Whether rows come out by key group, each in the order of the left side, which then comes in source order: the same order
    /// at any number of instances. Else they come where their left rows came from.
    pub by_group: bool,
    /// The sides are exchanged: columns of the probe side are named `right.<name>`, those of the build side `left.<name>`.
    pub mirrored: bool,
}

impl JoinSpec {
    /// The same inner join with the sides exchanged: what was the left side is built.
    #[must_use]
    pub fn mirror(self) -> Self {
        let (left_on, right_on) = (self.right_on, self.left_on);
        let (left, right) = (self.right, self.left);
        JoinSpec { left_on, right_on, left, right, mirrored: !self.mirrored, ..self }
    }
    /// What the columns of the probe side and of the build side are named after.
    fn sides(&self) -> (&'static str, &'static str) {
        if self.mirrored { ("right", "left") } else { ("left", "right") }
    }
    /// Whether the index can do without lists of rows where every key has one row.
    pub(super) fn may_be_single(&self, has_condition: bool) -> bool {
        self.matching == Matching::Equal && !has_condition
    }
    /// Whether times of both sides are compared in nanoseconds rather than microseconds.
    ///
    /// # Errors
    /// If a column does not exist.
    pub(super) fn nanos(&self, left: &Schema, right: &Schema) -> Result<bool> {
        let Some((l, r)) = &self.times else { return Ok(false) };
        let of = |schema: &Schema, column: &str| -> Result<bool> {
            Ok(instants::in_nanos(schema.field_with_name(column).map_err(|_| no_column(column, &self.name))?.data_type()))
        };
        Ok(of(left, &l.column)? || of(right, &r.column)?)
    }
    /// The columns of the result: those of the probe side as they are, or `left.<name>` and `right.<name>`, and whether a
    /// side that may be missing is there; and the weights of the probe side, if it has any.
    ///
    /// # Errors
    /// If a column does not exist.
    pub fn output_schema(&self, left: &SchemaRef, right: &Schema) -> Result<SchemaRef> {
        if !self.kind.pairs() {
            return Ok(Arc::clone(left));
        }
        let mut fields = Vec::new();
        let (probe, build) = self.sides();
        for name in &self.left {
            let f = left.field_with_name(name).map_err(|_| no_column(name, &self.name))?;
            fields.push(Field::new(format!("{probe}.{name}"), f.data_type().clone(), f.is_nullable() || self.kind.keeps_right()));
        }
        if self.kind.keeps_right() {
            fields.push(Field::new(HAS_LEFT, DataType::Boolean, false));
        }
        for name in &self.right {
            let f = right.field_with_name(name).map_err(|_| no_column(name, &self.name))?;
            fields.push(Field::new(format!("{build}.{name}"), plain_type(f.data_type()), f.is_nullable() || self.kind.keeps_left()));
        }
        if self.kind.keeps_left() {
            fields.push(Field::new(HAS_RIGHT, DataType::Boolean, false));
        }
        if left.column_with_name(WEIGHT).is_some() {
            fields.push(weight_field());
        }
        Ok(Arc::new(Schema::new(fields)))
    }
    /// The key columns as the index keeps them: plain, without nulls, which match nothing.
    pub(super) fn key_fields(&self, left: &Schema, right: &Schema) -> Result<Vec<FieldRef>> {
        if self.left_on.len() != self.right_on.len() || (self.left_on.is_empty() && self.matching == Matching::Equal) {
            return Err(Error::Plan(format!("`{}` joins {} key columns with {}", self.name, self.left_on.len(), self.right_on.len())));
        }
        let mut fields: Vec<FieldRef> = Vec::new();
        for (l, r) in self.left_on.iter().zip(&self.right_on) {
            let l = left.field_with_name(l).map_err(|_| no_column(l, &self.name))?;
            let r = right.field_with_name(r).map_err(|_| no_column(r, &self.name))?;
            if !same_keys(&plain_type(l.data_type()), &plain_type(r.data_type())) {
                return Err(Error::Plan(format!(
                    "`{}` joins column `{}` of type {} with `{}` of type {}; make them the same type first",
                    self.name,
                    l.name(),
                    l.data_type(),
                    r.name(),
                    r.data_type()
                )));
            }
            fields.push(Arc::new(Field::new(r.name(), plain_type(r.data_type()), false)));
        }
        Ok(fields)
    }
}

/// Whether values of these types are the same if their codes are.
fn same_keys(a: &DataType, b: &DataType) -> bool {
    a == b || (is_utf8(a) && is_utf8(b)) || matches!((a, b), (DataType::Timestamp(x, _), DataType::Timestamp(y, _)) if x == y)
}
