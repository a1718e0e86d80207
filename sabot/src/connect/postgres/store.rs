//! Puts rows into a table: added, or in place of those with the same key.

use arrow_array::RecordBatch;
use arrow_schema::Schema;

use super::client::{Connection, list, quoted};
use super::text::lines;
use crate::Result;
use crate::connect::PostgresTable;

/// Bytes of a `COPY`. Well above what a round trip costs, well below what hurts in memory.
const COPY_BYTES: usize = 4 << 20;

/// The table as SQL names it.
pub(super) fn name(table: &PostgresTable) -> String {
    table.table.split('.').map(quoted).collect::<Vec<_>>().join(".")
}

/// Stores rows of the same columns. Where rows replace others, this must be within a transaction.
///
/// # Errors
/// If the server refuses them; a part may be stored then, unless the transaction is rolled back.
pub(super) fn store(connection: &Connection, table: &PostgresTable, batches: &[RecordBatch]) -> Result<()> {
    let Some(schema) = batches.iter().find(|b| b.num_rows() > 0).map(RecordBatch::schema) else { return Ok(()) };
    let what = format!("cannot write to {}", table.table);
    let columns = list(schema.fields().iter().map(|f| f.name().as_str()));
    let staged = !table.key.is_empty();
    let into = if staged { format!("sabot_rows (sabot_row, {columns})") } else { format!("{} ({columns})", name(table)) };
    if staged {
        let target = name(table);
        let create = format!(
            "CREATE TEMPORARY TABLE sabot_rows ON COMMIT DROP AS SELECT 0::bigint AS sabot_row, {columns} FROM {target} WITH NO DATA"
        );
        connection.batch(&create, &what)?;
    }
    let copy = format!("COPY {into} FROM STDIN");
    let (mut text, mut row) = (String::new(), 0);
    for batch in batches {
        // a batch at a time may be too much text at once
        for start in (0..batch.num_rows()).step_by(8192) {
            let piece = batch.slice(start, 8192.min(batch.num_rows() - start));
            lines(&piece, staged.then_some(row), &mut text)?;
            row += piece.num_rows() as u64;
            if text.len() >= COPY_BYTES {
                connection.copy(&copy, std::mem::take(&mut text), &what)?;
            }
        }
    }
    if !text.is_empty() {
        connection.copy(&copy, text, &what)?;
    }
    if staged {
        connection.batch(&replace(table, &schema, &columns), &what)?;
    }
    Ok(())
}

/// The last of the staged rows of each key, in place of what the table has.
fn replace(table: &PostgresTable, schema: &Schema, columns: &str) -> String {
    let key = list(table.key.iter().map(String::as_str));
    let others = schema.fields().iter().map(|f| f.name()).filter(|n| !table.key.contains(n));
    let set: Vec<String> = others.map(|n| format!("{0} = EXCLUDED.{0}", quoted(n))).collect();
    let action = if set.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", set.join(", ")) };
    format!(
        "INSERT INTO {} ({columns}) SELECT DISTINCT ON ({key}) {columns} FROM sabot_rows ORDER BY {key}, sabot_row DESC \
         ON CONFLICT ({key}) DO {action}; DROP TABLE sabot_rows",
        name(table)
    )
}
