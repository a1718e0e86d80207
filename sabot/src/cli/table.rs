//! Rows as a table for the eye: aligned, numbers to the right, at most so many rows.

use std::fmt::Write as _;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, SchemaRef};

use crate::Result;

/// Rows whose widths are measured together, if there is no smaller limit.
const BLOCK: usize = 1000;

/// A table that is printed block by block.
pub(super) struct Table {
    names: Vec<String>,
    right: Vec<bool>,
    limit: Option<u64>,
    live: bool,
    widths: Vec<usize>,
    pending: Vec<Vec<String>>,
    begun: bool,
    /// Rows taken in, and rows beyond the limit.
    rows: u64,
    more: u64,
}

impl Table {
    /// A table of these columns with at most `limit` rows; `live` prints what comes at once.
    pub(super) fn new(schema: &SchemaRef, limit: Option<u64>, live: bool) -> Self {
        let names: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        let right = schema.fields().iter().map(|f| f.data_type().is_numeric()).collect();
        let widths = names.iter().map(|n| n.chars().count()).collect();
        Table { names, right, limit, live, widths, pending: Vec::new(), begun: false, rows: 0, more: 0 }
    }
    /// Takes rows; the text that is ready.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<String> {
        let room = self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.rows));
        let take = usize::try_from(room).unwrap_or(usize::MAX).min(batch.num_rows());
        self.rows += take as u64;
        self.more += (batch.num_rows() - take) as u64;
        let columns = batch.columns().iter().map(cells).collect::<Result<Vec<_>>>()?;
        for row in 0..take {
            self.pending.push(columns.iter().map(|cell| cell(row)).collect());
        }
        let full = self.limit.is_some_and(|limit| self.rows >= limit) || self.pending.len() >= BLOCK;
        Ok(if full || self.live { self.flush() } else { String::new() })
    }
    /// The rest, and how many rows there are more.
    pub(super) fn finish(&mut self) -> Result<String> {
        let mut out = self.flush();
        match self.more {
            0 => {}
            1 => out.push_str("… 1 more row (`--all` shows it)\n"),
            more => {
                let _ = writeln!(out, "… {more} more rows (`--all` shows them)");
            }
        }
        Ok(out)
    }
    fn flush(&mut self) -> String {
        let rows = std::mem::take(&mut self.pending);
        let mut out = String::new();
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        if !self.begun {
            self.begun = true;
            self.line(&mut out, &self.names);
            let rule: Vec<String> = self.widths.iter().map(|w| "─".repeat(*w)).collect();
            self.line(&mut out, &rule);
        }
        rows.iter().for_each(|row| self.line(&mut out, row));
        out
    }
    fn line(&self, out: &mut String, cells: &[String]) {
        let mut line = String::new();
        for (i, ((cell, width), right)) in cells.iter().zip(&self.widths).zip(&self.right).enumerate() {
            line.push_str(if i > 0 { "  " } else { "" });
            let _ = if *right { write!(line, "{cell:>width$}") } else { write!(line, "{cell:width$}") };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

type Cell<'a> = Box<dyn Fn(usize) -> String + 'a>;

/// The cells of a column.
fn cells(column: &ArrayRef) -> Result<Cell<'_>> {
    let nulls = column.logical_nulls();
    let value: Cell<'_> = match column.data_type() {
        DataType::Float64 => {
            let column = column.as_primitive::<Float64Type>();
            Box::new(move |row| float(column.value(row)))
        }
        DataType::Float32 => {
            let column = column.as_primitive::<Float32Type>();
            Box::new(move |row| float(f64::from(column.value(row))))
        }
        _ => {
            let options = FormatOptions::default().with_display_error(true);
            // the formatter borrows its options
            let text = ArrayFormatter::try_new(column.as_ref(), &options)?;
            let texts: Vec<String> = (0..column.len()).map(|row| one_line(&text.value(row).to_string())).collect();
            Box::new(move |row| texts.get(row).cloned().unwrap_or_default())
        }
    };
    Ok(Box::new(move |row| if nulls.as_ref().is_some_and(|n| n.is_null(row)) { "null".into() } else { value(row) }))
}

/// A number with enough digits to read; files get all of them.
fn float(v: f64) -> String {
    match v.abs() {
        0.0 => "0.000".into(),
        a if !a.is_finite() => v.to_string(),
        0.01..1e15 => format!("{v:.3}"),
        _ => format!("{v:.3e}"),
    }
}

/// Text that stays in its line and leaves the terminal alone.
fn one_line(text: &str) -> String {
    if text.chars().any(char::is_control) { text.escape_debug().to_string() } else { text.to_owned() }
}
