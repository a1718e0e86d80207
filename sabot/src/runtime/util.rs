//! Small helpers against panics: locks that survive one, and indexing that reports instead.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Error, Result};

/// Locks; a panic elsewhere is reported by the job itself, so a poisoned lock is used as it is.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn at<T>(items: &[T], i: usize) -> Result<&T> {
    items.get(i).ok_or_else(|| Error::internal("an index of the runtime is out of range"))
}

pub(super) fn at_mut<T>(items: &mut [T], i: usize) -> Result<&mut T> {
    items.get_mut(i).ok_or_else(|| Error::internal("an index of the runtime is out of range"))
}
