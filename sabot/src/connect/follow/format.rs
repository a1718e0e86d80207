//! How followed files are read.

use std::path::Path;
use std::sync::Arc;

use arrow_schema::SchemaRef;

use crate::connect::csv_options::Dialect;
use crate::connect::csv_reader::CsvReader;
use crate::connect::csv_scan::Scanner;
use crate::connect::csv_source::{self, CsvFile};
use crate::connect::{CsvOptions, SourceSpec, fit};
use crate::operator::SplitReader;
use crate::{Error, Result};

/// A format whose files grow by lines.
pub(super) enum Lines {
    Csv {
        shared: Arc<csv_source::Shared>,
        record: String,
        expected: SchemaRef,
    },
    #[cfg(feature = "json")]
    Json(Arc<crate::connect::json_reader::Shared>),
}

/// How files are read.
#[derive(Clone)]
pub(super) enum How {
    Lines(Arc<Lines>),
    /// As sources of their own, when they appear: the record, its columns, and those to deliver.
    Whole {
        spec: Box<SourceSpec>,
        record: String,
        expected: SchemaRef,
        wanted: Vec<String>,
    },
}

impl How {
    /// How the files of a source are read that is to be followed.
    ///
    /// # Errors
    /// If it does not read files, or its format is not in this program, or cannot hold the columns.
    pub(super) fn new(spec: &SourceSpec, record: &str, expected: &SchemaRef) -> Result<Self> {
        match spec {
            SourceSpec::Csv { options, .. } => {
                crate::connect::csv_source::check_types(record, expected)?;
                let lines = Lines::Csv { shared: csv(options, expected)?, record: record.to_owned(), expected: Arc::clone(expected) };
                Ok(How::Lines(Arc::new(lines)))
            }
            #[cfg(feature = "json")]
            SourceSpec::JsonLines { on_bad_line, .. } => {
                crate::connect::json_rows::JsonRows::new(expected, "a followed file")?;
                let shared = crate::connect::json_reader::Shared { schema: Arc::clone(expected), on_bad_line: *on_bad_line, bad: None };
                Ok(How::Lines(Arc::new(Lines::Json(Arc::new(shared)))))
            }
            #[cfg(not(feature = "json"))]
            SourceSpec::JsonLines { .. } => Err(Error::usage(crate::words::without_feature("json"))),
            SourceSpec::Parquet { .. } => Ok(How::Whole {
                spec: Box::new(spec.clone()),
                record: record.to_owned(),
                expected: Arc::clone(expected),
                wanted: expected.fields().iter().map(|f| f.name().clone()).collect(),
            }),
            _ => Err(Error::usage("only files can be followed: `follow:dir/*.jsonl`, `.csv`, `.parquet`")),
        }
    }
    /// The same for some columns.
    pub(super) fn project(&self, schema: &SchemaRef, columns: &[String]) -> Result<Self> {
        Ok(match self {
            How::Whole { spec, record, expected, .. } => {
                let (spec, record, expected) = (spec.clone(), record.clone(), Arc::clone(expected));
                How::Whole { spec, record, expected, wanted: columns.to_vec() }
            }
            How::Lines(lines) => How::Lines(Arc::new(match lines.as_ref() {
                Lines::Csv { shared, record, expected } => {
                    let (_, projection) = fit::project(expected, columns, "a followed file")?;
                    let shared = Arc::new(csv_source::Shared { schema: Arc::clone(schema), projection, ..shared.as_ref().clone() });
                    Lines::Csv { shared, record: record.clone(), expected: Arc::clone(expected) }
                }
                #[cfg(feature = "json")]
                Lines::Json(shared) => {
                    let schema = Arc::clone(schema);
                    Lines::Json(Arc::new(crate::connect::json_reader::Shared { schema, ..shared.as_ref().clone() }))
                }
            })),
        })
    }
}

impl How {
    /// The same, with lines that are no rows.
    ///
    /// # Errors
    /// If they are to be dropped.
    pub(super) fn give_bad(&self, place: &str) -> Result<Self> {
        Ok(match self {
            How::Whole { .. } => self.clone(),
            How::Lines(lines) => How::Lines(Arc::new(match lines.as_ref() {
                Lines::Csv { shared, record, expected } => {
                    let shared = Arc::new(shared.give_bad(place)?);
                    Lines::Csv { shared, record: record.clone(), expected: Arc::clone(expected) }
                }
                #[cfg(feature = "json")]
                Lines::Json(shared) => Lines::Json(Arc::new(shared.give_bad(place)?)),
            })),
        })
    }
}

fn csv(options: &CsvOptions, expected: &SchemaRef) -> Result<Arc<csv_source::Shared>> {
    let dialect = options.dialect()?;
    let projection = (0..expected.fields().len()).collect();
    let (options, schema) = (options.clone(), Arc::clone(expected));
    Ok(Arc::new(csv_source::Shared { files: Vec::new(), options, dialect, schema, projection, bad: None }))
}

impl Lines {
    /// Whether a file begins with a line that names the columns.
    pub(super) fn headed(&self) -> bool {
        match self {
            Lines::Csv { shared, .. } => shared.options.header,
            #[cfg(feature = "json")]
            Lines::Json(_) => false,
        }
    }
    /// How many bytes at the beginning of a text, which begins at a line, are whole lines.
    pub(super) fn complete(&self, text: &[u8]) -> usize {
        match self {
            Lines::Csv { shared, .. } => complete(text, shared.dialect),
            #[cfg(feature = "json")]
            Lines::Json(_) => text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1),
        }
    }
    /// What the head of a file says, once it is whole. Only CSV files have one.
    pub(super) fn head(&self, path: &Path) -> Result<Option<CsvFile>> {
        match self {
            Lines::Csv { shared, record, expected } => {
                csv_source::probe(path.to_path_buf(), &shared.options, shared.dialect, record, expected).map(Some)
            }
            #[cfg(feature = "json")]
            Lines::Json(_) => Ok(None),
        }
    }
    /// Reads whole lines; of a CSV file, whose head knows where it is.
    #[cfg_attr(not(feature = "json"), allow(unused_variables))]
    pub(super) fn read(&self, path: &Path, head: Option<&CsvFile>, range: std::ops::Range<u64>) -> Result<Box<dyn SplitReader>> {
        match self {
            Lines::Csv { shared, .. } => {
                let file = head.ok_or_else(|| Error::internal("a followed CSV file without a head"))?;
                Ok(Box::new(CsvReader::new(Arc::clone(shared), file.clone(), range)))
            }
            #[cfg(feature = "json")]
            Lines::Json(shared) => {
                Ok(Box::new(crate::connect::json_reader::JsonReader::new(Arc::clone(shared), path.to_path_buf(), range)?))
            }
        }
    }
}

/// How many bytes of CSV text are whole records: a newline between quotes ends none.
fn complete(text: &[u8], dialect: Dialect) -> usize {
    let mut scanner = Scanner::new(dialect);
    let mut end = 0;
    for (number, part) in text.chunks(64).enumerate() {
        let mut lines = scanner.part(part).lines;
        while lines != 0 {
            let i = 63 - lines.leading_zeros() as usize;
            lines &= !(1 << i);
            // a carriage return may be half of a line end
            if part.get(i) == Some(&b'\n') {
                end = number * 64 + i + 1;
                break;
            }
        }
    }
    end
}
