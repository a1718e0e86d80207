//! A file that appears whole or not at all: written beside its target, renamed on commit.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Error, Result};

/// The staged files of this process: two sinks must not share one.
static STAGED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// A file under way: `.<name>.tmp-<pid>-<digits>` beside `target`, where digits tell this writer from all others: processes of two machines, or
/// containers, may have the same number. Dropped without [`commit`](Self::commit), it is removed, unless it is
/// [lasting](Self::lasting).
pub(crate) struct Staged {
    target: PathBuf,
    /// In [`STAGED`].
    key: PathBuf,
    temporary: PathBuf,
    file: File,
    failure: Failure,
    /// Whether it stays when dropped.
    stays: bool,
}

/// The last error of the operating system, kept because format writers wrap or flatten it.
type Failure = Arc<Mutex<Option<io::Error>>>;

/// Writes to a staged file.
pub(crate) struct StagedWriter {
    file: File,
    failure: Failure,
}

impl Staged {
    /// Begins to write a file that will appear as `target`.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory is missing or not writable; [`Error::Usage`] if another sink of this process
    /// writes the same file, or the target is a directory.
    pub(crate) fn create(target: &Path) -> Result<(Staged, StagedWriter)> {
        let ours = format!("tmp-{}", std::process::id());
        let key = hidden(target, &ours)?;
        let digits = crate::clock::time_of_day().as_nanos();
        Self::open(target, &key, hidden(target, &format!("{ours}-{digits:x}"))?, false, |path| {
            // what a process of this number has left, or still writes although it was given up: it can put nothing in place any more
            left(&key).iter().for_each(|path| _ = std::fs::remove_file(path));
            File::create_new(path)
        })
    }

    /// Goes on with a file that outlives the process, after its first `length` bytes: `.<name>.staged` beside `target`.
    ///
    /// # Errors
    /// As for [`create`](Self::create); if another process writes it, or it is shorter.
    pub(crate) fn lasting(target: &Path, length: u64) -> Result<(Staged, StagedWriter)> {
        let name = Self::lasting_name(target)?;
        Self::open(target, &name.clone(), name, true, |path| {
            let mut file = File::options().create(true).truncate(false).write(true).open(path)?;
            file.try_lock().map_err(io::Error::from)?;
            if file.metadata()?.len() < length {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "it is shorter than at the checkpoint"));
            }
            file.set_len(length)?;
            file.seek(io::SeekFrom::End(0))?;
            Ok(file)
        })
    }

    /// Where [`lasting`](Self::lasting) writes.
    ///
    /// # Errors
    /// If the target is a directory.
    pub(crate) fn lasting_name(target: &Path) -> Result<PathBuf> {
        hidden(target, "staged")
    }

    fn open(
        target: &Path,
        key: &Path,
        temporary: PathBuf,
        stays: bool,
        open: impl Fn(&Path) -> io::Result<File>,
    ) -> Result<(Staged, StagedWriter)> {
        let key = std::path::absolute(key).map_err(|e| Error::io(target, "cannot create", e))?;
        if !STAGED.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone()) {
            return Err(Error::usage(format!("two sinks write to `{}`: give each its own file", target.display())));
        }
        let opened = open(&temporary).and_then(|file| file.try_clone().map(|clone| (file, clone)));
        match opened {
            Ok((file, clone)) => {
                let failure = Failure::default();
                let staged = Staged { target: target.to_path_buf(), key, temporary, file, failure: Arc::clone(&failure), stays };
                Ok((staged, StagedWriter { file: clone, failure }))
            }
            Err(e) => {
                STAGED.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                Err(Error::io(target, format!("cannot create a file here{}", advice(e.kind())), e))
            }
        }
    }

    /// Another handle on the file, at the same position.
    pub(crate) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// The error to report after a format writer failed: the operating system's, if there was one.
    pub(crate) fn error(&self, format: &str, error: impl std::fmt::Display) -> Error {
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(e) => Error::io(&self.target, format!("cannot write{}", advice(e.kind())), e),
            None => Error::Data { place: self.target.display().to_string(), what: format!("cannot be written as {format}: {error}") },
        }
    }

    /// Makes the file durable and puts it in place. The format writer must have flushed before.
    ///
    /// # Errors
    /// [`Error::Io`]; the target is then as it was.
    pub(crate) fn commit(mut self) -> Result<()> {
        let io = |what: &str, e: io::Error| Error::io(&self.target, format!("cannot {what}{}", advice(e.kind())), e);
        self.file.sync_all().map_err(|e| io("write", e))?;
        std::fs::rename(&self.temporary, &self.target).map_err(|e| io("put the finished file in place", e))?;
        self.stays = true;
        Self::sync_directory(&self.target)
    }

    /// Makes the name of a file durable.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn sync_directory(target: &Path) -> Result<()> {
        let directory = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Elsewhere a directory cannot be opened as a file, and a rename needs no sync.
        if cfg!(unix) {
            File::open(directory)
                .and_then(|d| d.sync_all())
                .map_err(|e| Error::io(directory, "cannot make the finished file durable", e))?;
        }
        Ok(())
    }
}

/// `.<name>.<ending>` beside `target`.
fn hidden(target: &Path, ending: &str) -> Result<PathBuf> {
    let name = target.file_name().filter(|_| !target.is_dir());
    let name = name.ok_or_else(|| Error::usage(format!("`{}` is a directory: name a file in it to write to", target.display())))?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{ending}"));
    Ok(target.with_file_name(hidden))
}

/// Files beside `key` that are called as it and further digits.
fn left(key: &Path) -> Vec<PathBuf> {
    let (Some(dir), Some(name)) = (key.parent(), key.file_name().and_then(|n| n.to_str())) else { return Vec::new() };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let of_it = |path: &PathBuf| {
        let rest = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_prefix(name)).and_then(|n| n.strip_prefix('-'));
        rest.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    entries.flatten().map(|e| e.path()).filter(of_it).collect()
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.stays {
            // Nothing to do about a failure: the job has already failed, and the name shows what the file is.
            let _ = std::fs::remove_file(&self.temporary);
        }
        STAGED.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// What to do about an error of the operating system.
fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => " (free some space there, or write elsewhere)",
        ErrorKind::NotFound => " (create its directory first)",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => " (allow writing to its directory, or write elsewhere)",
        _ => "",
    }
}

impl StagedWriter {
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|e| {
            let copy = e.raw_os_error().map_or_else(|| io::Error::from(e.kind()), io::Error::from_raw_os_error);
            // The first one: later ones may only be consequences.
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(copy);
        })
    }
}

impl Write for StagedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.write(bytes) {
            Err(e) if e.kind() == ErrorKind::Interrupted => Err(e),
            result => self.note(result),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.file.flush();
        self.note(result)
    }
}

/// A sink that was used before it was opened, or after it was closed.
pub(crate) fn not_open(sink: &str) -> Error {
    Error::internal(format!("{sink} is not open"))
}
