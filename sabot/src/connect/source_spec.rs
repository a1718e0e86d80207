//! A source as data: what a user writes, what ships to another process, what opens there.

use std::path::Path;

use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};

use super::csv_options::CsvOptions;
use super::csv_source::CsvSource;
use super::paths;
use super::uri::Uri;
use crate::operator::Source;
use crate::{Error, Result};

/// File name extensions of Parquet.
pub(crate) const PARQUET_EXTENSIONS: &[&str] = &["parquet", "pq"];
/// File name extensions of CSV; `tsv` is delimited by tabulators.
pub(crate) const CSV_EXTENSIONS: &[&str] = &["csv", "tsv"];

const EXISTING: &str = "sources are `*.parquet`, `*.pq`, `*.csv`, `*.tsv`, directories and globs of them, and `parquet:path`, \
                        `csv:path` and `tsv:path` for files with another extension";
const CSV_KEYS: &[&str] = &["delimiter", "quote", "header", "null", "on_bad_line"];

/// Where to read, and how. Serialisable; paths are kept as written, so a relative one is relative to the process that
/// opens it.
///
/// ```
/// use sabot::connect::SourceSpec;
/// # fn main() -> sabot::Result<()> {
/// let flights = SourceSpec::from_uri("csv:flights.txt?delimiter=;&on_bad_line=skip")?;
/// let shipped = serde_json::to_string(&flights).unwrap();
/// assert_eq!(serde_json::from_str::<SourceSpec>(&shipped).unwrap(), flights);
/// let error = SourceSpec::from_uri("flights.xlsx").unwrap_err().to_string();
/// assert!(error.contains("*.parquet"));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum SourceSpec {
    /// Parquet files.
    Parquet {
        /// Files, directories and globs, in the order of reading.
        paths: Vec<String>,
    },
    /// CSV files.
    Csv {
        /// Files, directories and globs, in the order of reading.
        paths: Vec<String>,
        /// The dialect.
        options: CsvOptions,
    },
}

impl SourceSpec {
    /// A source as a user writes it: `flights.parquet`, `dir/`, `data/*.csv`, `a.csv,b.csv`,
    /// `csv:path?delimiter=;&quote='&header=false&null=-&on_bad_line=skip`, `parquet:path`.
    ///
    /// The format is the word before the colon, or the extension; for a directory or a glob without extension, that of
    /// the files in it. In options `%3B` stands for the character of that number, `tab` for a tabulator; `null` may
    /// be given several times.
    ///
    /// # Errors
    /// [`Error::Usage`] if the format or an option is unknown, with what exists; [`Error::Io`] if a directory whose
    /// format is to be found cannot be listed.
    pub fn from_uri(uri: &str) -> Result<Self> {
        let mut parts = Uri::parse(uri)?;
        let paths = parts.paths();
        if paths.is_empty() {
            return Err(Error::usage(format!("`{uri}` names no file; {EXISTING}")));
        }
        let format = match parts.scheme.take() {
            Some(scheme) => scheme,
            None => format_of(uri, &paths)?,
        };
        let spec = match format.as_str() {
            "parquet" | "pq" => SourceSpec::Parquet { paths },
            "csv" => SourceSpec::Csv { paths, options: CsvOptions::default().with_uri(&mut parts.options)? },
            "tsv" => {
                SourceSpec::Csv { paths, options: CsvOptions { delimiter: '\t', ..CsvOptions::default() }.with_uri(&mut parts.options)? }
            }
            other => return Err(Error::usage(format!("`{uri}`: there is no source of format `{other}`; {EXISTING}"))),
        };
        match &spec {
            SourceSpec::Parquet { .. } => parts.options.finish("a Parquet source", &[])?,
            SourceSpec::Csv { .. } => parts.options.finish("a CSV source", CSV_KEYS)?,
        }
        Ok(spec)
    }

    /// Opens the source for `record`, whose columns are `expected`: they are matched by name, and [`Source::schema`]
    /// is then exactly `expected`.
    ///
    /// # Errors
    /// [`Error::Io`] if a file is missing or unreadable, [`Error::Data`] if it is broken, [`Error::Schema`] if its
    /// columns do not fit, [`Error::Usage`] if this program was built without the format.
    pub fn open(&self, record: &str, expected: &SchemaRef) -> Result<Box<dyn Source>> {
        match self {
            #[cfg(feature = "parquet")]
            SourceSpec::Parquet { paths } => Ok(Box::new(super::ParquetSource::open(paths, record, expected)?)),
            #[cfg(not(feature = "parquet"))]
            SourceSpec::Parquet { .. } => Err(Error::usage("this program was built without Parquet: enable sabot's feature `parquet`")),
            SourceSpec::Csv { paths, options } => Ok(Box::new(CsvSource::open(paths, options, record, expected)?)),
        }
    }
}

/// The format that the extensions of these paths tell, the same for all.
fn format_of(uri: &str, patterns: &[String]) -> Result<String> {
    let known: Vec<&str> = PARQUET_EXTENSIONS.iter().chain(CSV_EXTENSIONS).copied().collect();
    let mut formats = std::collections::BTreeSet::new();
    for pattern in patterns {
        let path = Path::new(pattern);
        let own = paths::extension(path).filter(|e| known.contains(&e.as_str()));
        let files = match own {
            Some(extension) if !path.is_dir() => vec![extension],
            _ if path.is_dir() || paths::is_glob(pattern) => {
                let files = paths::expand(std::slice::from_ref(pattern), &known)?;
                files.iter().map(|f| paths::extension(f).unwrap_or_default()).collect()
            }
            _ => vec![paths::extension(path).unwrap_or_default()],
        };
        formats.extend(files.into_iter().map(|e| if e == "pq" { "parquet".to_string() } else { e }));
    }
    let mut formats = formats.into_iter();
    match (formats.next(), formats.next()) {
        (Some(one), None) if !one.is_empty() => Ok(one),
        (Some(a), Some(b)) if !a.is_empty() => {
            Err(Error::usage(format!("`{uri}` names files of several formats ({a}, {b}); say which: `{a}:{uri}`")))
        }
        _ => Err(Error::usage(format!("`{uri}` does not tell its format; {EXISTING}"))),
    }
}
