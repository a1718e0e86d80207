//! Durable workflows: one suite, over each engine.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "durable/basics.rs"]
mod basics;
#[path = "durable/killed.rs"]
mod killed;
#[path = "durable/speed.rs"]
mod speed;

#[cfg(feature = "postgres")]
#[path = "durable/tools.rs"]
mod tools;

use sabot_cluster_tests::suite;

suite! {
    basics::values_messages_and_events,
    basics::errors_are_recorded,
    basics::cancelled_resumed_forked,
    basics::stopped_and_opened_again,
    basics::begun_again_and_again,
    basics::what_is_over_can_be_forgotten,
    basics::other_versions_wait,
    basics::joined_steps,
    basics::another_step_than_recorded,
    basics::steps_only_where_they_are_recorded,
    basics::workflows_from_within,
    speed::steps_take_little,
    => not in memory:
    killed::at_every_boundary_and_inside_every_step,
    killed::while_it_waits,
    killed::cancelled_before_the_kill_stays_cancelled,
}

/// Does nothing, unless a test starts this binary once more.
#[test]
fn child() {
    killed::child();
}
