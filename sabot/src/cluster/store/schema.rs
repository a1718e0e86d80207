//! The tables, and their version.

use super::database::{Transaction, cells};
use crate::{Error, Result};

/// The version of the tables. A change of them appends to [`STEPS`].
pub(super) const VERSION: i64 = STEPS.len() as i64;

/// What makes version n + 1 of version n.
const STEPS: &[&[&str]] = &[
    FIRST,
    &["CREATE TABLE sabot_job_steps (job TEXT PRIMARY KEY REFERENCES sabot_jobs (id), stages TEXT NOT NULL, steps TEXT NOT NULL)"],
    &[
        "CREATE TABLE sabot_savepoints (job TEXT NOT NULL REFERENCES sabot_jobs (id), name TEXT NOT NULL, number BIGINT NOT NULL, attempt BIGINT NOT NULL, \
         location TEXT NOT NULL, bytes BIGINT NOT NULL, took BIGINT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (job, name))",
    ],
];

const FIRST: &[&str] = &[
    "CREATE TABLE sabot_leader (one BIGINT PRIMARY KEY, generation BIGINT NOT NULL, pid BIGINT NOT NULL, host TEXT NOT NULL, address TEXT NOT NULL, \
     since BIGINT NOT NULL, heard BIGINT NOT NULL)",
    "INSERT INTO sabot_leader VALUES (1, 0, 0, '', '', 0, 0)",
    "CREATE TABLE sabot_counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL)",
    "CREATE TABLE sabot_jobs (id TEXT PRIMARY KEY, name TEXT NOT NULL, build TEXT NOT NULL, spec TEXT NOT NULL, options TEXT NOT NULL, state TEXT NOT NULL, \
     attempt BIGINT NOT NULL, restarts BIGINT NOT NULL, error TEXT, created BIGINT NOT NULL, updated BIGINT NOT NULL)",
    "CREATE TABLE sabot_job_changes (job TEXT NOT NULL REFERENCES sabot_jobs (id), number BIGINT NOT NULL, at BIGINT NOT NULL, state TEXT NOT NULL, \
     attempt BIGINT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (job, number))",
    "CREATE TABLE sabot_agents (id TEXT PRIMARY KEY, address TEXT NOT NULL, build TEXT NOT NULL, resources TEXT NOT NULL, slots BIGINT NOT NULL, \
     state TEXT NOT NULL, epoch BIGINT NOT NULL, heard BIGINT NOT NULL)",
    "CREATE TABLE sabot_tasks (job TEXT NOT NULL REFERENCES sabot_jobs (id), attempt BIGINT NOT NULL, stage BIGINT NOT NULL, instance BIGINT NOT NULL, \
     state TEXT NOT NULL, error TEXT, agent TEXT NOT NULL REFERENCES sabot_agents (id), epoch BIGINT NOT NULL, slot BIGINT NOT NULL, reason TEXT NOT NULL, \
     PRIMARY KEY (job, attempt, stage, instance))",
    "CREATE TABLE sabot_slots (agent TEXT NOT NULL REFERENCES sabot_agents (id), slot BIGINT NOT NULL, job TEXT NOT NULL REFERENCES sabot_jobs (id), \
     attempt BIGINT NOT NULL, PRIMARY KEY (agent, slot))",
    "CREATE TABLE sabot_operations (id TEXT PRIMARY KEY, kind TEXT NOT NULL, job TEXT, input TEXT NOT NULL, state TEXT NOT NULL, progress TEXT NOT NULL, \
     outcome TEXT, error TEXT, created BIGINT NOT NULL, updated BIGINT NOT NULL)",
    "CREATE INDEX sabot_operations_of_job ON sabot_operations (job, created)",
    "CREATE TABLE sabot_checkpoints (job TEXT NOT NULL REFERENCES sabot_jobs (id), number BIGINT NOT NULL, kind TEXT NOT NULL, name TEXT, \
     attempt BIGINT NOT NULL, location TEXT NOT NULL, bytes BIGINT NOT NULL, took BIGINT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (job, number))",
    "CREATE TABLE sabot_events (number BIGINT PRIMARY KEY, at BIGINT NOT NULL, level TEXT NOT NULL, job TEXT, agent TEXT, message TEXT NOT NULL)",
    "CREATE INDEX sabot_events_of_job ON sabot_events (job, number)",
    "CREATE INDEX sabot_events_of_agent ON sabot_events (agent, number)",
];

/// Makes the tables, or brings them to this version. A newer one is refused.
pub(super) async fn create(tx: &mut dyn Transaction, place: &str) -> Result<()> {
    tx.run("CREATE TABLE IF NOT EXISTS sabot_schema (one BIGINT PRIMARY KEY, version BIGINT NOT NULL)", &[]).await?;
    let found = match tx.rows("SELECT version FROM sabot_schema", &[]).await?.first() {
        Some(row) => row.int(0)?,
        None => {
            tx.run("INSERT INTO sabot_schema VALUES (1, 0)", &[]).await?;
            0
        }
    };
    if !(0..=VERSION).contains(&found) {
        return Err(Error::Control(format!(
            "{place}: the control store has version {found} of its tables, and this program knows versions up to {VERSION}: a newer Sabot wrote it; run \
             that one, or take another store"
        )));
    }
    let missing = STEPS.get(usize::try_from(found).unwrap_or_default()..).unwrap_or_default();
    for statement in missing.iter().copied().flatten() {
        tx.run(statement, &[]).await?;
    }
    if !missing.is_empty() {
        tx.run("UPDATE sabot_schema SET version = $1", cells![VERSION]).await?;
    }
    Ok(())
}
