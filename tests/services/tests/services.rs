//! Connectors against real servers, and against brokers that fail on demand.

#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "services/bad_rows.rs"]
mod bad_rows;
#[path = "services/follow.rs"]
mod follow;
#[path = "services/kafka_changes.rs"]
mod kafka_changes;
#[path = "services/kafka_faults_sink.rs"]
mod kafka_faults_sink;
#[path = "services/kafka_faults_source.rs"]
mod kafka_faults_source;
#[path = "services/kafka_idle.rs"]
mod kafka_idle;
#[path = "services/kafka_sink.rs"]
mod kafka_sink;
#[path = "services/kafka_source.rs"]
mod kafka_source;
#[path = "services/ledger.rs"]
mod ledger;
#[path = "services/postgres_changes.rs"]
mod postgres_changes;
#[path = "services/postgres_killed.rs"]
mod postgres_killed;
#[path = "services/postgres_rows.rs"]
mod postgres_rows;
