//! Checkpoints in object stores: whatever is lost, late, repeated or cut off, sinks show every row once, and of two processes one goes on.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::*;

use super::kept::{Shelf, each_row_once, folder, kept, on, plan, shown};
use super::*;
use crate::runtime::claims::{self, Seen};
use crate::runtime::executor::split_mix;
use crate::runtime::objects::{Objects, memories};
use crate::runtime::place;
use crate::runtime::storage::Storage;

/// A store that is not always there.
#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn ObjectStore>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seed: u64,
    /// Of 100 calls so many fail, half of them after they had their effect.
    percent: u64,
    /// Calls until the process is cut off for good, before or after the effect of the last one.
    left: Option<u64>,
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Works,
    Lost(bool),
    Cut(bool),
}

impl Fate {
    fn is_done(self) -> bool {
        !matches!(self, Fate::Lost(false) | Fate::Cut(false))
    }
    fn error(self) -> Error {
        let source = || Box::new(std::io::Error::other("no answer"));
        match self {
            Fate::Cut(_) => Error::PermissionDenied { path: "all".into(), source: source() },
            _ => Error::Generic { store: "faulty", source: source() },
        }
    }
}

impl Faulty {
    fn fate(&self) -> Fate {
        let mut state = self.state.lock().unwrap();
        let done = split_mix(&mut state.seed).is_multiple_of(2);
        match &mut state.left {
            Some(0) => return Fate::Cut(false),
            Some(left) => {
                *left -= 1;
                if *left == 0 {
                    return Fate::Cut(done);
                }
            }
            None => {}
        }
        if split_mix(&mut state.seed) % 100 < state.percent { Fate::Lost(done) } else { Fate::Works }
    }
    async fn through<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let fate = self.fate();
        if self.state.lock().unwrap().percent > 0 {
            ::tokio::time::sleep(Duration::from_micros(50)).await;
        }
        let result = if fate.is_done() { Some(call.await) } else { None };
        result.filter(|_| fate == Fate::Works).unwrap_or_else(|| Err(fate.error()))
    }
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("faulty")
    }
}

type Call<'c, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'c>>;

impl ObjectStore for Faulty {
    fn put_opts<'a, 'b, 'c>(&'a self, key: &'b Key, bytes: PutPayload, options: PutOptions) -> Call<'c, PutResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(self.through(self.inner.put_opts(key, bytes, options)))
    }
    fn put_multipart_opts<'a, 'b, 'c>(&'a self, key: &'b Key, options: PutMultipartOptions) -> Call<'c, Box<dyn MultipartUpload>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(self.through(self.inner.put_multipart_opts(key, options)))
    }
    fn get_opts<'a, 'b, 'c>(&'a self, key: &'b Key, options: GetOptions) -> Call<'c, GetResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(self.through(self.inner.get_opts(key, options)))
    }
    fn delete_stream(&self, keys: BoxStream<'static, Result<Key>>) -> BoxStream<'static, Result<Key>> {
        match self.fate() {
            Fate::Works => self.inner.delete_stream(keys),
            fate if fate.is_done() => self.inner.delete_stream(keys).map(move |_| Err(fate.error())).boxed(),
            fate => keys.map(move |_| Err(fate.error())).boxed(),
        }
    }
    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    fn list_with_delimiter<'a, 'b, 'c>(&'a self, prefix: Option<&'b Key>) -> Call<'c, ListResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(self.through(self.inner.list_with_delimiter(prefix)))
    }
    fn copy_opts<'a, 'b, 'd, 'c>(&'a self, from: &'b Key, to: &'d Key, options: CopyOptions) -> Call<'c, ()>
    where
        'a: 'c,
        'b: 'c,
        'd: 'c,
        Self: 'c,
    {
        Box::pin(self.through(self.inner.copy_opts(from, to, options)))
    }
}

/// What a process sees of the store of this name from now on.
fn sees(name: &str, inner: &Arc<dyn ObjectStore>, state: State) -> PathBuf {
    let faulty = Faulty { inner: Arc::clone(inner), state: Mutex::new(state) };
    memories().lock().unwrap().insert(name.to_owned(), Arc::new(faulty));
    PathBuf::from(format!("memory:///{name}/ledger"))
}

