//! An object store as the place of checkpoints: Amazon S3 and what speaks its language, Google Cloud Storage, Azure, memory.
//!
//! Idea: an object is there as a whole or not, and is listed at once, so nothing is staged or synced. What is written once is put on the condition
//! that the name is free. An answer may be lost on its way, and the put be repeated: then the name is taken, and what is there tells whether
//! it was this process. There is no lock: see [`claims`](super::claims).
//!
//! Calls wait, on threads that are there for it ([`Executor::aside`](super::Executor::aside)); a tokio runtime drives the connections.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use super::place::Patience;
use super::retry::Retry;
use super::storage::{Made, Owner, Pace, Storage};
use super::util::lock;
use super::waiting::wait;
use crate::{Error, Result};

/// Bytes that are sent or fetched by one request: what comes through well within the 30 seconds that `object_store` gives a request,
/// at 1 MB/s. Amazon takes parts of at least 5 MiB, and 10,000 of them: states of up to 160 GB per file.
const PART: usize = 16 << 20;

/// Requests for one object at a time.
const AT_ONCE: usize = 4;

/// Threads that drive connections; they wait, they do not compute.
const DRIVERS: usize = 1;

/// A place in an object store.
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    /// Its address, for people.
    place: PathBuf,
    patience: Patience,
    told: Mutex<Vec<String>>,
    runtime: Option<Runtime>,
}

impl Drop for Objects {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The last one may be dropped inside another runtime, where nothing may wait.
            runtime.shutdown_background();
        }
    }
}

/// The stores in the memory of this process, by the first part of their path.
pub(super) fn memories() -> &'static Mutex<BTreeMap<String, Arc<dyn ObjectStore>>> {
    static ALL: OnceLock<Mutex<BTreeMap<String, Arc<dyn ObjectStore>>>> = OnceLock::new();
    ALL.get_or_init(Mutex::default)
}

