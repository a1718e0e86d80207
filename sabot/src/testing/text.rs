//! Rows of any sink as text, for comparison and for messages.

use std::fmt;

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};

use crate::Result;

/// A row as `column: value, ..`; its `Debug` is the text itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowText(pub(super) String);

impl fmt::Debug for RowText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The rows of batches.
///
/// # Errors
/// If a column's type has no text.
pub(super) fn rows_as_text(batches: &[RecordBatch]) -> Result<Vec<RowText>> {
    let options = FormatOptions::default().with_null("null");
    let mut out = Vec::new();
    for batch in batches {
        let schema = batch.schema();
        let columns: Vec<(&str, ArrayFormatter<'_>)> = (schema.fields().iter().zip(batch.columns()))
            .map(|(f, c)| Ok((f.name().as_str(), ArrayFormatter::try_new(c, &options)?)))
            .collect::<Result<_>>()?;
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = columns.iter().map(|(name, c)| format!("{name}: {}", c.value(row))).collect();
            out.push(RowText(cells.join(", ")));
        }
    }
    Ok(out)
}
