//! Sources and sinks: where data enters and leaves. One connector per file.
//!
//! A [`SourceSpec`] or [`SinkSpec`] is plain data: parsed from what a user types (`flights.parquet`, `data/*.csv`,
//! `csv:in.txt?delimiter=;`), serialised, shipped to another process, and opened there. Opening needs the columns that
//! the reading record expects: columns are matched **by name**, never by position, and what does not fit is an
//! [`Error::Schema`](crate::Error::Schema) with a table of the offending columns.
//!
//! Invariants of every source here: splits are cut by the data alone, never by the thread count; a reader opened at a
//! reported position returns exactly the rows that were not returned before; and a broken file is an error that names
//! the file, never a shorter result.
//!
//! # A source of your own
//!
//! Anything that yields batches becomes a source with [`from_reader`]; a computed stream with [`from_fn`]. For more
//! (own splits, own positions), implement [`Source`](crate::operator::Source) and [`SplitReader`](crate::operator::SplitReader),
//! and wrap the result in [`fitted`], which matches columns by name, converts string and dictionary encodings, and
//! refuses nulls where the record has none:
//!
//! ```
//! use std::sync::Arc;
//! use arrow_array::{ArrayRef, RecordBatch, UInt64Array};
//! use arrow_schema::{DataType, Field, Schema, SchemaRef};
//! use sabot::operator::{Read, Source, Split, SplitReader};
//! use sabot::{Error, Result};
//!
//! /// The numbers below `end`, as one split.
//! struct Count { end: u64, schema: SchemaRef }
//!
//! impl Source for Count {
//!     fn schema(&self) -> SchemaRef { self.schema.clone() }
//!     fn project(&mut self, columns: &[String]) -> Result<()> {
//!         let keep = columns.iter().map(|c| self.schema.index_of(c)).collect::<Result<Vec<_>, _>>()?;
//!         self.schema = Arc::new(self.schema.project(&keep)?);
//!         Ok(())
//!     }
//!     fn bounded(&self) -> bool { true }
//!     fn splits(&self) -> Result<Vec<Split>> {
//!         Ok(vec![Split { partition: 0, sequence: 0, rows: Some(self.end), bytes: None, spec: ().into() }])
//!     }
//!     fn open(&self, _split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
//!         let next = position.and_then(|p| p.as_u64()).unwrap_or(0);
//!         Ok(Box::new(CountReader { next, end: self.end, schema: self.schema.clone() }))
//!     }
//!     fn describe(&self) -> String { format!("the numbers below {}", self.end) }
//! }
//!
//! struct CountReader { next: u64, end: u64, schema: SchemaRef }
//!
//! impl SplitReader for CountReader {
//!     fn next(&mut self, max_rows: usize) -> Result<Read> {
//!         let to = self.end.min(self.next + max_rows as u64);
//!         if to == self.next { return Ok(Read::End) }
//!         let column: ArrayRef = Arc::new(UInt64Array::from_iter_values(self.next..to));
//!         self.next = to;
//!         Ok(Read::Rows(RecordBatch::try_new(self.schema.clone(), vec![column])?, None))
//!     }
//!     fn position(&self) -> serde_json::Value { self.next.into() }
//! }
//!
//! # fn main() -> Result<()> {
//! let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::UInt64, false)]));
//! let source = Count { end: 10, schema: schema.clone() };
//! let source = sabot::connect::fitted(Box::new(source), "Number", &schema)?;
//! let split = source.splits()?.remove(0);
//! let mut reader = source.open(&split, None)?;
//! assert!(matches!(reader.next(4)?, Read::Rows(batch, _) if batch.num_rows() == 4));
//! let resumed = source.open(&split, Some(&reader.position()))?.next(100)?;
//! assert!(matches!(resumed, Read::Rows(batch, _) if batch.num_rows() == 6));
//! # Ok(()) }
//! ```

