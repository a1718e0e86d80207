//! What was sent and is not acknowledged, kept for the case that the connection is cut.
//!
//! It is bounded without more: no link has more of it than its credit, and what arrives is acknowledged at once. So it holds what is on
//! its way: up to a stream's HTTP/2 window and the socket's buffers per edge and peer. With many edges and agents, or a network that
//! buffers much, that may be more than the [budget](Replay::bounded); then further bodies (Arrow IPC messages, as they are sent) go to a
//! file of the job's spill directory, and come back from there in order if they are sent again. What waits because it has no credit is
//! never spilled: it counts in its channel, which holds the producer back.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use twox_hash::XxHash3_64;

use crate::operator::SpillDir;
use crate::sync::lock;
use crate::{Error, Result};

/// Smaller bodies are not worth a write.
const SMALL: usize = 4 << 10;

/// The bodies of a share's frames.
pub(super) struct Replay {
    budget: usize,
    dir: Option<SpillDir>,
    kept: Arc<AtomicUsize>,
    stored: Arc<AtomicUsize>,
    spilled: AtomicU64,
    file: Mutex<Option<Open>>,
}

struct Open {
    path: PathBuf,
    file: File,
    end: u64,
}

/// The body of a frame, in memory or not.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Not counted yet, or too small to be.
    Memory(Bytes),
    /// Counted as long as it is kept.
    Counted(Bytes, #[allow(dead_code)] Arc<Count>),
    /// In the file.
    Stored(Place, #[allow(dead_code)] Arc<Count>),
}

impl Body {
    pub(super) fn len(&self) -> usize {
        match self {
            Body::Memory(bytes) | Body::Counted(bytes, _) => bytes.len(),
            Body::Stored(place, _) => place.bytes,
        }
    }
}

/// Where a body is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    offset: u64,
    bytes: usize,
    sum: u64,
}

/// Gives back what it counts.
#[derive(Debug)]
pub(super) struct Count(Arc<AtomicUsize>, usize);

impl Count {
    fn new(counter: &Arc<AtomicUsize>, n: usize) -> Arc<Self> {
        counter.fetch_add(n, SeqCst);
        Arc::new(Count(Arc::clone(counter), n))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, SeqCst);
    }
}

