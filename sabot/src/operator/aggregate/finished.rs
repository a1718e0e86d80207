//! The rows that groups make: keys, the bounds of their window, results.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow_schema::{DataType, SchemaRef, TimeUnit};

use super::AggregateSpec;
use super::sessions::session_bounds;
use super::spec::{Groups, batch};
use super::window::Units;
use crate::operator::instants::micros;
use crate::{Error, Result};

/// The results of these groups, as columns of `schema`. All of them are of the window that begins at `start`, or their keys end with its start.
pub(super) fn finished(
    spec: &AggregateSpec,
    schema: &SchemaRef,
    window: Option<Units>,
    of: &Groups,
    groups: &[u32],
    start: Option<ArrayRef>,
) -> Result<RecordBatch> {
    let mut columns = of.keys.columns(groups)?;
    columns.extend(start);
    match (window, columns.last()) {
        (Some(units), Some(starts)) if units.session => {
            let (starts, ends) = session_bounds(units, of, groups, starts.data_type())?;
            columns.pop();
            columns.extend([starts, ends]);
        }
        (Some(units), Some(starts)) => columns.push(units.ends(starts)?),
        _ => {}
    }
    for state in of.states.iter().take(spec.functions.len()) {
        columns.push(state.finish(groups).map_err(|f| f.at(&spec.name, None))?);
    }
    batch(schema, declared(spec, schema, columns)?, groups.len())
}

/// The columns as the output declares them.
fn declared(spec: &AggregateSpec, schema: &SchemaRef, mut columns: Vec<ArrayRef>) -> Result<Vec<ArrayRef>> {
    for (column, field) in columns.iter_mut().zip(schema.fields()) {
        if column.data_type() != field.data_type() {
            *column = match field.data_type() {
                DataType::Timestamp(TimeUnit::Microsecond, None) => Arc::new(TimestampMicrosecondArray::from(micros(column)?)),
                other => arrow_cast::cast(column, other)?,
            };
        }
        if !field.is_nullable() && column.null_count() > 0 {
            return Err(Error::Operator {
                operator: spec.name.clone(),
                what: format!(
                    "failed: `{0}` of no rows has no value; to get a null then, aggregate an `Option`, as in `{0}: min(Some(x))`",
                    field.name()
                ),
                row: "the end of its input".into(),
            });
        }
    }
    Ok(columns)
}