mod arrow_sink;
mod blackhole_sink;
mod channel_sink;
mod channel_source;
#[cfg(any(test, feature = "cluster"))]
mod committed;
mod csv_cell;
mod csv_column;
mod csv_lines;
mod csv_number;
mod csv_options;
mod csv_reader;
mod csv_records;
mod csv_scan;
mod csv_sink;
mod csv_source;
mod csv_text;
mod csv_time;
mod fit;
mod fitted;
mod fold;
mod folded_sink;
mod follow;
mod generate;
#[cfg(any(feature = "kafka", feature = "postgres"))]
mod held_rows;
mod infer;
#[cfg(feature = "json")]
mod json_format;
#[cfg(feature = "json")]
mod json_reader;
#[cfg(feature = "json")]
mod json_rows;
#[cfg(feature = "json")]
mod json_sink;
#[cfg(feature = "json")]
mod json_source;
#[cfg(feature = "kafka")]
mod kafka;
mod kafka_topic;
mod lasting;
mod line_numbers;
mod lines_file;
mod memory_sink;
mod memory_source;
mod messages;
#[cfg(feature = "parquet")]
mod parquet_bloom;
#[cfg(feature = "parquet")]
mod parquet_error;
#[cfg(feature = "parquet")]
mod parquet_ranges;
#[cfg(feature = "parquet")]
mod parquet_reader;
#[cfg(feature = "parquet")]
mod parquet_sieve;
#[cfg(feature = "parquet")]
mod parquet_sink;
#[cfg(feature = "parquet")]
mod parquet_source;
#[cfg(feature = "parquet")]
mod parquet_truth;
mod parts_sink;
mod paths;
#[cfg(feature = "postgres")]
mod postgres;
mod postgres_table;
mod reader_source;
mod sink_spec;
mod source_spec;
#[cfg(feature = "parquet")]
mod spread;
mod staged;
mod types;
#[cfg(any(test, feature = "kafka", feature = "postgres"))]
mod upserts;
mod uri;

#[cfg(test)]
mod tests;

pub use arrow_sink::ArrowSink;
pub use blackhole_sink::{BlackholeSink, RowCounter};
pub use channel_sink::ChannelSink;
pub use channel_source::ChannelSource;
#[cfg(feature = "cli")]
pub(crate) use csv_lines::CsvLines;
pub use csv_options::{CsvOptions, OnBadLine};
pub use csv_sink::CsvSink;
pub use csv_source::CsvSource;
pub use fitted::fitted;
pub(crate) use fold::Fold;
pub(crate) use folded_sink::FoldedSink;
pub use follow::FollowSource;
pub use generate::{Generate, from_fn};
#[cfg(feature = "json")]
pub use json_format::JsonFormat;
#[cfg(feature = "json")]
pub use json_sink::JsonSink;
#[cfg(all(feature = "json", feature = "cli"))]
pub(crate) use json_sink::{JsonLines, json_lines};
#[cfg(feature = "json")]
pub use json_source::JsonSource;
#[cfg(feature = "kafka")]
pub use kafka::{KafkaSink, KafkaSource};
pub use kafka_topic::{KafkaInput, KafkaOutput, KafkaStart, KafkaTopic, MessageFormat, OnBadMessage, OnTombstone};
pub use memory_sink::{Collected, MemorySink};
pub use memory_source::MemorySource;
pub use messages::{Decoder, Format, Message};
#[cfg(feature = "parquet")]
pub use parquet_sink::{Compression, ParquetSink};
#[cfg(feature = "parquet")]
pub use parquet_source::ParquetSource;
pub use parts_sink::PartsSink;
#[cfg(feature = "postgres")]
pub use postgres::PostgresSink;
#[cfg(feature = "cluster-postgres")]
pub(crate) use postgres::postgres_error;
pub use postgres_table::PostgresTable;
pub use reader_source::{BatchIterator, ReaderSource, from_reader};
pub use sink_spec::SinkSpec;
pub use source_spec::SourceSpec;
