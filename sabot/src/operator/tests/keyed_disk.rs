//! Keyed steps whose states are on disk: nothing but memory is different.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use super::keyed::Wall;
use super::keyed_cuts::{Cuts, Job, batch, goes_on_from_changes, meaning, seeds};
use crate::operator::disk::{Key, Opens, Put, Store, View};
use crate::operator::*;
use crate::{Error, Result};

/// A store in memory that counts what is done, and fails when it is told to.
#[derive(Clone, Default)]
struct Map(Arc<Inner>);
#[derive(Default)]
struct Inner {
    read: AtomicU64,
    written: AtomicU64,
    removed: AtomicU64,
    /// Reads and writes that still work, if positive; one that makes it 0 fails.
    works: AtomicI64,
}
struct One(Map, Mutex<BTreeMap<Key, Vec<u8>>>);
struct Seen(BTreeMap<Key, Vec<u8>>);

impl Map {
    fn fails(&self) -> Result<()> {
        if self.0.works.fetch_sub(1, SeqCst) == 1 {
            Err(Error::io("a disk", "is broken", std::io::ErrorKind::Other.into()))
        } else {
            Ok(())
        }
    }
    fn disk(&self, memory: usize) -> StateDisk {
        StateDisk::of(Box::new(self.clone()), memory)
    }
}
impl Opens for Map {
    fn store(&self, _step: &str, _instances: usize) -> Result<Box<dyn Store>> {
        Ok(Box::new(One(self.clone(), Mutex::default())))
    }
}
impl Store for One {
    fn get(&self, key: &Key, f: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<bool> {
        self.0.fails()?;
        self.0.0.read.fetch_add(1, SeqCst);
        self.1.lock().unwrap().get(key).map_or(Ok(false), |bytes| f(bytes).map(|()| true))
    }
    fn write(&self, put: &[Put], bytes: &[u8], remove: &[Key]) -> Result<()> {
        self.0.fails()?;
        let mut map = self.1.lock().unwrap();
        assert!(put.is_sorted_by(|a, b| a.key < b.key), "sorted, none twice");
        for Put { key, bytes: range } in put {
            map.insert(*key, bytes[range.clone()].to_vec());
        }
        for key in remove {
            assert!(map.remove(key).is_some(), "what is removed was there");
        }
        self.0.0.written.fetch_add(put.len() as u64, SeqCst);
        self.0.0.removed.fetch_add(remove.len() as u64, SeqCst);
        Ok(())
    }
    fn view(&self) -> Result<Box<dyn View>> {
        Ok(Box::new(Seen(self.1.lock().unwrap().clone())))
    }
}
impl View for Seen {
    fn scan(&self, group: u16, f: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
        for (key, bytes) in &self.0 {
            let (head, slot) = key.split_first_chunk::<2>().unwrap();
            if u16::from_be_bytes(*head) == group {
                f(u64::from_be_bytes(slot.try_into().unwrap()), bytes);
            }
        }
        Ok(())
    }
}

/// Rows, timers, expiry, cuts of changes, crashes, at other parallelisms and with other memory: as in memory.
#[test]
fn state_on_disk_gives_what_state_in_memory_does() {
    let map = Map::default();
    // nothing stays decoded, some, all; and from one life to the next also none on disk
    let disk =
        |seed: u64, life: u64| [Some(0), Some(2_000), Some(1 << 20), None][(seed + life) as usize % 4].map(|memory| map.disk(memory));
    goes_on_from_changes(seeds(8), disk);
    let count = |n: &AtomicU64| n.load(SeqCst);
    assert!(count(&map.0.read) > 500 && count(&map.0.written) > 500, "{} read, {} written", count(&map.0.read), count(&map.0.written));
}

#[test]
fn memory_is_bounded_and_what_only_was_looked_at_is_not_written() {
    const KEYS: u64 = 20_000;
    let (map, wall) = (Map::default(), Arc::<Wall>::default());
    let disk = map.disk(100_000);
    let mut job = Job::start(None, 1, &Cuts::new(), &wall, Some(&disk));
    let mut plain = Job::start(None, 1, &Cuts::new(), &wall, None);
    let text = |k: u64, v: i64, t: i64| (k, v, t);
    for step in 0..4 {
        for part in 0..8 {
            let keys = part * KEYS / 8..(part + 1) * KEYS / 8;
            let rows = batch(&keys.map(|k| text(k, 4, step * 10 + part as i64)).collect::<Vec<_>>());
            for job in [&mut job, &mut plain] {
                job.step(&rows, (step * 8) as u64 + part, (step * 10 + part as i64 + 1) * 1000);
            }
        }
    }
    let (held, all) = (job.ops[0].held_bytes(), plain.ops[0].held_bytes());
    // a state grows between two times that it is measured
    assert!(held < all + KEYS as usize * 32, "{held} bytes, and {all} in memory beside the texts");
    assert!(meaning(&job.whole(), None) == meaning(&plain.whole(), None));
    let written = map.0.written.load(SeqCst);
    assert!(written > KEYS * 2, "{written}");

    // states that come out as they were
    #[derive(Default)]
    struct Same;
    impl crate::record::State for Same {
        fn type_name() -> String {
            "Same".into()
        }
        fn encode(&self, out: &mut Vec<u8>) {
            out.push(1);
        }
        fn decode(from: &mut &[u8]) -> Result<Self> {
            crate::record::take(from, 1).map(|_| Same)
        }
    }
    fn same<'a>(
        _: &mut Same,
        _: &mut KeyCtx,
        row: &crate::record::View<'a, super::hand::Item>,
        make: crate::record::Make<'a>,
    ) -> Option<crate::record::Slot<'a, i64>> {
        Some(crate::record::col::<i64, _>(make, row.v))
    }
    let map = Map::default();
    let rows = batch(&(0..100).map(|k| (k, 1, 1)).collect::<Vec<_>>());
    let spec =
        KeyedSpec { name: "p/s".into(), keys: vec!["k".into()], event_time: None, output: "o".into(), node: 1, offset: 0, ttl: None };
    let factory = Keyed::<super::hand::Item, Same, NoSide, i64, _>::factory(spec, &rows.schema(), same).unwrap();
    let mut op = factory.create(Instance { index: 0, of: 1 }).unwrap();
    op.state_on_disk(&map.disk(0), 1).unwrap();
    let mut out = super::Out::default();
    for split in 0..5 {
        super::cut(&rows, split, 50, None).into_iter().for_each(|m| out.feed(op.as_mut(), 0, m));
    }
    let (read, written) = (map.0.read.load(SeqCst), map.0.written.load(SeqCst));
    assert!(read >= 399 && written == 100, "{read} read, {written} written");
}

