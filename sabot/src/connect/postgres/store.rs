//! Puts rows into a table: added, or in place of those with the same key. Takes rows out by their key.

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::{DataType, FieldRef, Schema, SchemaRef, TimeUnit};

use super::client::{Connection, list, quoted};
use super::text::lines;
use crate::connect::PostgresTable;
use crate::connect::upserts::Net;
use crate::{Error, Result};

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
    if table.key.is_empty() {
        return add(connection, table, batches);
    }
    let Some(schema) = schema(batches) else { return Ok(()) };
    let (what, columns) = (refused(table), names(&schema));
    let create = format!(
        "CREATE TEMPORARY TABLE sabot_rows ON COMMIT DROP AS SELECT 0::bigint AS sabot_row, {columns} FROM {} WITH NO DATA",
        name(table)
    );
    connection.batch(&create, &what)?;
    copy(connection, &format!("COPY sabot_rows (sabot_row, {columns}) FROM STDIN"), batches, Some(0), &what)?;
    connection.batch(&replace(table, &schema, &columns), &what)
}

/// Applies what became of keys, within a transaction. If the key is not proven to tell rows apart, a row that is added must not be there.
///
/// # Errors
/// If the server refuses; the transaction must be rolled back then.
pub(super) fn apply(connection: &Connection, table: &PostgresTable, net: &Net, proven: bool) -> Result<()> {
    [&net.added, &net.replacing, &net.gone].into_iter().flatten().try_for_each(|batch| whole_micros(table, batch))?;
    delete(connection, table, &net.gone)?;
    store(connection, table, &net.replacing)?;
    if proven {
        return store(connection, table, &net.added);
    }
    add(connection, table, &net.added).map_err(|e| match e {
        Error::Data { place, what } if what.contains(UNIQUE_VIOLATION) => {
            let key = table.key.join(", ");
            let why = format!(
                "{what}: the key ({key}) does not tell the rows of the changes apart, or the table has a row that is not of this job; name more columns in `key=`, put `distinct({key})` before the sink, or begin with an empty table"
            );
            Error::Data { place, what: why }
        }
        other => other,
    })
}

/// The code of a row that would be there twice, as messages show it.
const UNIQUE_VIOLATION: &str = "SQLSTATE 23505";

/// Adds rows.
fn add(connection: &Connection, table: &PostgresTable, batches: &[RecordBatch]) -> Result<()> {
    let Some(schema) = schema(batches) else { return Ok(()) };
    let sql = format!("COPY {} ({}) FROM STDIN", name(table), names(&schema));
    copy(connection, &sql, batches, None, &refused(table))
}

/// Deletes the rows of keys.
fn delete(connection: &Connection, table: &PostgresTable, keys: &[RecordBatch]) -> Result<()> {
    let Some(schema) = schema(keys) else { return Ok(()) };
    let (what, columns, target) = (refused(table), names(&schema), name(table));
    let create = format!("CREATE TEMPORARY TABLE sabot_gone ON COMMIT DROP AS SELECT {columns} FROM {target} WITH NO DATA");
    connection.batch(&create, &what)?;
    copy(connection, &format!("COPY sabot_gone ({columns}) FROM STDIN"), keys, None, &what)?;
    let same = |field: &FieldRef| {
        let (t, g) = (format!("t.{}", quoted(field.name())), format!("g.{}", quoted(field.name())));
        // `IS NOT DISTINCT FROM` would use no index
        if field.is_nullable() { format!("({t} = {g} OR {t} IS NULL AND {g} IS NULL)") } else { format!("{t} = {g}") }
    };
    let same: Vec<String> = schema.fields().iter().map(same).collect();
    let sql = format!("ANALYZE sabot_gone; DELETE FROM {target} t USING sabot_gone g WHERE {}; DROP TABLE sabot_gone", same.join(" AND "));
    connection.batch(&sql, &what)
}

/// Refuses keys that would be others, or each other, in a table, which keeps microseconds.
fn whole_micros(table: &PostgresTable, batch: &RecordBatch) -> Result<()> {
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()).filter(|(f, _)| table.key.contains(f.name())) {
        use DataType::{Duration, Time64, Timestamp};
        if let Timestamp(TimeUnit::Nanosecond, _) | Time64(TimeUnit::Nanosecond) | Duration(TimeUnit::Nanosecond) = field.data_type() {
            let nanos = arrow_cast::cast(column, &DataType::Int64)?;
            if nanos.as_primitive_opt::<Int64Type>().is_some_and(|n| n.iter().flatten().any(|n| n % 1000 != 0)) {
                let what = format!("the key column `{}` has parts of microseconds, which Postgres does not keep", field.name());
                return Err(Error::Data { place: table.to_string(), what });
            }
        }
    }
    Ok(())
}

fn schema(batches: &[RecordBatch]) -> Option<SchemaRef> {
    batches.iter().find(|b| b.num_rows() > 0).map(RecordBatch::schema)
}
fn names(schema: &Schema) -> String {
    list(schema.fields().iter().map(|f| f.name().as_str()))
}
fn refused(table: &PostgresTable) -> String {
    format!("cannot write to {}", table.table)
}

/// Sends rows, with their numbers before them if one to begin with is given.
fn copy(connection: &Connection, sql: &str, batches: &[RecordBatch], mut number: Option<u64>, what: &str) -> Result<()> {
    let mut text = String::new();
    for batch in batches {
        // a batch at a time may be too much text at once
        for start in (0..batch.num_rows()).step_by(8192) {
            let piece = batch.slice(start, 8192.min(batch.num_rows() - start));
            lines(&piece, number, &mut text)?;
            number = number.map(|n| n + piece.num_rows() as u64);
            if text.len() >= COPY_BYTES {
                connection.copy(sql, std::mem::take(&mut text), what)?;
            }
        }
    }
    if !text.is_empty() {
        connection.copy(sql, text, what)?;
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
