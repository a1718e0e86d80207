//! When the result of a group is sent.

use serde::{Deserialize, Serialize};

/// When the result of a group is sent, and for how long it may change afterwards. What changes is sent as rows that are taken back,
/// and others in their place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emit {
    /// When it is sent.
    pub when: When,
    /// How long rows of a window that is over still count, in microseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lateness: i64,
}

/// When the result of a group is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// When its window, or the input, is over.
    #[default]
    OnClose,
    /// Whenever it changes.
    OnUpdate,
    /// If it has changed, when the watermark passes a multiple of this many microseconds, and when its window is over.
    Every(i64),
}

impl Emit {
    /// Whether results are taken back.
    pub fn changes(self) -> bool {
        self.when != When::OnClose || self.lateness > 0
    }
    /// Whether it is as if nothing had been said.
    pub fn is_default(&self) -> bool {
        *self == Emit::default()
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // as serde calls it
fn is_zero(micros: &i64) -> bool {
    *micros == 0
}
