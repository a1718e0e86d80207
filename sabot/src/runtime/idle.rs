//! What those behind a source or a task know of whether it is idle.
//!
//! Rows and watermarks say without a word that their sender is not idle, so after them it is told anew either way: rows may be filtered out, and a
//! watermark may not move, before they reach those who wait.

use super::chain::Signal;

/// What was told last.
#[derive(Default)]
pub(super) struct Told {
    idle: bool,
    /// Whether something was sent since that speaks against it.
    stirred: bool,
}

impl Told {
    /// Rows or a watermark are sent.
    pub(super) fn stir(&mut self) {
        self.stirred |= self.idle;
    }
    /// What there is to tell.
    pub(super) fn news(&mut self, idle: bool) -> Option<Signal> {
        if idle == self.idle && !self.stirred {
            return None;
        }
        *self = Told { idle, stirred: false };
        Some(if idle { Signal::Idle } else { Signal::Active })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_told_once() {
        let mut told = Told::default();
        assert!(told.news(false).is_none());
        told.stir();
        assert!(told.news(false).is_none(), "nobody took it for idle");
        assert!(matches!(told.news(true), Some(Signal::Idle)) && told.news(true).is_none());
        told.stir();
        assert!(matches!(told.news(true), Some(Signal::Idle)), "rows have said that it is not idle");
        assert!(matches!(told.news(false), Some(Signal::Active)) && told.news(false).is_none());
    }
}
