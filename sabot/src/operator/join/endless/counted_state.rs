//! The state of a join that is sent as it changes as bytes: for each key group the rows of the left side, then those of the right, each with how often
//! it counts and how many partners it has.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, cast::AsArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::counted::{Counted, Cut};
use super::shape::Shape;
use crate::operator::keys::in_key_groups;
use crate::operator::numbered::Numbered;
use crate::operator::{GroupState, ipc};
use crate::{Error, Result};

/// The columns behind those of a row.
const COUNTS: [&str; 2] = ["sabot.times", "sabot.partners"];

fn schema(shape: &Shape) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = shape.schema.fields().to_vec();
    fields.extend(COUNTS.map(|name| Arc::new(Field::new(name, DataType::Int64, false))));
    Arc::new(Schema::new(fields))
}

/// Both sides by key group; `tag` goes with each.
pub(super) fn write(sides: &[Cut; 2], tag: &(String, String)) -> Result<Vec<GroupState>> {
    let mut groups: BTreeMap<u16, [Option<RecordBatch>; 2]> = BTreeMap::new();
    for (port, cut) in sides.iter().enumerate() {
        let rows = cut.rows()?;
        let counts = [&cut.times, &cut.partners].map(|c| Arc::new(Int64Array::from(c.clone())) as ArrayRef);
        let columns = rows.columns().iter().cloned().chain(counts).collect();
        let all = RecordBatch::try_new(schema(&cut.shape), columns)?;
        for (group, part) in in_key_groups(&all, &cut.shape.keys(&rows))? {
            if let Some(slot) = groups.entry(group).or_default().get_mut(port) {
                *slot = Some(part);
            }
        }
    }
    let mut states = Vec::new();
    for (group, parts) in groups {
        let mut bytes = Vec::new();
        for (part, cut) in parts.into_iter().zip(sides) {
            let part = part.unwrap_or_else(|| RecordBatch::new_empty(schema(&cut.shape)));
            ipc::push(&ipc::tagged(&part, [tag.clone()])?, &mut bytes)?;
        }
        states.push(GroupState { group, bytes });
    }
    Ok(states)
}

/// Puts the rows of a key group back.
pub(super) fn read(state: &GroupState, sides: &mut [Counted; 2], sent: &mut Numbered) -> Result<()> {
    let mut bytes = state.bytes.as_slice();
    for side in sides {
        let step = side.shape().step().to_owned();
        let broken = || Error::Checkpoint(format!("the state of `{step}` is cut short"));
        let batch = ipc::pop(&mut bytes)?.ok_or_else(broken)?;
        sent.restore(&batch, &step)?;
        let (expected, kept) = (schema(side.shape()), side.shape().schema.fields().len());
        let found = batch.schema_ref().fields();
        if found.len() != expected.fields().len() || !found.iter().zip(expected.fields()).all(|(a, b)| a == b) {
            return Err(Error::Checkpoint(format!("the rows that `{step}` keeps were written with other columns")));
        }
        let (rows, counts) = batch.columns().split_at_checked(kept).ok_or_else(broken)?;
        let [times, partners] = counts else { return Err(broken()) };
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&side.shape().schema), rows.to_vec(), &options)?;
        side.restore(&rows, times.as_primitive::<Int64Type>().values(), partners.as_primitive::<Int64Type>().values())?;
    }
    Ok(())
}