fn storage(dir: &Path) -> Arc<dyn Storage> {
    place::open(dir, false, place::usual()).unwrap()
}

fn count(dir: &Path, ending: &str) -> usize {
    storage(dir).list("").unwrap().iter().filter(|n| n.ends_with(ending)).count()
}

/// Options with many short waits.
fn stubborn(dir: &Path, threads: usize) -> RunOptions {
    RunOptions { retries: 12, retry_wait: Duration::from_nanos(1), ..kept(dir, threads) }
}

fn to_the_end(seed: u64, plan: &Plan, sinks: [usize; 2], shelves: &[Shelf; 2], options: &RunOptions) -> crate::Result<Report> {
    let control = Control::new();
    let stop = control.clone();
    let executor = Arc::new(Simulated::new(seed).at(5000, move || stop.stop()));
    run_on(executor, &plan.0, on(shelves, sinks), options, &control, None)
}

#[test]
fn a_process_that_is_cut_off_between_any_two_calls_leaves_what_the_next_one_continues_from() {
    let (mut restored, mut cut_off) = (0, 0);
    for seed in seeds(6) {
        let files = folder();
        let inner: Arc<dyn ObjectStore> = match seed % 2 {
            0 => Arc::new(InMemory::new()),
            _ => Arc::new(LocalFileSystem::new_with_prefix(files.path()).unwrap()),
        };
        let name = format!("cut-off-{seed}");
        let shelves = [Shelf::default(), Shelf::default()];
        let (plan, sinks) = plan(1 + seed as u32 % 3);
        for life in 0..6 {
            let number = seed * 131 + life * 977;
            let left = (life % 3 < 2).then_some(1 + number % 90);
            let crash = if left.is_some() { 100_000 } else { 20 + number % 700 };
            let dir = sees(&name, &inner, State { seed: number, percent: 0, left });
            let executor = Arc::new(Simulated::new(seed * 10 + life).crash_at(crash));
            let options = kept(&dir, 1 + (seed + life) as usize % 4);
            let error = run_on(executor, &plan.0, on(&shelves, sinks), &options, &Control::new(), None).unwrap_err().to_string();
            let mine = if left.is_some() { "lacked the necessary privileges" } else { "executor stopped" };
            assert!(error.contains(mine), "seed {seed}, life {life}: {error}");
            cut_off += u32::from(left.is_some());
        }
        let dir = sees(&name, &inner, State::default());
        let report = to_the_end(seed, &plan, sinks, &shelves, &RunOptions { checkpoint_every: Duration::from_millis(5), ..kept(&dir, 2) })
            .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        restored += u32::from(report.checkpoints.restored.is_some());
        let expected = each_row_once(&shelves, 1 + seed as i64 % 3, seed);
        let seen = claims::look(storage(&dir).as_ref()).unwrap();
        assert_eq!(seen.manifests.len(), 3, "seed {seed}: what is old has gone: {seen:?}");
        // what else is there are claims, one of each process that came so far
        let claimed = count(&dir, ".checkpoint") - 3;
        assert!((1..=7).contains(&claimed) && seen.generation == claimed as u64, "seed {seed}: {claimed} claims, {seen:?}");
        let once_more = to_the_end(seed, &plan, sinks, &shelves, &kept(&dir, 3)).unwrap();
        assert!(once_more.checkpoints.taken == 0 && shown(&shelves[0]) == expected, "seed {seed}, once more");
    }
    assert!(restored > 4 && cut_off > 20, "{restored} continued, {cut_off} were cut off");
}