impl Objects {
    /// The place at this address, with credentials and settings from the environment.
    ///
    /// # Errors
    /// If the address or a setting is wrong, or the program was built without the feature for it.
    pub(super) fn open(address: &Path, patience: Patience) -> Result<Objects> {
        let text = address.to_str().unwrap_or_default();
        let wrong = |why: &dyn std::fmt::Display| Error::Usage(format!("`{text}` cannot be a place for checkpoints: {why}"));
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong(&"it is no address"))?;
        let (bucket, path) = rest.split_once('/').unwrap_or((rest, ""));
        let key = Key::from_url_path(path).map_err(|e| wrong(&e))?;
        let store = if scheme == "memory" {
            if !bucket.is_empty() {
                return Err(wrong(&"write `memory:///` and a name"));
            }
            let name = key.parts().next().map_or_else(String::new, |p| p.as_ref().to_owned());
            Arc::clone(lock(memories()).entry(name).or_insert_with(|| Arc::new(InMemory::new())))
        } else {
            if bucket.is_empty() {
                return Err(wrong(&"it names no bucket"));
            }
            cloud(scheme, text).ok_or_else(|| wrong(&unknown(scheme)))?.map_err(|e| wrong(&e))?
        };
        let runtime = Builder::new_multi_thread().worker_threads(DRIVERS).thread_name("sabot-store").enable_all().build();
        let runtime = runtime.map_err(|e| Error::usage(format!("cannot start a thread for `{text}`: {e}")))?;
        let place = PathBuf::from(text.trim_end_matches('/'));
        Ok(Objects { store, prefix: key.to_string(), place, patience, told: Mutex::default(), runtime: Some(runtime) })
    }
    fn key(&self, name: &str) -> Result<Key> {
        let whole = if self.prefix.is_empty() { name.to_owned() } else { format!("{}/{name}", self.prefix) };
        Key::parse(whole.trim_end_matches('/')).map_err(|e| Error::usage(format!("{}: {e}", self.place(name).display())))
    }
    fn run<T: Send>(&self, future: impl Future<Output = T> + Send) -> Result<T> {
        self.runtime.as_ref().map(|r| wait(r, future)).ok_or_else(|| Error::internal("an object store was closed"))
    }
    /// Calls until it works, within the patience.
    fn call<T: Send, F: Future<Output = object_store::Result<T>> + Send>(&self, name: &str, what: &str, call: impl Fn() -> F) -> Result<T> {
        let mut retry = Retry::default();
        loop {
            let error = match self.run(call())? {
                Ok(done) => return Ok(done),
                Err(error) => self.error(name, what, error),
            };
            self.again(&mut retry, name, error)?;
        }
    }
    /// Waits before another attempt.
    ///
    /// # Errors
    /// The error, if it would not help.
    fn again(&self, retry: &mut Retry, name: &str, error: Error) -> Result<()> {
        let pause = retry.pause(&self.place(name).display().to_string(), error, self.patience).map_err(|error| match error {
            Error::Io { path, what, source } if self.patience.0 > 0 && transient(source.kind()) => {
                let what = format!("{what} (it was tried {} times)", self.patience.0 + 1);
                // Whoever asked for it need not ask again.
                Error::Io { path, what, source: std::io::Error::other(source) }
            }
            other => other,
        })?;
        lock(&self.told).push(pause.why);
        std::thread::sleep(pause.wait);
        Ok(())
    }
    /// Sends a large object as its parts are made, a few pieces of it in memory; again if that may help. What is begun is dropped if a piece fails.
    fn send(&self, name: &str, parts: Made<'_>) -> Result<()> {
        let (key, mut retry) = (self.key(name)?, Retry::default());
        while let Err(error) = self.upload(name, &key, parts) {
            self.again(&mut retry, name, error)?;
        }
        Ok(())
    }
    fn upload(&self, name: &str, key: &Key, parts: Made<'_>) -> Result<()> {
        let failed = |error| self.error(name, "cannot write the checkpoint", error);
        let runtime = self.runtime.as_ref().ok_or_else(|| Error::internal("an object store was closed"))?;
        let mut upload = wait(runtime, self.store.put_multipart(key)).map_err(failed)?;
        let mut under_way = JoinSet::new();
        let mut put = |piece: Vec<u8>| {
            under_way.spawn_on(upload.put_part(piece.into()), runtime.handle());
            let done = async { if under_way.len() < AT_ONCE { None } else { under_way.join_next().await } };
            wait(runtime, done).map_or(Ok(()), |done| done?)
        };
        let sent = (|| {
            let mut piece = Vec::with_capacity(PART);
            for part in parts() {
                let part = part?;
                let mut rest = part.as_ref();
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(rest.len().min(PART - piece.len()));
                    piece.extend_from_slice(now);
                    rest = later;
                    if piece.len() == PART {
                        put(std::mem::replace(&mut piece, Vec::with_capacity(PART))).map_err(failed)?;
                    }
                }
            }
            if piece.is_empty() { Ok(()) } else { put(piece).map_err(failed) }
        })();
        let rest = async {
            while let Some(done) = under_way.join_next().await {
                done??;
            }
            upload.complete().await.map(|_| ())
        };
        let sent = sent.and_then(|()| wait(runtime, rest).map_err(failed));
        if sent.is_err() {
            // The store drops it by its own rules if this does not arrive.
            let _ = wait(runtime, upload.abort());
        }
        sent
    }
    fn error(&self, name: &str, what: &str, error: object_store::Error) -> Error {
        use object_store::Error as Of;
        let kind = match &error {
            Of::NotFound { .. } => ErrorKind::NotFound,
            Of::AlreadyExists { .. } | Of::Precondition { .. } | Of::NotModified { .. } => ErrorKind::AlreadyExists,
            Of::PermissionDenied { .. } | Of::Unauthenticated { .. } => ErrorKind::PermissionDenied,
            Of::NotSupported { .. } | Of::NotImplemented { .. } => ErrorKind::Unsupported,
            Of::InvalidPath { .. } | Of::UnknownConfigurationKey { .. } => ErrorKind::InvalidInput,
            // Lost connections, servers that are too busy, and whatever has no name there.
            _ => ErrorKind::ConnectionAborted,
        };
        Error::io(self.place(name), what, std::io::Error::new(kind, error))
    }
}

fn transient(kind: ErrorKind) -> bool {
    kind == ErrorKind::ConnectionAborted
}

fn missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::NotFound)
}

fn taken(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == ErrorKind::AlreadyExists)
}

/// The store of a cloud; `None` if the scheme is unknown or not built in. Repeating is done here, where it is told.
#[allow(unused_variables)]
fn cloud(scheme: &str, address: &str) -> Option<object_store::Result<Arc<dyn ObjectStore>>> {
    #[cfg(any(feature = "aws", feature = "gcp", feature = "azure"))]
    let once = object_store::RetryConfig { max_retries: 0, ..Default::default() };
    match scheme {
        #[cfg(feature = "aws")]
        "s3" | "s3a" => Some(
            object_store::aws::AmazonS3Builder::from_env()
                .with_url(address)
                .with_retry(once)
                .build()
                .map(|s| Arc::new(s) as Arc<dyn ObjectStore>),
        ),
        #[cfg(feature = "gcp")]
        "gs" => Some(
            object_store::gcp::GoogleCloudStorageBuilder::from_env()
                .with_url(address)
                .with_retry(once)
                .build()
                .map(|s| Arc::new(s) as Arc<dyn ObjectStore>),
        ),
        #[cfg(feature = "azure")]
        "az" | "adl" | "azure" | "abfs" | "abfss" => Some(
            object_store::azure::MicrosoftAzureBuilder::from_env()
                .with_url(address)
                .with_retry(once)
                .build()
                .map(|s| Arc::new(s) as Arc<dyn ObjectStore>),
        ),
        _ => None,
    }
}

