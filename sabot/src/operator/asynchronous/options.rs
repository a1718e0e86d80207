//! How an async operator is called.

use std::fmt;
use std::time::Duration;

/// The options of an `#[operator] async fn`.
///
/// Example: the example `async_lookup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AsyncOptions {
    /// Calls at once, over the whole job: instances of a process share them, and several processes have each the part of their instances, at
    /// least one. At least 1, which is one for the job.
    pub max_in_flight: usize,
    /// How long one call may take; for ever without.
    pub timeout: Option<Duration>,
    /// Emit rows in the order in which they came, not as their calls end.
    pub ordered: bool,
    /// How often a call that failed or timed out is repeated before that is the row's error.
    pub retry: u32,
    /// The pause before the first repetition; each later one is twice as long.
    pub retry_wait: Duration,
}

impl AsyncOptions {
    /// 64 calls at once, in order, without a timeout, without repetition.
    pub const DEFAULT: AsyncOptions =
        AsyncOptions { max_in_flight: 64, timeout: None, ordered: true, retry: 0, retry_wait: Duration::from_millis(100) };
}

impl Default for AsyncOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// As `explain` says it.
impl fmt::Display for AsyncOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} in flight", self.max_in_flight)?;
        if let Some(timeout) = self.timeout {
            write!(f, ", timeout {timeout:?}")?;
        }
        if self.retry > 0 {
            write!(f, ", retried {} times after {:?}", self.retry, self.retry_wait)?;
        }
        if !self.ordered {
            write!(f, ", unordered: rows leave as their calls end, so their order depends on timing")?;
        }
        Ok(())
    }
}
