//! The server: job manager of a cluster.
//!
//! `hub` has the agents' streams and leases, `run` one attempt of a job with its lead; `flows` is the durable workflow of a job, with the steps of an attempt in `attempt` and what
//! follows in `decide`; `actions`, `upgrade` and `drain` are those of what is asked of it. `view` is what the API shows. A server leads its control store before it does anything else.

mod actions;
mod attempt;
mod core;
mod decide;
mod drain;
mod flows;
mod hub;
mod keeping;
pub(super) mod outputs;
mod run;
mod upgrade;
pub(super) mod view;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use super::durable::Watch;
use super::store::{Claim, ControlStore, JobState, Keep, Leader, Level, Place, Server};
use super::tls::Secure;
use super::{api, door, durable, wire};
use crate::shuffle::flight::{Node, NodeOptions, TicketKey, Tls, Token};
use crate::{Error, Result};
pub(super) use actions::checkpoints_of;
pub(super) use core::{Core, Face, write};
pub(super) use decide::MOVES;
pub(super) use drain::begin_drain;
#[cfg(test)]
pub(super) use flows::version;
pub(super) use flows::{Asked, Submitted, begin};
#[cfg(test)]
pub(super) use hub::{Hub, news};
#[cfg(test)]
pub(super) use keeping::forget;
pub(super) use upgrade::{begin_take_over, upgradable};

/// How a server is started.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where the API is served.
    pub listen: SocketAddr,
    /// Where agents connect.
    pub control: SocketAddr,
    /// How agents reach that, if not there: `host:port`.
    pub advertise: Option<String>,
    /// Where jobs and operations are kept: a directory, or `postgres://..`.
    pub store: Place,
    /// Where the key of tickets is kept: a directory of the server's own.
    pub dir: PathBuf,
    /// The cluster's token.
    pub token: Option<String>,
    /// What it shows to agents, and whom it trusts.
    pub tls: Option<Tls>,
    /// Listen beyond this machine without token or certificates.
    pub insecure: bool,
    /// What it remembers of jobs that are over.
    pub keep: Keep,
    /// Who looks on at each step of the server's workflows: tests, which kill it there. Else nobody.
    pub watch: Option<Watch>,
}

/// A leader's place on Postgres is free when its session ends, which the leader sees when it says next that it is there, twice a second.
const HANDOVER: Duration = Duration::from_secs(1);
/// How long workflows may take to stop.
const FAREWELL: Duration = Duration::from_secs(10);
/// What an operation that upgrades a job says while it waits for another build.
pub(crate) use upgrade::WAITS;

/// The operation that submits a job.
pub(super) fn flow_of(job: &str) -> String {
    format!("submit-{job}")
}
/// How the ids of the workflows begin that take a job over for an operation.
fn take_over_of(operation: &str) -> String {
    format!("{operation}-")
}
/// How the ids of the workflows begin by which a job goes on that was taken over.
fn goes_on_of(job: &str) -> String {
    format!("continue-{job}-")
}

