//! What a sink has committed to files, read back: the rows that count, in the order in which they were written.
//!
//! Idea: a sink shows a file only when it is whole and its checkpoint is durable, and never changes it. So whoever lists the files has a prefix of the
//! rows, each once, whatever the job that writes them goes through meanwhile.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::reader::FileReader;
use arrow_schema::{ArrowError, Field, Schema, SchemaRef};

use super::fit::{conform, fit};
use super::types::without_dictionaries;
use super::{CsvOptions, PartsSink, SinkSpec, SourceSpec};
use crate::operator::{Read, Source, Split, SplitReader};
use crate::{Error, Result};

/// Rows of a batch.
const ROWS: usize = 8192;
/// What the columns belong to, in messages.
const RECORD: &str = "output";

type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// The committed rows of a sink. Files are opened one after the other; nothing is held but the batch being read.
pub(crate) struct Committed {
    sink: SinkSpec,
    schema: SchemaRef,
    files: std::vec::IntoIter<PathBuf>,
    open: Option<Batches>,
}

impl SinkSpec {
    /// What this sink has committed up to now, as rows of these columns; dictionaries are given as plain values.
    ///
    /// # Errors
    /// If it is no file, or neither file nor directory is there.
    pub(crate) fn committed(&self, columns: &Schema) -> Result<Committed> {
        let path = self.path().ok_or_else(|| Error::internal("a sink that is no file is read"))?;
        let kind = std::fs::metadata(path).map_err(|e| Error::io(path, "cannot open", e))?;
        let files = if kind.is_dir() { PartsSink::committed(path, self.ending())? } else { vec![path.to_path_buf()] };
        let plain = |f: &Arc<Field>| f.as_ref().clone().with_data_type(without_dictionaries(f.data_type()));
        let schema = Arc::new(Schema::new(columns.fields().iter().map(plain).collect::<Vec<Field>>()));
        Ok(Committed { sink: self.clone(), schema, files: files.into_iter(), open: None })
    }
    fn read_file(&self, path: &Path, schema: &SchemaRef) -> Result<Batches> {
        let paths = vec![path.display().to_string()];
        let source = match self {
            SinkSpec::Parquet { .. } => SourceSpec::Parquet { paths },
            SinkSpec::Csv { delimiter, header, .. } => {
                SourceSpec::Csv { paths, options: CsvOptions { delimiter: *delimiter, header: *header, ..CsvOptions::default() } }
            }
            SinkSpec::JsonLines { .. } => SourceSpec::JsonLines { paths, on_bad_line: super::OnBadLine::Fail },
            SinkSpec::Arrow { .. } => return read_arrow(path, schema),
            SinkSpec::Blackhole | SinkSpec::Kafka(_) | SinkSpec::Postgres(_) => {
                return Err(Error::internal("a sink that is no file is read"));
            }
        };
        let source = source.open(RECORD, schema)?;
        let splits = source.splits()?.into_iter();
        Ok(Box::new(Splits { source, splits, open: None }))
    }
}

impl Committed {
    /// Its columns.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl Iterator for Committed {
    type Item = Result<RecordBatch>;
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.open.as_mut().map(Iterator::next) {
                Some(Some(Ok(batch))) if batch.num_rows() == 0 => {}
                Some(Some(read)) => return Some(read),
                Some(None) | None => {
                    let file = self.files.next()?;
                    match self.sink.read_file(&file, &self.schema) {
                        Ok(batches) => self.open = Some(batches),
                        Err(error) => return Some(Err(error)),
                    }
                }
            }
        }
    }
}

/// The splits of a source that ends, one after the other.
struct Splits {
    source: Box<dyn Source>,
    splits: std::vec::IntoIter<Split>,
    open: Option<Box<dyn SplitReader>>,
}

impl Splits {
    fn step(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let Some(reader) = &mut self.open else {
                let Some(split) = self.splits.next() else { return Ok(None) };
                self.open = Some(self.source.open(&split, None)?);
                continue;
            };
            match reader.next(ROWS)? {
                Read::Rows(batch, _) => return Ok(Some(batch)),
                Read::End => self.open = None,
                Read::Some(..) | Read::Idle | Read::Wait => return Err(Error::internal("a file gives less than all of its rows")),
            }
        }
    }
}

impl Iterator for Splits {
    type Item = Result<RecordBatch>;
    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

fn read_arrow(path: &Path, schema: &SchemaRef) -> Result<Batches> {
    let place = path.display().to_string();
    let (there, schema) = (path.to_path_buf(), Arc::clone(schema));
    let broken = move |e: ArrowError| match e {
        ArrowError::IoError(_, e) => Error::io(&there, "cannot read", e),
        e => Error::Data { place: there.display().to_string(), what: format!("broken Arrow file: {e}") },
    };
    let file = File::open(path).map_err(|e| Error::io(path, "cannot open", e))?;
    let reader = FileReader::try_new(BufReader::new(file), None).map_err(&broken)?;
    let columns = fit(&place, RECORD, &schema, &reader.schema())?;
    Ok(Box::new(reader.map(move |batch| {
        let batch = batch.map_err(&broken)?.project(&columns)?;
        conform(&schema, batch.columns(), batch.num_rows(), |_| place.clone())
    })))
}
