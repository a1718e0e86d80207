//! Functions that wait: calls of an `async fn`, many at once, outside of the tasks.
//!
//! Rows in flight are state. A step keeps the rows that it took (`queue`) until their calls have ended, and the marks that
//! came behind them. A cut holds these rows and not their calls, so a restored job calls again: calls happen at least once,
//! results are emitted exactly once.

#[cfg(feature = "async")]
mod awaited;
#[cfg(feature = "async")]
mod call;
#[cfg(feature = "async")]
mod inbox;
mod options;
#[cfg(feature = "async")]
mod permits;
#[cfg(feature = "async")]
mod queue;

#[cfg(feature = "async")]
pub use awaited::{AsyncItem, AsyncMap, Awaited};
#[cfg(feature = "async")]
pub use call::{Async, AsyncSpec};
pub use options::AsyncOptions;
