//! For how long a share may act without a word of its lead.
//!
//! Idea: a share counts from when it *asked*, not from when it was answered. A process that was stopped for long finds answers that have
//! waited for it; they are answers to old questions, so its lease is over all the same, by its own clock. The lead counts from its last
//! answer, which came later than the question: when its wait is over, so is the lease.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use crate::runtime::util::lock;

pub(super) struct Lease {
    length: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// Questions without an answer, and when they were asked.
    asked: VecDeque<(u64, Duration)>,
    /// When the newest question that was answered was asked.
    answered: Option<Duration>,
    begun: Duration,
}

impl Lease {
    pub(super) fn new(length: Duration, now: Duration) -> Lease {
        Lease { length, state: Mutex::new(State { begun: now, ..State::default() }) }
    }
    /// A question is asked now. Returns its number.
    pub(super) fn ask(&self, now: Duration) -> u64 {
        let mut state = lock(&self.state);
        state.next += 1;
        let number = state.next;
        state.asked.push_back((number, now));
        number
    }
    /// It was answered.
    pub(super) fn answer(&self, number: u64) {
        let mut state = lock(&self.state);
        while let Some((_, at)) = state.asked.pop_front_if(|(n, _)| *n <= number) {
            state.answered = state.answered.max(Some(at));
        }
    }
    /// Whether the lead may rely on this share now, and has not given it up.
    pub(super) fn holds(&self, now: Duration) -> bool {
        lock(&self.state).answered.is_some_and(|at| now.saturating_sub(at) < self.length)
    }
    /// Whether the lead was not heard for too long; before its first answer, since the share began.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        let state = lock(&self.state);
        now.saturating_sub(state.answered.unwrap_or(state.begun)) >= self.length
    }
    pub(super) fn length(&self) -> Duration {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn an_answer_counts_from_its_question() {
        let lease = Lease::new(at(5), at(0));
        assert!(!lease.holds(at(0)) && !lease.is_over(at(4)) && lease.is_over(at(5)));
        let first = lease.ask(at(1));
        let second = lease.ask(at(2));
        assert!(!lease.holds(at(2)), "not answered yet");
        lease.answer(first);
        assert!(lease.holds(at(5)) && !lease.holds(at(6)));
        // the answer to a question of second 2 is read in second 20
        lease.answer(second);
        assert!(!lease.holds(at(20)) && lease.is_over(at(20)));
        let third = lease.ask(at(20));
        lease.answer(third);
        assert!(lease.holds(at(24)));
    }
}
