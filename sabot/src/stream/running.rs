//! A job on a thread of its own: watch it, stop it, wait for it, await it.

use std::sync::{Arc, Mutex};

use super::Job;
use crate::runtime::{self, Control, Report};
use crate::{Error, Result};

/// A job that runs on a thread of its own.
/// ```
/// use sabot::prelude::*;
///
/// #[derive(Record, Clone)]
/// struct Tick { n: i64 }
///
/// pipeline! {
///     /// Ticks for ever, to nowhere.
///     pub fn ticks(ticks: Source<Tick>);
///     out = ticks -> filter(|t| t.n >= 0);
///     out -> sink;
/// }
///
/// # fn main() -> Result<()> {
/// let job = ticks(generate(1, |_, row| Tick { n: row as i64 })).sink("out", sabot::connect::SinkSpec::Blackhole);
/// let running = job.spawn();
/// let _ = running.progress();
/// running.stop(); // sources end, what was read is finished; `cancel` throws it away
/// running.wait()?;
/// # Ok(()) }
/// ```
pub struct Running {
    control: Control,
    shared: Arc<Shared>,
}
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    done: std::sync::Condvar,
}
#[derive(Default)]
struct State {
    result: Option<Result<Report>>,
    waker: Option<std::task::Waker>,
    progress: runtime::Progressed,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Running(..)")
    }
}

impl Running {
    pub(super) fn start(job: Job) -> Self {
        let control = Control::new();
        let shared = Arc::new(Shared::default());
        let (theirs, handle) = (Arc::clone(&shared), control.clone());
        let observer = Arc::clone(&shared);
        let before = job.options.progress.clone();
        let job = job.options(move |o| {
            o.progress = Some(Arc::new(move |p| {
                if let Ok(mut state) = observer.state.lock() {
                    state.progress = p;
                }
                if let Some(before) = &before {
                    before(p);
                }
            }));
        });
        // async operators run on the caller's tokio, if there is one
        #[cfg(feature = "async")]
        let tokio = tokio::runtime::Handle::try_current().ok();
        let body = move || {
            #[cfg(feature = "async")]
            let _inside = tokio.as_ref().map(tokio::runtime::Handle::enter);
            let result = job.run_with(&handle);
            if let Ok(mut state) = theirs.state.lock() {
                state.result = Some(result);
                if let Some(waker) = state.waker.take() {
                    waker.wake();
                }
            }
            theirs.done.notify_all();
        };
        if let Err(e) = std::thread::Builder::new().name("sabot-job".into()).spawn(body)
            && let Ok(mut state) = shared.state.lock()
        {
            state.result = Some(Err(Error::Usage(format!("cannot start a thread for the job: {e}"))));
        }
        Running { control, shared }
    }
    /// Ends the job at once; sinks are aborted.
    pub fn cancel(&self) {
        self.control.cancel();
    }
    /// Ends the job gracefully: sources end where they are, everything drains, sinks commit.
    pub fn stop(&self) {
        self.control.stop();
    }
    /// Rows and bytes read so far.
    pub fn progress(&self) -> runtime::Progressed {
        self.shared.state.lock().map(|s| s.progress).unwrap_or_default()
    }
    /// The control: for checkpoints.
    pub fn control(&self) -> &Control {
        &self.control
    }
    /// Waits for the end.
    ///
    /// # Errors
    /// As for [`Job::run`].
    pub fn wait(self) -> Result<Report> {
        let lost = || Error::internal("the job's thread is gone");
        let mut state = self.shared.state.lock().map_err(|_| lost())?;
        loop {
            if let Some(result) = state.result.take() {
                return result;
            }
            state = self.shared.done.wait(state).map_err(|_| lost())?;
        }
    }
}

impl Future for Running {
    type Output = Result<Report>;
    fn poll(self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        let Ok(mut state) = self.shared.state.lock() else {
            return std::task::Poll::Ready(Err(Error::internal("the job's thread is gone")));
        };
        match state.result.take() {
            Some(result) => std::task::Poll::Ready(result),
            None => {
                state.waker = Some(cx.waker().clone());
                std::task::Poll::Pending
            }
        }
    }
}
