//! The carrier of one share of a job: an exchange per edge and pair of agents.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::ended::Ended;
use super::hello::Edge;
use super::inbound::Inbound;
use super::node::Node;
use super::outbound::{Outbound, To};
use super::peer::Peer;
use super::replay::Replay;
use crate::operator::SpillDir;
use crate::shuffle::{Carrier, Links, Remote};
use crate::sync::lock;
use crate::{Error, Result};

/// How often a share that has ended looks whether its producers know.
const LOOK: Duration = Duration::from_millis(100);

/// What a carrier is of, and between whom.
#[derive(Clone, Debug)]
pub struct CarrierOptions {
    /// Where the other agents of the job send to.
    pub node: Node,
    /// The job.
    pub job: String,
    /// Which run of it.
    pub generation: u64,
    /// The number of this agent among those of the job.
    pub me: usize,
    /// The others by number; `None` at this one's place.
    pub peers: Vec<Option<Peer>>,
    /// A ticket of the control plane for [`Purpose::Exchange`](super::Purpose) of this attempt.
    pub ticket: String,
}

/// Carries the links of a share over Arrow Flight.
pub struct FlightCarrier {
    options: CarrierOptions,
    ticket: Arc<Mutex<String>>,
    ended: Arc<Ended>,
    replay: Arc<Replay>,
    routes: OnceLock<Routes>,
    outbound: Mutex<Vec<Arc<Outbound>>>,
    inbound: Mutex<Vec<(Edge, Arc<Inbound>)>>,
}

/// The exchange of each link, by its number.
struct Routes {
    sends: Vec<Option<Arc<Outbound>>>,
    receives: Vec<Option<Arc<Inbound>>>,
}

impl std::fmt::Debug for FlightCarrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlightCarrier").field("job", &self.options.job).field("me", &self.options.me).finish_non_exhaustive()
    }
}

impl FlightCarrier {
    /// A carrier that has not [started](Carrier::start).
    pub fn new(options: CarrierOptions) -> Self {
        let ticket = Arc::new(Mutex::new(options.ticket.clone()));
        FlightCarrier {
            options,
            ticket,
            ended: Arc::default(),
            replay: Arc::new(Replay::in_memory()),
            routes: OnceLock::new(),
            outbound: Mutex::default(),
            inbound: Mutex::default(),
        }
    }
    /// Keeps no more than `budget` bytes in memory of what was sent and is not acknowledged (else without bound but that of credits), and
    /// the others in files of this directory. Before it is started.
    #[must_use]
    pub fn spill(mut self, budget: usize, dir: SpillDir) -> Self {
        self.replay = Arc::new(Replay::bounded(budget, dir));
        self
    }
    /// The bytes that it keeps in memory at most, if that is [bounded](Self::spill).
    pub fn budget(&self) -> Option<usize> {
        self.replay.budget()
    }
    /// Bytes that were written to files because they did not fit into memory.
    pub fn spilled(&self) -> u64 {
        self.replay.spilled()
    }
    /// Connections that are made from now on show this ticket: the one before may expire while the job runs.
    pub fn renew(&self, ticket: String) {
        *lock(&self.ticket) = ticket;
    }
    fn peer(&self, number: usize) -> Result<&Peer> {
        let peer = self.options.peers.get(number).and_then(Option::as_ref);
        peer.ok_or_else(|| Error::internal(format!("agent {} has no way to agent {number} of job `{}`", self.options.me, self.options.job)))
    }
    fn edge(&self, remote: &Remote, outgoing: bool) -> Edge {
        let (me, peer) = (self.options.me as u32, remote.peer as u32);
        let (from, to) = if outgoing { (me, peer) } else { (peer, me) };
        Edge {
            job: self.options.job.clone(),
            generation: self.options.generation,
            consumer: remote.link.consumer,
            edge: remote.link.edge,
            from,
            to,
        }
    }
    /// Links by edge and peer, each with its number; in the order of their names, which both ends know.
    fn exchanges(&self, links: Vec<Remote>, outgoing: bool) -> BTreeMap<Edge, Vec<(usize, Remote)>> {
        let mut exchanges: BTreeMap<Edge, Vec<(usize, Remote)>> = BTreeMap::new();
        for (number, remote) in links.into_iter().enumerate() {
            exchanges.entry(self.edge(&remote, outgoing)).or_default().push((number, remote));
        }
        exchanges.values_mut().for_each(|links| links.sort_by_key(|(_, l)| l.link));
        exchanges
    }
}

