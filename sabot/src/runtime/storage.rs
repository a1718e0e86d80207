//! Where checkpoints are kept, as seen from the runtime: a flat set of named objects.
//!
//! Idea: everything that a checkpoint needs of a disk or an object store is here, and it is little. An object is written once, as a
//! whole, and never changed ([`create`](Storage::create)); the few small notes that are rewritten go through
//! [`replace`](Storage::replace). Names have no directories but one level (`savepoints/before-upgrade.savepoint`).
//!
//! What is written is listed and read by everyone at once, as file systems and today's object stores have it.

use std::borrow::Cow;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checkpoint_file::{cannot_write, sync_parent};
use super::direct;
use super::seam::seam;
use crate::{Error, Result};

/// Makes the parts of an object.
pub(super) type Made<'a> = &'a dyn Fn() -> Box<dyn Iterator<Item = Result<Cow<'a, [u8]>>> + 'a>;

/// A place for objects.
pub(super) trait Storage: Send + Sync {
    /// The names of all objects in a directory (`""`, or `"savepoints/"`), without it, in no order. None if it does not exist.
    fn list(&self, dir: &str) -> Result<Vec<String>>;
    /// The bytes of an object; `None` if there is none.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>>;
    /// These bytes of an object, as far as it has them; `None` if there is none.
    fn part(&self, name: &str, range: Range<u64>) -> Result<Option<Vec<u8>>>;
    /// Writes an object that is not there yet, durably: it is there as a whole or not. Returns `false` if there is one of this name.
    /// `writer` tells writers apart that do not know of each other.
    fn create(&self, name: &str, writer: &str, parts: &[&[u8]]) -> Result<bool>;
    /// The same for an object that may be large, under a name that no other writer uses.
    fn add(&self, name: &str, writer: &str, parts: &[&[u8]]) -> Result<bool> {
        self.create(name, writer, parts)
    }
    /// The same for one that may be larger than memory, in `length` bytes that are made as they are written, perhaps several times from the beginning. In an object
    /// store another writer of the same name at the same time is not noticed.
    fn create_of(&self, name: &str, writer: &str, length: u64, parts: Made<'_>) -> Result<bool>;
    /// The names of all objects that were created are durable. Called before an object is created that names them.
    fn settle(&self) -> Result<()>;
    /// Writes a small object, or another one in its place, durably.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()>;
    /// Removes an object, if it is there.
    fn remove(&self, name: &str) -> Result<()>;
    /// Where an object is, for people.
    fn place(&self, name: &str) -> PathBuf;
    /// Keeps other processes out, until dropped; `None` where that is not possible, so that writers must be fenced.
    fn own(&self) -> Result<Option<Owner>>;
    /// Whether no process runs the job; `None` where that cannot be known.
    fn idle(&self) -> Result<Option<bool>>;
    /// How often it may be asked for news.
    fn pace(&self) -> Pace;
    /// What was tried again since the last call, one sentence each.
    fn told(&self) -> Vec<String> {
        Vec::new()
    }
}

/// How often a job looks for requests, and how often one who waits looks for an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) requests: Duration,
    pub(super) answers: Duration,
}

/// Makes a directory this process's alone, until dropped: also while parts of a job that is over still linger.
pub(super) struct Owner(File);

impl Drop for Owner {
    fn drop(&mut self) {
        // Closing it does the same, later.
        let _ = self.0.unlock();
    }
}

/// A directory of this machine.
#[derive(Debug)]
pub(super) struct Disk {
    dir: PathBuf,
}

/// What is being written ends so.
const PART: &str = "part";

impl Disk {
    /// The directory, made if missing.
    pub(super) fn make(dir: &Path) -> Result<Disk> {
        fs::create_dir_all(dir).map_err(|e| Error::io(dir, "cannot make the directory for checkpoints", e))?;
        Ok(Disk::at(dir))
    }
    /// The directory, which may be missing.
    pub(super) fn at(dir: &Path) -> Disk {
        Disk { dir: dir.to_path_buf() }
    }
    fn make_folder(&self, of: &Path) -> io::Result<()> {
        of.parent().filter(|f| *f != self.dir).map_or(Ok(()), fs::create_dir_all)
    }
    /// Makes a file what `write` makes of another, if there is none of this name.
    fn stage(&self, name: &str, writer: &str, write: impl FnOnce(&Path) -> Result<()>) -> Result<bool> {
        let path = self.place(name);
        let staged = self.place(&format!("{name}-{writer}.{PART}"));
        let publish = || -> io::Result<bool> {
            // A link fails where a rename would replace. Not every file system has links.
            match fs::hard_link(&staged, &path) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists || path.exists() => {
                    fs::remove_file(&staged)?;
                    return Ok(false);
                }
                Err(_) => fs::rename(&staged, &path)?,
                Ok(()) => fs::remove_file(&staged)?,
            }
            sync_parent(&path)?;
            Ok(true)
        };
        let made = self.make_folder(&path).map_err(|e| cannot_write(&path, e)).and_then(|()| write(&staged)).and_then(|()| {
            seam("staged");
            publish().map_err(|e| cannot_write(&path, e))
        });
        if made.is_err() {
            // What could be written of it is in the way of others.
            let _ = fs::remove_file(&staged);
        }
        made
    }
    fn write(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
        let mut file = File::create(path)?;
        let mut skip = direct::write(path, parts)?;
        file.seek(SeekFrom::Start(skip as u64))?;
        for part in parts {
            let done = skip.min(part.len());
            skip -= done;
            file.write_all(part.get(done..).unwrap_or(&[]))?;
        }
        file.sync_all()
    }
}

