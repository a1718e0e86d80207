//! The groups of an aggregation in a snapshot: written, loaded, dropped.

use std::sync::Arc;

use arrow_array::types::UInt64Type;
use arrow_array::{RecordBatch, UInt64Array, cast::AsArray};
use arrow_schema::{DataType, Field, FieldRef, SchemaRef};

use super::spec::{Groups, state_slices};
use crate::operator::Kept;
use crate::operator::kept::batch_with;
use crate::operator::keys::key_groups;
use crate::{Error, Result};

/// Input rows of each group, in snapshots.
pub(super) const ROWS: &str = "sabot.rows";

/// A cut of groups, with the number of input rows of each.
pub(super) fn with_rows(batch: &RecordBatch, rows: Vec<u64>) -> Result<RecordBatch> {
    batch_with(batch, Field::new(ROWS, DataType::UInt64, false), Arc::new(UInt64Array::from(rows)))
}

/// Loads a cut that [`with_rows`] made, perhaps in another version of the program. Returns the group of each row.
pub(super) fn load(
    groups: &mut Groups,
    batch: &RecordBatch,
    schema: &SchemaRef,
    keys: usize,
    counts: &[usize],
    operator: &str,
) -> Result<Vec<u32>> {
    let written = batch.schema_ref().fields();
    let known = schema.fields();
    let same =
        written.len() == known.len() + 1 && written.iter().zip(known).all(|(w, k)| w.name() == k.name() && w.data_type() == k.data_type());
    if !same {
        let names = |fields: &[FieldRef]| fields.iter().map(|f| format!("{}: {}", f.name(), f.data_type())).collect::<Vec<_>>().join(", ");
        return Err(Error::Checkpoint(format!(
            "the state of `{operator}` has columns [{}], but the program keeps [{}]",
            names(written),
            names(known)
        )));
    }
    let kept = Kept::Range(0, batch.num_rows());
    let mut numbers = Vec::new();
    groups.keys.insert(batch.columns(), kept, &mut numbers)?;
    groups.resize();
    let columns = state_slices(batch.columns(), keys, counts)?;
    let fields = state_slices(written, keys, counts)?;
    for ((state, columns), fields) in groups.states.iter_mut().zip(columns).zip(fields) {
        state.restore(&numbers, kept, columns, fields).map_err(|f| f.at(operator, None))?;
    }
    let rows = batch
        .column_by_name(ROWS)
        .and_then(|c| c.as_primitive_opt::<UInt64Type>())
        .ok_or_else(|| Error::Checkpoint(format!("the state of `{operator}` lacks its row counts")))?;
    for (group, rows) in numbers.iter().zip(rows.values()) {
        if let Some(slot) = groups.rows.get_mut(*group as usize) {
            *slot += rows;
        }
    }
    Ok(numbers)
}

/// Drops the groups of a key group. Arrow refuses nothing here that it did not refuse before, so errors keep the groups.
pub(super) fn drop_group(groups: &mut Groups, group: u16, keys: usize, counts: &[usize], operator: &str) {
    let all = groups.all();
    let Ok(columns) = groups.keys.columns(&all) else { return };
    let Ok(of) = key_groups(columns.get(..keys).unwrap_or(&[]), all.len()) else { return };
    let live: Vec<u32> = all.iter().zip(of).filter(|(_, g)| *g != group).map(|(i, _)| *i).collect();
    if live.len() < all.len() {
        let _ = groups.retain(&live, counts, operator);
    }
}
