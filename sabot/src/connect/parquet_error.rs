//! What is wrong with a Parquet file, in plain words.

use std::fs::File;
use std::io::{Read as _, Seek, SeekFrom};
use std::path::Path;

use parquet::errors::ParquetError;

use crate::{Error, Result};

/// Runs a part of the decoder. It panics on some damaged files, where an error belongs.
pub(crate) fn guarded<T>(decode: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    let decoded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(decode));
    decoded.unwrap_or_else(|_| Err(ParquetError::General("the decoder gave up on it".into())))
}

/// What is wrong with a file, in plain words.
pub(crate) fn broken(path: &Path, part: &str, error: ParquetError) -> Error {
    let error = match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(io) if io.kind() != std::io::ErrorKind::UnexpectedEof => return Error::io(path, "cannot read", *io),
            Ok(io) => io.to_string(),
            Err(other) => other.to_string(),
        },
        other => other.to_string(),
    };
    let reason = error
        .split_once(": ")
        .filter(|(kind, _)| matches!(*kind, "Parquet error" | "EOF" | "NYI" | "Arrow"))
        .map_or(error.as_str(), |(_, r)| r);
    let what = match marks(path) {
        Some((false, _)) => "this is not a Parquet file (it does not begin with `PAR1`)".into(),
        Some((true, false)) => "the file is cut off: it begins as Parquet but its end is missing; write or copy it again".into(),
        _ if reason.contains("Disabled feature") => format!("{part} uses a compression that this program was built without: {reason}"),
        _ => format!("the file is damaged: {part} cannot be read ({reason}); write or copy it again"),
    };
    Error::Data { place: path.display().to_string(), what }
}

/// Whether a file has the marks of Parquet at its start and at its end.
fn marks(path: &Path) -> Option<(bool, bool)> {
    let mut file = File::open(path).ok()?;
    let (mut start, mut end) = ([0; 4], [0; 4]);
    if file.read_exact(&mut start).is_err() {
        return Some((false, false));
    }
    file.seek(SeekFrom::End(-4)).ok()?;
    file.read_exact(&mut end).ok()?;
    Some((&start == b"PAR1", &end == b"PAR1"))
}
