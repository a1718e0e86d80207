//! Waiting for a future on a thread that may wait.

use tokio::runtime::{Handle, Runtime};

/// Waits for a future of this runtime. Where the calling thread belongs to another tokio runtime it may not wait, so a thread beside it does.
pub(crate) fn wait<T: Send>(runtime: &Runtime, future: impl Future<Output = T> + Send) -> T {
    if Handle::try_current().is_err() {
        return runtime.block_on(future);
    }
    std::thread::scope(|scope| match scope.spawn(|| runtime.block_on(future)).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
