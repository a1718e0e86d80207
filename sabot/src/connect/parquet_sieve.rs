//! Which rows of a split are wanted, by the values of the columns that a predicate speaks of: those alone are decoded first,
//! text as codes of the dictionary where all pages hold such, and of the other columns only the rows that are left
//! (late materialisation, as in C-Store).

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection};
use parquet::basic::Encoding;
use parquet::errors::{ParquetError, Result};

use super::parquet_truth::{Truth, decided};
use super::types::is_string;
use crate::kernel::Predicate;

/// The share of rows that may be wanted at most, one in so many, for the others to be left out one by one.
pub(super) const ONE_IN: usize = 8;

/// Rows looked at at the start and in the middle of a row group, before the columns of the predicate are decoded ahead. A
/// smaller row group is decoded ahead without a look.
const SAMPLE_ROWS: usize = 2048;

/// Rows of the predicate's columns decoded at a time.
const BATCH_ROWS: usize = 16_384;

/// A predicate that is evaluated ahead.
pub(super) struct Sieve {
    predicate: Predicate,
    /// Root columns of the file that it reads.
    roots: Vec<usize>,
    /// What was found of each row group by the first who needed it: the same, whoever it is.
    groups: Vec<OnceLock<Verdict>>,
}

/// Whether evaluating a predicate ahead pays in a row group.
#[derive(Clone)]
enum Verdict {
    /// Too many rows of the sample are wanted.
    All,
    /// Few are: the footer with the types to decode the predicate's columns to.
    Few(ArrowReaderMetadata),
    /// None can be: no value of a dictionary is wanted.
    Nothing,
}

impl Sieve {
    /// A sieve for the files of this footer, if any of the predicate can be told from its columns.
    pub(super) fn new(metadata: &ArrowReaderMetadata, predicate: &Predicate) -> Option<Sieve> {
        let schema = metadata.schema();
        let predicate = decided(predicate, schema).simplified()?;
        let mut names = Vec::new();
        columns(&predicate, &mut names);
        let mut roots: Vec<usize> = names.iter().filter_map(|name| schema.index_of(name).ok()).collect();
        roots.sort_unstable();
        roots.dedup();
        let groups = (0..metadata.metadata().num_row_groups()).map(|_| OnceLock::new()).collect();
        Some(Sieve { predicate, roots, groups })
    }

    /// Of the rows of these ranges of a row group, in order and one after the other, those that are wanted; `None` if so many
    /// are that it does not pay to tell them apart.
    pub(super) fn wanted(
        &self,
        path: &Path,
        metadata: &ArrowReaderMetadata,
        row_group: usize,
        ranges: &[Range<usize>],
    ) -> Result<Option<BooleanBuffer>> {
        let rows: usize = ranges.iter().map(ExactSizeIterator::len).sum();
        let Some(group) = self.groups.get(row_group) else { return Ok(None) };
        let verdict = match group.get() {
            Some(verdict) => verdict.clone(),
            // Two may find the same at the same time.
            None => {
                let found = self.verdict(path, metadata, row_group)?;
                group.get_or_init(|| found).clone()
            }
        };
        match verdict {
            Verdict::All => Ok(None),
            Verdict::Nothing => Ok(Some(BooleanBuffer::new_unset(rows))),
            Verdict::Few(typed) => {
                let wanted = self.evaluate(path, &typed, row_group, ranges, &mut Truth::default())?;
                Ok((wanted.count_set_bits() <= rows / ONE_IN).then_some(wanted))
            }
        }
    }

    /// By a few rows. They are the same whichever split comes first, so that what is left out does not depend on timing.
    fn verdict(&self, path: &Path, metadata: &ArrowReaderMetadata, row_group: usize) -> Result<Verdict> {
        let rows = usize::try_from(metadata.metadata().row_group(row_group).num_rows()).unwrap_or(0);
        let typed = self.typed(metadata, row_group)?;
        if rows < 8 * SAMPLE_ROWS {
            return Ok(Verdict::Few(typed));
        }
        let sample = [0..SAMPLE_ROWS, rows / 2..rows / 2 + SAMPLE_ROWS];
        let mut truth = Truth::default();
        let wanted = self.evaluate(path, &typed, row_group, &sample, &mut truth)?;
        if !truth.possible(&self.predicate) {
            return Ok(Verdict::Nothing);
        }
        Ok(if wanted.count_set_bits() <= 2 * SAMPLE_ROWS / ONE_IN { Verdict::Few(typed) } else { Verdict::All })
    }

    fn evaluate(
        &self,
        path: &Path,
        typed: &ArrowReaderMetadata,
        row_group: usize,
        ranges: &[Range<usize>],
        truth: &mut Truth,
    ) -> Result<BooleanBuffer> {
        let total = usize::try_from(typed.metadata().row_group(row_group).num_rows()).unwrap_or(0);
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(File::open(path)?, typed.clone())
            .with_row_groups(vec![row_group])
            .with_projection(ProjectionMask::roots(typed.parquet_schema(), self.roots.iter().copied()))
            .with_row_selection(RowSelection::from_consecutive_ranges(ranges.iter().cloned(), total))
            .with_batch_size(BATCH_ROWS)
            .build()?;
        let rows = ranges.iter().map(ExactSizeIterator::len).sum();
        let mut wanted = BooleanBufferBuilder::new(rows);
        for batch in reader {
            wanted.append_buffer(&truth.of(&self.predicate, &batch?));
        }
        if wanted.len() != rows {
            return Err(ParquetError::General(format!("it ended after {} of {rows} rows", wanted.len())));
        }
        Ok(wanted.finish())
    }

    /// The footer, with text as codes where the column is nothing else: a column that falls back to plain pages would be
    /// brought to codes row by row.
    fn typed(&self, metadata: &ArrowReaderMetadata, row_group: usize) -> Result<ArrowReaderMetadata> {
        let codes = || DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let fields = metadata.schema().fields().iter().enumerate().map(|(root, field)| {
            let coded = self.roots.contains(&root) && is_string(field.data_type()) && coded(metadata, row_group, root);
            if coded { field.as_ref().clone().with_data_type(codes()) } else { field.as_ref().clone() }
        });
        let schema = Schema::new(fields.collect::<Vec<Field>>());
        if schema.fields() == metadata.schema().fields() {
            return Ok(metadata.clone());
        }
        ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), ArrowReaderOptions::new().with_schema(Arc::new(schema)))
    }
}

/// Whether all pages of a column chunk are codes of its dictionary.
fn coded(metadata: &ArrowReaderMetadata, row_group: usize, root: usize) -> bool {
    let parquet = metadata.parquet_schema();
    let leaf = (0..parquet.num_columns()).find(|leaf| parquet.get_column_root_idx(*leaf) == root);
    let chunk = leaf.and_then(|leaf| metadata.metadata().row_group(row_group).columns().get(leaf));
    let pages = chunk.and_then(|chunk| chunk.page_encoding_stats_mask());
    pages.is_some_and(|pages| pages.is_only(Encoding::RLE_DICTIONARY) || pages.is_only(Encoding::PLAIN_DICTIONARY))
}

fn columns<'a>(predicate: &'a Predicate, names: &mut Vec<&'a str>) {
    match predicate {
        Predicate::And(all) | Predicate::Or(all) => all.iter().for_each(|p| columns(p, names)),
        Predicate::Compare { column, .. } | Predicate::Null { column, .. } => names.push(column),
        Predicate::Unknown => {}
    }
}
