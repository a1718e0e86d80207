//! Waiting, on a thread that may block, for the producing ends of a share.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::sync::lock;
use crate::{Error, Result};

#[derive(Default)]
pub(super) struct Ended {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    running: usize,
    error: Option<String>,
}

impl Ended {
    /// So many more run.
    pub(super) fn begin(&self, more: usize) {
        lock(&self.state).running += more;
    }
    /// One of them ended.
    pub(super) fn one(&self) {
        let mut state = lock(&self.state);
        state.running = state.running.saturating_sub(1);
        self.changed.notify_all();
    }
    /// One of them failed.
    pub(super) fn failed(&self, error: &Error) {
        lock(&self.state).error.get_or_insert_with(|| error.to_string());
    }
    /// Waits until all have ended.
    ///
    /// # Errors
    /// If one has failed.
    pub(super) fn wait(&self) -> Result<()> {
        let mut state = lock(&self.state);
        while state.running > 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match state.error.take() {
            None => Ok(()),
            Some(text) => Err(Error::io("the exchange", "could not deliver all rows", std::io::Error::other(text))),
        }
    }
}
