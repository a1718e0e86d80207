//! What happened, for people.

use super::control::ControlStore;
use super::database::{Cell, Row, cells};
use super::leader::Fence;
use super::{Event, EventFilter, Level};
use crate::Result;

/// How many events a list has at most, if it does not say.
const LISTED: u32 = 1000;

fn event(row: &Row) -> Result<Event> {
    Ok(Event {
        number: row.number(0)?,
        at: row.int(1)?,
        level: row.word(2, Level::of)?,
        job: row.maybe_text(3)?,
        agent: row.maybe_text(4)?,
        message: row.text(5)?,
    })
}

impl ControlStore {
    /// Writes events down, in this order; their numbers are given here.
    ///
    /// # Errors
    /// If this server does not lead any more.
    pub async fn log(&self, fence: Fence, events: &[Event]) -> Result<()> {
        let mut tx = self.write(fence).await?;
        let sql = "INSERT INTO sabot_events (number, at, level, job, agent, message) \
                   SELECT COALESCE(MAX(number), 0) + 1, $1, $2, $3, $4, $5 FROM sabot_events";
        for Event { at, level, job, agent, message, .. } in events {
            tx.run(sql, cells![*at, level.word(), job.as_deref(), agent.as_deref(), message]).await?;
        }
        tx.commit().await
    }
    /// The events that fit, the oldest first.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>> {
        let mut tx = self.database().read().await?;
        let mut wanted: Vec<Cell> = Vec::new();
        let mut sql = "SELECT number, at, level, job, agent, message FROM sabot_events WHERE number > 0".to_owned();
        for (column, value) in [("job", &filter.job), ("agent", &filter.agent)] {
            if let Some(value) = value {
                wanted.push(Cell::from(value));
                sql += &format!(" AND {column} = ${}", wanted.len());
            }
        }
        let newest = filter.after.is_none();
        if let Some(after) = filter.after {
            wanted.push(Cell::from(after));
            sql += &format!(" AND number > ${}", wanted.len());
        }
        wanted.push(Cell::from(if filter.limit == 0 { LISTED } else { filter.limit }));
        sql += &format!(" ORDER BY number {} LIMIT ${}", if newest { "DESC" } else { "ASC" }, wanted.len());
        let mut events = tx.rows(&sql, &wanted).await?.iter().map(event).collect::<Result<Vec<_>>>()?;
        if newest {
            events.reverse();
        }
        Ok(events)
    }
    /// Forgets all but the newest so many events.
    ///
    /// # Errors
    /// If this server does not lead any more.
    pub async fn trim_events(&self, fence: Fence, keep: u32) -> Result<()> {
        let mut tx = self.write(fence).await?;
        tx.run("DELETE FROM sabot_events WHERE number <= (SELECT COALESCE(MAX(number), 0) - $1 FROM sabot_events)", cells![keep]).await?;
        tx.commit().await
    }
}
