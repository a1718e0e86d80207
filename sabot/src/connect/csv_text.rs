//! The shape of a CSV file: where it can be cut into ranges, and on which line and column a byte lies.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::csv_options::Dialect;
use super::csv_scan::{Scanner, Separators};
use crate::kernel::BLOCK;
use crate::{Error, Result};

/// Bytes read at a time by the passes of this file.
const CHUNK: usize = 1 << 18;

/// Cuts the records that begin in `start..end` of a file into ranges of about `split_bytes`.
///
/// A range begins at the first record that begins at or after a multiple of `split_bytes`, so the cuts depend on the
/// file alone. A newline between quotes ends no record: a file longer than one range is read once from the start to
/// tell. That pass looks for separators only.
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
    let (mut base, mut target) = (range.start, next_target(range.start));
    let mut scanner = Scanner::new(dialect);
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = input.read(&mut buffer)?;
        let Some(chunk) = buffer.get(..n).filter(|c| !c.is_empty()) else { return Ok(()) };
        for part in chunk.chunks(BLOCK) {
            let Separators { mut lines, .. } = match part.as_array() {
                Some(block) => scanner.block(block),
                None => scanner.part(part),
            };
            while lines != 0 && target <= base + part.len() as u64 {
                let i = lines.trailing_zeros();
                lines &= lines - 1;
                let next = base + u64::from(i) + 1;
                if next >= target && part.get(i as usize) == Some(&b'\n') {
                    cuts.push(next);
                    target = next_target(next);
                }
            }
            base += part.len() as u64;
        }
    }
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
