//! Addresses, certificates and threads of processes that serve.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use clap::ArgMatches;

use crate::cluster::Trust;
use crate::shuffle::flight::Tls;
use crate::{Error, Result};

/// An address to listen at.
pub(super) fn address(text: &str, option: &str) -> Result<SocketAddr> {
    let wrong = |e: std::io::Error| {
        Error::Usage(format!("`--{option} {text}` is no address of this machine ({e}): write host:port, as in 127.0.0.1:7480"))
    };
    let mut found = text.to_socket_addrs().map_err(wrong)?;
    found.next().ok_or_else(|| wrong(std::io::Error::other("it names nothing")))
}

/// The certificates that the options name.
pub(super) fn tls(sub: &ArgMatches) -> Result<Option<Tls>> {
    let file = |name: &str| sub.get_one::<PathBuf>(name);
    match (file("tls-cert"), file("tls-key"), authority(sub)) {
        (Some(certificate), Some(key), Some(authority)) => Ok(Some(Tls::read(certificate, key, &authority)?)),
        _ => Ok(None),
    }
}

/// The authority that has signed the others' certificates.
fn authority(sub: &ArgMatches) -> Option<PathBuf> {
    let variable = || std::env::var_os("SABOT_TLS_CA").filter(|v| !v.is_empty()).map(PathBuf::from);
    sub.get_one::<PathBuf>("tls-ca").cloned().or_else(variable)
}

/// Whom the tool trusts, and what it shows, if it shall talk over TLS.
pub(super) fn trust(sub: &ArgMatches) -> Result<Option<Trust>> {
    let file = |name: &str| sub.get_one::<PathBuf>(name).cloned();
    let shows = file("tls-cert").zip(file("tls-key"));
    match (authority(sub), &shows) {
        (Some(authority), _) => Trust::read(&authority, shows.as_ref().map(|(c, k)| (c.as_path(), k.as_path()))).map(Some),
        (None, Some(_)) => Err(Error::usage("`--tls-cert` is for a server over TLS: name its authority too, `--tls-ca FILE`")),
        (None, None) => Ok(None),
    }
}

/// Serves on threads for I/O until it is over; the exit code.
pub(super) fn serve(serving: impl Future<Output = Result<()>>) -> Result<i32> {
    let made = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("sabot-io").enable_all().build();
    let runtime = made.map_err(|e| Error::usage(format!("cannot start threads for I/O: {e}")))?;
    let over = runtime.block_on(serving);
    // a thread that still waits for a job or a disk does not keep the process
    runtime.shutdown_background();
    over.map(|()| 0)
}
