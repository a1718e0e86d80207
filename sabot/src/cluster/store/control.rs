//! The store itself: opening it, leading it, writing to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::database::{Database, Transaction, cells};
use super::leader::{Claim, Fence, Leader};
use super::memory::{self, Memory};
#[cfg(feature = "cluster-postgres")]
use super::postgres::Postgres;
use super::sqlite::Embedded;
use super::{Server, schema};
use crate::cluster::door;
use crate::{Error, Result};

/// Where the control store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a directory of this machine: one SQLite file, one server.
    Directory(PathBuf),
    /// In this process's memory, for tests: nothing survives it.
    Memory(Memory),
    /// In a Postgres database, `postgres://user:password@host:port/database`: further servers stand by. Needs feature `cluster-postgres`.
    Postgres(String),
}
impl Place {
    /// What begins with `postgres://` or `postgresql://` is a database, all else a directory.
    pub fn of(text: &str) -> Self {
        let database = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
        if database { Place::Postgres(text.to_owned()) } else { Place::Directory(text.into()) }
    }
}

/// How often a server that stands by asks whether the place is free.
const STAND_BY: Duration = Duration::from_millis(500);

/// The store. All its methods are one transaction each; what they write is on the disk when they return.
///
/// Methods that write take a [`Fence`], and fail with an error that says so if somebody else leads by now. They can be repeated: the second time they find
/// what they would write, and change nothing.
pub struct ControlStore {
    engine: Engine,
}

pub(in crate::cluster) enum Engine {
    Embedded(Embedded),
    Memory(Memory),
    #[cfg(feature = "cluster-postgres")]
    Postgres(Box<Postgres>),
}

