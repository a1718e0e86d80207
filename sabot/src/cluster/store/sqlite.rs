//! The embedded database: one SQLite file, and a lock beside it.
//!
//! Every commit is on the disk before it returns (`synchronous = FULL`), so that nothing is forgotten when the power fails.

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
/// SQLite writes one transaction at a time; the others read.
const CONNECTIONS: u32 = 4;

pub(in crate::cluster) struct Embedded {
    dir: PathBuf,
    pool: SqlitePool,
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
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options).await;
        Ok(Embedded { pool: pool.map_err(|e| error(&file, &e))?, dir: dir.to_owned() })
    }
    pub(in crate::cluster) fn pool(&self) -> &SqlitePool {
        &self.pool
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
    async fn begin(&self, how: &'static str) -> Result<Box<dyn Transaction>> {
        let path = self.dir.join(FILE);
        match self.pool.begin_with(how).await {
            Ok(inner) => Ok(Box::new(Open { inner, path })),
            Err(e) => Err(error(&path, &e)),
        }
    }
}
impl Database for Embedded {
    fn read(&self) -> Pending<'_, Box<dyn Transaction>> {
        Box::pin(self.begin("BEGIN"))
    }
    fn write(&self) -> Pending<'_, Box<dyn Transaction>> {
        Box::pin(self.begin("BEGIN IMMEDIATE"))
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
        Some(13) => Error::io(path, "cannot write the control store", std::io::ErrorKind::StorageFull.into()),
        _ => Error::Control(format!("{}: the control store fails: {error}", path.display())),
    }
}
