//! The rows that are left of a stream of changes.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_row::{RowConverter, SortField};
use arrow_schema::{DataType, SchemaRef};

use crate::operator::{weights, without_weights};
use crate::{Error, Result};

/// Adds up the weights of equal rows. What is left are the rows whose weights add up to more than nothing, as often as they say, in
/// the order in which they came last.
///
/// Cost: each row is encoded and hashed; memory is that of the rows that are left, in the encoding of `arrow-row`.
pub(crate) struct Fold {
    schema: SchemaRef,
    converter: RowConverter,
    rows: HashMap<Box<[u8]>, (i64, u64)>,
    came: u64,
}

impl Fold {
    /// For rows of this schema, without weights.
    pub(crate) fn new(schema: &SchemaRef) -> Result<Self> {
        let fields = schema.fields().iter().map(|f| SortField::new(plain(f.data_type()))).collect();
        Ok(Fold { schema: Arc::clone(schema), converter: RowConverter::new(fields)?, rows: HashMap::new(), came: 0 })
    }
    /// Takes changes in.
    pub(crate) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let weights = weights(batch).ok_or_else(|| Error::internal("changes without their weights"))?;
        let rows = without_weights(batch)?;
        let columns = rows.columns().iter().map(|c| Ok(arrow_cast::cast(c, &plain(c.data_type()))?)).collect::<Result<Vec<ArrayRef>>>()?;
        let encoded = self.converter.convert_columns(&columns)?;
        for (at, weight) in weights.iter().enumerate() {
            let row = if columns.is_empty() { &[] } else { encoded.row(at).data() };
            self.came += 1;
            match self.rows.get_mut(row) {
                Some((sum, last)) => {
                    *sum += i64::from(*weight);
                    *last = if *sum == i64::from(*weight) { self.came } else { *last };
                    if *sum == 0 {
                        self.rows.remove(row);
                    }
                }
                None => {
                    self.rows.insert(row.into(), (i64::from(*weight), self.came));
                }
            }
        }
        Ok(())
    }
    /// The rows that are left.
    ///
    /// # Errors
    /// If a row was taken back more often than it came: a bug of a step.
    pub(crate) fn finish(&mut self) -> Result<Vec<RecordBatch>> {
        let mut left: Vec<(Box<[u8]>, (i64, u64))> = self.rows.drain().collect();
        left.sort_unstable_by_key(|(_, (_, came))| *came);
        if left.iter().any(|(_, (sum, _))| *sum < 0) {
            return Err(Error::internal("a row was taken back more often than it came"));
        }
        let mut out = Vec::new();
        for some in left.chunks(ROWS) {
            let parser = self.converter.parser();
            let rows = some.iter().flat_map(|(row, (sum, _))| std::iter::repeat_n(parser.parse(row), *sum as usize));
            let count = some.iter().map(|(_, (sum, _))| *sum as usize).sum();
            let columns = self.converter.convert_rows(rows)?;
            let columns = columns.into_iter().zip(self.schema.fields());
            let columns = columns
                .map(|(c, f)| if c.data_type() == f.data_type() { Ok(c) } else { Ok(arrow_cast::cast(&c, f.data_type())?) })
                .collect::<Result<Vec<ArrayRef>>>()?;
            let options = RecordBatchOptions::new().with_row_count(Some(count));
            out.push(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?);
        }
        Ok(out)
    }
}

/// Rows of a batch that is left.
const ROWS: usize = 8192;

/// Dictionaries as their values: rows of several dictionaries are compared.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        other => other.clone(),
    }
}
