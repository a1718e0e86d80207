//! The shape of CSV text: where records begin, where fields begin, and on which line and column a byte lies.
//!
//! This follows the tokeniser of the `csv` crate exactly: a quote has meaning at the start of a field only; after a
//! closing quote the field goes on without quotes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::csv_options::Dialect;
use crate::{Error, Result};

/// Bytes read at a time by the passes of this file.
const CHUNK: usize = 1 << 18;

/// Where the tokeniser is between two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// At the start of a field.
    Start,
    /// In a field, outside quotes.
    Plain,
    /// Between quotes.
    Quoted,
    /// After a quote that closes the field, or is the first of a doubled one.
    Closed,
}

impl At {
    fn after(self, byte: u8, dialect: Dialect) -> At {
        let is_quote = dialect.quote == Some(byte);
        match self {
            At::Start | At::Closed if is_quote => At::Quoted,
            At::Quoted => {
                if is_quote {
                    At::Closed
                } else {
                    At::Quoted
                }
            }
            At::Start | At::Plain | At::Closed => {
                if byte == dialect.delimiter || byte == b'\n' || byte == b'\r' {
                    At::Start
                } else {
                    At::Plain
                }
            }
        }
    }
}

/// Cuts the records that begin in `start..end` of a file into ranges of about `split_bytes`.
///
/// A range begins at the first record that begins at or after a multiple of `split_bytes`, so the cuts depend on the
/// file alone. A newline between quotes ends no record: a file longer than one range is read once from the start to
/// tell. That pass looks for quotes and newlines only, and runs at the speed of the disk where there are few quotes.
pub(crate) fn cut(path: &Path, dialect: Dialect, start: u64, end: u64, split_bytes: u64) -> Result<Vec<(u64, u64)>> {
    let mut cuts = vec![start];
    if end.saturating_sub(start) > split_bytes {
        find_cuts(path, dialect, start..end, split_bytes, &mut cuts).map_err(|e| Error::io(path, "cannot read", e))?;
    }
    let ends = cuts.iter().skip(1).copied().chain(std::iter::once(end));
    Ok(cuts.iter().copied().zip(ends).filter(|(a, b)| a < b).collect())
}

fn find_cuts(path: &Path, dialect: Dialect, range: std::ops::Range<u64>, split_bytes: u64, cuts: &mut Vec<u64>) -> std::io::Result<()> {
    let mut input = File::open(path)?;
    input.seek(SeekFrom::Start(range.start))?;
    let mut input = input.take(range.end - range.start);
    let next_target = |cut: u64| (cut / split_bytes + 1) * split_bytes;
    let (mut base, mut at, mut target) = (range.start, At::Start, next_target(range.start));
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = input.read(&mut buffer)?;
        let Some(chunk) = buffer.get(..n).filter(|c| !c.is_empty()) else { return Ok(()) };
        let quoted = at == At::Quoted || dialect.quote.is_some_and(|q| chunk.contains(&q));
        if quoted {
            for (i, &byte) in chunk.iter().enumerate() {
                let ends_record = byte == b'\n' && at != At::Quoted;
                at = at.after(byte, dialect);
                let next = base + i as u64 + 1;
                if ends_record && next >= target {
                    cuts.push(next);
                    target = next_target(next);
                }
            }
        } else {
            while target <= base + n as u64 {
                let skip = (target - 1).saturating_sub(base) as usize;
                let Some(i) = chunk.iter().skip(skip).position(|&b| b == b'\n') else { break };
                let next = base + (skip + i) as u64 + 1;
                cuts.push(next);
                target = next_target(next);
            }
            at = chunk.last().map_or(at, |&last| At::Plain.after(last, dialect));
        }
        base += n as u64;
    }
}

/// The fields of one record's bytes: where each begins, and whether in quotes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fields {
    /// Offset of the first byte (its quote, if it has one), and whether it is quoted.
    pub(crate) starts: Vec<(usize, bool)>,
    /// Whether the last quote was closed.
    pub(crate) closed: bool,
}

/// Finds the fields of one record. Line ends before it, which belong to the record before, are passed over.
pub(crate) fn fields(record: &[u8], dialect: Dialect) -> Fields {
    let lead = record.iter().take_while(|b| matches!(b, b'\n' | b'\r')).count();
    let mut starts = Vec::new();
    let (mut at, mut begins) = (At::Start, true);
    for (i, &byte) in record.iter().enumerate().skip(lead) {
        if begins {
            starts.push((i, dialect.quote == Some(byte)));
        }
        let ended_record = at != At::Quoted && matches!(byte, b'\n' | b'\r');
        begins = at != At::Quoted && byte == dialect.delimiter;
        at = at.after(byte, dialect);
        if ended_record {
            return Fields { starts, closed: true };
        }
    }
    if begins {
        starts.push((record.len(), false));
    }
    Fields { starts, closed: at != At::Quoted }
}

/// The line and the character within it of a byte of a file, both from one.
pub(crate) fn locate(path: &Path, offset: u64) -> std::io::Result<(u64, u64)> {
    let mut input = File::open(path)?.take(offset);
    let mut buffer = vec![0; CHUNK];
    let (mut line, mut column, mut first) = (1, 1, true);
    loop {
        let n = input.read(&mut buffer)?;
        let Some(chunk) = buffer.get(..n).filter(|c| !c.is_empty()) else { return Ok((line, column)) };
        let chunk = if std::mem::take(&mut first) { chunk.strip_prefix(BOM).unwrap_or(chunk) } else { chunk };
        for &byte in chunk {
            if byte == b'\n' {
                line += 1;
                column = 1;
            } else if byte & 0xC0 != 0x80 {
                column += 1;
            }
        }
    }
}

/// The mark that some programs put at the start of a UTF-8 file.
pub(crate) const BOM: &[u8] = b"\xEF\xBB\xBF";