#[test]
fn keys_that_died_leave_the_disk() {
    let (map, wall) = (Map::default(), Arc::<Wall>::default());
    let disk = map.disk(0);
    let ttl = Some(Ttl { micros: 20_000, clock: false });
    let mut job = Job::start(ttl, 1, &Cuts::new(), &wall, Some(&disk));
    for step in 0..20 {
        let rows = batch(&(0..500).map(|k| (step as u64 * 500 + k, 6, step * 10)).collect::<Vec<_>>());
        job.step(&rows, step as u64, step * 10_000);
    }
    let (written, removed) = (map.0.written.load(SeqCst), map.0.removed.load(SeqCst));
    assert!(written >= 9_000 && removed > written / 2, "{written} written, {removed} removed");
}

#[test]
fn a_disk_that_fails_ends_the_job() {
    let (map, wall) = (Map::default(), Arc::<Wall>::default());
    for works in [1, 2, 7, 40] {
        map.0.works.store(works, SeqCst);
        let disk = map.disk(0);
        let mut job = Job::start(None, 1, &Cuts::new(), &wall, Some(&disk));
        let mut out = super::Out::default();
        let rows = batch(&(0..100).map(|k| (k % 60, 6, k as i64 / 7)).collect::<Vec<_>>());
        let failed = super::cut(&rows, 0, 100, None)
            .into_iter()
            .try_for_each(|m| job.ops[0].process(0, m, &mut out).map(|_| ()))
            .and_then(|()| job.ops[0].watermark(0, 1_000_000, &mut out));
        let error = failed.unwrap_err().to_string();
        assert!(error.contains("a disk: is broken"), "{works}: {error}");
    }
}
