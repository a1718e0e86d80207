//! A control store in memory: SQLite without a file, for tests and simulations. Nothing of it survives the process.
//!
//! Every statement has ended when it returns, on the caller's thread, so that a simulation decides alone what happens in which order. Transactions come
//! one after the other, those that only read too. What a query answered is kept until something is written, since a server that waits asks the
//! same again and again.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use sqlx::{ConnectOptions, SqliteConnection};
use tokio::sync::OwnedMutexGuard;

use super::super::door;
use super::super::durable::{Log, Pending};
use super::Server;
use super::database::{Cell, Database, Row, Transaction};
use super::sqlite::{bound, cells_of, error};
use crate::sync::lock;
use crate::{Error, Result};

/// Which database in memory: its clones are the same one. It goes with the last of them.
///
/// ```
/// use sabot::cluster::store::{Memory, Place};
///
/// let memory = Memory::default();
/// assert_eq!(Place::Memory(memory.clone()), Place::Memory(memory));
/// assert_ne!(Place::Memory(Memory::default()), Place::Memory(Memory::default()));
/// ```
#[derive(Clone, Default)]
pub struct Memory(Arc<Inner>);

#[derive(Default)]
struct Inner {
    open: Arc<tokio::sync::Mutex<Option<Open>>>,
    /// Who leads: gone when that server is.
    leader: Mutex<(Weak<()>, Option<Server>)>,
    /// What workflows have recorded.
    log: Arc<Log>,
}

struct Open {
    connection: SqliteConnection,
    known: HashMap<(String, Vec<Cell>), Vec<Row>>,
}

impl PartialEq for Memory {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
impl Eq for Memory {}
impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memory")
    }
}

impl Memory {
    /// What workflows have recorded.
    pub(in crate::cluster) fn log(&self) -> &Arc<Log> {
        &self.0.log
    }
    /// The leader's place; who has it, otherwise.
    pub(super) fn lock(&self, who: &Server) -> Result<Arc<()>, Option<Server>> {
        let mut leader = lock(&self.0.leader);
        if leader.0.strong_count() > 0 {
            return Err(leader.1.clone());
        }
        let place = Arc::new(());
        *leader = (Arc::downgrade(&place), Some(who.clone()));
        Ok(place)
    }
    async fn begin(&self) -> Result<Box<dyn Transaction>> {
        door::breath().await;
        let mut open = Arc::clone(&self.0.open).lock_owned().await;
        if open.is_none() {
            let options = sqlx::sqlite::SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
            let connection = at_once(options.connect()).map_err(|e| error(&path(), &e))?;
            *open = Some(Open { connection, known: HashMap::new() });
        }
        Ok(Box::new(Begun { open, writes: false }))
    }
}
impl Database for Memory {
    fn read(&self) -> Pending<'_, Box<dyn Transaction>> {
        Box::pin(self.begin())
    }
    fn write(&self) -> Pending<'_, Box<dyn Transaction>> {
        Box::pin(self.begin())
    }
}

/// A transaction; the database knows of it once it writes.
struct Begun {
    open: OwnedMutexGuard<Option<Open>>,
    writes: bool,
}
impl Begun {
    fn open(&mut self) -> Result<&mut Open> {
        self.open.as_mut().ok_or_else(|| Error::internal("a transaction without a database"))
    }
    fn execute(&mut self, sql: &str, cells: &[Cell]) -> Result<u64> {
        let done = at_once(bound(sql, cells).execute(&mut self.open()?.connection)).map_err(|e| error(&path(), &e))?;
        Ok(done.rows_affected())
    }
    /// A statement that may change something.
    fn writing(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.writes, true) {
            self.execute("BEGIN IMMEDIATE", &[])?;
        }
        self.open()?.known.clear();
        Ok(())
    }
    fn query(&mut self, sql: &str, cells: &[Cell]) -> Result<Vec<Row>> {
        let reads = sql.starts_with("SELECT");
        if !reads {
            self.writing()?;
        }
        let writes = self.writes;
        let open = self.open()?;
        let key = (sql.to_owned(), cells.to_vec());
        if let Some(rows) = open.known.get(&key).filter(|_| !writes) {
            return Ok(rows.clone());
        }
        let rows = at_once(bound(sql, cells).fetch_all(&mut open.connection)).map_err(|e| error(&path(), &e))?;
        let rows: Vec<Row> = rows.iter().map(|row| cells_of(row).map_err(|e| error(&path(), &e))).collect::<Result<_>>()?;
        if !writes {
            open.known.insert(key, rows.clone());
        }
        Ok(rows)
    }
}
impl Transaction for Begun {
    fn rows<'a>(&'a mut self, sql: &'a str, cells: &'a [Cell]) -> Pending<'a, Vec<Row>> {
        Box::pin(async move { self.query(sql, cells) })
    }
    fn run<'a>(&'a mut self, sql: &'a str, cells: &'a [Cell]) -> Pending<'a, u64> {
        Box::pin(async move {
            self.writing()?;
            self.execute(sql, cells)
        })
    }
    fn commit(mut self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async move {
            // killed here, it has changed nothing
            door::breath().await;
            if std::mem::take(&mut self.writes) {
                self.execute("COMMIT", &[])?;
            }
            drop(self);
            door::breath().await;
            Ok(())
        })
    }
}
impl Drop for Begun {
    fn drop(&mut self) {
        if self.writes {
            // a connection that cannot even do that is of no use: the next one is told
            let _ = self.execute("ROLLBACK", &[]);
        }
    }
}

/// How messages name it.
pub(super) fn path() -> PathBuf {
    Path::new(":memory:").to_owned()
}

struct Unpark(Thread);
impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs what the connection's thread does, which takes microseconds, to its end.
fn at_once<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match work.as_mut().poll(&mut context) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}
