//! Stores in a log-structured tree: one database per job, in it a keyspace per instance of a step.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, Readable, Snapshot};

use super::{Key, Opens, Put, Store, View};
use crate::operator::SpillDir;
use crate::{Error, Result};

/// Threads that flush and compact: as many as keep up with one that only reads and writes (see `docs/benchmarks.md`).
const THREADS: usize = 2;
/// The smallest and the largest memory for what an instance has written and is not in a file yet. Below, files are so small that merging
/// them is most of the work; above, the store's own guide advises against.
const MEMTABLE: std::ops::RangeInclusive<usize> = 1 << 20..=64 << 20;

/// A database that is opened when the first store is asked for.
pub(super) struct Fjall {
    dir: SpillDir,
    /// In bytes: half for blocks that were read, half for what is not in a file yet.
    memory: usize,
    opened: Mutex<Option<Arc<Opened>>>,
    number: AtomicU64,
}

/// The fields are dropped in this order: the directory goes when nothing writes to it any more.
struct Opened {
    database: Database,
    path: PathBuf,
    _dir: SpillDir,
}

impl Fjall {
    pub(super) fn new(base: &Path, memory: usize) -> Result<Self> {
        Ok(Fjall { dir: SpillDir::for_state(base)?, memory, opened: Mutex::new(None), number: AtomicU64::new(0) })
    }
    fn open(&self, step: &str) -> Result<Arc<Opened>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = &*opened {
            return Ok(Arc::clone(opened));
        }
        let path = self.dir.folder(step)?.join("state");
        let database = Database::builder(&path)
            .cache_size((self.memory / 2) as u64)
            .worker_threads(THREADS)
            // nothing of it is to survive the process
            .manual_journal_persist(true)
            .journal_compression(CompressionType::None)
            .open()
            .map_err(|e| failed(&path, step, "make the store of its state", e))?;
        let new = Arc::new(Opened { database, path, _dir: self.dir.clone() });
        *opened = Some(Arc::clone(&new));
        Ok(new)
    }
}

impl Opens for Fjall {
    fn store(&self, step: &str, instances: usize) -> Result<Box<dyn Store>> {
        let opened = self.open(step)?;
        let name = self.number.fetch_add(1, SeqCst).to_string();
        let memtable = (self.memory / 2 / instances.max(1)).clamp(*MEMTABLE.start(), *MEMTABLE.end());
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(memtable as u64)
                .manual_journal_persist(true)
                // a state is only read if it is there
                .expect_point_read_hits(true)
                .data_block_compression_policy(CompressionPolicy::disabled())
        };
        let keyspace =
            opened.database.keyspace(&name, options).map_err(|e| failed(&opened.path, step, "make the store of its state", e))?;
        Ok(Box::new(Kept { keyspace, step: step.into(), opened }))
    }
}

struct Kept {
    keyspace: Keyspace,
    step: Arc<str>,
    opened: Arc<Opened>,
}

impl Kept {
    fn failed(&self, what: &str, error: fjall::Error) -> Error {
        failed(&self.opened.path, &self.step, what, error)
    }
}

impl Store for Kept {
    fn get(&self, key: &Key, f: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<bool> {
        match self.keyspace.get(key).map_err(|e| self.failed("read its state", e))? {
            Some(bytes) => f(&bytes).map(|()| true),
            None => Ok(false),
        }
    }
    fn write(&self, put: &[Put], bytes: &[u8], remove: &[Key]) -> Result<()> {
        let mut batch = self.opened.database.batch();
        for Put { key, bytes: range } in put {
            let value = bytes.get(range.clone()).ok_or_else(|| Error::internal("a state that is not among the bytes"))?;
            batch.insert(&self.keyspace, key.as_slice(), value);
        }
        remove.iter().for_each(|key| batch.remove(&self.keyspace, key.as_slice()));
        batch.commit().map_err(|e| self.failed("write its state", e))
    }
    fn view(&self) -> Result<Box<dyn View>> {
        let snapshot = self.opened.database.snapshot();
        Ok(Box::new(Cut { snapshot, keyspace: self.keyspace.clone(), step: Arc::clone(&self.step), opened: Arc::clone(&self.opened) }))
    }
}

struct Cut {
    snapshot: Snapshot,
    keyspace: Keyspace,
    step: Arc<str>,
    opened: Arc<Opened>,
}

impl View for Cut {
    fn scan(&self, group: u16, f: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        for entry in self.snapshot.prefix(&self.keyspace, group.to_be_bytes()) {
            let (key, bytes) = entry.into_inner().map_err(|e| failed(&self.opened.path, &self.step, "read its state", e))?;
            let slot = key.get(2..).and_then(|slot| slot.first_chunk::<8>()).ok_or_else(|| Error::internal("a key that is no slot"))?;
            f(u64::from_be_bytes(*slot), &bytes);
        }
        Ok(())
    }
}

fn failed(path: &Path, step: &str, what: &str, error: fjall::Error) -> Error {
    let error = match error {
        fjall::Error::Io(error) => error,
        other => std::io::Error::other(other.to_string()),
    };
    Error::io(path, format!("operator `{step}` cannot {what} (name a directory with more room by `--state-dir`)"), error)
}