impl Storage for Disk {
    fn list(&self, dir: &str) -> Result<Vec<String>> {
        let path = self.dir.join(dir);
        let entries = match fs::read_dir(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|e| Error::io(&path, "cannot list the checkpoints", e))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| Error::io(&path, "cannot list the checkpoints", e))?;
            if entry.path().extension().is_none_or(|e| e != PART) {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.place(name);
        match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            bytes => bytes.map(Some).map_err(|e| Error::io(path, "cannot read the checkpoint", e)),
        }
    }
    fn part(&self, name: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        let path = self.place(name);
        let read = |mut file: File| {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(range.start))?;
            file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes).map(|_| bytes)
        };
        match File::open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            file => file.and_then(read).map(Some).map_err(|e| Error::io(path, "cannot read the checkpoint", e)),
        }
    }
    fn create(&self, name: &str, writer: &str, parts: &[&[u8]]) -> Result<bool> {
        self.stage(name, writer, |staged| Self::write(staged, parts).map_err(|e| cannot_write(&self.place(name), e)))
    }
    fn create_of(&self, name: &str, writer: &str, _length: u64, parts: Made<'_>) -> Result<bool> {
        self.stage(name, writer, |staged| {
            let written = |e| cannot_write(&self.place(name), e);
            let mut file = File::create(staged).map_err(written)?;
            for part in parts() {
                file.write_all(&part?).map_err(written)?;
            }
            file.sync_all().map_err(written)
        })
    }
    fn settle(&self) -> Result<()> {
        sync_parent(&self.place("x")).map_err(|e| cannot_write(&self.dir, e))
    }
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.place(name);
        let staged = path.with_extension(PART);
        let write = || {
            self.make_folder(&path)?;
            Self::write(&staged, &[bytes])?;
            fs::rename(&staged, &path)?;
            sync_parent(&path)
        };
        write().map_err(|e| Error::io(path, "cannot write", e))
    }
    fn remove(&self, name: &str) -> Result<()> {
        let path = self.place(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(|e| Error::io(path, "cannot remove an old checkpoint", e)),
        }
    }
    fn place(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
    fn own(&self) -> Result<Option<Owner>> {
        let io = |what: &'static str| move |e| Error::io(&self.dir, what, e);
        let lock = File::options().create(true).append(true).open(self.dir.join("lock")).map_err(io("cannot write checkpoints here"))?;
        // Who only looks whether a job runs holds the lock for a moment.
        let mut tried = lock.try_lock();
        for _ in 0..20 {
            if !matches!(tried, Err(TryLockError::WouldBlock)) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
            tried = lock.try_lock();
        }
        match tried {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let what = "another process runs the job of this directory; end it first, or give this job a directory of its own";
                return Err(Error::io(&self.dir, what, io::ErrorKind::ResourceBusy.into()));
            }
            Err(TryLockError::Error(e)) => return Err(io("cannot lock the directory of checkpoints")(e)),
        }
        for dir in ["", "savepoints/", "requests/"] {
            for entry in fs::read_dir(self.dir.join(dir)).into_iter().flatten().flatten() {
                if entry.path().extension().is_some_and(|e| e == PART) {
                    // What a process that died had not finished; nobody reads it.
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        Ok(Some(Owner(lock)))
    }
    fn idle(&self) -> Result<Option<bool>> {
        match File::options().append(true).open(self.dir.join("lock")) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Some(true)),
            Err(e) => Err(Error::io(&self.dir, "cannot look at the directory of checkpoints", e)),
            Ok(file) => match file.try_lock() {
                Ok(()) => Ok(Some(true)),
                Err(TryLockError::WouldBlock) => Ok(Some(false)),
                Err(TryLockError::Error(e)) => Err(Error::io(&self.dir, "cannot look at the directory of checkpoints", e)),
            },
        }
    }
    fn pace(&self) -> Pace {
        // A listing of a directory that is mostly missing.
        Pace { requests: Duration::from_millis(100), answers: Duration::from_millis(20) }
    }
}