/// Why a scheme has no meaning.
fn unknown(scheme: &str) -> String {
    let feature = match scheme {
        "s3" | "s3a" => "aws",
        "gs" => "gcp",
        "az" | "adl" | "azure" | "abfs" | "abfss" => "azure",
        _ => return "stores are `s3://bucket/..`, `gs://bucket/..`, `az://container/..` and `memory:///..`".into(),
    };
    crate::words::without_feature(feature)
}

fn payload(parts: &[&[u8]]) -> PutPayload {
    parts.concat().into()
}

async fn fetch(store: &Arc<dyn ObjectStore>, key: &Key) -> object_store::Result<Vec<u8>> {
    let size = store.head(key).await?.size;
    if size <= PART as u64 {
        return Ok(store.get(key).await?.bytes().await?.to_vec());
    }
    let mut starts = (0..size).step_by(PART);
    let (mut under_way, mut pieces) = (JoinSet::new(), BTreeMap::new());
    loop {
        while under_way.len() < AT_ONCE
            && let Some(start) = starts.next()
        {
            let (store, key) = (Arc::clone(store), key.clone());
            under_way.spawn(async move { store.get_range(&key, start..size.min(start + PART as u64)).await.map(|bytes| (start, bytes)) });
        }
        let Some(done) = under_way.join_next().await else { break };
        let (start, bytes) = done??;
        pieces.insert(start, bytes);
    }
    Ok(pieces.into_values().flatten().collect())
}

impl Storage for Objects {
    fn list(&self, dir: &str) -> Result<Vec<String>> {
        let key = self.key(dir)?;
        let listed = self.call(dir, "cannot list the checkpoints", || self.store.list_with_delimiter(Some(&key)))?;
        Ok(listed.objects.iter().filter_map(|o| o.location.filename().map(str::to_owned)).collect())
    }
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let key = self.key(name)?;
        match self.call(name, "cannot read the checkpoint", || fetch(&self.store, &key)) {
            Err(e) if missing(&e) => Ok(None),
            read => read.map(Some),
        }
    }
    fn part(&self, name: &str, range: Range<u64>) -> Result<Option<Vec<u8>>> {
        let key = self.key(name)?;
        match self.call(name, "cannot read the checkpoint", || self.store.get_range(&key, range.clone())) {
            Err(e) if missing(&e) => Ok(None),
            read => read.map(|bytes| Some(bytes.to_vec())),
        }
    }
    fn create(&self, name: &str, _writer: &str, parts: &[&[u8]]) -> Result<bool> {
        let (key, mut retry) = (self.key(name)?, Retry::default());
        loop {
            let put = self.store.put_opts(&key, payload(parts), PutMode::Create.into());
            let error = match self.run(put)? {
                Ok(_) => return Ok(true),
                Err(error) => self.error(name, "cannot write the checkpoint", error),
            };
            if !taken(&error) {
                self.again(&mut retry, name, error)?;
                continue;
            }
            // An attempt whose answer was lost, or someone else.
            match self.read(name)? {
                Some(there) => return Ok(there == parts.concat()),
                None => {
                    let why = "the store said that it is there, and that it is not";
                    let error = std::io::Error::new(ErrorKind::ConnectionAborted, why);
                    self.again(&mut retry, name, Error::io(self.place(name), "cannot write the checkpoint", error))?;
                }
            }
        }
    }
    fn add(&self, name: &str, writer: &str, parts: &[&[u8]]) -> Result<bool> {
        if parts.iter().map(|p| p.len()).sum::<usize>() <= PART {
            return self.create(name, writer, parts);
        }
        self.send(name, &|| Box::new(parts.iter().map(|part| Ok(Cow::Borrowed(*part))))).map(|()| true)
    }
    fn create_of(&self, name: &str, writer: &str, length: u64, parts: Made<'_>) -> Result<bool> {
        if length <= PART as u64 {
            let parts = parts().collect::<Result<Vec<_>>>()?;
            return self.create(name, writer, &parts.iter().map(Cow::as_ref).collect::<Vec<_>>());
        }
        if self.part(name, 0..1)?.is_some() {
            return Ok(false);
        }
        self.send(name, parts).map(|()| true)
    }
    fn settle(&self) -> Result<()> {
        Ok(())
    }
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let key = self.key(name)?;
        self.call(name, "cannot write", || self.store.put(&key, payload(&[bytes]))).map(|_| ())
    }
    fn remove(&self, name: &str) -> Result<()> {
        let key = self.key(name)?;
        match self.call(name, "cannot remove an old checkpoint", || self.store.delete(&key)) {
            Err(e) if missing(&e) => Ok(()),
            removed => removed,
        }
    }
    fn place(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.place.clone() } else { self.place.join(name) }
    }
    fn own(&self) -> Result<Option<Owner>> {
        Ok(None)
    }
    fn idle(&self) -> Result<Option<bool>> {
        Ok(None)
    }
    fn pace(&self) -> Pace {
        // Each look is a request that costs money: at Amazon's price of a listing, 9 cents a day.
        Pace { requests: Duration::from_secs(5), answers: Duration::from_secs(1) }
    }
    fn told(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.told))
    }
}
