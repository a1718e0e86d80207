//! Real servers for tests: a Postgres and a Kafka broker that a script installs, starts on 127.0.0.1 and ends with the tests.
//!
//! Where one cannot be had, its tests print why and pass; with `CI=true` or `SABOT_REQUIRE_SERVICES=1` they fail.

#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

mod kafka;
mod postgres;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use kafka::{Kafka, Seen, send};
pub use postgres::Postgres;

/// The crate's directory, with the scripts.
fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A directory for a server of this process.
fn place(name: &str) -> PathBuf {
    here().join(format!("../../target/services/{name}-{}", std::process::id()))
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map(|a| a.port()).expect("a free port")
}

/// Runs a script; why the server cannot be had, if it cannot.
fn script(name: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(here().join(name)).args(args).output().map_err(|e| format!("{name}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Ok(()),
        Some(3) => Err(said.trim().lines().last().unwrap_or_default().to_owned()),
        _ => panic!("{name} {args:?}: {said}"),
    }
}

/// The server, or nothing, with the reason printed.
fn needed<T>(what: &str, server: &'static Result<T, String>) -> Option<&'static T> {
    match server {
        Ok(server) => Some(server),
        Err(why) => {
            let required = |name: &str| std::env::var(name).is_ok_and(|v| !v.is_empty() && v != "0" && v != "false");
            assert!(!required("CI") && !required("SABOT_REQUIRE_SERVICES"), "{what} is required here: {why}");
            eprintln!("skipped: {why}");
            None
        }
    }
}