impl Replay {
    /// Keeps everything in memory.
    pub(super) fn in_memory() -> Self {
        Replay::new(usize::MAX, None)
    }
    /// Keeps so many bytes in memory, and the others in a file of this directory.
    pub(super) fn bounded(budget: usize, dir: SpillDir) -> Self {
        Replay::new(budget, Some(dir))
    }
    fn new(budget: usize, dir: Option<SpillDir>) -> Self {
        let (kept, stored, spilled, file) = (Arc::default(), Arc::default(), AtomicU64::new(0), Mutex::new(None));
        Replay { budget, dir, kept, stored, spilled, file }
    }
    /// The bytes that it keeps in memory, if it is bounded.
    pub(super) fn budget(&self) -> Option<usize> {
        self.dir.as_ref().map(|_| self.budget)
    }
    /// Bytes that were written so far.
    pub(super) fn spilled(&self) -> u64 {
        self.spilled.load(SeqCst)
    }
    /// A body was sent for the first time: what is kept of it.
    ///
    /// # Errors
    /// If it does not fit into memory, and the disk refuses it.
    pub(super) fn keep(&self, body: &mut Body) -> Result<()> {
        let Body::Memory(bytes) = body else { return Ok(()) };
        if bytes.len() < SMALL {
            return Ok(());
        }
        *body = match &self.dir {
            Some(dir) if self.kept.load(SeqCst) + bytes.len() > self.budget => {
                // Counted before it is written, so that the file is not begun anew meanwhile.
                let count = Count::new(&self.stored, 1);
                Body::Stored(self.store(dir, bytes)?, count)
            }
            _ => Body::Counted(bytes.clone(), Count::new(&self.kept, bytes.len())),
        };
        Ok(())
    }
    /// The bytes of a body, to be sent again.
    ///
    /// # Errors
    /// If the disk refuses, or what is read is not what was written.
    pub(super) fn load(&self, body: &Body) -> Result<Bytes> {
        let place = match body {
            Body::Memory(bytes) | Body::Counted(bytes, _) => return Ok(bytes.clone()),
            Body::Stored(place, _) => place,
        };
        let mut guard = lock(&self.file);
        let open = guard.as_mut().ok_or_else(|| Error::internal("a frame was stored in no file"))?;
        let mut bytes = vec![0; place.bytes];
        let read = open.file.seek(SeekFrom::Start(place.offset)).and_then(|_| open.file.read_exact(&mut bytes));
        read.map_err(|e| Error::io(&open.path, "cannot read back rows that are to be sent again", e))?;
        if XxHash3_64::oneshot(&bytes) != place.sum {
            return Err(Error::Data {
                place: format!("{}, byte {}", open.path.display(), place.offset),
                what: "rows that are to be sent again are damaged: the disk or another program changed them; run the job again".into(),
            });
        }
        Ok(bytes.into())
    }
    fn store(&self, dir: &SpillDir, bytes: &Bytes) -> Result<Place> {
        let mut guard = lock(&self.file);
        let open = match &mut *guard {
            Some(open) => open,
            none => {
                let (path, file) = dir.file("exchange")?;
                none.insert(Open { path, file, end: 0 })
            }
        };
        if self.stored.load(SeqCst) == 1 {
            // Nothing but this is in it.
            open.end = 0;
        }
        let place = Place { offset: open.end, bytes: bytes.len(), sum: XxHash3_64::oneshot(bytes) };
        let written = open.file.seek(SeekFrom::Start(open.end)).and_then(|_| open.file.write_all(bytes));
        written.map_err(|e| Error::io(&open.path, "cannot write rows that may have to be sent again (`--spill-dir`)", e))?;
        open.end += bytes.len() as u64;
        self.spilled.fetch_add(bytes.len() as u64, SeqCst);
        Ok(place)
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        if let Some(open) = lock(&self.file).take() {
            // If not, it goes with its directory.
            let _ = std::fs::remove_file(open.path);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_budget_is_on_disk_until_it_is_acknowledged() {
        let base = tempfile::tempdir().unwrap();
        let replay = Replay::bounded(20_000, SpillDir::new(base.path()).unwrap());
        let bytes = |i: u8| Bytes::from(vec![i; 9_000]);
        let mut bodies: Vec<Body> = (0..6).map(|i| Body::Memory(bytes(i))).collect();
        bodies.iter_mut().for_each(|b| replay.keep(b).unwrap());
        assert_eq!(bodies.iter().map(|b| matches!(b, Body::Counted(..))).collect::<Vec<_>>(), [true, true, false, false, false, false]);
        assert_eq!(replay.spilled(), 36_000);
        for (body, i) in bodies.iter().zip(0..) {
            assert_eq!(replay.load(body).unwrap(), bytes(i));
        }
        // acknowledged: there is room again, and the file begins anew when nothing is in it
        bodies.drain(..3);
        assert_eq!(replay.kept.load(SeqCst), 0);
        let mut more = Body::Memory(bytes(7));
        replay.keep(&mut more).unwrap();
        assert!(matches!(more, Body::Counted(..)));
        let copy = bodies.clone();
        drop(bodies);
        assert_eq!(replay.load(copy.first().unwrap()).unwrap(), bytes(3));
        drop(copy);
        let mut last: Vec<Body> = (8..11).map(|i| Body::Memory(bytes(i))).collect();
        last.iter_mut().for_each(|b| replay.keep(b).unwrap());
        assert!(last.iter().skip(1).all(|b| matches!(b, Body::Stored(..))));
        assert_eq!(replay.load(last.last().unwrap()).unwrap(), bytes(10));
        // the file is no larger than what was in it at once
        let (path, length) = lock(&replay.file).as_ref().map(|o| (o.path.clone(), o.file.metadata().unwrap().len())).unwrap();
        assert_eq!(length, 36_000);
        // damage is told
        let Some(Body::Stored(place, _)) = last.last() else { panic!("it is stored") };
        let mut file = File::options().write(true).open(&path).unwrap();
        file.seek(SeekFrom::Start(place.offset + 5)).unwrap();
        file.write_all(b"x").unwrap();
        let told = replay.load(last.last().unwrap()).unwrap_err().to_string();
        assert!(told.contains("damaged") && told.contains(&*path.to_string_lossy()), "{told}");
        drop(replay);
        assert!(!path.exists());
    }
}
