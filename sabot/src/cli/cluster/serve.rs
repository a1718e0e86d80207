//! `server`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use clap::ArgMatches;
use tokio::sync::watch;

use super::{SERVER, net, token};
use crate::cli::{INTERRUPTED, say};
use crate::cluster::store::{Keep, Place};
use crate::cluster::{ServerOptions, run_server};
use crate::{Error, Result};

/// Serves until Ctrl-C or SIGTERM.
pub(super) fn serve(sub: &ArgMatches) -> Result<i32> {
    let listen = net::address(sub.get_one::<String>("listen").map_or(SERVER, String::as_str), "listen")?;
    let next = SocketAddr::new(listen.ip(), if listen.port() == 0 { 0 } else { listen.port().saturating_add(1) });
    let control = sub.get_one::<String>("control").map(|a| net::address(a, "control")).transpose()?.unwrap_or(next);
    let dir = sub.get_one::<PathBuf>("dir").cloned().unwrap_or_else(|| "sabot-server".into());
    let default = Keep::default();
    let options = ServerOptions {
        listen,
        control,
        advertise: sub.get_one::<String>("advertise").cloned(),
        store: sub.get_one::<String>("store").map_or_else(|| Place::Directory(dir.clone()), |s| Place::of(s)),
        dir,
        token: token(sub)?,
        tls: net::tls(sub)?,
        insecure: sub.get_flag("insecure"),
        watch: None,
        keep: Keep {
            jobs: sub.get_one::<u32>("keep-jobs").copied().unwrap_or(default.jobs),
            time: sub.get_one::<Duration>("keep-for").copied().unwrap_or(default.time),
        },
    };
    let (end, ending) = watch::channel(false);
    let again = AtomicBool::new(false);
    ctrlc::set_handler(move || {
        if again.swap(true, SeqCst) {
            std::process::exit(INTERRUPTED);
        }
        say("stopping: jobs go on when the server is started again");
        let _ = end.send(true);
    })
    .map_err(|e| Error::usage(format!("cannot listen for signals: {e}")))?;
    net::serve(run_server(options, ending, say))
}
