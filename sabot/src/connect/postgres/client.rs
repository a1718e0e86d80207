//! A connection to a Postgres server, for code that waits.
//!
//! The connection has a tokio runtime of its own, of the thread that waits. Where that thread belongs to another tokio runtime it may not wait, so a
//! thread beside it does.

use std::io::{Cursor, ErrorKind};
use std::pin::pin;
use std::time::Duration;

use futures_util::SinkExt;
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row};

use crate::connect::PostgresTable;
use crate::runtime::waiting::wait;
use crate::{Error, Result};

/// How long to wait for a server that does not answer.
const CONNECT: Duration = Duration::from_secs(10);

/// A parameter of a query.
pub(super) type Param<'a> = &'a (dyn ToSql + Sync);

/// A connection.
pub(super) struct Connection {
    runtime: Runtime,
    client: Client,
    place: String,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// [`Error::Io`], which is tried again, if the server cannot be reached; [`Error::Usage`] if it refuses the login.
    pub(super) fn open(table: &PostgresTable) -> Result<Self> {
        let place = format!("postgres at {}:{}/{}", table.host, table.port, table.database);
        let mut config = Config::new();
        config.host(&table.host).port(table.port).dbname(&table.database).application_name("sabot").connect_timeout(CONNECT);
        let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let user = table.user.clone().or_else(|| variable("PGUSER"));
        config.user(
            user.ok_or_else(|| Error::Usage(format!("{place}: who connects? Write `postgres://user@{}/..`, or set PGUSER", table.host)))?,
        );
        let password = table.password.as_ref().map(|p| p.reveal().clone()).or_else(|| variable("PGPASSWORD"));
        if let Some(password) = password {
            config.password(password);
        }
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Error::io(&place, "cannot start a connection", e))?;
        let connecting = async {
            let (client, connection) = config.connect(NoTls).await?;
            // ends with the client; what goes wrong is told to whoever waits for an answer
            tokio::spawn(async { connection.await.unwrap_or_default() });
            Ok(client)
        };
        let client = wait(&runtime, connecting).map_err(|e| error(&place, "cannot connect", &e))?;
        let connection = Connection { runtime, client, place };
        connection.batch("SET TIME ZONE 'UTC'; SET client_min_messages = warning", "cannot begin a session")?;
        Ok(connection)
    }
    /// Runs statements without parameters.
    pub(super) fn batch(&self, sql: &str, what: &str) -> Result<()> {
        wait(&self.runtime, self.client.batch_execute(sql)).map_err(|e| error(&self.place, what, &e))
    }
    /// Runs a statement; its rows.
    pub(super) fn query(&self, sql: &str, params: &[Param<'_>], what: &str) -> Result<Vec<Row>> {
        wait(&self.runtime, self.client.query(sql, params)).map_err(|e| error(&self.place, what, &e))
    }
    /// Runs a statement; how many rows it touched.
    pub(super) fn execute(&self, sql: &str, params: &[Param<'_>], what: &str) -> Result<u64> {
        wait(&self.runtime, self.client.execute(sql, params)).map_err(|e| error(&self.place, what, &e))
    }
    /// Runs a `COPY .. FROM STDIN` with this text.
    pub(super) fn copy(&self, sql: &str, text: String, what: &str) -> Result<u64> {
        let copying = async {
            let sink = self.client.copy_in::<_, Cursor<Vec<u8>>>(sql).await?;
            let mut sink = pin!(sink);
            sink.send(Cursor::new(text.into_bytes())).await?;
            sink.finish().await
        };
        wait(&self.runtime, copying).map_err(|e| error(&self.place, what, &e))
    }
    /// Whether the server, or the way to it, is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}

/// What the server, or the way to it, refused.
pub(crate) fn error(place: &str, what: &str, e: &tokio_postgres::Error) -> Error {
    use std::error::Error as _;
    let Some(db) = e.as_db_error() else {
        let cause = e.source().and_then(|s| s.downcast_ref::<std::io::Error>());
        let kind = match cause {
            Some(cause) => cause.kind(),
            None if e.is_closed() => ErrorKind::ConnectionReset,
            None => ErrorKind::Other,
        };
        let text = e.source().map_or_else(|| e.to_string(), |s| s.to_string());
        // a connection that ended in the middle of an answer was lost too
        let kind = if kind == ErrorKind::UnexpectedEof || kind == ErrorKind::BrokenPipe { ErrorKind::ConnectionReset } else { kind };
        return Error::io(place, what, std::io::Error::new(kind, text));
    };
    let code = db.code();
    let mut text = db.message().to_owned();
    for more in [db.detail(), db.where_(), db.hint()].into_iter().flatten() {
        text.push_str("; ");
        text.push_str(more);
    }
    let class = code.code().get(..2).unwrap_or_default();
    let passes = matches!(class, "08" | "57" | "53")
        || [&SqlState::T_R_SERIALIZATION_FAILURE, &SqlState::T_R_DEADLOCK_DETECTED, &SqlState::LOCK_NOT_AVAILABLE].contains(&code);
    match class {
        _ if passes => Error::io(place, what, std::io::Error::new(ErrorKind::ConnectionReset, text)),
        "28" | "3D" | "42" => Error::Usage(format!("{place}: {what}: {text}")),
        _ => Error::Data { place: place.to_owned(), what: format!("{what}: {text} (SQLSTATE {})", code.code()) },
    }
}

/// A name as SQL has it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
/// Names as SQL has them, separated by commas.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}
