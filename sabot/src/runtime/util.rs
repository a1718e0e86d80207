//! Small helpers against panics: locks that survive one, and indexing that reports instead.

pub(super) use crate::sync::lock;
use crate::{Error, Result};

pub(super) fn at<T>(items: &[T], i: usize) -> Result<&T> {
    items.get(i).ok_or_else(|| Error::internal("an index of the runtime is out of range"))
}

pub(super) fn at_mut<T>(items: &mut [T], i: usize) -> Result<&mut T> {
    items.get_mut(i).ok_or_else(|| Error::internal("an index of the runtime is out of range"))
}
