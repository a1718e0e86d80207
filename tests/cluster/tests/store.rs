//! The control store: one suite, over each database.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "store/leaders.rs"]
mod leaders;
#[path = "store/placing.rs"]
mod placing;
#[path = "store/rows.rs"]
mod rows;

use sabot_cluster_tests::{Home, suite};

suite! {
    rows::jobs_and_their_states,
    rows::operations_checkpoints_and_events,
    rows::lists_of_jobs,
    rows::what_is_over_is_forgotten,
    rows::the_speed_of_a_write,
    placing::agents_come_and_go,
    placing::a_placement_is_whole_or_not_at_all,
    placing::placements_at_once_never_share_a_slot,
    placing::ten_thousand_tasks_on_two_hundred_agents,
    placing::any_order_of_changes_keeps_the_slots_right,
    => not in memory:
    leaders::a_second_server,
    leaders::who_led_before_writes_nothing,
    leaders::a_newer_store_is_refused,
}

/// What only a cluster's database can.
#[cfg(feature = "postgres")]
mod on_postgres {
    macro_rules! tests {
        ($($test:ident,)+) => {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let home = tokio::task::spawn_blocking(super::Home::postgres).await.unwrap();
                let Some(home) = home else { return };
                super::leaders::$test(home).await;
            })+
        };
    }
    tests! { a_leader_that_stands_still, }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_database_is_killed() {
        super::leaders::the_database_is_killed().await;
    }
}

/// Does nothing, unless a test starts this binary once more.
#[test]
fn child() {
    leaders::child();
}
