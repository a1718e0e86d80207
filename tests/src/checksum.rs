//! Checksums of results that are too large to keep, and the memory that making them took.

use std::hash::Hasher;
use std::sync::{Arc, Mutex};

use arrow_array::{ArrayRef, RecordBatch, cast::AsArray};
use arrow_row::{RowConverter, SortField};
use arrow_schema::{DataType, SchemaRef};
use sabot::Result;

/// What a sink has received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checksum {
    /// Rows.
    pub rows: u64,
    /// Of the rows in their order.
    pub ordered: u64,
    /// Of the rows in any order.
    pub unordered: u64,
}

/// A sink that keeps nothing but the checksum.
#[derive(Debug)]
pub struct ChecksumSink {
    sum: Arc<Mutex<Checksum>>,
    converter: Option<RowConverter>,
}

impl ChecksumSink {
    /// A sink that adds to `sum`.
    pub fn new(sum: &Arc<Mutex<Checksum>>) -> Self {
        ChecksumSink { sum: Arc::clone(sum), converter: None }
    }
}

impl sabot::operator::Sink for ChecksumSink {
    fn open(&mut self, schema: &SchemaRef) -> Result<()> {
        let fields = schema.fields().iter().map(|f| SortField::new(plain(f.data_type()))).collect();
        self.converter = Some(RowConverter::new(fields)?);
        Ok(())
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(converter) = &self.converter else { return Ok(()) };
        let columns: Vec<ArrayRef> =
            batch.columns().iter().map(|c| arrow_cast::cast(c, &plain(c.data_type()))).collect::<std::result::Result<_, _>>()?;
        let rows = converter.convert_columns(&columns)?;
        let mut sum = self.sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for row in &rows {
            let mut hash = std::collections::hash_map::DefaultHasher::new();
            hash.write(row.as_ref());
            let hash = hash.finish();
            sum.rows += 1;
            sum.ordered = sum.ordered.rotate_left(5).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ hash;
            sum.unordered = sum.unordered.wrapping_add(hash);
        }
        Ok(())
    }
    fn commit(&mut self) -> Result<()> {
        Ok(())
    }
    fn abort(&mut self) {}
    fn describe(&self) -> String {
        "a checksum".into()
    }
}

/// The checksum of batches of equal columns.
///
/// # Errors
/// If a column has no order.
pub fn checksum(batches: &[RecordBatch]) -> Result<Checksum> {
    let seen: Arc<Mutex<Checksum>> = Arc::default();
    let mut sink = ChecksumSink::new(&seen);
    for (at, batch) in batches.iter().enumerate() {
        if at == 0 {
            sabot::operator::Sink::open(&mut sink, batch.schema_ref())?;
        }
        sabot::operator::Sink::write(&mut sink, batch)?;
    }
    let sum = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    Ok(sum)
}

/// The type without its encoding.
fn plain(t: &DataType) -> DataType {
    match t {
        DataType::Dictionary(_, value) => plain(value),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        t => t.clone(),
    }
}

/// The rows of all batches, in one that owns its memory.
///
/// # Errors
/// If the batches have other columns.
pub fn concat(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch> {
    let columns: Vec<ArrayRef> = (0..schema.fields().len())
        .map(|at| {
            let parts: Vec<&dyn arrow_array::Array> = batches.iter().filter_map(|b| b.columns().get(at)).map(|c| c.as_ref()).collect();
            let all = arrow_select::concat::concat(&parts)?;
            Ok(if *all.data_type() == DataType::Utf8View { Arc::new(all.as_string_view().gc()) as ArrayRef } else { all })
        })
        .collect::<Result<_>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// The most memory that this process ever had, in bytes (`VmHWM`); 0 where the system does not tell.
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().map_or(0, |kb| kb << 10)
}