#[test]
fn what_fails_for_a_while_is_tried_again() {
    for seed in seeds(5) {
        let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let name = format!("shaky-{seed}");
        let shelves = [Shelf::default(), Shelf::default()];
        let (plan, sinks) = plan(2);
        for life in 0..3 {
            let dir = sees(&name, &inner, State { seed: seed * 7 + life, percent: 25, left: None });
            let executor = Arc::new(Simulated::new(seed * 10 + life).crash_at(100 + seed * 50));
            let ended = run_on(executor, &plan.0, on(&shelves, sinks), &stubborn(&dir, 2), &Control::new(), None);
            assert!(matches!(ended, Err(crate::Error::Internal(_))), "seed {seed}: {ended:?}");
        }
        let dir = sees(&name, &inner, State { seed, percent: 25, left: None });
        let report =
            to_the_end(seed, &plan, sinks, &shelves, &RunOptions { checkpoint_every: Duration::from_millis(3), ..stubborn(&dir, 3) })
                .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        each_row_once(&shelves, 2, seed);
        let tried = report.events.iter().filter(|e| e.contains("no answer") && e.contains("attempt 1 of 12")).count();
        assert!(tried > 5, "{:?}", report.events);
    }
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let dir = sees("down", &inner, State { seed: 1, percent: 100, left: None });
    let (plan, sinks) = plan(1);
    let shelves = [Shelf::default(), Shelf::default()];
    let error = to_the_end(1, &plan, sinks, &shelves, &RunOptions { retries: 2, ..stubborn(&dir, 1) }).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("memory:///down/ledger") && text.contains("(it was tried 3 times)") && !error.is_transient(), "{text}");
}

#[test]
fn a_process_that_was_believed_dead_is_refused_and_spoils_nothing() {
    let mut pruned = 0;
    for seed in seeds(10) {
        let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let dir = sees(&format!("zombie-{seed}"), &inner, State::default());
        let shelves = [Shelf::default(), Shelf::default()];
        let (plan, sinks) = plan(1 + seed as u32 % 3);
        let plan = Arc::new(plan);
        // at some step another process takes over, goes on for a while, and dies; then the first one wakes up
        let other = {
            let (plan, dir) = (Arc::clone(&plan), dir.clone());
            let bound = Mutex::new(on(&shelves, sinks));
            move || {
                let before = claims::look(storage(&dir).as_ref()).unwrap();
                let executor = Arc::new(Simulated::new(seed + 77).crash_at(if seed % 4 == 0 { 40 } else { 4000 }));
                let bound = std::mem::take(&mut *bound.lock().unwrap());
                let ended = run_on(executor, &plan.0, bound, &kept(&dir, 2), &Control::new(), None);
                assert!(matches!(ended, Err(crate::Error::Internal(_))), "seed {seed}: {ended:?}");
                let after = claims::look(storage(&dir).as_ref()).unwrap();
                assert!(after.generation == before.generation + 1 && after.next > before.next);
                u32::from(after.manifests.first() > Some(&before.next))
            }
        };
        let gone = Arc::new(Mutex::new(None));
        let told = Arc::clone(&gone);
        let executor = Simulated::new(seed).at(30 + seed * 83, move || *told.lock().unwrap() = Some(other()));
        let error =
            run_on(Arc::new(executor), &plan.0, on(&shelves, sinks), &kept(&dir, 3), &Control::new(), None).unwrap_err().to_string();
        assert!(error.contains("another process runs the same job, and has taken over"), "seed {seed}: {error}");
        pruned += gone.lock().unwrap().unwrap();
        to_the_end(seed, &plan, sinks, &shelves, &kept(&dir, 1)).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        each_row_once(&shelves, 1 + seed as i64 % 3, seed);
    }
    assert!(pruned > 4, "the name of the late manifest would have been free again: {pruned}");
}

#[test]
fn a_claim_that_comes_late_is_refused_and_made_anew() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let dir = sees("claims", &inner, State::default());
    let s = storage(&dir);
    let look = || claims::look(s.as_ref()).unwrap();
    let seen = look();
    assert_eq!(seen, Seen { manifests: vec![], next: 1, generation: 0 });
    assert!(claims::claim(s.as_ref(), &seen, 1, 2).unwrap());
    assert!(!claims::claim(s.as_ref(), &seen, 1, 2).unwrap(), "two processes start at once");
    // the first process writes a checkpoint behind the look of another
    let stale = look();
    assert_eq!(stale, Seen { manifests: vec![], next: 2, generation: 1 });
    assert!(s.create("0000000002.checkpoint", "1", &[b"SABOTCKP"]).unwrap());
    assert!(!claims::claim(s.as_ref(), &stale, 2, 3).unwrap());
    // a savepoint may be far ahead
    assert!(claims::claim(s.as_ref(), &look(), 2, 51).unwrap());
    assert!(!s.create("0000000003.checkpoint", "1", &[b"SABOTCKP"]).unwrap());
    assert_eq!(look(), Seen { manifests: vec![2], next: 51, generation: 2 });
    assert!(s.create("0000000051.checkpoint", "2", &[b"SABOTCKP"]).unwrap());
    assert_eq!(look(), Seen { manifests: vec![2, 51], next: 52, generation: 2 });
    s.remove("0000000002.checkpoint").unwrap();
    assert_eq!((look().manifests, newest_checkpoint(&dir).unwrap()), (vec![51], Some(51)));
    assert!(claims::claim(s.as_ref(), &look(), 3, 53).unwrap());
    assert_eq!((look().manifests, newest_checkpoint(&dir).unwrap()), (vec![51], Some(51)));
    let endless = claims::until_claimed(s.as_ref(), || Ok(None::<()>)).unwrap_err().to_string();
    assert!(endless.contains("memory:///claims/ledger") && endless.contains("end it first"), "{endless}");
}

