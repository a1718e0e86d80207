//! The directory of a job's spill files: made when first needed, locked while in use, removed by whoever can.
//!
//! Its name is `sabot-spill-<pid>-<number>`, and it holds a file `lock` on which the owner has an advisory lock, which the
//! system drops when the process dies. It is made and locked under another name first, so that a directory of that name
//! whose lock is free has no owner.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::{Error, Result};

const PREFIX: &str = "sabot-spill-";
/// A directory that is not locked yet.
const NEW: &str = ".sabot-spill-new-";
/// The longest time between making a directory and locking it.
const MAKING: Duration = Duration::from_secs(3600);

/// Directories made by this process.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Where a job spills. Clones are the same directory.
#[derive(Clone, Debug)]
pub struct SpillDir(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    base: PathBuf,
    files: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Unused,
    Open(PathBuf, #[allow(dead_code)] File),
    Removed,
}

impl SpillDir {
    /// A directory in `base`, which is made when the first file is. Removes what processes that died have left in `base`.
    ///
    /// # Errors
    /// If `base` is not a directory that can be listed.
    pub fn new(base: impl Into<PathBuf>) -> Result<Self> {
        let base = base.into();
        Self::swept(base, "cannot be used as the spill directory (`--spill-dir`)")
    }
    /// The same for the stores of keyed state.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    #[cfg(feature = "fjall")]
    pub(crate) fn for_state(base: &Path) -> Result<Self> {
        Self::swept(base.to_path_buf(), "cannot be used as the directory of keyed state (`--state-dir`)")
    }
    fn swept(base: PathBuf, otherwise: &str) -> Result<Self> {
        sweep(&base).map_err(|e| Error::io(&base, otherwise, e))?;
        Ok(SpillDir(Arc::new(Inner { base, files: AtomicU64::new(0), state: Mutex::new(State::Unused) })))
    }
    /// The directory itself, made if it is not there.
    #[cfg(feature = "fjall")]
    pub(crate) fn folder(&self, operator: &str) -> Result<PathBuf> {
        let failed = |e| Error::io(&self.0.base, format!("operator `{operator}` cannot keep its state there (`--state-dir`)"), e);
        self.made(failed)
    }
    fn made(&self, failed: impl FnOnce(io::Error) -> Error) -> Result<PathBuf> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Unused) {
            let (path, lock) = make(&self.0.base).map_err(failed)?;
            *state = State::Open(path, lock);
        }
        let State::Open(dir, _) = &*state else { return Err(Error::Cancelled) };
        Ok(dir.clone())
    }
    /// A new file.
    pub(crate) fn file(&self, operator: &str) -> Result<(PathBuf, File)> {
        let dir = self.made(|e| cannot_write(&self.0.base, operator, e))?;
        let path = dir.join(format!("{}.arrow", self.0.files.fetch_add(1, SeqCst)));
        let file = File::options().read(true).write(true).create_new(true).open(&path).map_err(|e| cannot_write(&path, operator, e))?;
        Ok((path, file))
    }
    /// Removes the directory with all files. What is spilled after this fails.
    pub fn remove(&self) {
        self.0.remove();
    }
}

impl Inner {
    fn remove(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Open(path, _) = std::mem::replace(&mut *state, State::Removed) {
            // What cannot be removed now, the next job's sweep removes.
            let _ = fs::remove_dir_all(path);
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The error of a failed write.
pub(super) fn cannot_write(path: &Path, operator: &str, error: io::Error) -> Error {
    let what = format!(
        "operator `{operator}` cannot write the rows that do not fit into memory (raise `--memory`, or name a directory with more room by `--spill-dir`)"
    );
    Error::io(path, what, error)
}

fn make(base: &Path) -> io::Result<(PathBuf, File)> {
    let name = format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, SeqCst));
    let (new, path) = (base.join(format!("{NEW}{name}")), base.join(format!("{PREFIX}{name}")));
    // Of a former process with this number: a live one's is locked and has another name.
    let _ = fs::remove_dir_all(&new);
    fs::create_dir(&new)?;
    let made = File::create(new.join("lock")).and_then(|lock| {
        lock.lock()?;
        fs::rename(&new, &path)?;
        Ok(lock)
    });
    match made {
        Ok(lock) => Ok((path, lock)),
        Err(e) => {
            let _ = fs::remove_dir_all(&new);
            Err(e)
        }
    }
}

/// Removes the directories whose owner is dead. Those of other users are left alone.
fn sweep(base: &Path) -> io::Result<()> {
    for entry in fs::read_dir(base)?.flatten() {
        let name = entry.file_name();
        let (name, path) = (name.to_string_lossy(), entry.path());
        let dead = if name.starts_with(PREFIX) {
            File::options()
                .write(true)
                .open(path.join("lock"))
                .map_or_else(|e| e.kind() == io::ErrorKind::NotFound, |f| f.try_lock().is_ok())
        } else {
            let age = |m: fs::Metadata| m.modified().ok().and_then(|t| SystemTime::now().duration_since(t).ok());
            name.starts_with(NEW) && entry.metadata().ok().and_then(age).is_some_and(|age| age > MAKING)
        };
        if dead {
            let _ = fs::remove_dir_all(path);
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn entries(base: &Path) -> usize {
        fs::read_dir(base).unwrap().count()
    }

    #[test]
    fn a_directory_lives_as_long_as_its_owner() {
        let base = tempfile::tempdir().unwrap();
        let dir = SpillDir::new(base.path()).unwrap();
        assert_eq!(entries(base.path()), 0);
        dir.file("a").unwrap();
        dir.file("a").unwrap();
        assert_eq!(entries(base.path()), 1);
        // another job does not touch it
        SpillDir::new(base.path()).unwrap();
        assert_eq!(entries(base.path()), 1);
        dir.remove();
        assert_eq!(entries(base.path()), 0);
        assert!(dir.file("a").is_err());
    }

    #[test]
    fn what_a_dead_process_left_is_removed_by_the_next_job() {
        let base = tempfile::tempdir().unwrap();
        let left = base.path().join("sabot-spill-999999-0");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("lock"), "").unwrap();
        fs::write(left.join("0.arrow"), "rows").unwrap();
        fs::create_dir(base.path().join("someone-else")).unwrap();
        SpillDir::new(base.path()).unwrap();
        assert!(!left.exists());
        assert_eq!(entries(base.path()), 1);
    }

    #[test]
    fn a_base_that_is_no_directory_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let error = SpillDir::new(base.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("none: cannot be used as the spill directory (`--spill-dir`): "), "{error}");
    }
}
