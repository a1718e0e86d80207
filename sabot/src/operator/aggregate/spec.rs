//! What an aggregation computes, and the columns on its way.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{Field, FieldRef, Schema, SchemaRef};

use super::extent::extent;
use super::window::Units;
use super::{Accumulator, AccumulatorFactory, EventWindow};
use crate::operator::kept::{no_column, positions};
use crate::operator::{Keys, Piece};
use crate::plan::Span;
use crate::{Error, Result};

/// The start of a window, in partial and final results.
pub(super) const WINDOW_START: &str = "window_start";
/// The end of a window, in final results.
pub(super) const WINDOW_END: &str = "window_end";

/// The name of a session's extent among the functions.
const EXTENT: &str = "sabot.extent";

/// One output column of an aggregation.
#[derive(Clone)]
pub struct Function {
    /// Name of the output column.
    pub name: String,
    /// The input columns.
    pub inputs: Vec<String>,
    /// The function.
    pub factory: Arc<dyn AccumulatorFactory>,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}({})", self.name, self.factory.describe(), self.inputs.join(", "))
    }
}

/// An aggregation: keys, window and functions.
#[derive(Clone, Debug)]
pub struct AggregateSpec {
    /// Stable id of the step, for messages.
    pub name: String,
    /// Key columns; without any, all rows are one group, which exists even over no rows.
    pub keys: Vec<String>,
    /// Windows, if any.
    pub window: Option<EventWindow>,
    /// The functions, in output order.
    pub functions: Vec<Function>,
}

impl AggregateSpec {
    /// The columns between the two phases: keys, `window_start` if windowed, and for each function its states, named
    /// `<function>.<state>`.
    ///
    /// # Errors
    /// If a column does not exist, or cannot be event time.
    pub fn partial_schema(&self, input: &Schema) -> Result<SchemaRef> {
        let mut fields = self.group_fields(input)?;
        for function in self.all() {
            for state in function.factory.state_fields() {
                let name = format!("{}.{}", function.name, state.name());
                fields.push(Arc::new(state.with_name(name)));
            }
        }
        Ok(Arc::new(Schema::new(fields)))
    }
    /// The columns of the result: keys, `window_start` and `window_end` if windowed, and one column per function.
    ///
    /// # Errors
    /// As for [`partial_schema`](Self::partial_schema).
    pub fn output_schema(&self, input: &Schema) -> Result<SchemaRef> {
        let mut fields = self.group_fields(input)?;
        if let Some((_, time)) = self.window(input)? {
            fields.push(Arc::new(time.with_name(WINDOW_END)));
        }
        for function in &self.functions {
            let (data_type, nullable) = function.factory.output();
            fields.push(Arc::new(Field::new(&function.name, data_type, nullable)));
        }
        Ok(Arc::new(Schema::new(fields)))
    }
    /// Whether there is exactly one group.
    pub(super) fn global(&self) -> bool {
        self.keys.is_empty() && self.window.is_none()
    }
    /// Keys, and `window_start` if windowed.
    pub(super) fn group_fields(&self, input: &Schema) -> Result<Vec<FieldRef>> {
        let mut fields = Vec::new();
        for key in &self.keys {
            let field = input.field_with_name(key).map_err(|_| no_column(key, &self.name))?;
            fields.push(Arc::new(field.clone()));
        }
        if let Some((_, time)) = self.window(input)? {
            fields.push(Arc::new(time.with_name(WINDOW_START)));
        }
        Ok(fields)
    }
    /// The window in the unit of its column, and that column's field.
    pub(super) fn window(&self, input: &Schema) -> Result<Option<(Units, Field)>> {
        let Some(window) = &self.window else { return Ok(None) };
        let field = input.field_with_name(&window.column).map_err(|_| no_column(&window.column, &self.name))?;
        Ok(Some((window.units(field)?, Field::new(field.name(), field.data_type().clone(), false))))
    }
    /// The functions, and behind them the extent of a session.
    fn all(&self) -> impl Iterator<Item = Function> {
        let session = self.window.iter().filter(|w| matches!(w.span, Span::Session { .. }));
        let extent = session.map(|w| Function { name: EXTENT.into(), inputs: vec![w.column.clone()], factory: extent(w.offset) });
        self.functions.iter().cloned().chain(extent)
    }
    pub(super) fn accumulators(&self) -> Vec<Box<dyn Accumulator>> {
        self.all().map(|f| f.factory.create()).collect()
    }
    /// Number of state columns of each function.
    pub(super) fn state_counts(&self) -> Vec<usize> {
        self.all().map(|f| f.factory.state_fields().len()).collect()
    }
    /// Positions of key columns and of each function's inputs in the input.
    pub(super) fn inputs(&self, input: &Schema) -> Result<(Vec<usize>, Vec<Vec<usize>>)> {
        let keys = positions(input, &self.keys, &self.name)?;
        let mut functions = Vec::new();
        for f in self.all() {
            if f.inputs.len() != f.factory.inputs() {
                return Err(Error::Plan(format!(
                    "`{}`: {} takes {} columns, not {}",
                    self.name,
                    f.factory.describe(),
                    f.factory.inputs(),
                    f.inputs.len()
                )));
            }
            functions.push(positions(input, &f.inputs, &self.name)?);
        }
        Ok((keys, functions))
    }
}

