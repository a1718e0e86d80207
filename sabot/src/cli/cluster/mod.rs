//! The commands of a cluster: `server` and `agent` serve until they are ended, the others ask a server.

mod agent;
mod args;
mod job;
mod lists;
mod net;
mod output;
mod serve;
mod submit;
mod text;

use std::future::Future;

use clap::ArgMatches;

use super::print;
use crate::cluster::Client;
use crate::{Error, Result};

pub(super) use args::{OWN, commands, submitting};

/// Where a server is, unless a user says so.
const SERVER: &str = "127.0.0.1:7480";

/// Runs one of the commands; returns the exit code.
pub(super) fn run(verb: &str, sub: &ArgMatches) -> Result<i32> {
    match verb {
        "server" => serve::serve(sub),
        "agent" => agent::agent(sub),
        "submit" => submit::submit(sub),
        "jobs" => lists::jobs(sub),
        "job" => job::job(sub),
        "agents" => lists::agents(sub),
        "logs" => lists::logs(sub),
        "metrics" => lists::metrics(sub),
        other => Err(Error::internal(format!("no command `{other}`"))),
    }
}

/// The secret of the cluster: a file's first line, else the variable `SABOT_TOKEN`.
fn token(sub: &ArgMatches) -> Result<Option<String>> {
    let text = match sub.get_one::<std::path::PathBuf>("token-file") {
        Some(path) => std::fs::read_to_string(path).map_err(|e| Error::io(path, "cannot read the token", e))?,
        None => match std::env::var("SABOT_TOKEN") {
            Ok(text) => text,
            Err(_) => return Ok(None),
        },
    };
    let token = text.lines().next().unwrap_or_default().trim().to_owned();
    match token.is_empty() {
        true if sub.contains_id("token-file") => Err(Error::usage("the file of `--token-file` is empty: its first line is the token")),
        true => Ok(None),
        false => Ok(Some(token)),
    }
}

/// A client of the server that the options, or the variable `SABOT_SERVER`, name.
fn client(sub: &ArgMatches) -> Result<Client> {
    let given = sub.get_one::<String>("server").cloned().or_else(|| std::env::var("SABOT_SERVER").ok().filter(|s| !s.is_empty()));
    Client::trusting(given.as_deref().unwrap_or(SERVER), token(sub)?, net::trust(sub)?.as_ref())
}

/// Runs a future of the tool on this thread.
fn wait<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| Error::usage(format!("cannot start the tool's I/O: {e}")))?.block_on(future)
}

/// Prints as JSON.
fn pretty(value: &impl serde::Serialize) -> Result<i32> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::internal(format!("cannot be written as JSON: {e}")))?;
    print(&(text + "\n"))
}
