//! Owned rows to a batch and back: what tests feed and `collect` returns.

use arrow_array::{RecordBatch, StructArray, cast::AsArray};

use super::window::LANES;
use super::{Accepted, Buffers, Env, Lane, Missing, Named, Record, Value, Window, Writer};
use crate::Result;

/// The rows as a batch with exactly the schema of `R`.
///
/// ```
/// use sabot::prelude::*;
/// use sabot::record::{clone_of, from_batch, to_batch};
///
/// #[derive(Record, Debug, PartialEq)]
/// struct Trade { symbol: Str, qty: i64 }
///
/// # fn main() -> Result<()> {
/// let trade = Trade { symbol: "A".into(), qty: 5 };
/// let batch = to_batch(&[clone_of(&trade)]);
/// assert_eq!(from_batch::<Trade>(&batch, "here")?, [trade]);
/// assert!(from_batch::<Trade>(&batch.project(&[0])?, "here").is_err(), "`qty` is missing");
/// # Ok(()) }
/// ```
pub fn to_batch<R: Named>(rows: &[R]) -> RecordBatch {
    let mut out = <R as Value>::Write::new(rows.len());
    for (at, row) in rows.iter().enumerate() {
        out.put(at, row.borrow(), &Env::COPY);
    }
    let column = out.finish(rows.len(), &Buffers::default());
    column.as_struct_opt().map_or_else(|| RecordBatch::from(StructArray::new_empty_fields(rows.len(), None)), RecordBatch::from)
}

/// The rows of a batch whose columns are matched with `R` by name. `place` says in errors where the batch comes from.
///
/// # Errors
/// [`Error::Schema`](crate::Error::Schema) if a column is missing, has another type, or has a null where `R` allows none.
///
/// Example: [`to_batch`].
pub fn from_batch<R: Named>(batch: &RecordBatch, place: &str) -> Result<Vec<R>> {
    let accepted = Accepted::of::<R>(batch, Missing::Refuse, place)?;
    let read = <R as Record>::read(&mut accepted.reader());
    let rows = accepted.rows();
    let mut out = Vec::with_capacity(rows);
    for base in (0..rows).step_by(LANES) {
        let len = LANES.min(rows - base);
        // SAFETY: `len <= LANES`, and every accepted column has `rows` rows, of which `base..base + len` are a part.
        let window = unsafe { Window::new(base, len) };
        let chunk = <R as Record>::chunk(read, window);
        for lane in 0..len {
            // SAFETY: `lane` is below the window's length.
            let lane = unsafe { Lane::new(lane) };
            out.push(R::own(R::value_ref(R::row::<false>(chunk, lane))));
        }
    }
    Ok(out)
}

/// A copy of a row, whether or not its type is `Clone`.
///
/// Example: [`to_batch`].
pub fn clone_of<R: Named>(row: &R) -> R {
    R::own(row.borrow())
}