/// The groups of an aggregation with their states.
pub(super) struct Groups {
    pub(super) keys: Keys,
    pub(super) states: Vec<Box<dyn Accumulator>>,
    /// Input rows of each group.
    pub(super) rows: Vec<u64>,
}

impl Groups {
    pub(super) fn new(spec: &AggregateSpec, fields: &[FieldRef]) -> Result<Self> {
        Ok(Groups { keys: Keys::new(fields)?, states: spec.accumulators(), rows: Vec::new() })
    }
    /// Makes room for all groups.
    pub(super) fn resize(&mut self) {
        let groups = self.keys.len();
        self.rows.resize(groups, 0);
        self.states.iter_mut().for_each(|s| s.resize(groups));
    }
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.resize();
    }
    pub(super) fn all(&self) -> Vec<u32> {
        (0..self.keys.len() as u32).collect()
    }
    pub(super) fn rows_of(&self, groups: &[u32]) -> u64 {
        groups.iter().filter_map(|g| self.rows.get(*g as usize)).sum()
    }
    pub(super) fn count(&mut self, groups: &[u32]) {
        for g in groups {
            if let Some(rows) = self.rows.get_mut(*g as usize) {
                *rows += 1;
            }
        }
    }
    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes() + self.rows.capacity() * 8 + self.states.iter().map(|s| s.bytes()).sum::<usize>()
    }
    /// Keys and states of these groups.
    pub(super) fn partial(&self, groups: &[u32], schema: &SchemaRef) -> Result<RecordBatch> {
        let mut columns = self.keys.columns(groups)?;
        for state in &self.states {
            columns.extend(state.state(groups)?);
        }
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(groups.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
    }
    /// Appends the same columns to rows that are packed.
    pub(super) fn pack(&self, groups: &[u32], piece: &mut Piece<'_>) -> Result<()> {
        self.keys.columns(groups)?.iter().try_for_each(|column| piece.column(column))?;
        self.states.iter().try_for_each(|state| state.pack(groups, piece))
    }
    /// Drops all groups but these, which are numbered anew in this order. `counts` is the number of state columns of each function.
    pub(super) fn retain(&mut self, live: &[u32], counts: &[usize], operator: &str) -> Result<()> {
        let keys = self.keys.columns(live)?;
        let rows: Vec<u64> = live.iter().map(|g| self.rows.get(*g as usize).copied().unwrap_or_default()).collect();
        let mut states = Vec::new();
        for state in &self.states {
            states.push(state.state(live)?);
        }
        self.clear();
        let mut groups = Vec::new();
        self.keys.insert(&keys, crate::operator::Kept::Range(0, live.len()), &mut groups)?;
        self.resize();
        self.rows = rows;
        debug_assert_eq!(states.len(), counts.len());
        for (to, from) in self.states.iter_mut().zip(&states) {
            to.merge(&groups, crate::operator::Kept::Range(0, live.len()), from).map_err(|f| f.at(operator, None))?;
        }
        Ok(())
    }
}

/// Splits columns behind the first `skip` into one slice per function.
pub(super) fn state_slices<'a, T>(columns: &'a [T], skip: usize, counts: &[usize]) -> Result<Vec<&'a [T]>> {
    let mut rest = columns.get(skip..);
    let mut out = Vec::with_capacity(counts.len());
    for count in counts {
        let (head, tail) =
            rest.and_then(|r| r.split_at_checked(*count)).ok_or_else(|| Error::internal("a partial aggregate lacks state columns"))?;
        out.push(head);
        rest = Some(tail);
    }
    Ok(out)
}

/// An empty column list is not a batch's row count: the number of rows is passed beside it.
pub(super) fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
