//! The state of an as-of join as bytes: for each key group the left rows that wait, then the right rows, each with its position in the source.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::types::{UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, RecordBatch, UInt32Array, UInt64Array, cast::AsArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::pieces::Pieces;
use super::shape::Shape;
use super::versions::Version;
use crate::kernel::Origin;
use crate::operator::by_group::gather;
use crate::operator::keys::in_key_groups;
use crate::operator::{GroupState, ipc};
use crate::{Error, Result};

/// The columns of a position.
const PLACE: [(&str, DataType); 4] =
    [("__source", DataType::UInt32), ("__partition", DataType::UInt32), ("__split", DataType::UInt64), ("__row", DataType::UInt64)];

/// A side's rows, with their positions.
pub(super) type Side = (Shape, (Pieces, Vec<Version>));

/// The columns of a side and of positions.
fn schema(shape: &Shape) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = shape.schema.fields().to_vec();
    fields.extend(PLACE.map(|(name, kind)| Arc::new(Field::new(name, kind, false))));
    Arc::new(Schema::new(fields))
}

/// Both sides by key group.
pub(super) fn write(sides: &[Side; 2]) -> Result<Vec<GroupState>> {
    let mut groups: BTreeMap<u16, [Option<RecordBatch>; 2]> = BTreeMap::new();
    for (port, (shape, (pieces, rows))) in sides.iter().enumerate() {
        let at: Vec<(usize, usize)> = rows.iter().map(|v| pieces.place(v.row)).collect();
        let all = gather(&shape.schema, pieces.batches(), &at)?;
        let mut columns = all.columns().to_vec();
        let of = |f: &dyn Fn(&Origin) -> u32| -> ArrayRef { Arc::new(rows.iter().map(|v| Some(f(&v.origin))).collect::<UInt32Array>()) };
        columns.extend([of(&|o| o.source), of(&|o| o.partition)]);
        let of = |f: &dyn Fn(&Origin) -> u64| -> ArrayRef { Arc::new(rows.iter().map(|v| Some(f(&v.origin))).collect::<UInt64Array>()) };
        columns.extend([of(&|o| o.split), of(&|o| o.row)]);
        let placed = RecordBatch::try_new(schema(shape), columns)?;
        for (group, rows) in in_key_groups(&placed, &shape.keys(&all))? {
            if let Some(slot) = groups.entry(group).or_default().get_mut(port) {
                *slot = Some(rows);
            }
        }
    }
    let mut states = Vec::new();
    for (group, rows) in groups {
        let mut bytes = Vec::new();
        for (rows, (shape, _)) in rows.into_iter().zip(sides) {
            ipc::push(&rows.unwrap_or_else(|| RecordBatch::new_empty(schema(shape))), &mut bytes)?;
        }
        states.push(GroupState { group, bytes });
    }
    Ok(states)
}

/// The rows of both sides of one key group, and where each was in the source.
pub(super) fn read(state: &GroupState, shapes: &[Shape; 2]) -> Result<Vec<(RecordBatch, Vec<Origin>)>> {
    let mut bytes = state.bytes.as_slice();
    let mut out = Vec::new();
    for shape in shapes {
        let broken = || Error::Checkpoint(format!("the state of `{}` is cut short", shape.step()));
        let batch = ipc::pop(&mut bytes)?.ok_or_else(broken)?;
        let expected = schema(shape);
        if batch.num_columns() != expected.fields().len() || !batch.schema_ref().fields().iter().zip(expected.fields()).all(|(a, b)| a == b)
        {
            return Err(Error::Checkpoint(format!("the rows that `{}` keeps were written with other columns", shape.step())));
        }
        let kept = shape.schema.fields().len();
        let rows = batch.project(&(0..kept).collect::<Vec<_>>())?.with_schema(Arc::clone(&shape.schema))?;
        let place = batch.columns().get(kept..).unwrap_or(&[]);
        let [source, partition, split, row] = place else { return Err(broken()) };
        let (source, partition) = (source.as_primitive::<UInt32Type>(), partition.as_primitive::<UInt32Type>());
        let (split, row) = (split.as_primitive::<UInt64Type>(), row.as_primitive::<UInt64Type>());
        let origins = (0..rows.num_rows())
            .map(|i| Origin { source: source.value(i), partition: partition.value(i), split: split.value(i), row: row.value(i) })
            .collect();
        out.push((rows, origins));
    }
    Ok(out)
}
