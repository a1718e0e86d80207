//! Calls that have ended, on their way from the threads that ran them to the operator.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use super::awaited::{Answer, Call};
use crate::kernel::{Panicked, catch};

/// A call that has ended.
pub(super) struct Landed<V> {
    /// The row's number.
    pub(super) row: u64,
    /// Which of its calls.
    pub(super) attempt: u32,
    pub(super) outcome: Result<Answer<V>, Panicked>,
}

pub(super) struct Inbox<V> {
    landed: Mutex<Vec<Landed<V>>>,
    any: AtomicBool,
}

impl<V> Default for Inbox<V> {
    fn default() -> Self {
        Inbox { landed: Mutex::default(), any: AtomicBool::new(false) }
    }
}

impl<V> Inbox<V> {
    pub(super) fn put(&self, landed: Landed<V>) {
        self.landed.lock().unwrap_or_else(PoisonError::into_inner).push(landed);
        self.any.store(true, SeqCst);
    }
    pub(super) fn any(&self) -> bool {
        self.any.load(SeqCst)
    }
    pub(super) fn take(&self) -> Vec<Landed<V>> {
        self.any.store(false, SeqCst);
        std::mem::take(&mut *self.landed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Waits for a call; a panic in it becomes a value.
pub(super) async fn caught<V>(mut call: Call<V>) -> Result<Answer<V>, Panicked> {
    std::future::poll_fn(|cx| match catch(|| call.as_mut().poll(cx)) {
        Ok(Poll::Ready(answer)) => Poll::Ready(Ok(answer)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}
