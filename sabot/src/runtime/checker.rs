//! In debug builds: whether what an operator sends keeps the promises of its marks.
//!
//! Between any two operators watermarks and barriers ascend, no row is behind a watermark that was sent before it, and nothing follows
//! the end. An operator that breaks this makes others lose rows or repeat windows far downstream, where it cannot be told why; here the
//! job ends with the operator's name. What is not checked: rows behind a partition that was idle and came back, which may be behind.

use crate::kernel::Morsel;
use crate::operator::EventTime;
use crate::operator::instants::micros;
use crate::plan::EventColumn;
use crate::shuffle::Message;
use crate::{Error, Result};

/// What one node has promised.
pub(super) struct Checker {
    /// The event time of its rows, where a source tells it.
    time: Option<EventColumn>,
    sent: EventTime,
    barrier: u64,
    idle: bool,
    ended: bool,
}

impl Checker {
    /// A checker of a node whose rows have this event time; none in release builds.
    pub(super) fn new(time: Option<&EventColumn>) -> Option<Self> {
        cfg!(debug_assertions).then(|| Checker { time: time.cloned(), sent: EventTime::MIN, barrier: 0, idle: false, ended: false })
    }
    /// The node sends this, before what it sends next.
    pub(super) fn sends(&mut self, name: &str, message: &Message) -> Result<()> {
        let broken = |what: String| Err(Error::Internal(format!("`{name}` breaks its word: {what}")));
        if self.ended {
            return broken("something follows the end of its rows".into());
        }
        match message {
            Message::Rows(morsel) => {
                if let Some(time) = self.earliest(morsel)?.filter(|t| *t < self.sent) {
                    return broken(format!("a row of time {time} follows the watermark {}", self.sent));
                }
            }
            Message::Watermark(time) if *time < self.sent => {
                return broken(format!("the watermark {time} follows {}", self.sent));
            }
            Message::Watermark(time) => self.sent = *time,
            Message::Barrier(epoch) if *epoch <= self.barrier => {
                return broken(format!("the barrier of checkpoint {epoch} follows that of {}", self.barrier));
            }
            Message::Barrier(epoch) => self.barrier = *epoch,
            Message::Idle => self.idle = true,
            Message::End => self.ended = true,
            Message::SplitEnd(_) | Message::Ascending(_) | Message::Active => {}
        }
        Ok(())
    }
    fn earliest(&self, morsel: &Morsel) -> Result<Option<EventTime>> {
        let Some(time) = self.time.as_ref().filter(|_| !self.idle && self.sent > EventTime::MIN) else { return Ok(None) };
        // a column that nobody reads downstream may have been pruned
        let Some(column) = morsel.batch.column_by_name(&time.column) else { return Ok(None) };
        let times = micros(column)?;
        let least = match &morsel.selection {
            Some(selection) => selection.rows().filter_map(|row| times.get(row)).min(),
            None => times.iter().min(),
        };
        Ok(least.map(|t| t.saturating_add(time.offset)))
    }
}