#[test]
fn another_job_is_refused_before_it_cuts_off_the_one_that_runs() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let dir = sees("whose", &inner, State::default());
    let named = |limit: &str| RunOptions {
        identity: std::collections::BTreeMap::from([("parameter `limit`".into(), limit.into())]),
        ..kept(&dir, 2)
    };
    let shelves = [Shelf::default(), Shelf::default()];
    let (plan, sinks) = plan(1);
    let crash = |options: &RunOptions| {
        let executor = Arc::new(Simulated::new(1).crash_at(900));
        run_on(executor, &plan.0, on(&shelves, sinks), options, &Control::new(), None).unwrap_err().to_string()
    };
    assert!(crash(&named("1")).contains("executor stopped"));
    let before = claims::look(storage(&dir).as_ref()).unwrap();
    let error = crash(&named("2"));
    assert!(error.contains("another job: parameter `limit` is not the same"), "{error}");
    assert_eq!(claims::look(storage(&dir).as_ref()).unwrap(), before);
}

#[test]
fn savepoints_are_asked_for_listed_restored_and_deleted_by_address() {
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let dir = sees("saved", &inner, State::default());
    let error = ask_for_savepoint(&dir, "here", false, Duration::from_secs(60)).unwrap_err().to_string();
    assert!(error.contains("no process runs the job of `memory:///saved/ledger`"), "{error}");
    let shelves = [Shelf::default(), Shelf::default()];
    let (plan, sinks) = plan(2);
    // on real threads
    let asker = std::thread::spawn({
        let dir = dir.clone();
        move || {
            while newest_checkpoint(&dir).unwrap().is_none() {
                std::thread::yield_now();
            }
            let first = ask_for_savepoint(&dir, "first", false, Duration::from_secs(60)).unwrap();
            let twice = ask_for_savepoint(&dir, "first", false, Duration::from_secs(60)).unwrap_err().to_string();
            (first, twice, ask_for_savepoint(&dir, "here", true, Duration::from_secs(60)).unwrap())
        }
    });
    let options = RunOptions { checkpoint_every: Duration::from_millis(20), ..kept(&dir, 2) };
    let ended = run(&plan.0, on(&shelves, sinks), &options, &Control::new());
    assert!(matches!(&ended, Err(crate::Error::Suspended(name)) if name == "here"), "{ended:?}");
    let (first, twice, here) = asker.join().unwrap();
    assert!(twice.contains("there is a savepoint `first` already, in memory:///saved/ledger/savepoints/first.savepoint"), "{twice}");
    let listed: Vec<Savepoint> = savepoints(&dir).unwrap().into_iter().map(crate::Result::unwrap).collect();
    assert_eq!(listed, [first, here.clone()]);
    assert_eq!(find_savepoint(Some(&dir), "here").unwrap(), here.path);
    assert_eq!(here.path.to_str(), Some("memory:///saved/ledger/savepoints/here.savepoint"));

    // elsewhere, and then from the newest checkpoint there; in place too
    assert!(!check_savepoint(&plan.0, &here.path).unwrap().refused());
    let elsewhere = sees("saved-elsewhere", &inner, State::default());
    let copies: [Shelf; 2] = std::array::from_fn(|i| shelves[i].copy());
    let from = |dir: &Path| RunOptions { from_savepoint: Some(here.path.clone()), ..kept(dir, 3) };
    let other = PathBuf::from("memory:///saved-elsewhere/another");
    let crashed = run_on(Arc::new(Simulated::new(4).crash_at(300)), &plan.0, on(&copies, sinks), &from(&other), &Control::new(), None);
    assert!(matches!(crashed, Err(crate::Error::Internal(_))), "{crashed:?}");
    let gone_on = to_the_end(5, &plan, sinks, &copies, &from(&other)).unwrap();
    assert!(gone_on.checkpoints.restored >= Some(here.epoch) && elsewhere != other);
    each_row_once(&copies, 2, 5);
    to_the_end(6, &plan, sinks, &shelves, &from(&dir)).unwrap();
    each_row_once(&shelves, 2, 6);

    delete_savepoint(&dir, "first").unwrap();
    let error = delete_savepoint(&dir, "first").unwrap_err().to_string();
    assert!(error.contains("no savepoint `first` in memory:///saved/ledger (there are `here`)"), "{error}");
    // nobody takes a request any more
    let error = ask_for_savepoint(&dir, "late", false, Duration::from_secs(60)).unwrap_err().to_string();
    assert!(error.contains("no process runs the job"), "{error}");
    assert!(storage(&dir).list("requests/").unwrap().is_empty());
}

