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
        let (left, missing) = self.sums()?;
        if !missing.is_empty() {
            return Err(Error::internal("a row was taken back more often than it came"));
        }
        Ok(left)
    }
    /// The rows that came more often than they were taken back, and those that were taken back more often, as often as they were. Begins anew.
    pub(crate) fn sums(&mut self) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>)> {
        let mut sums: Vec<Sum> = self.rows.drain().collect();
        sums.sort_unstable_by_key(|(_, (_, came))| *came);
        let (came, left): (Vec<Sum>, Vec<Sum>) = sums.into_iter().partition(|(_, (sum, _))| *sum > 0);
        Ok((self.batches(&came)?, self.batches(&left)?))
    }
    fn batches(&self, sums: &[Sum]) -> Result<Vec<RecordBatch>> {
        let mut out = Vec::new();
        for some in sums.chunks(ROWS) {
            let parser = self.converter.parser();
            let times = |sum: i64| usize::try_from(sum.unsigned_abs()).unwrap_or(usize::MAX);
            let rows = some.iter().flat_map(|(row, (sum, _))| std::iter::repeat_n(parser.parse(row), times(*sum)));
            let count = some.iter().map(|(_, (sum, _))| times(*sum)).sum();
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

/// A row as it is encoded, what its weights add up to, and when it came.
type Sum = (Box<[u8]>, (i64, u64));

/// Rows of a batch that is left.
const ROWS: usize = 8192;

/// Dictionaries as their values: rows of several dictionaries are compared.
pub(super) fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        other => other.clone(),
    }
}
