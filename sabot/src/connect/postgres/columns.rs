//! Which type of Postgres holds which type of a column, and whether a table has the columns that a sink is to store.

use arrow_schema::{DataType, Field, FieldRef, Schema};

use super::client::{Connection, quoted};
use crate::connect::types::{is_binary, is_text, plain, plain_field};
use crate::connect::{PostgresTable, fit};
use crate::{Error, Result};

/// Types that hold text.
const TEXT: &[&str] = &["text", "varchar", "bpchar", "citext", "json", "jsonb", "uuid"];

/// The type to create a column with, and all those that hold its values as they are.
fn held_by(t: &DataType) -> Option<(String, &'static [&'static str])> {
    use DataType::{
        Boolean, Date32, Decimal32, Decimal64, Decimal128, Decimal256, Dictionary, Duration, Float16, Float32, Float64, Int8, Int16, Int32,
        Int64, Time32, Time64, Timestamp, UInt8, UInt16, UInt32, UInt64,
    };
    let (create, holds): (&str, &'static [&'static str]) = match t {
        Boolean => ("boolean", &["bool"]),
        Int8 | UInt8 | Int16 => ("smallint", &["int2", "int4", "int8", "numeric", "float4", "float8"]),
        UInt16 | Int32 => ("integer", &["int4", "int8", "numeric", "float8"]),
        UInt32 | Int64 => ("bigint", &["int8", "numeric"]),
        UInt64 => ("numeric(20,0)", &["numeric"]),
        Float16 | Float32 => ("real", &["float4", "float8"]),
        Float64 => ("double precision", &["float8"]),
        Decimal32(p, s) | Decimal64(p, s) | Decimal128(p, s) | Decimal256(p, s) => {
            return Some((format!("numeric({p},{s})"), &["numeric"]));
        }
        Date32 => ("date", &["date"]),
        Time32(_) | Time64(_) => ("time", &["time"]),
        Timestamp(_, None) => ("timestamp", &["timestamp", "timestamptz"]),
        Timestamp(_, Some(_)) => ("timestamptz", &["timestamptz"]),
        Duration(_) => ("interval", &["interval"]),
        Dictionary(_, value) if !is_text(t) => return held_by(value),
        t if is_text(t) => ("text", TEXT),
        t if is_binary(t) || matches!(t, DataType::FixedSizeBinary(_)) => ("bytea", &["bytea"]),
        _ => return None,
    };
    Some((create.to_owned(), holds))
}

/// A column of a table.
struct Found {
    name: String,
    /// As declared: `numeric(10,2)`.
    declared: String,
    /// `numeric`.
    base: String,
    /// What is in the parentheses, as Postgres keeps it.
    modifier: i32,
    required: bool,
    /// A default, or computed.
    fills: bool,
    computed: bool,
}

impl Found {
    /// Whether it holds the values of this column as they are.
    fn holds(&self, field: &Field) -> bool {
        let Some((_, bases)) = held_by(field.data_type()) else { return false };
        let digits = match field.data_type() {
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => {
                Some((i32::from(*p), i32::from(*s)))
            }
            DataType::UInt64 => Some((20, 0)),
            _ => None,
        };
        let wide = match (digits, self.modifier) {
            (Some((precision, scale)), modifier) if self.base == "numeric" && modifier >= 4 => {
                let (p, s) = ((modifier - 4) >> 16 & 0xffff, (modifier - 4) & 0x7ff);
                s >= scale && p - s >= precision - scale
            }
            _ => true,
        };
        bases.contains(&self.base.as_str()) && wide && !self.computed && !(self.required && field.is_nullable())
    }
    /// Whether it tells these values apart: no case, no blanks at the end that do not count.
    fn compares(&self, field: &Field) -> bool {
        !is_text(field.data_type()) || matches!(self.base.as_str(), "text" | "varchar")
    }
}

/// Refuses columns that no type of Postgres holds.
pub(super) fn check_types(schema: &Schema, table: &PostgresTable) -> Result<()> {
    if let Some(field) = schema.fields().iter().find(|f| held_by(f.data_type()).is_none()) {
        let (name, what) = (field.name(), plain(field.data_type()));
        return Err(Error::Usage(format!(
            "{table}: column `{name}` is a {what}, which a Postgres sink cannot store; take it apart with `with`"
        )));
    }
    if let Some(missing) = table.key.iter().find(|k| schema.field_with_name(k).is_err()) {
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        return Err(Error::Usage(crate::words::unknown(&format!("{table}: the rows have no column"), missing, "they have", &names)));
    }
    Ok(())
}

/// Refuses columns by whose values no row can be found again.
pub(super) fn check_key(schema: &Schema, table: &PostgresTable) -> Result<()> {
    let float = |f: &&FieldRef| table.key.contains(f.name()) && f.data_type().is_floating();
    let Some(field) = schema.fields().iter().find(float) else { return Ok(()) };
    let name = field.name();
    Err(Error::Usage(format!("{table}: column `{name}` is a float, which cannot be part of the key of changes; round it to an integer")))
}

