//! The state of a join of streams as bytes: for each key group the rows of the left side, then those of the right, and what became of each row.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch, RecordBatchOptions, UInt8Array, cast::AsArray, types::UInt8Type};
use arrow_schema::{DataType, Field, Schema};

use super::shape::Shape;
use crate::operator::keys::in_key_groups;
use crate::operator::{GroupState, ipc};
use crate::{Error, Result};

/// The column of what became of a row.
const FATE: &str = "__fate";

/// A side's rows, and what became of each.
pub(super) type Side = (Shape, Vec<Kept>);
/// Some rows, and what became of each.
pub(super) type Kept = (RecordBatch, Vec<u8>);

/// Both sides by key group.
pub(super) fn write(sides: &[Side; 2]) -> Result<Vec<GroupState>> {
    let mut groups: BTreeMap<u16, [Option<RecordBatch>; 2]> = BTreeMap::new();
    let mut empty = Vec::new();
    for (port, (shape, batches)) in sides.iter().enumerate() {
        let all = one(shape, batches)?;
        for (group, rows) in in_key_groups(&all, &shape.keys(&all))? {
            let slot = groups.entry(group).or_default().get_mut(port);
            if let Some(slot) = slot {
                *slot = Some(rows);
            }
        }
        empty.push(all.slice(0, 0));
    }
    let mut states = Vec::new();
    for (group, rows) in groups {
        let mut bytes = Vec::new();
        for (rows, empty) in rows.iter().zip(&empty) {
            ipc::push(rows.as_ref().unwrap_or(empty), &mut bytes)?;
        }
        states.push(GroupState { group, bytes });
    }
    Ok(states)
}

/// The rows of a side in one piece, with the column of their fates.
fn one(shape: &Shape, batches: &[Kept]) -> Result<RecordBatch> {
    let all = arrow_select::concat::concat_batches(&shape.schema, batches.iter().map(|(rows, _)| rows))?;
    let fates: UInt8Array = batches.iter().flat_map(|(_, fates)| fates).copied().map(Some).collect();
    let mut fields: Vec<Arc<Field>> = shape.schema.fields().to_vec();
    fields.push(Arc::new(Field::new(FATE, DataType::UInt8, false)));
    let mut columns = all.columns().to_vec();
    columns.push(Arc::new(fates));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The rows of both sides of one key group.
pub(super) fn read(state: &GroupState, shapes: &[Shape; 2]) -> Result<Vec<Kept>> {
    let mut bytes = state.bytes.as_slice();
    let mut out = Vec::new();
    for shape in shapes {
        let broken = || Error::Checkpoint(format!("the state of `{}` is cut short", shape.step()));
        let batch = ipc::pop(&mut bytes)?.ok_or_else(broken)?;
        let mut columns = batch.columns().to_vec();
        let fates = columns.pop().ok_or_else(broken)?;
        let same = batch.schema_ref().fields().iter().zip(shape.schema.fields()).all(|(a, b)| a == b);
        if !same || columns.len() != shape.schema.fields().len() || *fates.data_type() != DataType::UInt8 {
            return Err(Error::Checkpoint(format!("the rows that `{}` keeps were written with other columns", shape.step())));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&shape.schema), columns, &options)?;
        out.push((rows, fates.as_primitive::<UInt8Type>().values().to_vec()));
    }
    Ok(out)
}
