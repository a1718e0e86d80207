//! What a side keeps of its rows, and where it is.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema, SchemaRef};

use crate::Result;
use crate::operator::instants;
use crate::operator::join::build::valid_rows;
use crate::operator::kept::{named, no_column, plain, plain_type};
use crate::plan::EventColumn;

/// The kept columns of a side, each once and none as a dictionary.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    step: String,
    names: Vec<String>,
    pub(super) schema: SchemaRef,
    /// Keys, columns that come out, and those that a condition reads.
    on: Vec<usize>,
    pub(super) out: Vec<usize>,
    pub(super) tested: Vec<usize>,
    /// The event time, if rows are matched in time.
    time: Option<usize>,
    offset: i64,
    /// Times are told in nanoseconds rather than microseconds.
    nanos: bool,
}

/// What a side is asked for.
pub(super) struct Wanted<'a> {
    pub(super) step: &'a str,
    pub(super) on: &'a [String],
    pub(super) out: &'a [String],
    pub(super) tested: &'a [String],
    pub(super) time: Option<&'a EventColumn>,
    pub(super) nanos: bool,
}

impl Shape {
    /// The shape of a side over rows of this schema.
    pub(super) fn new(wanted: &Wanted<'_>, input: &Schema) -> Result<Shape> {
        let mut names: Vec<String> = Vec::new();
        let mut fields = Vec::new();
        let mut place = |name: &String| -> Result<usize> {
            if let Some(at) = names.iter().position(|n| n == name) {
                return Ok(at);
            }
            let f = input.field_with_name(name).map_err(|_| no_column(name, wanted.step))?;
            fields.push(Field::new(name, plain_type(f.data_type()), true));
            names.push(name.clone());
            Ok(names.len() - 1)
        };
        let on = wanted.on.iter().map(&mut place).collect::<Result<_>>()?;
        let out = wanted.out.iter().map(&mut place).collect::<Result<_>>()?;
        let tested = wanted.tested.iter().map(&mut place).collect::<Result<_>>()?;
        let time = wanted.time.map(|t| place(&t.column)).transpose()?;
        let schema = Arc::new(Schema::new(fields));
        let offset = wanted.time.map_or(0, |t| t.offset);
        Ok(Shape { step: wanted.step.to_owned(), names, schema, on, out, tested, time, offset, nanos: wanted.nanos })
    }
    /// The kept columns of a dense batch.
    pub(super) fn rows(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = named(batch, &self.names, &self.step)?.iter().map(plain).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
    /// The key columns of kept rows.
    pub(super) fn keys(&self, rows: &RecordBatch) -> Vec<ArrayRef> {
        self.on.iter().filter_map(|i| rows.columns().get(*i)).cloned().collect()
    }
    /// The kept rows whose keys have no null; only they have partners.
    pub(super) fn with_key(&self, rows: &RecordBatch) -> Vec<u32> {
        let all = rows.num_rows() as u32;
        valid_rows(&self.keys(rows), all).unwrap_or_else(|| (0..all).collect())
    }
    /// The event times of kept rows.
    pub(super) fn times(&self, rows: &RecordBatch) -> Result<Vec<i64>> {
        match self.time.and_then(|at| rows.columns().get(at)) {
            Some(column) => instants::ticks(column, self.nanos, self.offset),
            None => Err(no_column("event time", &self.step)),
        }
    }
    /// The step, for messages.
    pub(super) fn step(&self) -> &str {
        &self.step
    }
}

/// The schema without dictionaries: what comes out of an operator that mixes rows of several of them.
pub(super) fn plain_schema(schema: &Schema) -> SchemaRef {
    let field = |f: &Arc<Field>| Field::new(f.name(), plain_type(f.data_type()), f.is_nullable());
    Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>()))
}
