//! An agent: a worker process, which joins a server and runs shares of its jobs.
//!
//! Idea: one stream of frames to the server carries everything but rows: registration, heartbeats, deployments, and what shares and their leads tell
//! each other. If it breaks, or the lease runs out, nobody leads the shares: all are ended, and the agent joins again as a new member.

pub(in crate::cluster) mod session;
mod shares;
mod usage;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::api::JoinView;
use super::wire::STREAM;
use super::{Build, Client, Registration, Trust, outputs};
use crate::cluster::host_name;
use crate::operator::SpillDir;
use crate::runtime::RunOptions;
use crate::shuffle::Carrier;
use crate::shuffle::flight::{CarrierOptions, FlightCarrier, Node, NodeOptions, Peer, PeerOptions, Purpose, TicketKey, Tls, Token};
use crate::{Error, Result};
use session::Over;
use shares::{Carriers, Shares};

/// The wait before the server is asked again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// Shares that take longer to end are named.
const SLOW: Duration = Duration::from_secs(10);

/// How an agent is started.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// The server's API: `host:port`, or several with commas, of which one leads.
    pub join: String,
    /// Where it listens for other agents.
    pub listen: SocketAddr,
    /// How other agents reach it, if not there.
    pub advertise: Option<String>,
    /// How many instances of each stage it runs, over all jobs.
    pub slots: usize,
    /// About the bytes that its jobs may use together.
    pub memory: Option<u64>,
    /// Its name; by default the machine's and its port.
    pub name: Option<String>,
    /// The cluster's token.
    pub token: Option<String>,
    /// What it shows to others, and whom it trusts.
    pub tls: Option<Tls>,
    /// Listen beyond this machine without token or certificates.
    pub insecure: bool,
}

/// How far someone wants an agent to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// Not at all.
    No,
    /// Once its tasks have moved.
    Drain,
    /// At once.
    Now,
}

/// Runs an agent until it is told to end. `say` is told what a person should know, a line each.
///
/// # Errors
/// If it cannot listen, or the server refuses it for good: another build, another token.
pub async fn run_agent(options: AgentOptions, mut ending: watch::Receiver<Ending>, say: impl Fn(&str) + Send + Sync) -> Result<()> {
    let client = Client::trusting(&options.join, options.token.clone(), options.tls.as_ref().map(Trust::from).as_ref())?;
    let build = Build::this()?;
    let mut waited = AGAIN.0;
    let first = loop {
        match ask(&client, &build, options.tls.is_some()).await {
            Ok(view) => break view,
            Err(e @ (Error::Usage(_) | Error::Data { .. })) => return Err(e),
            Err(e) => say(&format!("{e}; trying again")),
        }
        if paused(&mut ending, &mut waited).await {
            return Ok(());
        }
    };
    let key = TicketKey::new(first.ticket_key.as_bytes())?;
    let token = options.token.as_deref().map(Token::new).transpose()?;
    let node = Node::start(
        &NodeOptions {
            listen: options.listen,
            token: token.clone(),
            tls: options.tls.clone(),
            tickets: Some(key.clone()),
            insecure: options.insecure,
        },
        &Handle::current(),
    )?;
    outputs::offer(&node);
    let address = advertised(&options, node.address())?;
    let registration = Registration {
        name: options
            .name
            .clone()
            .unwrap_or_else(|| format!("{}-{}", host_name().unwrap_or_else(|| "agent".into()), node.address().port())),
        address,
        slots: options.slots,
        memory: options.memory,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        pid: std::process::id(),
        build,
    };
    let peers = PeerOptions { token, tls: options.tls.clone(), ..PeerOptions::default() };
    let shares = Arc::new(Shares::new(options.slots, carriers(&node, &peers, key.clone()))?);
    let mut control = first.control;
    waited = AGAIN.0;
    loop {
        let server = Peer::new("the server", &control, &peers, &Handle::current())?;
        let frames = server.frames(STREAM, Vec::new()).await;
        let over = session::session(frames, &registration, shares.as_ref(), &key, &mut ending, &say).await;
        // nobody leads them any more
        let abandoned = Arc::clone(&shares);
        let mut ends = tokio::task::spawn_blocking(move || abandoned.abandon());
        let ended = loop {
            match tokio::time::timeout(SLOW, &mut ends).await {
                Ok(ended) => break ended,
                Err(_) => say(&format!("cannot join again yet: what ran here of {} has not ended", shares.jobs().join(", "))),
            }
        };
        ended.map_err(|e| Error::internal(format!("ending the shares: {e}")))?;
        match over {
            Over::Left => {
                node.stop();
                return Ok(());
            }
            Over::Refused(why) => return Err(Error::Usage(why)),
            Over::Again { why, joined } => {
                say(&format!("{why}; joining again"));
                if joined {
                    waited = AGAIN.0;
                }
            }
        }
        // another server may lead now, which listens elsewhere and signs with another key
        let mut said = String::new();
        let view = loop {
            if paused(&mut ending, &mut waited).await {
                node.stop();
                return Ok(());
            }
            match ask(&client, &registration.build, options.tls.is_some()).await {
                Ok(view) => break view,
                Err(e @ Error::Usage(_)) => return Err(e),
                Err(e) => {
                    let text = format!("{e}; trying again");
                    if text != said {
                        say(&text);
                        said = text;
                    }
                }
            }
        };
        key.renew(view.ticket_key.as_bytes())?;
        control = view.control;
    }
}

