//! The database of clusters: Postgres.
//!
//! Writing transactions take one lock, so that they come one after the other, as with SQLite. The leader's place is a lock of a session of its own: Postgres
//! gives it back when the session ends, which it notices within [`DEAD`] even if the leader's machine is gone without a word. The leader says twice a second
//! in its session that it is there, and gives up the place when there is no answer within [`ANSWER`]: before Postgres gives it to another. A leader that
//! stands still (its process is stopped, its machine hangs) has a session that lives: who stands by ends it, when nothing was said there for [`DEAD`].

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls};

use super::super::durable::Pending;
use super::Server;
use super::control::next_generation;
use super::database::{Cell, Database, Row, Transaction};
use super::leader::Fence;
use crate::connect::postgres_error;
use crate::sync::lock;
use crate::{Error, Result};

/// How long to wait for a server that does not answer.
const CONNECT: Duration = Duration::from_secs(5);
/// How often the leader says that it is there.
const SAY: Duration = Duration::from_millis(500);
/// How long it waits for the answer.
const ANSWER: Duration = Duration::from_secs(3);
/// A wait that took so much longer than it should says that this process stood still, and nothing of the database.
const STILL: Duration = Duration::from_millis(500);
/// After which time without a sign of life the leader's session is ended: more than [`SAY`] and [`ANSWER`] together.
const DEAD: Duration = Duration::from_secs(5);
/// The locks' names: a class that others are unlikely to take, and a number in it.
const LOCKS: i32 = 1_935_762_021;
const LEADER: i32 = 1;
const WRITER: i32 = 2;
/// Now, as the database has it.
const NOW: &str = "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT";
/// How many connections wait for the next transaction.
const IDLE: usize = 4;

pub(in crate::cluster) struct Postgres {
    url: String,
    config: Config,
    place: String,
    idle: Arc<Mutex<Vec<Client>>>,
}