/// Serves until `ending` says so, or the leader's place is lost. `say` is told what a person should know.
///
/// # Errors
/// If it cannot listen, another server leads an embedded store, or the store does not answer.
pub async fn run_server(options: ServerOptions, mut ending: watch::Receiver<bool>, say: impl Fn(&str)) -> Result<()> {
    let local = options.listen.ip().is_loopback();
    if !local && !options.insecure && (options.token.is_none() || options.tls.is_none()) {
        let missing = match options.token {
            None => "a token (`--token-file`)",
            Some(_) => "certificates (`--tls-cert`, `--tls-key`, `--tls-ca`)",
        };
        return Err(Error::Usage(format!(
            "{} can be reached from other machines: that needs {missing}, or `--insecure` if the network is trusted",
            options.listen
        )));
    }
    let place = |address: SocketAddr| format!("tcp://{address}");
    let bind = || async { TcpListener::bind(options.listen).await.map_err(|e| listening(&place(options.listen), e)) };
    let listener = bind().await?;
    let api_address = listener.local_addr().map_err(|e| Error::io(place(options.listen), "cannot listen", e))?;
    let store = Arc::new(ControlStore::open(&options.store).await?);
    let since = core::now();
    let here = Server::here(api_address.to_string(), since);
    // one that stands by does not listen, so that the tool and agents ask the next
    let (leader, listener) = match store.claim(&here).await? {
        Claim::Leads(leader) => (leader, listener),
        Claim::Held(holder) => {
            drop(listener);
            if matches!(options.store, Place::Postgres(_)) {
                let holder = holder.map_or_else(|| "another server".to_owned(), |h| h.to_string());
                say(&format!("standing by: {holder} leads (store {})", store.place()));
            }
            let leader = tokio::select! {
                leader = store.lead(&here) => leader?,
                _ = ending.wait_for(|e| *e) => return Ok(()),
            };
            (leader, bind().await?)
        }
    };
    let ticket_key = ticket_key(&options)?;
    let key = TicketKey::new(ticket_key.as_bytes())?;
    let token = options.token.as_deref().map(Token::new).transpose()?;
    let node = Node::start(
        &NodeOptions { listen: options.control, token, tls: options.tls.clone(), tickets: Some(key.clone()), insecure: options.insecure },
        &Handle::current(),
    )?;
    let control = match &options.advertise {
        Some(address) if address.contains(':') => address.clone(),
        Some(host) => format!("{host}:{}", node.address().port()),
        None if node.address().ip().is_unspecified() => {
            return Err(Error::Usage(format!(
                "{} is every address of this machine: say under which one agents reach it, `--advertise host`",
                node.address()
            )));
        }
        None => node.address().to_string(),
    };
    let handover = if matches!(options.store, Place::Postgres(_)) { HANDOVER } else { Duration::ZERO };
    let face = Face { key, ticket_key, control, tls: options.tls.is_some(), since, handover };
    let (core, news) = Core::new(Arc::clone(&store), &leader, face)?;
    let calls = Arc::downgrade(&core.hub);
    node.frames(wire::STREAM, move |call| {
        if let Some(hub) = calls.upgrade() {
            hub.call(call);
        }
    });
    crate::cluster::outputs::offer(&node);
    let beside = begin_core(&core, &leader, news, options.keep, options.watch.as_ref()).await?;
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    say(&format!("server at {scheme}://{api_address}, agents join by `agent --join {api_address}` (store {})", store.place()));
    let app = api::routes::routes(Arc::clone(&core), api::Guard::new(options.token.as_deref(), local));
    let serving: BoxFuture<'_, std::io::Result<()>> = match &options.tls {
        // without a token a certificate is all that tells a caller from others
        Some(tls) => Box::pin(axum::serve(Secure::new(listener, tls, options.token.is_none())?, app).into_future()),
        None => Box::pin(axum::serve(listener, app).into_future()),
    };
    let over = tokio::select! {
        served = serving => served.map_err(|e| Error::io(place(api_address), "cannot serve", e)),
        why = leader.lost() => Err(Error::Control(format!("this server does not lead any more: {why}"))),
        _ = ending.wait_for(|e| *e) => Ok(()),
    };
    // not a moment longer than it leads; its leads are told nothing more, so that they write nothing more
    core.hub.close();
    beside.iter().for_each(door::Task::abort);
    // agents shall look for the one that leads now, whatever the rest takes
    if over.is_err() {
        node.stop();
    }
    // workflows go on when a server is started again; a store that is away may leave them waiting for it
    let _ = door::timeout(FAREWELL, core.workflows()?.stop()).await;
    node.stop();
    over
}

/// Lets a server that leads begin: what was not over goes on. What runs beside it.
///
/// # Errors
/// If the store does not answer.
pub(super) async fn begin_core(
    core: &Arc<Core>,
    leader: &Leader,
    news: UnboundedReceiver<hub::News>,
    keep: Keep,
    watch: Option<&Watch>,
) -> Result<[door::Task; 4]> {
    let definitions = flows::definitions(core);
    let definitions = match watch {
        Some(watch) => definitions.watched(watch),
        None => definitions,
    };
    let workflows = durable::open(&core.store, leader, &definitions).await?;
    let resumed = workflows.recovered().resumed.len();
    let _ = core.workflows.set(workflows);
    let chronicle = door::spawn(Arc::clone(core).chronicle(news));
    let watching = door::spawn(attempt::watch(Arc::clone(core)));
    let keeping = door::spawn(keeping::forgets(Arc::clone(core), keep));
    let upgrading = Arc::clone(core);
    let upgrades = door::spawn(async move {
        if let Err(error) = upgrade::begin_all(&upgrading).await {
            upgrading.hub.say(Level::Error, None, None, format!("jobs of other builds are left alone: {error}"));
        }
    });
    if resumed > 0 {
        core.hub.say(Level::Warning, None, None, format!("{resumed} operations that were not over go on"));
    }
    Ok([chronicle, watching, keeping, upgrades])
}

fn listening(place: &str, e: std::io::Error) -> Error {
    let what = match e.kind() {
        std::io::ErrorKind::AddrInUse => "cannot listen: another process does; stop it, or take another port with `--listen`",
        _ => "cannot listen",
    };
    Error::io(place, what, e)
}

/// The key of tickets: a random one that is kept. Who knows the token only cannot sign with it.
fn ticket_key(options: &ServerOptions) -> Result<String> {
    let path = options.dir.join("ticket-key");
    if let Ok(known) = std::fs::read_to_string(&path)
        && known.trim().len() >= 32
    {
        return Ok(known.trim().to_owned());
    }
    let mut bytes = [0_u8; 32];
    let mut source = std::fs::File::open("/dev/urandom").map_err(|e| Error::io("/dev/urandom", "cannot open", e))?;
    std::io::Read::read_exact(&mut source, &mut bytes).map_err(|e| Error::io("/dev/urandom", "cannot read", e))?;
    let key: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    std::fs::create_dir_all(&options.dir).map_err(|e| Error::io(&options.dir, "cannot make the directory", e))?;
    private(&path, &key).map_err(|e| Error::io(&path, "cannot write the key of tickets", e))?;
    Ok(key)
}

/// Writes a file that only its owner reads.
fn private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    std::io::Write::write_all(&mut options.open(path)?, text.as_bytes())
}

impl JobState {
    /// Whether tasks of it may run.
    pub(super) fn has_tasks(self) -> bool {
        matches!(self, JobState::Running | JobState::Starting | JobState::Stopping)
    }
}
