//! Server, agents and tool as real processes on 127.0.0.1: what is killed, stopped or full, and what becomes of the rows.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "processes/broken.rs"]
mod broken;
#[path = "processes/http.rs"]
mod http;
#[path = "processes/kit.rs"]
mod kit;
#[path = "processes/newcomer.rs"]
mod newcomer;
#[path = "processes/rescaled.rs"]
mod rescaled;
#[path = "processes/rest.rs"]
mod rest;
#[path = "processes/returned.rs"]
mod returned;
#[path = "processes/secure.rs"]
mod secure;
