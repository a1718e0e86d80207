//! A value that may be used, but not seen.

use serde::{Deserialize, Serialize};

/// A parameter that never shows in logs, listings or plans. It does travel to the processes that run the job.
/// ```
/// use sabot::prelude::*;
///
/// let key = Secret::new("hunter2".to_owned());
/// assert_eq!(key.reveal(), "hunter2");
/// assert!(!format!("{key:?}").contains("hunter2"));
/// ```
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret<T>(T);
impl<T> Secret<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Secret(value)
    }
    /// The value.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}
impl<T> std::fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
impl<T> std::fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