impl Postgres {
    pub(super) async fn open(url: &str) -> Result<Self> {
        // the address may hold a password, which no message shows
        let bad =
            |_| Error::usage("the address of the control store is none of Postgres: write `postgres://user:password@host:port/database`");
        let mut config: Config = url.parse().map_err(bad)?;
        config.application_name("sabot").connect_timeout(CONNECT);
        // a machine that is gone is no reason to wait for ever
        config.keepalives_idle(DEAD).keepalives_interval(Duration::from_secs(1)).keepalives_retries(4).tcp_user_timeout(2 * DEAD);
        let host = config.get_hosts().first().map_or_else(String::new, |h| match h {
            tokio_postgres::config::Host::Tcp(host) => host.clone(),
            #[cfg(unix)]
            tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
        });
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let place = format!("postgres at {host}:{port}/{}", config.get_dbname().unwrap_or_default());
        let postgres = Postgres { url: url.to_owned(), config, place, idle: Arc::default() };
        let client = postgres.connect().await?;
        lock(&postgres.idle).push(client);
        Ok(postgres)
    }
    pub(in crate::cluster) fn url(&self) -> &str {
        &self.url
    }
    pub(super) fn place(&self) -> &str {
        &self.place
    }
    async fn connect(&self) -> Result<Client> {
        let connecting = timeout(CONNECT, self.config.connect(NoTls)).await;
        let late = || Error::io(&self.place, "cannot connect", std::io::ErrorKind::TimedOut.into());
        let (client, connection) = connecting.map_err(|_| late())?.map_err(|e| postgres_error(&self.place, "cannot connect", &e))?;
        // ends with the client; what goes wrong is told to whoever waits for an answer
        tokio::spawn(async { connection.await.unwrap_or_default() });
        // a server that stands still within a transaction would keep the lock of those that write
        let quiet = format!(
            "SET client_min_messages = warning; SET statement_timeout = 30000; SET idle_in_transaction_session_timeout = {}",
            DEAD.as_millis()
        );
        let quiet = client.batch_execute(&quiet).await;
        quiet.map_err(|e| postgres_error(&self.place, "cannot begin a session", &e))?;
        Ok(client)
    }
    async fn begin(&self, how: &str) -> Result<Box<dyn Transaction>> {
        loop {
            let idle = lock(&self.idle).pop();
            let pooled = idle.is_some();
            let client = match idle {
                Some(client) if client.is_closed() => continue,
                Some(client) => client,
                None => self.connect().await?,
            };
            match client.batch_execute(how).await {
                Ok(()) => return Ok(Box::new(Open { client: Some(client), place: self.place.clone(), idle: Arc::clone(&self.idle) })),
                // it was lost while it waited: the next one tells
                Err(_) if pooled => {}
                Err(e) => return Err(postgres_error(&self.place, "cannot begin a transaction", &e)),
            }
        }
    }
    /// Takes the leader's place, if it is free.
    pub(super) async fn claim(&self, who: &Server) -> Result<Option<Held>> {
        let client = self.connect().await?;
        let fail = |e: tokio_postgres::Error| postgres_error(&self.place, "cannot take the leader's place", &e);
        // what it says there matters while the database runs only: it waits for no disk
        let alive = format!(
            "SET synchronous_commit = off; SET tcp_keepalives_idle = 1; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = {}; SET tcp_user_timeout = {}",
            DEAD.as_secs() - 1,
            DEAD.as_millis()
        );
        client.batch_execute(&alive).await.map_err(fail)?;
        let locked = client.query_typed(&format!("SELECT pg_try_advisory_lock({LOCKS}, {LEADER})"), &[]).await.map_err(fail)?;
        if !locked.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) {
            let silent = format!(
                "SELECT pg_terminate_backend(pg_locks.pid) FROM pg_locks, sabot_leader WHERE locktype = 'advisory' AND classid = {LOCKS} AND objid = {LEADER} \
                 AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND heard < {NOW} - {}",
                DEAD.as_millis()
            );
            client.query_typed(&silent, &[]).await.map_err(fail)?;
            return Ok(None);
        }
        // said first, so that nobody takes the place for a silent one's
        let here = format!("UPDATE sabot_leader SET heard = {NOW}");
        client.batch_execute(&here).await.map_err(fail)?;
        let mut tx = self.write().await?;
        let fence = next_generation(&mut *tx, who).await?;
        tx.commit().await?;
        let (say, lost) = watch::channel(None);
        let place = self.place.clone();
        let watch = tokio::spawn(async move {
            let why = loop {
                tokio::time::sleep(SAY).await;
                let asked = Instant::now();
                let mut saying = pin!(client.batch_execute(&here));
                let mut answer = timeout(ANSWER, &mut saying).await;
                if answer.is_err() && asked.elapsed() > ANSWER + STILL {
                    answer = timeout(ANSWER, saying).await;
                }
                match answer {
                    Ok(Ok(())) => {}
                    Ok(Err(e)) => break postgres_error(&place, "the session that holds the leader's place is lost", &e).to_string(),
                    Err(_) => break format!("{place}: no answer within {ANSWER:?} in the session that holds the leader's place"),
                }
            };
            say.send_replace(Some(why));
        });
        Ok(Some(Held { fence, lost, watch }))
    }
}
impl Database for Postgres {
    fn read(&self) -> Pending<'_, Box<dyn Transaction>> {
        Box::pin(self.begin("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    }
    fn write(&self) -> Pending<'_, Box<dyn Transaction>> {
        Box::pin(async { self.begin(&format!("BEGIN; SELECT pg_advisory_xact_lock({LOCKS}, {WRITER})")).await })
    }
}

/// The leader's place, and the task that watches over its session and ends it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) fence: Fence,
    pub(super) lost: watch::Receiver<Option<String>>,
    watch: JoinHandle<()>,
}
impl Drop for Held {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

struct Open {
    client: Option<Client>,
    place: String,
    idle: Arc<Mutex<Vec<Client>>>,
}
impl Open {
    fn client(&self) -> Result<&Client> {
        self.client.as_ref().ok_or_else(|| Error::internal("a transaction that is over"))
    }
    fn fail(&self, e: &tokio_postgres::Error) -> Error {
        postgres_error(&self.place, "the control store fails", e)
    }
}
impl Transaction for Open {
    fn rows<'a>(&'a mut self, sql: &'a str, cells: &'a [Cell]) -> Pending<'a, Vec<Row>> {
        Box::pin(async move {
            let rows = self.client()?.query_typed(sql, &params(cells)).await.map_err(|e| self.fail(&e))?;
            rows.iter().map(|row| cells_of(row).map_err(|e| self.fail(&e))).collect()
        })
    }
    fn run<'a>(&'a mut self, sql: &'a str, cells: &'a [Cell]) -> Pending<'a, u64> {
        Box::pin(async move { self.client()?.execute_typed(sql, &params(cells)).await.map_err(|e| self.fail(&e)) })
    }
    fn commit(mut self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async move {
            let client = self.client.take().ok_or_else(|| Error::internal("a transaction that is over"))?;
            client.batch_execute("COMMIT").await.map_err(|e| self.fail(&e))?;
            keep(&self.idle, client);
            Ok(())
        })
    }
}
impl Drop for Open {
    fn drop(&mut self) {
        let (Some(client), Ok(runtime)) = (self.client.take(), Handle::try_current()) else { return };
        let idle = Arc::clone(&self.idle);
        runtime.spawn(async move {
            if client.batch_execute("ROLLBACK").await.is_ok() {
                keep(&idle, client);
            }
        });
    }
}

fn keep(idle: &Mutex<Vec<Client>>, client: Client) {
    let mut idle = lock(idle);
    if idle.len() < IDLE {
        idle.push(client);
    }
}

fn params(cells: &[Cell]) -> Vec<(&(dyn ToSql + Sync), Type)> {
    cells.iter().map(param).collect()
}

fn param(cell: &Cell) -> (&(dyn ToSql + Sync), Type) {
    match cell {
        // all columns that may be null are texts
        Cell::Null => (&None::<String>, Type::TEXT),
        Cell::Int(value) => (value, Type::INT8),
        Cell::Text(text) => (text, Type::TEXT),
    }
}

fn cells_of(row: &tokio_postgres::Row) -> Result<Row, tokio_postgres::Error> {
    let cell = |(at, column): (usize, &tokio_postgres::Column)| match *column.type_() {
        Type::INT8 => Ok(row.try_get::<_, Option<i64>>(at)?.map_or(Cell::Null, Cell::Int)),
        _ => Ok(row.try_get::<_, Option<String>>(at)?.map_or(Cell::Null, Cell::Text)),
    };
    row.columns().iter().enumerate().map(cell).collect::<Result<_, _>>().map(Row)
}
