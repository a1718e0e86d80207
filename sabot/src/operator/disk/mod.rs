//! Keyed state that does not fit into memory: a store of bytes by key, beside the steps' own caches.
//!
//! The store is scratch. It is made anew by every process, in a directory that goes with the job, and nothing of it is synced: what
//! survives a process is in checkpoints. So a crash finds no half-written store, and the format on disk may change with any version.
//!
//! Reading and writing is synchronous, on the worker that runs the step, as it is for [spilled rows](super::SpillDir).

#[cfg(feature = "fjall")]
mod fjall;
mod store;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

#[cfg(any(test, feature = "fjall"))]
pub(crate) use store::{Key, Opens};
pub(crate) use store::{Put, Store, View, key};

use crate::Result;

/// The part of the memory that decoded states may take; a store has as much for its blocks and what is not written yet.
#[cfg(feature = "fjall")]
const DECODED: usize = 2;

/// Where a job keeps the states of its keyed steps, and how much memory it may use for them. Clones are the same place.
///
/// A runtime gives it to [`Operator::state_on_disk`](super::Operator::state_on_disk).
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use sabot::operator::StateDisk;
///
/// let base = tempfile::tempdir()?;
/// let disk = StateDisk::new(base.path(), 64 << 20);
/// assert_eq!(disk.is_ok(), cfg!(feature = "fjall"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct StateDisk(Arc<Inner>);

struct Inner {
    opens: Box<dyn store::Opens>,
    /// For decoded states, in bytes.
    memory: usize,
    /// The stores that share it.
    stores: AtomicUsize,
}

impl std::fmt::Debug for StateDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateDisk").field("memory", &self.0.memory).finish_non_exhaustive()
    }
}

impl StateDisk {
    /// A place in the directory `base`, for a job that may use about `memory` bytes for it. Removes what processes that died have left
    /// in `base`.
    ///
    /// # Errors
    /// If `base` is not a directory that can be listed, or the program was built without the feature `fjall`.
    pub fn new(base: &Path, memory: usize) -> Result<Self> {
        Self::opened(base, memory)
    }
    #[cfg(feature = "fjall")]
    fn opened(base: &Path, memory: usize) -> Result<Self> {
        let memory = memory / DECODED;
        Ok(Self::of(Box::new(fjall::Fjall::new(base, memory)?), memory))
    }
    #[cfg(not(feature = "fjall"))]
    fn opened(base: &Path, _memory: usize) -> Result<Self> {
        Err(crate::Error::usage(format!(
            "keyed state cannot be kept in {} (`--state-dir`): {}, or leave the option out to keep the state in memory",
            base.display(),
            crate::words::without_feature("fjall")
        )))
    }
    /// A place of any kind; `memory` is that of decoded states.
    #[cfg_attr(not(any(test, feature = "fjall")), allow(dead_code))]
    pub(crate) fn of(opens: Box<dyn store::Opens>, memory: usize) -> Self {
        StateDisk(Arc::new(Inner { opens, memory, stores: AtomicUsize::new(0) }))
    }
    /// A new store, of one of so many instances of a step.
    pub(crate) fn store(&self, step: &str, instances: usize) -> Result<Box<dyn Store>> {
        let store = self.0.opens.store(step, instances)?;
        self.0.stores.fetch_add(1, SeqCst);
        Ok(store)
    }
    /// The bytes of decoded states that each store may have in memory.
    pub(crate) fn share(&self) -> usize {
        self.0.memory / self.0.stores.load(SeqCst).max(1)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    #[cfg(not(feature = "fjall"))]
    fn without_the_feature_it_is_refused() {
        let error = StateDisk::new(Path::new("/tmp"), 1 << 20).unwrap_err().to_string();
        assert!(error.contains("`--state-dir`") && error.contains("without the feature `fjall`"), "{error}");
    }

    #[test]
    #[cfg(feature = "fjall")]
    fn a_store_keeps_what_was_written_and_goes_with_its_last_handle() {
        let base = tempfile::tempdir().unwrap();
        let disk = StateDisk::new(base.path(), 1 << 20).unwrap();
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 0, "nothing is made before it is needed");
        let (a, b) = (disk.store("p/a", 2).unwrap(), disk.store("p/a", 2).unwrap());
        assert_eq!(disk.share(), (1 << 19) / 2);
        let get = |store: &dyn Store, slot| {
            let mut found = Vec::new();
            store
                .get(&key(3, slot), &mut |bytes| {
                    found.extend_from_slice(bytes);
                    Ok(())
                })
                .unwrap()
                .then_some(found)
        };
        a.write(
            &[Put { key: key(3, 7), bytes: 0..2 }, Put { key: key(3, 9), bytes: 2..5 }, Put { key: key(4, 1), bytes: 0..0 }],
            b"abcde",
            &[],
        )
        .unwrap();
        assert_eq!((get(a.as_ref(), 7), get(a.as_ref(), 8), get(b.as_ref(), 7)), (Some(b"ab".to_vec()), None, None));
        let view = a.view().unwrap();
        a.write(&[Put { key: key(3, 7), bytes: 0..1 }], b"z", &[key(3, 9)]).unwrap();
        assert_eq!((get(a.as_ref(), 7), get(a.as_ref(), 9)), (Some(b"z".to_vec()), None));
        let mut seen = Vec::new();
        view.scan(3, &mut |slot, bytes| seen.push((slot, bytes.to_vec()))).unwrap();
        assert_eq!(seen, [(7, b"ab".to_vec()), (9, b"cde".to_vec())], "a view stays as it was");
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 1);
        drop((a, b, disk));
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 1, "a view needs it");
        drop(view);
        assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    #[cfg(feature = "fjall")]
    fn a_place_that_is_no_directory_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let error = StateDisk::new(&base.path().join("none"), 1 << 20).unwrap_err().to_string();
        assert!(error.contains("none: cannot be used as the directory of keyed state (`--state-dir`): "), "{error}");
    }
}
