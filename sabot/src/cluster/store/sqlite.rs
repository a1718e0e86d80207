//! The embedded database: one SQLite file, and a lock beside it.
//!
//! Every commit is on the disk before it returns (`synchronous = FULL`), so that nothing is forgotten when the power fails.
//!
//! All that writes, the durable workflows too, goes over one connection, in the order in which it asks. Were there several, each would wait inside SQLite, which
//! asks now and then and lets the luckiest go on: under load some wait for many seconds, with every connection of the pool, so that readers get none. Readers have their
//! own connections; they wait for nobody (<https://www.sqlite.org/wal.html>).

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Row as _, Sqlite, TypeInfo, ValueRef};

use super::super::durable::Pending;
use super::Server;
use super::database::{Cell, Database, Row, Transaction};
use crate::{Error, Result};

/// The file, in the server's directory.
const FILE: &str = "control.db";
/// Locked by the server that has the directory.
const LOCK: &str = "server.lock";
/// Who that is.
const HOLDER: &str = "server.json";
/// How long a transaction waits for another to end.
const BUSY: Duration = Duration::from_secs(10);
/// Transactions that read at once.
const READERS: u32 = 3;

pub(in crate::cluster) struct Embedded {
    dir: PathBuf,
    writer: SqlitePool,
    readers: SqlitePool,
}
impl Embedded {
    pub(super) async fn open(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|e| Error::io(dir, "cannot make the directory", e))?;
        let file = dir.join(FILE);
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY);
        let pool = async |connections, options: &SqliteConnectOptions| {
            SqlitePoolOptions::new().max_connections(connections).connect_with(options.clone()).await.map_err(|e| error(&file, &e))
        };
        Ok(Embedded {
            writer: pool(1, &options).await?,
            readers: pool(READERS, &options.create_if_missing(false)).await?,
            dir: dir.to_owned(),
        })
    }
    /// The one connection that writes. Who has it must not ask for it again.
    pub(in crate::cluster) fn writer(&self) -> &SqlitePool {
        &self.writer
    }
    /// The lock of the directory; who has it, otherwise. It is let go with the file, whatever the process dies of.
    pub(super) fn lock(&self, who: &Server) -> Result<Result<File, Option<Server>>> {
        let path = self.dir.join(LOCK);
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(|e| Error::io(&path, "cannot open", e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Err(self.holder())),
            Err(TryLockError::Error(e)) => return Err(Error::io(&path, "cannot lock", e)),
        }
        let (holder, new) = (self.dir.join(HOLDER), self.dir.join("server.json.new"));
        let text = serde_json::to_vec(who).map_err(|e| Error::internal(format!("a server as JSON: {e}")))?;
        std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &holder)).map_err(|e| Error::io(&holder, "cannot write", e))?;
        Ok(Ok(lock))
    }
    pub(super) fn holder(&self) -> Option<Server> {
        serde_json::from_slice(&std::fs::read(self.dir.join(HOLDER)).ok()?).ok()
    }
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
    async fn begin(&self, pool: &SqlitePool, how: &'static str) -> Result<Box<dyn Transaction>> {
        let path = self.dir.join(FILE);
        match pool.begin_with(how).await {
            Ok(inner) => Ok(Box::new(Open { inner, path })),
            Err(e) => Err(error(&path, &e)),
        }
    }
}
impl Database for Embedded {
    fn read(&self) -> Pending<'_, Box<dyn Transaction>> {
        Box::pin(self.begin(&self.readers, "BEGIN"))
    }
    fn write(&self) -> Pending<'_, Box<dyn Transaction>> {
        Box::pin(self.begin(&self.writer, "BEGIN IMMEDIATE"))
    }
}

