//! Failures of user code and of accumulators: which operator, what, and on which row.

use std::cell::Cell;

use crate::Error;
use crate::kernel::{Origin, catch};
use crate::record::Mismatch;

/// Why a vectorised function of an operator gave up. The function knows the row of its batch; the operator adds its
/// own name and the batch's origin.
#[derive(Debug)]
pub enum Failure {
    /// User code failed or panicked, or a value overflowed.
    Row {
        /// Row number within the batch, if known.
        row: Option<usize>,
        /// `failed: ..` or `panicked: ..`.
        what: String,
        /// The user's operator that is to blame, if known.
        operator: Option<String>,
    },
    /// Anything else.
    Other(Error),
}

impl Failure {
    /// A failure on a row: `what` completes "operator `x` failed: ..".
    pub fn row(row: usize, what: impl std::fmt::Display) -> Self {
        Failure::Row { row: Some(row), what: format!("failed: {what}"), operator: None }
    }
    /// The failure as the job's error. Without an origin the batch holds partial results, not rows.
    pub fn at(self, operator: &str, origin: Option<Origin>) -> Error {
        match self {
            Failure::Other(error) => error,
            Failure::Row { row, what, operator: blamed } => Error::Operator {
                operator: blamed.map_or_else(|| operator.to_owned(), |b| format!("{operator} ({b})")),
                what,
                row: match (origin, row) {
                    (Some(o), Some(row)) => place(o, row),
                    (Some(o), None) => format!("a row after row {} of split {} of source {}", o.row, o.split, o.source),
                    (None, _) => "the merge of partial results".to_owned(),
                },
            },
        }
    }
}
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}
impl From<arrow_schema::ArrowError> for Failure {
    fn from(error: arrow_schema::ArrowError) -> Self {
        Failure::Other(error.into())
    }
}
impl From<Mismatch> for Failure {
    fn from(m: Mismatch) -> Self {
        Failure::Other(Error::Plan(format!("an operator expects a column of type {}, but it is {}", m.expected, m.found)))
    }
}

/// Words for a row: `row 17 of split 3 of source 0`.
pub(crate) fn place(origin: Origin, row: usize) -> String {
    format!("row {} of split {} of source {}", origin.row + row as u64, origin.split, origin.source)
}

/// Runs user code that notes in `row` which row it is at; a panic becomes a failure on that row.
pub(crate) fn guarded<T>(row: &Cell<usize>, f: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    match catch(f) {
        Ok(result) => result,
        Err(p) => Err(Failure::Row { row: Some(row.get()), what: p.to_string(), operator: p.operator.map(str::to_owned) }),
    }
}
