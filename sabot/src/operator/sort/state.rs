//! The rows of a sort in a snapshot: batches in source order.

use arrow_array::RecordBatch;

use super::Run;
use crate::Result;
use crate::kernel::Origin;
use crate::operator::{Frozen, GroupState, ipc};

/// A cut of the rows of these runs, then of these batches.
pub(super) fn write(runs: Vec<Run>, batches: Vec<(Origin, RecordBatch)>) -> Frozen {
    Frozen::new(move || {
        let mut bytes = Vec::new();
        for run in runs {
            for block in &run.blocks {
                ipc::push_with_origin(&run.file.read(block)?, Origin::default(), &mut bytes)?;
            }
        }
        for (origin, batch) in batches {
            ipc::push_with_origin(&batch, origin, &mut bytes)?;
        }
        Ok(if bytes.is_empty() { Vec::new() } else { vec![GroupState { group: 0, bytes }] })
    })
}

/// The batches of a cut.
pub(super) fn read(state: &GroupState) -> Result<Vec<(Origin, RecordBatch)>> {
    let mut bytes = state.bytes.as_slice();
    let mut out = Vec::new();
    while let Some(batch) = ipc::pop(&mut bytes)? {
        out.push((ipc::origin_of(&batch)?, batch));
    }
    Ok(out)
}
