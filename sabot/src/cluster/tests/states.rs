//! The states of a job: what may follow what.

use crate::cluster::{History, JobState};

#[test]
fn from_every_state_there_is_an_end_and_none_goes_on_after_it() {
    for state in JobState::ALL {
        let next: Vec<JobState> = JobState::ALL.into_iter().filter(|n| state.leads_to(*n)).collect();
        assert_eq!(next.is_empty(), state.is_over(), "{state:?}");
        assert!(!state.leads_to(state), "{state:?} follows itself");
        if !state.is_over() {
            assert!(next.contains(&JobState::Failed), "{state:?} may fail");
            assert!(state == JobState::Cancelling || next.contains(&JobState::Cancelling), "{state:?} may be cancelled");
        }
    }
    // all are reached
    let mut reached = vec![JobState::Pending];
    for at in 0..JobState::ALL.len() {
        let Some(state) = reached.get(at).copied() else { break };
        let more: Vec<JobState> = JobState::ALL.into_iter().filter(|n| state.leads_to(*n) && !reached.contains(n)).collect();
        reached.extend(more);
    }
    assert_eq!(reached.len(), JobState::ALL.len());
}

#[test]
fn a_history_repeats_nothing_and_refuses_what_cannot_follow() {
    let mut history = History::new(5);
    for (at, state) in [JobState::Optimising, JobState::Compiling, JobState::Deploying, JobState::Running].into_iter().enumerate() {
        history.enter(state, at as u64, "").unwrap();
        history.enter(state, 99, "again").unwrap();
    }
    assert_eq!(history.steps().len(), 5);
    let refused = history.enter(JobState::Compiling, 9, "").unwrap_err().to_string();
    assert_eq!(refused, "a job that is running cannot become compiling");
    for round in 0..500 {
        history.enter(JobState::Recovering, round, "lost").unwrap();
        history.enter(JobState::Deploying, round, "").unwrap();
        history.enter(JobState::Running, round, "").unwrap();
    }
    assert!(history.steps().len() <= 200 && history.steps()[0].state == JobState::Pending);
    history.enter(JobState::Finished, 1, "").unwrap();
    assert!(history.enter(JobState::Recovering, 2, "").is_err());
}