struct Open {
    inner: sqlx::Transaction<'static, Sqlite>,
    path: PathBuf,
}
impl Transaction for Open {
    fn rows<'a>(&'a mut self, sql: &'a str, cells: &'a [Cell]) -> Pending<'a, Vec<Row>> {
        Box::pin(async move {
            let rows = bound(sql, cells).fetch_all(&mut *self.inner).await.map_err(|e| error(&self.path, &e))?;
            rows.iter().map(|row| cells_of(row).map_err(|e| error(&self.path, &e))).collect()
        })
    }
    fn run<'a>(&'a mut self, sql: &'a str, cells: &'a [Cell]) -> Pending<'a, u64> {
        Box::pin(async move {
            let done = bound(sql, cells).execute(&mut *self.inner).await.map_err(|e| error(&self.path, &e))?;
            Ok(done.rows_affected())
        })
    }
    fn commit(self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async move { self.inner.commit().await.map_err(|e| error(&self.path, &e)) })
    }
}

pub(super) fn bound<'a>(sql: &'a str, cells: &'a [Cell]) -> sqlx::query::Query<'a, Sqlite, sqlx::sqlite::SqliteArguments<'a>> {
    cells.iter().fold(sqlx::query(sql), |query, cell| match cell {
        Cell::Null => query.bind(None::<i64>),
        Cell::Int(value) => query.bind(*value),
        Cell::Text(text) => query.bind(text.as_str()),
    })
}

pub(super) fn cells_of(row: &SqliteRow) -> Result<Row, sqlx::Error> {
    let cell = |at: usize| {
        let raw = row.try_get_raw(at)?;
        if raw.is_null() {
            return Ok(Cell::Null);
        }
        match raw.type_info().name() {
            "INTEGER" => row.try_get(at).map(Cell::Int),
            _ => row.try_get(at).map(Cell::Text),
        }
    };
    (0..row.len()).map(cell).collect::<Result<_, _>>().map(Row)
}

/// What SQLite says. That it is busy may pass; that the disk is full may not.
pub(super) fn error(path: &Path, error: &sqlx::Error) -> Error {
    // https://www.sqlite.org/rescode.html: the low byte of an extended code is the code
    let code = error.as_database_error().and_then(|e| e.code()).and_then(|c| c.parse::<i32>().ok()).map(|c| c & 0xff);
    match code {
        Some(5 | 6) => Error::io(path, format!("the control store is busy ({error})"), std::io::ErrorKind::ResourceBusy.into()),
        _ if matches!(error, sqlx::Error::PoolTimedOut) => {
            Error::io(path, "the control store is busy: a write has not ended for half a minute", std::io::ErrorKind::ResourceBusy.into())
        }
        Some(13) => Error::io(path, "cannot write the control store", std::io::ErrorKind::StorageFull.into()),
        _ => Error::Control(format!("{}: the control store fails: {error}", path.display())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cluster::store::database::cells;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_waits_to_write_goes_in_turn_and_holds_no_reader_up() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Embedded::open(dir.path()).await.unwrap());
        let mut held = store.write().await.unwrap();
        held.run("CREATE TABLE done (at INTEGER PRIMARY KEY AUTOINCREMENT, who INTEGER)", &[]).await.unwrap();
        held.commit().await.unwrap();
        let held = store.write().await.unwrap();
        let mut writers = Vec::new();
        for who in 0..50i64 {
            let (store, asked) = (Arc::clone(&store), Arc::new(tokio::sync::Notify::new()));
            let told = Arc::clone(&asked);
            writers.push(tokio::spawn(async move {
                let mut turn = std::pin::pin!(store.write());
                // in the queue from here on
                assert!(std::future::poll_fn(|c| std::task::Poll::Ready(turn.as_mut().poll(c).is_pending())).await);
                told.notify_one();
                let mut tx = turn.await.unwrap();
                tx.run("INSERT INTO done (who) VALUES ($1)", cells![who]).await.unwrap();
                tx.commit().await.unwrap();
            }));
            asked.notified().await;
        }
        let mut read = store.read().await.unwrap();
        assert!(read.rows("SELECT who FROM done", &[]).await.unwrap().is_empty());
        drop((read, held));
        for writer in writers {
            writer.await.unwrap();
        }
        let rows = store.read().await.unwrap().rows("SELECT who FROM done ORDER BY at", &[]).await.unwrap();
        assert_eq!(rows.iter().map(|r| r.int(0).unwrap()).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    }
}
