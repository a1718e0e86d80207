//! A sink as data: what a user writes, what ships to another process, what opens there.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::csv_options::CsvOptions;
use super::kafka_topic::KafkaOutput;
use super::uri::Uri;
use super::{ArrowSink, BlackholeSink, CsvSink, PartsSink, PostgresTable, paths};
use crate::operator::Sink;
use crate::{Error, Result};

const EXISTING: &str = "sinks are `*.parquet`, `*.csv`, `*.tsv`, `*.jsonl`, `*.arrow`, `parquet:path` (and so on) for a file \
                        with another extension, `out/` or `csv:out/` for a directory of files, \
                        `kafka://host:9092/topic`, `postgres://user@host/database?table=name` and `blackhole:`, which counts rows and drops them";

/// Where to write, and how. Serialisable. A path that ends in `/`, or is a directory when the job starts, gets files
/// `part-00000001.parquet` and so on: one, or in a job that keeps checkpoints one for each ([`PartsSink`](super::PartsSink)).
///
/// ```
/// use sabot::connect::SinkSpec;
/// # fn main() -> sabot::Result<()> {
/// assert_eq!(SinkSpec::from_uri("out.jsonl")?, SinkSpec::JsonLines { path: "out.jsonl".into() });
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum SinkSpec {
    /// A Parquet file, compressed with zstd.
    Parquet {
        /// The file, or directory.
        path: PathBuf,
    },
    /// A CSV file with a header.
    Csv {
        /// The file, or directory.
        path: PathBuf,
        /// Between fields; an ASCII character.
        delimiter: char,
        /// Whether the first line names the columns.
        header: bool,
    },
    /// A file with one JSON object per line.
    JsonLines {
        /// The file, or directory.
        path: PathBuf,
    },
    /// An Arrow IPC file.
    Arrow {
        /// The file, or directory.
        path: PathBuf,
    },
    /// Counts rows and drops them.
    Blackhole,
    /// A topic of Kafka.
    Kafka(Box<KafkaOutput>),
    /// A table of Postgres.
    Postgres(Box<PostgresTable>),
}

impl SinkSpec {
    /// A sink as a user writes it: `out.parquet`, `out.csv`, `out.jsonl`, `out.arrow`, `csv:out.txt?delimiter=;`,
    /// `blackhole:`; `out/` is a directory of Parquet files, `csv:out/` one of CSV files.
    ///
    /// # Errors
    /// [`Error::Usage`] if the format or an option is unknown, with what exists.
    pub fn from_uri(uri: &str) -> Result<Self> {
        let mut parts = Uri::parse(uri)?;
        match parts.scheme.as_deref() {
            Some("postgres" | "postgresql") => return Ok(SinkSpec::Postgres(Box::new(PostgresTable::from_uri(uri)?))),
            Some("kafka") => return Ok(SinkSpec::Kafka(Box::new(KafkaOutput::from_uri(uri)?))),
            _ => {}
        }
        let uri = &parts.shown;
        let path = PathBuf::from(parts.path);
        let format = parts.scheme.take().or_else(|| paths::extension(Path::new(parts.path))).unwrap_or_default();
        let format = if format.is_empty() && PartsSink::names_directory(&path) { "parquet".to_owned() } else { format };
        if path.as_os_str().is_empty() && format != "blackhole" {
            return Err(Error::usage(format!("`{uri}` names no file; {EXISTING}")));
        }
        match format.as_str() {
            "parquet" | "pq" => {
                parts.options.finish("a Parquet sink", &[])?;
                Ok(SinkSpec::Parquet { path })
            }
            "csv" | "tsv" => {
                let default = if format == "tsv" { '\t' } else { ',' };
                let delimiter = parts.options.take_char("delimiter")?.unwrap_or(default);
                let header = parts.options.take_bool("header")?.unwrap_or(true);
                parts.options.finish("a CSV sink", &["delimiter", "header"])?;
                Ok(SinkSpec::Csv { path, delimiter, header })
            }
            "jsonl" | "ndjson" => {
                parts.options.finish("a JSON lines sink", &[])?;
                Ok(SinkSpec::JsonLines { path })
            }
            "arrow" | "feather" | "ipc" => {
                parts.options.finish("an Arrow sink", &[])?;
                Ok(SinkSpec::Arrow { path })
            }
            "blackhole" if path.as_os_str().is_empty() => {
                parts.options.finish("a blackhole", &[])?;
                Ok(SinkSpec::Blackhole)
            }
            "" => Err(Error::usage(format!("`{uri}` does not tell its format; {EXISTING}"))),
            other => Err(Error::usage(format!("`{uri}`: there is no sink of format `{other}`; {EXISTING}"))),
        }
    }