impl Carrier for FlightCarrier {
    fn start(&self, links: Links) -> Result<()> {
        let Links { outgoing, incoming, host } = links;
        let mut routes = Routes { sends: vec![None; outgoing.len()], receives: vec![None; incoming.len()] };
        let (mut inbound, mut outbound) = (Vec::new(), Vec::new());
        for (edge, links) in self.exchanges(incoming, false) {
            let peer = self.peer(edge.from as usize)?;
            let (numbers, links): (Vec<_>, Vec<_>) = links.into_iter().unzip();
            let end = Inbound::new(edge.clone(), peer.place().to_owned(), peer.patience(), links, Arc::clone(&host));
            let end = Arc::new(end);
            put(&mut routes.receives, &numbers, &end);
            inbound.push((edge, end));
        }
        for (edge, links) in self.exchanges(outgoing, true) {
            let peer = self.peer(edge.to as usize)?.clone();
            let (numbers, links): (Vec<_>, Vec<_>) = links.into_iter().unzip();
            let (ticket, ended, replay) = (Arc::clone(&self.ticket), Arc::clone(&self.ended), Arc::clone(&self.replay));
            let end = Arc::new(Outbound::new(edge, To { peer, ticket, ended, replay }, links, Arc::clone(&host)));
            put(&mut routes.sends, &numbers, &end);
            outbound.push(end);
        }
        if self.routes.set(routes).is_err() {
            return Err(Error::internal("a carrier was started twice"));
        }
        for (edge, end) in &inbound {
            self.options.node.registry().expect(edge.clone(), Arc::clone(end) as _);
        }
        *lock(&self.inbound) = inbound;
        *lock(&self.outbound) = outbound;
        Ok(())
    }
    fn begin(&self) {
        let runtime = self.options.node.runtime();
        for (_, end) in lock(&self.inbound).iter() {
            end.expected();
            runtime.spawn(Arc::clone(end).watch());
        }
        let outbound = lock(&self.outbound);
        self.ended.begin(outbound.len());
        for end in outbound.iter() {
            runtime.spawn(Arc::clone(end).run());
        }
    }
    fn pushed(&self, outgoing: usize) {
        if let Some(Some(end)) = self.routes.get().and_then(|r| r.sends.get(outgoing)) {
            end.pushed();
        }
    }
    fn room(&self, incoming: usize) {
        if let Some(Some(end)) = self.routes.get().and_then(|r| r.receives.get(incoming)) {
            end.room();
        }
    }
    fn stop(&self, delivered: bool) -> Result<()> {
        let outbound = lock(&self.outbound).clone();
        outbound.iter().for_each(|o| if delivered { o.close() } else { o.give_up() });
        let ended = self.ended.wait();
        let inbound = std::mem::take(&mut *lock(&self.inbound));
        inbound.iter().for_each(|(_, i)| if delivered { i.finish() } else { i.give_up() });
        let patience = inbound.iter().filter_map(|(e, _)| self.peer(e.from as usize).ok()).map(Peer::patience).max();
        let linger = patience.filter(|_| delivered).unwrap_or_default();
        let registry = Arc::clone(self.options.node.registry());
        // Producers may still ask whether their last frames have arrived.
        self.options.node.runtime().spawn(async move {
            let until = Instant::now() + linger;
            while Instant::now() < until && !inbound.iter().all(|(_, i)| i.over()) {
                tokio::time::sleep(LOOK).await;
            }
            for (edge, inbound) in inbound {
                inbound.give_up();
                registry.forget(&edge);
            }
        });
        ended
    }
}

fn put<T>(places: &mut [Option<Arc<T>>], numbers: &[usize], end: &Arc<T>) {
    for number in numbers {
        if let Some(place) = places.get_mut(*number) {
            *place = Some(Arc::clone(end));
        }
    }
}

impl Drop for FlightCarrier {
    fn drop(&mut self) {
        lock(&self.outbound).iter().for_each(|o| o.give_up());
        for (edge, inbound) in lock(&self.inbound).drain(..) {
            inbound.give_up();
            self.options.node.registry().forget(&edge);
        }
    }
}