#[test]
fn a_directory_may_be_copied_into_a_store_and_back() {
    let disk = folder();
    let shelves = [Shelf::default(), Shelf::default()];
    let (plan, sinks) = plan(1);
    let crash = |seed, dir: &Path| {
        let executor = Arc::new(Simulated::new(seed).crash_at(600));
        let error = run_on(executor, &plan.0, on(&shelves, sinks), &kept(dir, 2), &Control::new(), None).unwrap_err();
        assert!(matches!(error, crate::Error::Internal(_)), "{error}");
    };
    (0..3).for_each(|seed| crash(seed, disk.path()));
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let dir = sees("copied", &inner, State::default());
    let file = PathBuf::from(format!("file://{}", disk.path().display()));
    let copy = |from: &Path, to: &Path| {
        let (from, to) = (storage(from), storage(to));
        from.list("").unwrap().iter().filter(|n| *n != "lock").for_each(|n| to.replace(n, &from.read(n).unwrap().unwrap()).unwrap());
    };
    copy(&file, &dir);
    crash(3, &dir);
    let seen = claims::look(storage(&dir).as_ref()).unwrap();
    assert_eq!(seen.generation, 4, "the processes before count too: sinks know their numbers");
    let back = folder();
    copy(&dir, back.path());
    to_the_end(9, &plan, sinks, &shelves, &kept(back.path(), 2)).unwrap();
    assert_eq!(std::fs::read_to_string(back.path().join("generation")).unwrap(), "5");
    each_row_once(&shelves, 1, 9);
}

#[test]
fn large_objects_go_and_come_in_parts() {
    let files = folder();
    let stores: [Arc<dyn ObjectStore>; 2] = [Arc::new(InMemory::new()), Arc::new(LocalFileSystem::new_with_prefix(files.path()).unwrap())];
    for (inner, percent) in stores.iter().zip([20, 0]) {
        let dir = sees("large", inner, State { seed: 5, percent, left: None });
        let objects = Objects::open(&dir, (20, Duration::from_nanos(1))).unwrap();
        let part: Vec<u8> = (0..9_000_001_u32).map(|i| (i % 251) as u8).collect();
        let parts: [&[u8]; 5] = [&part, &[], &part, &part[..77], &part];
        assert!(objects.add("1.state", "1", &parts).unwrap());
        assert!(objects.read("1.state").unwrap().unwrap() == parts.concat());
        assert_eq!(objects.part("1.state", 0..3).unwrap().unwrap(), part[..3]);
        assert_eq!((objects.read("2.state").unwrap(), objects.part("2.state", 0..3).unwrap()), (None, None));
        assert_eq!(objects.part("1.state", 9_000_000..9_000_003).unwrap().unwrap(), parts.concat()[9_000_000..9_000_003]);
        objects.remove("1.state").unwrap();
        objects.remove("1.state").unwrap();
        assert!(objects.read("1.state").unwrap().is_none());
        for some in [&parts[..], &parts[1..2], &[&part[..77], &part[..78]]] {
            let made =
                || -> Box<dyn Iterator<Item = crate::Result<Cow<'_, [u8]>>> + '_> { Box::new(some.iter().map(|p| Ok(Cow::Borrowed(*p)))) };
            let length = some.iter().map(|p| p.len() as u64).sum();
            assert!(objects.create_of("savepoints/x", "1", length, &made).unwrap());
            assert!(objects.read("savepoints/x").unwrap().unwrap() == some.concat());
            assert!(
                !objects
                    .create_of("savepoints/x", "2", length + 1, &|| Box::new([Ok(Cow::Owned(vec![1; length as usize + 1]))].into_iter()))
                    .unwrap()
            );
            objects.remove("savepoints/x").unwrap();
        }
        let lost = || -> Box<dyn Iterator<Item = crate::Result<Cow<'_, [u8]>>> + '_> {
            Box::new([Ok(Cow::Borrowed(part.as_slice())), Err(crate::Error::internal("lost"))].into_iter())
        };
        assert!(objects.create_of("savepoints/x", "1", 20_000_000, &lost).unwrap_err().to_string().contains("lost"));
        assert!(objects.read("savepoints/x").unwrap().is_none());
    }
}

