//! Writes a Parquet file.

use std::path::PathBuf;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::staged::{Staged, StagedWriter, not_open};
use crate::Result;
use crate::operator::Sink;

/// Rows of a row group: as many as a split of the Parquet source, so that what Sabot writes it reads in parallel.
const ROW_GROUP_ROWS: usize = super::parquet_source::SPLIT_ROWS as usize;

/// How the columns of a Parquet file are compressed.
///
/// Example: [`ParquetSink`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Zstandard at its default level: small.
    #[default]
    Zstd,
    /// Snappy: readable by the oldest programs.
    Snappy,
    /// LZ4: quick.
    Lz4,
    /// None.
    None,
}

/// A Parquet file that appears on commit, in place of an older one.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use sabot::connect::{Compression, ParquetSink};
/// use sabot::operator::Sink;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
/// let batch = RecordBatch::try_from_iter([("n", numbers)])?;
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("numbers.parquet");
/// let mut sink = ParquetSink::new(&path).compression(Compression::Snappy);
/// sink.open(&batch.schema())?;
/// sink.write(&batch)?;
/// assert!(!path.exists(), "nothing shows before the commit");
/// sink.commit()?;
/// assert!(path.exists());
/// # Ok(()) }
/// ```
pub struct ParquetSink {
    path: PathBuf,
    compression: Compression,
    writer: Option<(Staged, ArrowWriter<StagedWriter>)>,
}

impl ParquetSink {
    /// A sink to the file `path`, compressed with Zstandard.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        ParquetSink { path: path.into(), compression: Compression::default(), writer: None }
    }
    /// Compresses with something else.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }
}

impl Sink for ParquetSink {
    fn open(&mut self, schema: &SchemaRef) -> Result<()> {
        let codec = match self.compression {
            Compression::Zstd => Codec::ZSTD(ZstdLevel::default()),
            Compression::Snappy => Codec::SNAPPY,
            Compression::Lz4 => Codec::LZ4_RAW,
            Compression::None => Codec::UNCOMPRESSED,
        };
        let properties = WriterProperties::builder().set_compression(codec).set_max_row_group_row_count(Some(ROW_GROUP_ROWS)).build();
        let (staged, writer) = Staged::create(&self.path)?;
        let writer = ArrowWriter::try_new(writer, SchemaRef::clone(schema), Some(properties)).map_err(|e| staged.error("Parquet", e))?;
        self.writer = Some((staged, writer));
        Ok(())
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let (staged, writer) = self.writer.as_mut().ok_or_else(|| not_open("the Parquet sink"))?;
        writer.write(batch).map_err(|e| staged.error("Parquet", e))
    }
    fn commit(&mut self) -> Result<()> {
        let (staged, writer) = self.writer.take().ok_or_else(|| not_open("the Parquet sink"))?;
        writer.close().map_err(|e| staged.error("Parquet", e))?;
        staged.commit()
    }
    fn abort(&mut self) {
        self.writer = None;
    }
    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}
