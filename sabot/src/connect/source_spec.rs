//! A source as data: what a user writes, what ships to another process, what opens there.

use std::path::Path;

use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};

use super::csv_options::{CsvOptions, OnBadLine};
use super::csv_source::CsvSource;
use super::kafka_topic::KafkaInput;
use super::paths;
use super::uri::Uri;
use crate::operator::Source;
use crate::{Error, Result};

/// File name extensions of Parquet.
pub(crate) const PARQUET_EXTENSIONS: &[&str] = &["parquet", "pq"];
/// File name extensions of JSON lines.
pub(crate) const JSON_EXTENSIONS: &[&str] = &["jsonl", "ndjson"];
/// How often followed files are looked at, in milliseconds, if a user does not say.
const FOLLOW_MS: u64 = 500;
/// File name extensions of CSV; `tsv` is delimited by tabulators.
pub(crate) const CSV_EXTENSIONS: &[&str] = &["csv", "tsv"];

const EXISTING: &str = "sources are `*.parquet`, `*.pq`, `*.csv`, `*.tsv`, `*.jsonl`, directories and globs of them, `parquet:path`, \
                        `csv:path`, `tsv:path` and `jsonl:path` for files with another extension, `follow:dir/*.jsonl` for files that grow, and `kafka://host:9092/topic`";
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
    /// Files with one JSON object per line.
    JsonLines {
        /// Files, directories and globs, in the order of reading.
        paths: Vec<String>,
        /// What happens on a line that is not a row.
        #[serde(default)]
        on_bad_line: OnBadLine,
    },
    /// Files that grow, and directories that get files: see [`FollowSource`](super::FollowSource).
    Follow {
        /// The files.
        files: Box<SourceSpec>,
        /// How often to look for new files and lines, in milliseconds.
        every_ms: u64,
    },
    /// A topic of Kafka.
    Kafka(Box<KafkaInput>),
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
        let (original, mut parts) = (uri, Uri::parse(uri)?);
        let uri = parts.shown.clone();
        let uri = uri.as_str();
        if parts.scheme.as_deref() == Some("kafka") {
            return Ok(SourceSpec::Kafka(Box::new(KafkaInput::from_uri(original)?)));
        }
        if parts.scheme.as_deref() == Some("follow") {
            return Self::followed(original);
        }
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
            "jsonl" | "ndjson" => {
                let on_bad_line = OnBadLine::take(&mut parts.options)?.unwrap_or_default();
                SourceSpec::JsonLines { paths, on_bad_line }
            }
            other => return Err(Error::usage(format!("`{uri}`: there is no source of format `{other}`; {EXISTING}"))),
        };
        match &spec {
            SourceSpec::Parquet { .. } => parts.options.finish("a Parquet source", &[])?,
            SourceSpec::Csv { .. } => parts.options.finish("a CSV source", CSV_KEYS)?,
            SourceSpec::JsonLines { .. } => parts.options.finish("a JSON lines source", &["on_bad_line"])?,
            SourceSpec::Kafka(_) | SourceSpec::Follow { .. } => {}
        }
        Ok(spec)
    }

    /// `follow:`, and files as they are named elsewhere.
    fn followed(uri: &str) -> Result<Self> {
        let rest = uri.split_once(':').map_or("", |(_, rest)| rest);
        let (head, options) = rest.rsplit_once('?').unwrap_or((rest, ""));
        let mut every = None;
        let others: Vec<&str> =
            options.split('&').filter(|o| o.strip_prefix("every_ms=").is_none_or(|v| every.replace(v).is_some())).collect();
        let wrong = |v: &str| Error::usage(format!("the option `every_ms` is a number of milliseconds, not `{v}`"));
        let every_ms = every.map_or(Ok(FOLLOW_MS), |v| v.parse().ok().filter(|n| *n > 0).ok_or_else(|| wrong(v)))?;
        let inner = match others.join("&") {
            none if none.is_empty() && every.is_some() => head.to_owned(),
            _ if every.is_none() => rest.to_owned(),
            some => format!("{head}?{some}"),
        };
        let files = Box::new(Self::from_uri(&inner)?);
        if files.files().is_none() {
            return Err(Error::usage(format!("`{uri}`: only files can be followed: `follow:dir/*.jsonl`, `follow:csv:dir/`")));
        }
        Ok(SourceSpec::Follow { files, every_ms })
    }
    /// The patterns and extensions of its files, if it reads files from start to end.
    pub(crate) fn files(&self) -> Option<(&[String], &'static [&'static str])> {
        match self {
            SourceSpec::Parquet { paths } => Some((paths, PARQUET_EXTENSIONS)),
            SourceSpec::Csv { paths, .. } => Some((paths, CSV_EXTENSIONS)),
            SourceSpec::JsonLines { paths, .. } => Some((paths, JSON_EXTENSIONS)),
            SourceSpec::Follow { .. } | SourceSpec::Kafka(_) => None,
        }
    }
    /// The same for one file.
    pub(crate) fn of_file(&self, path: &Path) -> Self {
        let mut one = self.clone();
        if let SourceSpec::Parquet { paths } | SourceSpec::Csv { paths, .. } | SourceSpec::JsonLines { paths, .. } = &mut one {
            *paths = vec![path.display().to_string()];
        }
        one
    }

    /// Takes relative paths from `dir`.
    pub(crate) fn within(&mut self, dir: &Path) {
        match self {
            SourceSpec::Parquet { paths } | SourceSpec::Csv { paths, .. } | SourceSpec::JsonLines { paths, .. } => {
                for path in paths {
                    *path = dir.join(&*path).display().to_string();
                }
            }
            SourceSpec::Follow { files, .. } => files.within(dir),
            SourceSpec::Kafka(_) => {}
        }
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
            SourceSpec::Parquet { .. } => Err(Error::usage(crate::words::without_feature("parquet"))),
            SourceSpec::Csv { paths, options } => Ok(Box::new(CsvSource::open(paths, options, record, expected)?)),
            #[cfg(feature = "json")]
            SourceSpec::JsonLines { paths, on_bad_line } => Ok(Box::new(super::JsonSource::open(paths, *on_bad_line, expected)?)),
            #[cfg(not(feature = "json"))]
            SourceSpec::JsonLines { .. } => Err(Error::usage(crate::words::without_feature("json"))),
            SourceSpec::Follow { files, every_ms } => {
                let every = std::time::Duration::from_millis(*every_ms);
                Ok(Box::new(super::FollowSource::open(files, every, record, expected)?))
            }
            #[cfg(feature = "kafka")]
            SourceSpec::Kafka(input) => Ok(Box::new(super::KafkaSource::open(input, record, expected)?)),
            #[cfg(not(feature = "kafka"))]
            SourceSpec::Kafka(_) => Err(Error::usage(format!("a source `kafka://..`: {}", crate::words::without_feature("kafka")))),
        }
    }
    /// Whether its rows end.
    pub(crate) fn ends(&self) -> bool {
        match self {
            SourceSpec::Parquet { .. } | SourceSpec::Csv { .. } | SourceSpec::JsonLines { .. } => true,
            SourceSpec::Follow { .. } => false,
            SourceSpec::Kafka(input) => input.until_end,
        }
    }
    /// What identifies the source, without passwords.
    pub(crate) fn without_secrets(&self) -> Self {
        match self {
            SourceSpec::Kafka(input) => SourceSpec::Kafka(Box::new(input.without_secrets())),
            other => other.clone(),
        }
    }
}

/// The format that the extensions of these paths tell, the same for all.
fn format_of(uri: &str, patterns: &[String]) -> Result<String> {
    let known: Vec<&str> = PARQUET_EXTENSIONS.iter().chain(CSV_EXTENSIONS).chain(JSON_EXTENSIONS).copied().collect();
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
