//! Server, agents and tool as real processes on 127.0.0.1: what is killed, stopped or full, and what becomes of the rows.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "processes/apart.rs"]
mod apart;
#[path = "processes/asked.rs"]
mod asked;
#[path = "processes/broken.rs"]
mod broken;
#[path = "processes/certificates.rs"]
mod certificates;
#[path = "processes/encrypted.rs"]
mod encrypted;
#[path = "processes/held.rs"]
mod held;
#[path = "processes/http.rs"]
mod http;
#[path = "processes/kit.rs"]
mod kit;
#[path = "processes/namespaces.rs"]
mod namespaces;
#[path = "processes/network.rs"]
mod network;
#[path = "processes/newcomer.rs"]
mod newcomer;
#[path = "processes/outputs.rs"]
mod outputs;
#[allow(dead_code)]
#[path = "../../../sabot/src/shuffle/flight/tests/proxy.rs"]
mod proxy;
#[path = "processes/rescaled.rs"]
mod rescaled;
#[path = "processes/rest.rs"]
mod rest;
#[path = "processes/returned.rs"]
mod returned;
#[path = "processes/secure.rs"]
mod secure;
#[cfg(feature = "postgres")]
#[path = "processes/standby.rs"]
mod standby;
#[path = "processes/upgraded.rs"]
mod upgraded;
