//! A record: the named, typed columns of a stream.

use std::borrow::Cow;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::ops::Deref;

use arrow_array::ArrayRef;
use arrow_schema::DataType;

use super::{Lane, Mismatch, Reader, Value, Window};

/// One column of a record.
///
/// Example: [`columns_of`].
#[derive(Clone, Debug)]
pub struct Column {
    /// The column's name in files and plans.
    pub name: Cow<'static, str>,
    /// The field's name in Rust; differs from `name` only under `#[record(rename = "..")]`.
    pub ident: &'static str,
    /// The Arrow type.
    pub data_type: DataType,
    /// Whether it may hold nulls.
    pub nullable: bool,
    /// Whether it is the record's event time.
    pub event_time: bool,
    /// Whether slots of null rows may be read ([`Value::FIXED`]).
    pub fixed: bool,
    /// Brings an array into a readable encoding ([`Value::accept`]).
    pub accept: fn(&ArrayRef) -> Result<ArrayRef, Mismatch>,
}

impl Column {
    /// The column for a field of type `V`.
    pub fn of<V: Value>(ident: &'static str, name: impl Into<Cow<'static, str>>) -> Self {
        Column {
            name: name.into(),
            ident,
            data_type: V::data_type(),
            nullable: V::NULLABLE,
            event_time: false,
            fixed: V::FIXED,
            accept: V::accept,
        }
    }
    /// Marks it as the event time.
    pub fn with_event_time(mut self) -> Self {
        self.event_time = true;
        self
    }
    /// The Arrow field.
    pub fn field(&self) -> arrow_schema::Field {
        arrow_schema::Field::new(self.name.as_ref(), self.data_type.clone(), self.nullable)
    }
}

/// The named, typed columns of a stream. Derived for user structs; generated for the `row { .. }` of a step.
///
/// Example: [`record`](crate::record).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a record",
    label = "not a record",
    note = "add `#[derive(Record)]` to the struct"
)]
pub trait Record: Sized + Send + Sync + 'static {
    /// What a closure sees: a struct with the record's field names, borrowed from the columns.
    type Row<'a>: Copy;
    /// One [`Col`] per column, with the same field names: what `key_by` sees.
    type Cols: 'static;
    /// [`HasTime`](super::HasTime) if a field is marked `#[event_time]`, else [`NoTime`](super::NoTime).
    type Time: 'static;
    /// Typed access to the columns.
    type Read<'a>: Copy;
    /// Typed access to the rows of one window.
    type Chunk<'a>: Copy;
    /// The record's name in messages.
    const NAME: &'static str;
    /// The columns as values to name.
    fn cols() -> Self::Cols;
    /// Appends the columns, base columns first; a later column of the same name replaces an earlier one.
    fn columns(out: &mut Vec<Column>);
    /// Typed access, taking the columns in the order of [`columns`](Self::columns).
    fn read<'a>(from: &mut Reader<'a>) -> Self::Read<'a>;
    /// The rows of a window.
    fn chunk<'a>(read: Self::Read<'a>, at: Window) -> Self::Chunk<'a>;
    /// One row. With `VALID`, all nullable columns in use are known to be valid in it.
    fn row<'a, const VALID: bool>(chunk: Self::Chunk<'a>, lane: Lane) -> Self::Row<'a>;
}

/// A derived record as itself. Generated code names records by way of this projection: a struct that is not a record is then one
/// error, and everything that follows from it is silent.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a record",
    label = "not a record",
    note = "add `#[derive(Record)]` to the struct"
)]
pub trait IsRecord {
    /// The record.
    type Itself: Record;
}

/// A record that is a struct of the user's: rows can be owned, collected and fed.
///
/// Implemented by `#[derive(Record)]`.
///
/// Example: [`record`](crate::record).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a record",
    label = "not a record",
    note = "add `#[derive(Record)]` to the struct"
)]
pub trait Named: Record + Value {
    /// The row as a value.
    fn value_ref<'a>(row: <Self as Record>::Row<'a>) -> <Self as Value>::Ref<'a>;
    /// The value as a row.
    fn row_ref<'a>(value: <Self as Value>::Ref<'a>) -> <Self as Record>::Row<'a>;
}

/// A column by name and type.
pub struct Col<T> {
    name: &'static str,
    kind: PhantomData<fn() -> T>,
}
impl<T> Clone for Col<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Col<T> {}
impl<T> Debug for Col<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Col({})", self.name)
    }
}
impl<T> Col<T> {
    /// The column `name`.
    pub const fn new(name: &'static str) -> Self {
        Col { name, kind: PhantomData }
    }
    /// Its name.
    pub const fn name(self) -> &'static str {
        self.name
    }
}

/// What a closure gets: derefs to the row, so that `t.price` is a field access.
pub struct View<'a, R: Record>(R::Row<'a>);
impl<'a, R: Record> View<'a, R> {
    /// Wraps a row.
    #[inline(always)]
    pub fn new(row: R::Row<'a>) -> Self {
        View(row)
    }
    /// The row itself: for operators that take a whole row, such as `fn legs(t: TradeRow<'_>)`.
    #[inline(always)]
    pub fn row(&self) -> R::Row<'a> {
        self.0
    }
}
impl<R: Record> Clone for View<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R: Record> Copy for View<'_, R> {}
impl<'a, R: Record> Deref for View<'a, R> {
    type Target = R::Row<'a>;
    #[inline(always)]
    fn deref(&self) -> &R::Row<'a> {
        &self.0
    }
}

/// The columns of `R`, with shadowed ones removed: a repeated name keeps the first position and the last type and name.
///
/// ```
/// use sabot::prelude::*;
/// use sabot::record::{columns_of, schema_of};
///
/// #[derive(Record)]
/// struct Trade { symbol: Str, #[record(rename = "limitPrice")] limit: Option<f64>, #[event_time] at: Timestamp<Micros> }
///
/// let columns = columns_of::<Trade>();
/// assert_eq!((columns[1].ident, columns[1].name.as_ref(), columns[1].nullable), ("limit", "limitPrice", true));
/// assert!(columns[2].event_time && schema_of::<Trade>().field(2).name() == "at");
/// ```
pub fn columns_of<R: Record>() -> Vec<Column> {
    let mut all = Vec::new();
    R::columns(&mut all);
    let mut out: Vec<Column> = Vec::with_capacity(all.len());
    for column in all {
        // a field that is renamed outside is shadowed by its name inside
        match out.iter_mut().find(|c| c.name == column.name || c.ident == column.ident) {
            Some(old) => *old = column,
            None => out.push(column),
        }
    }
    out
}

/// The Arrow schema of `R`.
///
/// Example: [`columns_of`].
pub fn schema_of<R: Record>() -> arrow_schema::Schema {
    arrow_schema::Schema::new(columns_of::<R>().iter().map(Column::field).collect::<Vec<_>>())
}