    /// Makes the sink. Nothing is written before [`Sink::open`].
    ///
    /// # Errors
    /// [`Error::Usage`] if this program was built without the format, or the options make no sense.
    pub fn open(&self) -> Result<Box<dyn Sink>> {
        let (path, ending) = match self {
            SinkSpec::Parquet { path } | SinkSpec::Csv { path, .. } | SinkSpec::JsonLines { path } | SinkSpec::Arrow { path } => {
                (path, self.ending())
            }
            SinkSpec::Blackhole => return Ok(Box::new(BlackholeSink::new().0)),
            #[cfg(feature = "postgres")]
            SinkSpec::Postgres(table) => return Ok(Box::new(super::PostgresSink::new(table.as_ref().clone()))),
            #[cfg(not(feature = "postgres"))]
            SinkSpec::Postgres(_) => {
                return Err(Error::usage(format!("a sink `postgres://..`: {}", crate::words::without_feature("postgres"))));
            }
            #[cfg(feature = "kafka")]
            SinkSpec::Kafka(output) => return Ok(Box::new(super::KafkaSink::new(output.as_ref().clone()))),
            #[cfg(not(feature = "kafka"))]
            SinkSpec::Kafka(_) => {
                return Err(Error::usage(format!("a sink `kafka://..`: {}", crate::words::without_feature("kafka"))));
            }
        };
        if !PartsSink::names_directory(path) {
            return self.open_file(path.clone());
        }
        // What cannot be opened at all is refused now.
        self.open_file(path.join(ending))?;
        let spec = self.clone();
        Ok(Box::new(PartsSink::new(path, ending, move |part| spec.open_file(part))))
    }
    /// The extension of the files that it adds to a directory.
    pub(super) fn ending(&self) -> &'static str {
        match self {
            SinkSpec::Parquet { .. } => "parquet",
            SinkSpec::Csv { delimiter: '\t', .. } => "tsv",
            SinkSpec::Csv { .. } => "csv",
            SinkSpec::JsonLines { .. } => "jsonl",
            SinkSpec::Arrow { .. } => "arrow",
            SinkSpec::Blackhole | SinkSpec::Kafka(_) | SinkSpec::Postgres(_) => "",
        }
    }
    /// The file or directory that it writes, if it is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            SinkSpec::Parquet { path } | SinkSpec::Csv { path, .. } | SinkSpec::JsonLines { path } | SinkSpec::Arrow { path } => Some(path),
            SinkSpec::Blackhole | SinkSpec::Kafka(_) | SinkSpec::Postgres(_) => None,
        }
    }
    /// Whether it is a file, which can hold what changes add up to when there are no more.
    pub(crate) fn is_file(&self) -> bool {
        self.path().is_some()
    }
    fn open_file(&self, path: PathBuf) -> Result<Box<dyn Sink>> {
        match self {
            #[cfg(feature = "parquet")]
            SinkSpec::Parquet { .. } => Ok(Box::new(super::ParquetSink::new(path))),
            #[cfg(not(feature = "parquet"))]
            SinkSpec::Parquet { .. } => Err(Error::usage(crate::words::without_feature("parquet"))),
            SinkSpec::Csv { delimiter, header, .. } => {
                let options = CsvOptions { delimiter: *delimiter, header: *header, ..CsvOptions::default() };
                Ok(Box::new(CsvSink::new(path, &options)?))
            }
            #[cfg(feature = "json")]
            SinkSpec::JsonLines { .. } => Ok(Box::new(super::JsonSink::new(path))),
            #[cfg(not(feature = "json"))]
            SinkSpec::JsonLines { .. } => Err(Error::usage(crate::words::without_feature("json"))),
            SinkSpec::Arrow { .. } => Ok(Box::new(ArrowSink::new(path))),
            SinkSpec::Blackhole | SinkSpec::Kafka(_) | SinkSpec::Postgres(_) => Err(Error::internal("a sink that is no file")),
        }
    }
    /// Takes a relative path from `dir`.
    pub(crate) fn within(&mut self, dir: &Path) {
        match self {
            SinkSpec::Parquet { path } | SinkSpec::Csv { path, .. } | SinkSpec::JsonLines { path } | SinkSpec::Arrow { path } => {
                *path = dir.join(&*path);
            }
            SinkSpec::Blackhole | SinkSpec::Kafka(_) | SinkSpec::Postgres(_) => {}
        }
    }
    /// What identifies the sink, without passwords.
    pub(crate) fn without_secrets(&self) -> Self {
        match self {
            SinkSpec::Kafka(output) => SinkSpec::Kafka(Box::new(output.without_secrets())),
            SinkSpec::Postgres(table) => SinkSpec::Postgres(Box::new(table.without_secrets())),
            other => other.clone(),
        }
    }
}
