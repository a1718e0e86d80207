//! The little that the store asks of a database. Statements are the same for both: text and whole numbers, `$1`, `ON CONFLICT`.

use serde_json::Value;

use super::super::durable::Pending;
use crate::{Error, Result};

/// A database whose writing transactions come one after the other.
pub(super) trait Database: Send + Sync {
    /// Begins a transaction that sees one state of the database, and changes nothing.
    fn read(&self) -> Pending<'_, Box<dyn Transaction>>;
    /// Begins a transaction that is alone among those that write.
    fn write(&self) -> Pending<'_, Box<dyn Transaction>>;
}

/// A transaction. Dropped without a commit, it has changed nothing.
pub(super) trait Transaction: Send {
    /// The rows of a query.
    fn rows<'a>(&'a mut self, sql: &'a str, cells: &'a [Cell]) -> Pending<'a, Vec<Row>>;
    /// How many rows a statement changed.
    fn run<'a>(&'a mut self, sql: &'a str, cells: &'a [Cell]) -> Pending<'a, u64>;
    /// Makes it last.
    fn commit(self: Box<Self>) -> Pending<'static, ()>;
}

/// A value of a column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Cell {
    Null,
    Int(i64),
    Text(String),
}
impl From<i64> for Cell {
    fn from(value: i64) -> Self {
        Cell::Int(value)
    }
}
impl From<u32> for Cell {
    fn from(value: u32) -> Self {
        Cell::Int(i64::from(value))
    }
}
impl From<u64> for Cell {
    /// Numbers of the store count up from 1, and stay below 2^63.
    fn from(value: u64) -> Self {
        Cell::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}
impl From<&str> for Cell {
    fn from(value: &str) -> Self {
        Cell::Text(value.to_owned())
    }
}
impl From<&String> for Cell {
    fn from(value: &String) -> Self {
        Cell::Text(value.clone())
    }
}
impl From<&Value> for Cell {
    fn from(value: &Value) -> Self {
        Cell::Text(value.to_string())
    }
}
impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Null, Into::into)
    }
}

/// How many rows one statement has at most. SQLite looks for each `$n` among those before it: ten thousand rows of nine cells took 9.6 s with a thousand rows
/// at once, nearly all of it there.
pub(super) const AT_ONCE: usize = 100;

/// `($n, $n + 1), ($n + 2, $n + 3)`: so many rows of so many cells, behind `before` others.
pub(super) fn places(rows: usize, columns: usize, before: usize) -> String {
    let row = |row: usize| {
        let cells: Vec<String> = (1..=columns).map(|at| format!("${}", before + row * columns + at)).collect();
        format!("({})", cells.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// The cells of these values.
macro_rules! cells {
    ($($value:expr),* $(,)?) => { &[$($crate::cluster::store::database::Cell::from($value)),*] };
}
pub(super) use cells;

/// A row of an answer. Reading a column that is not there, or of another type, is an error: the tables are not this program's.
#[derive(Clone, Debug)]
pub(super) struct Row(pub(super) Vec<Cell>);
impl Row {
    fn bad(&self, at: usize, wanted: &str) -> Error {
        Error::Control(format!(
            "the control store has {:?} where {wanted} belongs (column {at}): its tables were changed by another program",
            self.0.get(at)
        ))
    }
    pub(super) fn text(&self, at: usize) -> Result<String> {
        match self.0.get(at) {
            Some(Cell::Text(text)) => Ok(text.clone()),
            _ => Err(self.bad(at, "a text")),
        }
    }
    pub(super) fn maybe_text(&self, at: usize) -> Result<Option<String>> {
        match self.0.get(at) {
            Some(Cell::Null) => Ok(None),
            _ => self.text(at).map(Some),
        }
    }
    pub(super) fn int(&self, at: usize) -> Result<i64> {
        match self.0.get(at) {
            Some(Cell::Int(value)) => Ok(*value),
            _ => Err(self.bad(at, "a number")),
        }
    }
    pub(super) fn number<T: TryFrom<i64>>(&self, at: usize) -> Result<T> {
        T::try_from(self.int(at)?).map_err(|_| self.bad(at, "a number in its range"))
    }
    pub(super) fn maybe_number<T: TryFrom<i64>>(&self, at: usize) -> Result<Option<T>> {
        match self.0.get(at) {
            Some(Cell::Null) => Ok(None),
            _ => self.number(at).map(Some),
        }
    }
    pub(super) fn json(&self, at: usize) -> Result<Value> {
        serde_json::from_str(&self.text(at)?).map_err(|_| self.bad(at, "JSON"))
    }
    pub(super) fn maybe_json(&self, at: usize) -> Result<Option<Value>> {
        match self.0.get(at) {
            Some(Cell::Null) => Ok(None),
            _ => self.json(at).map(Some),
        }
    }
    pub(super) fn word<T>(&self, at: usize, of: fn(&str) -> Option<T>) -> Result<T> {
        of(&self.text(at)?).ok_or_else(|| self.bad(at, "a known word"))
    }
}