#[test]
fn an_address_without_meaning_is_refused() {
    for (address, why) in [
        ("memory://host/x", "write `memory:///` and a name"),
        ("ftp://host/x", "stores are `s3://bucket/..`"),
        ("s3:///x", "it names no bucket"),
        ("memory:///a//b", "cannot be a place for checkpoints"),
    ] {
        let error = place::open(Path::new(address), true, place::usual()).err().unwrap().to_string();
        assert!(error.contains(address) && error.contains(why), "{error}");
    }
    #[cfg(not(feature = "aws"))]
    assert!(place::open(Path::new("s3://b/x"), true, place::usual()).err().unwrap().to_string().contains("feature `aws`"));
}

/// Over the wire: `tests/services/s3.sh` starts a server and names a place in it.
#[test]
fn a_store_of_a_cloud_keeps_its_word() {
    let Ok(address) = std::env::var("SABOT_TEST_STORE") else {
        println!("skipped: SABOT_TEST_STORE names no place in an object store (tests/services/s3.sh does)");
        return;
    };
    // one put of several wins
    let root = PathBuf::from(&address);
    let s = storage(&root);
    let won: Vec<bool> = std::thread::scope(|scope| {
        let claim = |n: u64| claims::claim(storage(&root).as_ref(), &Seen { next: 1, ..Seen::default() }, n, 2).unwrap();
        let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || claim(n))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(won.iter().filter(|w| **w).count(), 1, "{won:?}");
    let large = vec![7; 40 << 20];
    assert!(s.add("1.state", "1", &[&large, b"end"]).unwrap());
    let read = s.read("1.state").unwrap().unwrap();
    assert!(read.len() == large.len() + 3 && read.ends_with(b"\x07end") && s.part("1.state", 0..2).unwrap().unwrap() == [7, 7]);
    assert!(s.read("2.state").unwrap().is_none() && s.list("savepoints/").unwrap().is_empty());
    s.remove("1.state").unwrap();
    s.remove("1.state").unwrap();

    let dir = root.join("ledger");
    let shelves = [Shelf::default(), Shelf::default()];
    let (plan, sinks) = plan(2);
    for life in 0..4 {
        let executor = Arc::new(Simulated::new(life).crash_at(100 + life * 70));
        let ended = run_on(executor, &plan.0, on(&shelves, sinks), &kept(&dir, 2), &Control::new(), None);
        assert!(matches!(ended, Err(crate::Error::Internal(_))), "{ended:?}");
    }
    let options = RunOptions { checkpoint_every: Duration::from_millis(100), ..kept(&dir, 3) };
    let report = to_the_end(9, &plan, sinks, &shelves, &options).unwrap();
    assert!(report.checkpoints.restored.is_some() && report.events.is_empty(), "{report:?}");
    each_row_once(&shelves, 2, 9);
    let seen = claims::look(storage(&dir).as_ref()).unwrap();
    assert!(seen.generation == 5 && seen.manifests.len() <= 3, "{seen:?}");
}
