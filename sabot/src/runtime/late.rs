//! Which rows of a partition are late.

use arrow_array::RecordBatch;

use crate::kernel::Selection;
use crate::operator::instants::micros;
use crate::operator::{EventTime, SourceTime};
use crate::{Error, Result};

/// The rows that are late, or those that are not.
pub(super) fn where_late(late: &[bool], which: bool) -> Selection {
    let word = |flags: &[bool]| flags.iter().zip(0..).fold(0u64, |w, (late, bit)| w | (u64::from(*late == which) << bit));
    Selection::new(late.chunks(64).map(word).collect::<Vec<u64>>())
}

/// Which rows are behind their partition's watermark `time`, by more than may be; none if the list is empty. Moves the watermark on, row by
/// row, unless the reader gave one for the whole batch: it holds for the rows after it.
pub(super) fn late_rows(batch: &RecordBatch, told: &SourceTime, given: Option<EventTime>, time: &mut EventTime) -> Result<Vec<bool>> {
    let column = batch
        .column_by_name(&told.column)
        .ok_or_else(|| Error::Plan(format!("a source does not deliver its event time `{}`", told.column)))?;
    let (mut late, mut any) = (Vec::with_capacity(batch.num_rows()), false);
    for t in micros(column)? {
        let behind = t < time.saturating_sub(told.lateness);
        any |= behind;
        late.push(behind);
        if given.is_none() {
            let most = told.max_step.filter(|_| *time > EventTime::MIN).map_or(EventTime::MAX, |step| time.saturating_add(step));
            *time = t.saturating_sub(told.disorder).min(most).max(*time);
        }
    }
    Ok(if any { late } else { Vec::new() })
}