impl ControlStore {
    /// Opens it; makes its tables if there are none.
    ///
    /// # Errors
    /// If it cannot be reached, or was written by a newer version.
    pub async fn open(place: &Place) -> Result<Self> {
        let engine = match place {
            Place::Directory(dir) => Engine::Embedded(Embedded::open(dir).await?),
            Place::Memory(memory) => Engine::Memory(memory.clone()),
            #[cfg(feature = "cluster-postgres")]
            Place::Postgres(url) => Engine::Postgres(Box::new(Postgres::open(url).await?)),
            #[cfg(not(feature = "cluster-postgres"))]
            Place::Postgres(_) => {
                return Err(Error::usage("a control store in Postgres needs a program that was built with the feature `cluster-postgres`"));
            }
        };
        let store = ControlStore { engine };
        let mut tx = store.database().write().await?;
        schema::create(&mut *tx, &store.place()).await?;
        tx.commit().await?;
        Ok(store)
    }
    /// In a directory.
    ///
    /// # Errors
    /// As [`open`](ControlStore::open).
    pub async fn embedded(dir: impl AsRef<Path>) -> Result<Self> {
        Self::open(&Place::Directory(dir.as_ref().to_owned())).await
    }
    pub(in crate::cluster) fn engine(&self) -> &Engine {
        &self.engine
    }
    pub(super) fn database(&self) -> &dyn Database {
        match &self.engine {
            Engine::Embedded(embedded) => embedded,
            Engine::Memory(memory) => memory,
            #[cfg(feature = "cluster-postgres")]
            Engine::Postgres(postgres) => &**postgres,
        }
    }
    /// Where it is, without a password.
    pub fn place(&self) -> String {
        match &self.engine {
            Engine::Embedded(embedded) => embedded.dir().display().to_string(),
            Engine::Memory(_) => memory::path().display().to_string(),
            #[cfg(feature = "cluster-postgres")]
            Engine::Postgres(postgres) => postgres.place().to_owned(),
        }
    }
    /// Takes the leader's place if it is free: this server's number is then greater than of all before.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn claim(&self, who: &Server) -> Result<Claim> {
        match &self.engine {
            Engine::Embedded(embedded) => match embedded.lock(who)? {
                Ok(lock) => {
                    let mut tx = embedded.write().await?;
                    let fence = next_generation(&mut *tx, who).await?;
                    tx.commit().await?;
                    Ok(Claim::Leads(Leader::embedded(fence, lock)))
                }
                Err(holder) => Ok(Claim::Held(holder)),
            },
            Engine::Memory(memory) => match memory.lock(who) {
                Ok(place) => {
                    let mut tx = memory.write().await?;
                    let fence = next_generation(&mut *tx, who).await?;
                    tx.commit().await?;
                    Ok(Claim::Leads(Leader::memory(fence, place)))
                }
                Err(holder) => Ok(Claim::Held(holder)),
            },
            #[cfg(feature = "cluster-postgres")]
            Engine::Postgres(postgres) => match postgres.claim(who).await? {
                Some(held) => Ok(Claim::Leads(Leader::postgres(held))),
                None => Ok(Claim::Held(self.leader().await?.map(|(_, server)| server))),
            },
        }
    }
    /// Leads. An embedded store that another server has is an error, which names it; on Postgres this waits, for as long as it takes, until the place is
    /// free, which it is within seconds after the other server is gone.
    ///
    /// # Errors
    /// If an embedded store is held by another server; if the store does not answer.
    pub async fn lead(&self, who: &Server) -> Result<Leader> {
        loop {
            let holder = match self.claim(who).await {
                Ok(Claim::Leads(leader)) => return Ok(leader),
                Ok(Claim::Held(holder)) => holder,
                // the database is away, and may come back
                Err(e) if e.is_transient() && self.has_stand_by() => None,
                Err(e) => return Err(e),
            };
            if !self.has_stand_by() {
                let (holder, place) = (holder.map_or_else(|| "another server".to_owned(), |h| h.to_string()), self.place());
                return Err(Error::Control(format!(
                    "the control store in `{place}` is held by {holder}: stop that server, or take another directory"
                )));
            }
            door::sleep(STAND_BY).await;
        }
    }
    /// Whether a second server may wait here for the leader's place.
    pub fn has_stand_by(&self) -> bool {
        !matches!(self.engine, Engine::Embedded(_) | Engine::Memory(_))
    }
    /// Who leads, or led last.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn leader(&self) -> Result<Option<(u64, Server)>> {
        let mut tx = self.database().read().await?;
        let rows = tx.rows("SELECT generation, pid, host, address, since FROM sabot_leader WHERE one = 1 AND generation > 0", &[]).await?;
        let server = |row: &super::database::Row| -> Result<_> {
            Ok((row.number(0)?, Server { pid: row.number(1)?, host: row.text(2)?, address: row.text(3)?, since: row.int(4)? }))
        };
        rows.first().map(server).transpose()
    }
    /// Id, name and version of workflows that are not over, in the tables of DBOS; none, if there are none yet.
    #[cfg(feature = "cluster-postgres")]
    pub(in crate::cluster) async fn unfinished_workflows(&self) -> Result<Vec<(String, String, String)>> {
        let mut tx = self.database().read().await?;
        let there = tx.rows("SELECT to_regclass('dbos.workflow_status')::TEXT", &[]).await?;
        if there.first().map(|row| row.maybe_text(0)).transpose()?.flatten().is_none() {
            return Ok(Vec::new());
        }
        let sql = "SELECT workflow_uuid::TEXT, COALESCE(name, '')::TEXT, COALESCE(application_version, '')::TEXT FROM dbos.workflow_status \
                   WHERE status IN ('PENDING', 'ENQUEUED', 'DELAYED') ORDER BY created_at, workflow_uuid";
        tx.rows(sql, &[]).await?.iter().map(|row| Ok((row.text(0)?, row.text(1)?, row.text(2)?))).collect()
    }
    /// Lets unfinished workflows be begun again as often as the server is: DBOS counts that, and gives them up after 100 times, which no setting changes.
    /// To be called by the leader, before the engine is opened.
    #[cfg(feature = "cluster-postgres")]
    pub(in crate::cluster) async fn forgive_workflows(&self) -> Result<()> {
        let mut tx = self.database().write().await?;
        let there = tx.rows("SELECT to_regclass('dbos.workflow_status')::TEXT", &[]).await?;
        if there.first().map(|row| row.maybe_text(0)).transpose()?.flatten().is_some() {
            let sql = "UPDATE dbos.workflow_status SET recovery_attempts = 0 WHERE recovery_attempts > 0 AND status IN ('PENDING', 'ENQUEUED', 'DELAYED')";
            tx.run(sql, &[]).await?;
        }
        tx.commit().await
    }
    /// A transaction of the leader.
    pub(super) async fn write(&self, fence: Fence) -> Result<Box<dyn Transaction>> {
        let mut tx = self.database().write().await?;
        let rows = tx.rows("SELECT generation, pid, host, address, since FROM sabot_leader WHERE one = 1", &[]).await?;
        let Some(row) = rows.first() else {
            return Err(Error::Control(format!("{}: the control store says nothing of who leads: its tables were changed", self.place())));
        };
        if row.number::<u64>(0)? != fence.0 {
            let by = Server { pid: row.number(1)?, host: row.text(2)?, address: row.text(3)?, since: row.int(4)? };
            return Err(Error::Control(format!("this server does not lead any more: {by} does. Nothing was written")));
        }
        Ok(tx)
    }
}
impl std::fmt::Debug for ControlStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ControlStore").field(&self.place()).finish()
    }
}

/// Notes who leads from here on; the number of that.
pub(super) async fn next_generation(tx: &mut dyn Transaction, who: &Server) -> Result<Fence> {
    let changed = "UPDATE sabot_leader SET generation = generation + 1, pid = $1, host = $2, address = $3, since = $4 WHERE one = 1 RETURNING generation";
    let rows = tx.rows(changed, cells![who.pid, &who.host, &who.address, who.since]).await?;
    match rows.first() {
        Some(row) => Ok(Fence(row.number(0)?)),
        None => Err(Error::Control("the control store says nothing of who leads: its tables were changed".into())),
    }
}