/// The statement that creates the table. With a key of changes, a null in it is a value like any other.
pub(super) fn create(schema: &Schema, table: &PostgresTable, name: &str, changes: bool) -> String {
    let column = |f: &Field| {
        let required = if f.is_nullable() { "" } else { " NOT NULL" };
        let (kind, _) = held_by(f.data_type()).unwrap_or_default();
        format!("{} {kind}{required}", quoted(f.name()))
    };
    let mut parts: Vec<String> = schema.fields().iter().map(|f| column(f)).collect();
    if !table.key.is_empty() {
        let kind = if changes && null_keys(schema, table) { "UNIQUE NULLS NOT DISTINCT" } else { "PRIMARY KEY" };
        parts.push(format!("{kind} ({})", super::client::list(table.key.iter().map(String::as_str))));
    }
    format!("CREATE TABLE IF NOT EXISTS {name} ({})", parts.join(", "))
}

/// Whether a column of the key may be null.
fn null_keys(schema: &Schema, table: &PostgresTable) -> bool {
    schema.fields().iter().any(|f| f.is_nullable() && table.key.contains(f.name()))
}

/// Compares the table's columns with those to store.
///
/// # Errors
/// [`Error::Schema`] with what differs; [`Error::Usage`] if there is no table, or the key's columns are not unique in it.
pub(super) fn check(connection: &Connection, schema: &Schema, table: &PostgresTable, name: &str, changes: bool) -> Result<()> {
    let what = "cannot look at the table";
    let sql = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), t.typname::text, a.atttypmod, a.attnotnull, \
               a.atthasdef OR a.attidentity <> '', a.attgenerated <> '' OR a.attidentity = 'a' \
               FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
               WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let rows = connection.query(sql, &[&name], what)?;
    let found: Vec<Found> = rows
        .iter()
        .map(|r| Found {
            name: r.get(0),
            declared: r.get(1),
            base: r.get(2),
            modifier: r.get(3),
            required: r.get(4),
            fills: r.get(5),
            computed: r.get(6),
        })
        .collect();
    if found.is_empty() {
        let statement = create(schema, table, name, changes);
        return Err(Error::Usage(format!("{table} does not exist; add `create=true`, or create it: {statement}")));
    }
    let mut differing = Vec::new();
    for field in schema.fields() {
        let row = |found: String| [field.name().clone(), plain_field(field), found];
        match found.iter().find(|f| f.name == *field.name()) {
            Some(f) if changes && table.key.contains(&f.name) && !f.compares(field) => {
                differing.push(row(format!("{}, which holds other texts to be the same", f.declared)));
            }
            Some(f) if f.holds(field) => {}
            Some(f) if f.computed => differing.push(row(format!("{}, which the server computes", f.declared))),
            Some(f) => differing.push(row(format!("{}{}", f.declared, if f.required { " not null" } else { "" }))),
            None => {
                let near = crate::words::nearest(field.name(), found.iter().map(|f| f.name.as_str()));
                differing.push(row(near.map_or_else(|| "missing".to_owned(), |n| format!("missing; is it `{n}`?"))));
            }
        }
    }
    for f in found.iter().filter(|f| f.required && !f.fills && !f.computed && schema.field_with_name(&f.name).is_err()) {
        differing.push([f.name.clone(), "not among the rows' columns".into(), format!("{} not null, without a default", f.declared)]);
    }
    if !differing.is_empty() {
        return Err(Error::Schema { place: table.to_string(), record: "that is written to it".into(), diff: fit::table(&differing) });
    }
    unique(connection, table, name, changes && null_keys(schema, table))
}

/// Whether the key's columns are unique in the table; with `nulls` also those that are null.
fn unique(connection: &Connection, table: &PostgresTable, name: &str, nulls: bool) -> Result<()> {
    if table.key.is_empty() {
        return Ok(());
    }
    // older servers have no such indices, and no such column
    let sql = "SELECT array_to_string(array_agg(a.attname::text ORDER BY a.attname::text), chr(10)), \
               bool_and(a.attnotnull) OR coalesce((to_jsonb(i)->>'indnullsnotdistinct')::boolean, false) FROM pg_index i \
               JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) \
               WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL GROUP BY i.indexrelid, to_jsonb(i)";
    let mut key = table.key.clone();
    key.sort_unstable();
    let wanted = key.join("\n");
    let rows = connection.query(sql, &[&name], "cannot look at the indices of the table")?;
    let columns = super::client::list(table.key.iter().map(String::as_str));
    let found: Vec<bool> = rows.iter().filter(|r| r.get::<_, String>(0) == wanted).map(|r| r.get(1)).collect();
    if found.iter().any(|same| *same || !nulls) {
        return Ok(());
    }
    if !found.is_empty() {
        return Err(Error::Usage(format!(
            "{table}: the key may be null, and no index says that null is unique too; run: CREATE UNIQUE INDEX ON {name} ({columns}) NULLS NOT DISTINCT"
        )));
    }
    Err(Error::Usage(format!(
        "{table}: no index says that the key is unique, so no row can replace another; run: CREATE UNIQUE INDEX ON {name} ({columns}){}",
        if nulls { " NULLS NOT DISTINCT" } else { "" }
    )))
}
