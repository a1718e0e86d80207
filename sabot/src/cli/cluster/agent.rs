//! `agent`.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use clap::ArgMatches;
use tokio::sync::watch;

use super::{net, token};
use crate::cli::{INTERRUPTED, say};
use crate::cluster::{AgentOptions, Ending, run_agent};
use crate::{Error, Result};

/// Serves until SIGTERM or Ctrl-C: the first lets its tasks move, the second ends at once.
pub(super) fn agent(sub: &ArgMatches) -> Result<i32> {
    let options = AgentOptions {
        join: sub.get_one::<String>("join").cloned().unwrap_or_default(),
        listen: net::address(sub.get_one::<String>("listen").map_or("127.0.0.1:0", String::as_str), "listen")?,
        advertise: sub.get_one::<String>("advertise").cloned(),
        slots: sub.get_one::<u16>("slots").map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), |n| usize::from(*n)),
        memory: sub.get_one::<usize>("memory").map(|n| *n as u64),
        name: sub.get_one::<String>("name").cloned(),
        token: token(sub)?,
        tls: net::tls(sub)?,
        insecure: sub.get_flag("insecure"),
    };
    let (end, ending) = watch::channel(Ending::No);
    let asked = AtomicUsize::new(0);
    ctrlc::set_handler(move || match asked.fetch_add(1, SeqCst) {
        0 => drop(end.send(Ending::Drain)),
        1 => drop(end.send(Ending::Now)),
        _ => std::process::exit(INTERRUPTED),
    })
    .map_err(|e| Error::usage(format!("cannot listen for signals: {e}")))?;
    net::serve(run_agent(options, ending, say))
}
