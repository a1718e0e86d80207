//! On which line of a file a byte is, asked again and again.
//!
//! Newlines are counted from the nearest byte before it whose line is known. All readers of a source share what is known, so a file is
//! gone through about once more, whatever the number of lines that are asked for.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::{Error, Result};

/// Bytes between two whose lines are kept: counting them takes microseconds.
const APART: u64 = 1 << 16;
/// Bytes read at a time.
const CHUNK: usize = 1 << 18;

/// What is known of some files: bytes at which lines begin, and the numbers of these, from one.
#[derive(Debug, Default)]
pub(crate) struct LineNumbers(Mutex<HashMap<PathBuf, BTreeMap<u64, u64>>>);

impl LineNumbers {
    /// The line of a byte, from one.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn line(&self, path: &Path, offset: u64) -> Result<u64> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = files.entry(path.to_path_buf()).or_default();
        let (from, line) = known.range(..=offset).next_back().map_or((0, 1), |(at, line)| (*at, *line));
        let line = line + count(path, from, offset).map_err(|e| Error::io(path, "cannot read", e))?;
        if offset - from >= APART {
            known.insert(offset, line);
        }
        Ok(line)
    }
}

/// The newlines in a part of a file.
fn count(path: &Path, from: u64, to: u64) -> std::io::Result<u64> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut input = file.take(to - from);
    let mut buffer = vec![0; CHUNK.min(usize::try_from(to - from).unwrap_or(CHUNK)).max(1)];
    let mut lines = 0;
    loop {
        let n = input.read(&mut buffer)?;
        let Some(chunk) = buffer.get(..n).filter(|c| !c.is_empty()) else { return Ok(lines) };
        lines += chunk.iter().filter(|b| **b == b'\n').count() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_in_any_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        // lines of 0 to 96 bytes
        let text: String = (0..20_000).map(|n| format!("{}\n", "x".repeat(n * 31 % 97))).collect();
        std::fs::write(&path, &text).unwrap();
        let numbers = LineNumbers::default();
        for i in 0..300u64 {
            let offset = (i * 0x9e37_79b9) % text.len() as u64;
            let before = &text.as_bytes()[..usize::try_from(offset).unwrap()];
            let wanted = before.iter().filter(|b| **b == b'\n').count() as u64 + 1;
            assert_eq!(numbers.line(&path, offset).unwrap(), wanted, "byte {offset}");
        }
        assert!(numbers.0.lock().unwrap().values().all(|known| known.len() > 3 && known.len() <= text.len() / 1000));
        assert!(numbers.line(&dir.path().join("none"), 7).is_err());
    }
}
