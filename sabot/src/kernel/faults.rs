//! What becomes of the rows on which user code returned an error. Only entered when there are some: the loop that finds
//! them is the repetition of a morsel that failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, StringViewArray, UInt32Array, UInt64Array};
use arrow_schema::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};

use super::info::{Expr, StepInfo};
use super::lineage::Lineage;
use super::morsel::{Morsel, Origin, PLACE};
use super::run::Request;
use crate::record::{Fault, null_at};
use crate::{Error, Result};

/// What becomes of a row on which a function of a run returns an error. A panic always ends the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorPolicy {
    /// The job ends.
    #[default]
    Fail,
    /// The value that failed is null.
    Null,
    /// The row is dropped, and counted as failed.
    Skip,
    /// The row goes to the run's second output, with the reason, and is counted as failed.
    DeadLetter,
}

impl ErrorPolicy {
    /// Whether the row leaves the stream.
    pub fn drops(self) -> bool {
        matches!(self, ErrorPolicy::Skip | ErrorPolicy::DeadLetter)
    }
}

/// The columns that a dead letter has beside those of its row.
pub const LETTER: [(&str, DataType); 6] = [
    ("error", DataType::Utf8View),
    ("operator", DataType::Utf8View),
    ("source", DataType::Utf8View),
    ("partition", DataType::UInt32),
    ("split", DataType::UInt64),
    ("row", DataType::UInt64),
];

/// The expression in which it happened, if the step's code says.
fn expr<'s>(steps: &'s [StepInfo], fault: &Fault) -> Option<&'s Expr> {
    steps.get(fault.step as usize)?.exprs.get(fault.cell? as usize)
}

/// The functions to blame: of those that the expression calls, the ones that return a `Result`, or all.
fn blamed(expr: &Expr) -> String {
    let registry = super::operators().unwrap_or_default();
    let fallible = |call: &&String| registry.iter().any(|o| o.ident == **call && o.fallible);
    let some: Vec<&str> = expr.calls.iter().filter(fallible).map(String::as_str).collect();
    let names = if some.is_empty() { expr.calls.iter().map(String::as_str).collect() } else { some };
    names.join(", ")
}

/// Who failed, for a message: the function, the column that it computes, the step.
pub(super) fn who(steps: &[StepInfo], request: &Request, fault: &Fault) -> String {
    match expr(steps, fault) {
        Some(e) if !e.calls.is_empty() && e.name.is_empty() => format!("{}` in step `{}", blamed(e), request.name),
        Some(e) if !e.calls.is_empty() => format!("{}` for column `{}` in step `{}", blamed(e), e.name, request.name),
        Some(e) if !e.name.is_empty() => format!("{}` for column `{}", request.name, e.name),
        _ => request.name.clone(),
    }
}

/// The rows that failed, each once. Faults are in the order of rows.
pub(super) fn rows(faults: &[Fault]) -> Vec<usize> {
    let mut rows: Vec<usize> = faults.iter().map(|f| f.row).collect();
    rows.dedup();
    rows
}

/// Makes the values that failed null. `place` says where a row of the input is in the columns.
pub(super) fn nulls(
    steps: &[StepInfo],
    lineage: &Lineage,
    faults: &[Fault],
    columns: &mut [Option<ArrayRef>],
    place: &dyn Fn(usize) -> usize,
) -> Result<()> {
    let mut at: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for fault in faults {
        let made = column(steps, lineage, fault);
        let made = made.ok_or_else(|| Error::internal(format!("an error without a column: {}", fault.message)))?;
        at.entry(made).or_default().push(place(fault.row));
    }
    for (made, rows) in at {
        if let Some(Some(array)) = columns.get_mut(made) {
            *array = null_at(array, rows.into_iter());
        }
    }
    Ok(())
}

/// The computed column in which it happened: that of the expression, or the only one of the step.
fn column(steps: &[StepInfo], lineage: &Lineage, fault: &Fault) -> Option<usize> {
    let mut made = lineage.units.iter().filter(|u| u.step == fault.step as usize).filter_map(|u| u.made);
    let Some(cell) = fault.cell else {
        let only = made.next();
        return only.filter(|_| made.next().is_none());
    };
    let before = steps.get(fault.step as usize)?.exprs.iter().take(cell as usize).filter(|e| e.pass.is_none());
    made.nth(before.count())
}

/// The rows that failed, as they entered the run, each with why and where.
pub(super) fn letters(steps: &[StepInfo], request: &Request, morsel: &Morsel, faults: &[Fault]) -> Result<RecordBatch> {
    let of = |row: usize| faults.iter().filter(move |f| f.row == row);
    let blame = |f: &Fault| expr(steps, f).map(blamed).filter(|b| !b.is_empty());
    let bad: Vec<Letter> = rows(faults)
        .into_iter()
        .map(|row| Letter {
            row,
            number: morsel.origin.row + row as u64,
            reason: of(row).map(|f| f.message.as_str()).collect::<Vec<_>>().join("; "),
            operator: of(row).find_map(blame).unwrap_or_else(|| request.name.clone()),
        })
        .collect();
    write_letters(&morsel.batch, &request.letters, &request.source, morsel.origin, &bad)
}

/// A row that failed.
pub(crate) struct Letter {
    /// Its place in the batch.
    pub(crate) row: usize,
    /// Its number within the split.
    pub(crate) number: u64,
    /// What the function said.
    pub(crate) reason: String,
    /// The function.
    pub(crate) operator: String,
}

/// Rows of a batch, some of their columns, as dead letters.
pub(crate) fn write_letters(batch: &RecordBatch, carried: &[String], source: &str, origin: Origin, bad: &[Letter]) -> Result<RecordBatch> {
    let indices = UInt64Array::from_iter_values(bad.iter().map(|l| l.row as u64));
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for name in carried {
        let missing = || Error::Plan(format!("dead letters get no column `{name}`"));
        let (at, field) = batch.schema_ref().fields().find(name).ok_or_else(missing)?;
        let column = batch.columns().get(at).ok_or_else(missing)?;
        fields.push(Arc::clone(field));
        columns.push(arrow_select::take::take(column.as_ref(), &indices, None)?);
    }
    if let Some((at, field)) = batch.schema_ref().fields().find(PLACE) {
        fields.push(Arc::clone(field));
        columns.push(arrow_select::take::take(batch.column(at).as_ref(), &indices, None)?);
    }
    let n = bad.len();
    let own: [ArrayRef; 6] = [
        Arc::new(StringViewArray::from_iter_values(bad.iter().map(|l| l.reason.as_str()))),
        Arc::new(StringViewArray::from_iter_values(bad.iter().map(|l| l.operator.as_str()))),
        Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n(source, n))),
        Arc::new(UInt32Array::from_value(origin.partition, n)),
        Arc::new(UInt64Array::from_value(origin.split, n)),
        Arc::new(UInt64Array::from_iter_values(bad.iter().map(|l| l.number))),
    ];
    fields.extend(LETTER.iter().map(|(name, ty)| Arc::new(Field::new(*name, ty.clone(), false))));
    columns.extend(own);
    let options = RecordBatchOptions::new().with_row_count(Some(n));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
}