/// Asks the server that leads where and how to join it.
async fn ask(client: &Client, build: &Build, tls: bool) -> Result<JoinView> {
    let view = client.post::<JoinView>("/v1/join", build).await?;
    match (view.tls, tls) {
        (true, false) => Err(Error::usage(
            "the server talks TLS with agents, and this one was started without certificates: give it `--tls-cert`, `--tls-key` and `--tls-ca`",
        )),
        (false, true) => Err(Error::usage(
            "the server was started without certificates, and this agent with some: start the server with `--tls-cert`, `--tls-key` and `--tls-ca` too",
        )),
        _ => Ok(view),
    }
}

/// Waits, longer each time; whether the agent shall end instead.
async fn paused(ending: &mut watch::Receiver<Ending>, wait: &mut Duration) -> bool {
    let pause = std::mem::replace(wait, (*wait * 2).min(AGAIN.1));
    let told = async {
        while *ending.borrow_and_update() == Ending::No {
            if ending.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::time::timeout(pause, told).await.is_ok()
}

/// How other agents reach this one.
fn advertised(options: &AgentOptions, bound: SocketAddr) -> Result<String> {
    match &options.advertise {
        Some(address) if address.contains(':') => Ok(address.clone()),
        Some(host) => Ok(format!("{host}:{}", bound.port())),
        None if bound.ip().is_unspecified() => Err(Error::usage(format!(
            "{bound} is every address of this machine: say under which one other agents reach it, `--advertise host`"
        ))),
        None => Ok(bound.to_string()),
    }
}

/// What carries rows between this agent and those of a deployment.
fn carriers(node: &Node, options: &PeerOptions, key: TicketKey) -> Carriers {
    let (node, options) = (node.clone(), options.clone());
    let runtime = Handle::current();
    Arc::new(move |deployment| {
        let grant = key.open(&deployment.ticket)?;
        if (grant.job.as_str(), grant.attempt, &grant.purpose)
            != (deployment.id.job.as_str(), deployment.share.generation, &Purpose::Exchange)
        {
            return Err(Error::usage("the deployment's ticket is for another job"));
        }
        let me = deployment.id.share;
        let peer = |(number, (name, address)): (usize, &(String, String))| -> Result<Option<Peer>> {
            (number != me).then(|| Peer::new(&format!("agent `{name}`"), address, &options, &runtime)).transpose()
        };
        let carrier = FlightCarrier::new(CarrierOptions {
            node: node.clone(),
            peers: deployment.peers.iter().enumerate().map(peer).collect::<Result<Vec<_>>>()?,
            me,
            job: deployment.id.job.clone(),
            generation: deployment.share.generation,
            ticket: deployment.ticket.clone(),
        });
        Ok(Arc::new(within_memory(carrier, &deployment.options)?) as Arc<dyn Carrier>)
    })
}

/// Of a share's memory, the part in which the exchange keeps what was sent and is not acknowledged.
const EXCHANGE: usize = 8;

/// The options of a share without what its exchange may use.
fn without_exchange(options: &RunOptions) -> RunOptions {
    RunOptions { memory_budget: options.memory_budget.map(|budget| budget - budget / EXCHANGE), ..options.clone() }
}

/// A carrier that keeps within its part of the share's memory, if that is limited; the rest goes to a spill directory of its own.
fn within_memory(carrier: FlightCarrier, options: &RunOptions) -> Result<FlightCarrier> {
    let Some(budget) = options.memory_budget else { return Ok(carrier) };
    let base = options.spill_dir.clone().unwrap_or_else(std::env::temp_dir);
    Ok(carrier.spill(budget / EXCHANGE, SpillDir::new(base)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_exchange_has_a_part_of_a_share_s_memory() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let node = Node::start(&NodeOptions::default(), runtime.handle()).unwrap();
        let carrier = || {
            let (node, peers) = (node.clone(), vec![None]);
            FlightCarrier::new(CarrierOptions { node, job: "job".into(), generation: 1, me: 0, peers, ticket: String::new() })
        };
        let base = tempfile::tempdir().unwrap();
        let options = RunOptions { memory_budget: Some(800_003), spill_dir: Some(base.path().to_owned()), ..RunOptions::default() };
        let bounded = within_memory(carrier(), &options).unwrap();
        assert_eq!(bounded.budget(), Some(100_000));
        assert_eq!(without_exchange(&options).memory_budget, Some(700_003), "both are what the share has");
        let unlimited = RunOptions { memory_budget: None, ..options.clone() };
        assert_eq!(within_memory(carrier(), &unlimited).unwrap().budget(), None);
        assert_eq!(without_exchange(&unlimited).memory_budget, None);
        let nowhere = RunOptions { spill_dir: Some(base.path().join("none")), ..options };
        assert!(within_memory(carrier(), &nowhere).unwrap_err().to_string().contains("spill directory"));
    }
}
