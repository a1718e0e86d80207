//! Reads a file that grows line by line.
//!
//! A file is known by its path, and only grows. A position is a byte offset, and a hash of the first bytes before it: so that a job that
//! continues notices another file under the same name. A line without its end is left until the end comes.

use std::fs::{File, Metadata};
use std::io::{Read as _, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::format::Lines;
use crate::connect::csv_source::CsvFile;
use crate::connect::csv_text::BOM;
use crate::kernel::hash::hash_bytes;
use crate::operator::{BadRow, Read, SplitReader};
use crate::{Error, Result};

/// Bytes looked at at a time; a longer line is looked at as a whole.
const CHUNK: u64 = 4 << 20;
/// The longest line.
const LONGEST: u64 = 1 << 31;
/// Bytes that tell one file from another.
const HEAD: u64 = 1024;

/// Where the reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// The byte at which the next line begins.
    offset: u64,
    /// The hash of the bytes before it, up to 1024.
    head: u64,
}

pub(super) struct LinesReader {
    path: PathBuf,
    lines: Arc<Lines>,
    place: Place,
    /// Which file it was when it was last looked at.
    identity: Option<(u64, u64)>,
    head: Option<CsvFile>,
    /// Lines that were found to be whole, and where they end.
    current: Option<(Box<dyn SplitReader>, u64)>,
    failed: u64,
    bad: Vec<BadRow>,
    /// How much of it was there when it last had no new line.
    seen: Option<u64>,
}

/// Device and number.
#[cfg(unix)]
fn identity(meta: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((meta.dev(), meta.ino()))
}
#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<(u64, u64)> {
    None
}

impl LinesReader {
    pub(super) fn open(path: PathBuf, lines: Arc<Lines>, position: Option<&serde_json::Value>) -> Result<Self> {
        let broken = |e| Error::Checkpoint(format!("a position in {} is broken: {e}", path.display()));
        let place = position.map(Place::deserialize).transpose().map_err(broken)?.unwrap_or_default();
        let reader = LinesReader { path, lines, place, identity: None, head: None, current: None, failed: 0, bad: Vec::new(), seen: None };
        if place.offset > 0 && reader.hash(place.offset)? != place.head {
            return Err(reader.refused(
                "it is not the file that it was: another was put in its place. A followed file only grows; give a new one a new name",
            ));
        }
        Ok(reader)
    }
    fn refused(&self, what: &str) -> Error {
        Error::Data { place: self.path.display().to_string(), what: what.into() }
    }
    fn bytes(&self, from: u64, length: u64) -> Result<Vec<u8>> {
        let io = |e| Error::io(&self.path, "cannot read", e);
        let mut file = File::open(&self.path).map_err(io)?;
        file.seek(SeekFrom::Start(from)).map_err(io)?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).map_err(io)?;
        Ok(bytes)
    }
    fn hash(&self, offset: u64) -> Result<u64> {
        Ok(hash_bytes(&self.bytes(0, offset.min(HEAD))?))
    }
    /// Goes on to `offset`.
    fn reach(&mut self, offset: u64) -> Result<()> {
        if self.place.offset < HEAD {
            self.place.head = self.hash(offset)?;
        }
        self.place.offset = offset;
        Ok(())
    }
    /// Finds new lines; whether there are some.
    fn look(&mut self) -> Result<bool> {
        let meta = match std::fs::metadata(&self.path) {
            Ok(meta) => meta,
            // taken away: nothing more comes
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(Error::io(&self.path, "cannot open", e)),
        };
        let (size, found) = (meta.len(), identity(&meta));
        if size < self.place.offset {
            let (offset, what) = (self.place.offset, "A followed file only grows; give a new one a new name");
            return Err(self.refused(&format!(
                "it has {size} bytes, but {offset} were read before: it was cut off, or another was put in its place. {what}"
            )));
        }
        if self.identity.is_some() && self.identity != found {
            return Err(self.refused("another file was put in its place. A followed file only grows; give a new one a new name"));
        }
        self.identity = found;
        if self.seen == Some(size) {
            return Ok(false);
        }
        let mut length = CHUNK;
        loop {
            let text = self.bytes(self.place.offset, length)?;
            let whole = self.lines.complete(&text) as u64;
            if whole > 0 {
                return self.found(whole);
            }
            if (text.len() as u64) < length {
                self.seen = Some(size);
                return Ok(false);
            }
            if length >= LONGEST {
                return Err(self.refused(&format!(
                    "a line of more than {LONGEST} bytes begins at byte {}; is a quote never closed?",
                    self.place.offset
                )));
            }
            length *= 2;
        }
    }
    /// Whole lines follow: so many bytes.
    fn found(&mut self, whole: u64) -> Result<bool> {
        let end = self.place.offset + whole;
        if self.head.is_none() {
            self.head = self.lines.head(&self.path)?;
        }
        let mut start = self.place.offset;
        if start == 0 {
            let bom = if self.bytes(0, BOM.len() as u64)? == BOM { BOM.len() as u64 } else { 0 };
            start = self.head.as_ref().map_or(bom, |head| head.start);
        }
        if start >= end {
            // the line that names the columns
            self.reach(end)?;
            return Ok(self.lines.headed());
        }
        self.current = Some((self.lines.read(&self.path, self.head.as_ref(), start..end)?, end));
        Ok(true)
    }
}

impl SplitReader for LinesReader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        loop {
            if let Some((reader, end)) = &mut self.current {
                let read = reader.next(max_rows)?;
                self.failed += reader.take_failed();
                self.bad.append(&mut reader.take_bad());
                if let Read::Rows(batch, _) = read {
                    let offset = reader.position().as_u64().unwrap_or(*end);
                    self.reach(offset)?;
                    return Ok(Read::Rows(batch, None));
                }
                let end = *end;
                self.current = None;
                self.reach(end)?;
            }
            if !self.look()? {
                return Ok(Read::Idle);
            }
        }
    }
    fn position(&self) -> serde_json::Value {
        // numbers and nothing else
        serde_json::to_value(self.place).unwrap_or_default()
    }
    fn take_failed(&mut self) -> u64 {
        std::mem::take(&mut self.failed)
    }
    fn take_bad(&mut self) -> Vec<BadRow> {
        std::mem::take(&mut self.bad)
    }
}
