//! From what the loop left to a batch: nulls that were handled by words are put back, columns passed on are the input's.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_buffer::NullBuffer;
use arrow_schema::{Field, Schema};

use super::lineage::{From, Lineage};
use super::morsel::SetBits;
use super::plan::{Bound, Plan};
use crate::Result;
use crate::record::{Accepted, Bits, LANES, Window, with_nulls};

/// The batch of a plan's outputs.
pub(super) fn batch(plan: &Plan, bound: &Bound, input: &RecordBatch, columns: &[Option<ArrayRef>], rows: usize) -> Result<RecordBatch> {
    let mut arrays = Vec::with_capacity(plan.outputs.len());
    let mut missing = false;
    for out in &plan.outputs {
        let array = match &out.from {
            From::Input(i) => bound.places.get(*i).copied().flatten().and_then(|p| input.columns().get(p)),
            From::Made(m) => columns.get(*m).and_then(Option::as_ref),
        };
        missing |= array.is_none();
        arrays.extend(array.cloned());
    }
    let as_planned = !missing && bound.result.fields().iter().zip(&arrays).all(|(f, a)| f.data_type() == a.data_type());
    let schema = if as_planned {
        Arc::clone(&bound.result)
    } else {
        let fields = bound.result.fields().iter().zip(&arrays);
        Arc::new(Schema::new(fields.map(|(f, a)| Field::new(f.name(), a.data_type().clone(), f.is_nullable())).collect::<Vec<_>>()))
    };
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
}

/// Adds the nulls of strictly used columns to computed columns, where the loop read nulls as values.
pub(super) fn strike_all(lineage: &Lineage, accepted: &Accepted, kept: &[u64], dense: bool, rows: usize, columns: &mut [Option<ArrayRef>]) {
    for unit in &lineage.units {
        if let Some(slot) = unit.made.and_then(|m| columns.get_mut(m))
            && let Some(array) = slot
        {
            let strict: Vec<&ArrayRef> = unit.needs.strict.iter().filter_map(|i| accepted.get(*i)).filter(|a| a.null_count() > 0).collect();
            *array = match strict.as_slice() {
                [] => continue,
                // in place, and nulls of one column only: its bitmap as it is
                [one] if !dense && array.null_count() == 0 => with_nulls(array, one.nulls().cloned()),
                some => strike(array, &some.iter().map(|a| Bits::of(a.as_ref())).collect::<Vec<_>>(), kept, dense, accepted.rows(), rows),
            };
        }
    }
}

fn strike(array: &ArrayRef, strict: &[Bits<'_>], kept: &[u64], dense: bool, rows_in: usize, rows_out: usize) -> ArrayRef {
    let mut words = Vec::with_capacity(rows_out.div_ceil(64) + 1);
    let (mut pending, mut filled) = (0u128, 0u32);
    for (i, keep) in kept.iter().enumerate() {
        let len = LANES.min(rows_in - i * LANES);
        // SAFETY: `i * 64 + len <= rows_in`, the length of the columns behind `strict`.
        let window = unsafe { Window::new(i * LANES, len) };
        let valid = strict.iter().fold(!0u64, |w, b| w & b.word(window));
        if dense {
            pending |= u128::from(extract(valid, *keep)) << filled;
            filled += keep.count_ones();
            if filled >= 64 {
                words.push(pending as u64);
                pending >>= 64;
                filled -= 64;
            }
        } else {
            words.push(valid);
        }
    }
    if dense && filled > 0 {
        words.push(pending as u64);
    }
    let bits = arrow_buffer::BooleanBuffer::new(arrow_buffer::Buffer::from_vec(words), 0, rows_out);
    match NullBuffer::union(array.nulls(), Some(&NullBuffer::new(bits))) {
        Some(nulls) => with_nulls(array, Some(nulls)),
        None => Arc::clone(array),
    }
}

/// Gathers the bits of `word` at the set bits of `mask` (PEXT).
fn extract(word: u64, mask: u64) -> u64 {
    if mask == !0 {
        return word;
    }
    SetBits(mask).enumerate().fold(0, |out, (to, from)| out | (word >> from & 1) << to)
}
