//! Carries the links between the shares of a job within a process, each with a delay of its own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use crate::runtime::Executor;
use crate::shuffle::{Carrier, Channel, Host, LinkId, Links, Message};
use crate::sync::lock;
use crate::{Error, Result};

/// What is taken from a channel at once.
const BATCH: usize = 4;

/// All links of a job.
pub(crate) struct Wires {
    executor: Arc<dyn Executor>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    links: BTreeMap<LinkId, Wire>,
    /// The links of each share, in the order of their numbers.
    shares: BTreeMap<usize, (Vec<LinkId>, Vec<LinkId>)>,
    /// Shares whose links are cut.
    cut: Vec<usize>,
}

#[derive(Default)]
struct Wire {
    from: Option<End>,
    to: Option<End>,
    /// What has left one channel and has not reached the other.
    under_way: VecDeque<(Message, usize)>,
    delay: Duration,
    /// Whether someone is about to take from one end, or to bring to the other.
    taking: bool,
    bringing: bool,
}

#[derive(Clone)]
struct End {
    share: usize,
    channel: Arc<Channel>,
    host: Arc<dyn Host>,
}

/// The wires as one share has them.
pub(crate) struct Socket {
    wires: Weak<Wires>,
    share: usize,
}

impl Wires {
    pub(crate) fn new(executor: Arc<dyn Executor>) -> Arc<Wires> {
        Arc::new(Wires { executor, state: Mutex::default() })
    }
    pub(crate) fn socket(self: &Arc<Self>, share: usize) -> Arc<Socket> {
        Arc::new(Socket { wires: Arc::downgrade(self), share })
    }
    /// A share's process is not there any more.
    pub(crate) fn cut(&self, share: usize) {
        let mut state = self.lock();
        state.cut.push(share);
        state.links.retain(|_, w| w.from.iter().chain(&w.to).all(|end| end.share != share));
    }
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
    fn after(self: &Arc<Self>, delay: Duration, link: LinkId, then: fn(&Arc<Wires>, LinkId)) {
        let wires = Arc::downgrade(self);
        self.executor.after(delay, Box::new(move || wires.upgrade().iter().for_each(|w| then(w, link))));
    }
    fn take_soon(self: &Arc<Self>, state: &mut State, link: LinkId) {
        if let Some(wire) = state.links.get_mut(&link)
            && !std::mem::replace(&mut wire.taking, true)
        {
            self.after(Duration::from_micros(self.executor.random() % 50), link, Wires::take);
        }
    }
    fn bring_soon(self: &Arc<Self>, state: &mut State, link: LinkId) {
        if let Some(wire) = state.links.get_mut(&link)
            && !std::mem::replace(&mut wire.bringing, true)
        {
            let delay = wire.delay + Duration::from_micros(self.executor.random() % 20);
            self.after(delay, link, Wires::bring);
        }
    }
    /// From the channel onto the wire.
    fn take(self: &Arc<Self>, link: LinkId) {
        let mut state = self.lock();
        let Some(wire) = state.links.get_mut(&link) else { return };
        wire.taking = false;
        let Some(from) = &wire.from else { return };
        let mut more = true;
        for _ in 0..BATCH {
            match from.channel.pop() {
                Some(message) => wire.under_way.push_back(message),
                None => more = false,
            }
        }
        if more {
            self.take_soon(&mut state, link);
        }
        self.bring_soon(&mut state, link);
    }
    /// From the wire into the other channel, as far as there is room.
    fn bring(self: &Arc<Self>, link: LinkId) {
        let mut state = self.lock();
        let Some(wire) = state.links.get_mut(&link) else { return };
        wire.bringing = false;
        let (Some(from), Some(to)) = (wire.from.clone(), wire.to.clone()) else { return };
        let mut brought = Vec::new();
        while let Some((message, bytes)) = wire.under_way.pop_front() {
            if bytes > 0 && to.channel.full() && to.channel.wait() {
                wire.under_way.push_front((message, bytes));
                break;
            }
            to.channel.push(message);
            brought.push(bytes);
        }
        drop(state);
        if !brought.is_empty() {
            to.host.wake(to.channel.consumer);
        }
        let mut room = false;
        for bytes in brought {
            room |= from.channel.release(bytes);
        }
        if room {
            from.host.wake(from.channel.producer);
        }
    }
}

impl Socket {
    fn link(&self, number: usize, of: impl Fn(&(Vec<LinkId>, Vec<LinkId>)) -> &Vec<LinkId>) -> Option<(Arc<Wires>, LinkId)> {
        let wires = self.wires.upgrade()?;
        let link = wires.lock().shares.get(&self.share).and_then(|links| of(links).get(number).copied())?;
        Some((wires, link))
    }
}

impl Carrier for Socket {
    fn start(&self, links: Links) -> Result<()> {
        let Some(wires) = self.wires.upgrade() else { return Ok(()) };
        let mut state = wires.lock();
        if state.cut.contains(&self.share) {
            return Ok(());
        }
        let ids = |remotes: &[crate::shuffle::Remote]| remotes.iter().map(|r| r.link).collect();
        state.shares.insert(self.share, (ids(&links.outgoing), ids(&links.incoming)));
        for remote in links.outgoing {
            let end = End { share: self.share, channel: remote.channel, host: Arc::clone(&links.host) };
            let wire = state.links.entry(remote.link).or_default();
            wire.delay = Duration::from_micros(wires.executor.random() % 500);
            wire.from = Some(end);
        }
        for remote in links.incoming {
            let end = End { share: self.share, channel: remote.channel, host: Arc::clone(&links.host) };
            state.links.entry(remote.link).or_default().to = Some(end);
        }
        Ok(())
    }
    fn begin(&self) {
        let Some(wires) = self.wires.upgrade() else { return };
        let state = wires.lock();
        // the other end of each link is there, unless a process has died
        if !state.cut.is_empty() {
            return;
        }
        let mine = |end: &Option<End>| end.as_ref().filter(|end| end.share == self.share).map(|end| Arc::clone(&end.host));
        let early = state.links.values().filter(|w| w.from.is_none() || w.to.is_none()).find_map(|w| mine(&w.from).or_else(|| mine(&w.to)));
        drop(state);
        if let Some(host) = early {
            host.failed(Error::internal("a share was told to begin before another was ready"));
        }
    }
    fn pushed(&self, outgoing: usize) {
        if let Some((wires, link)) = self.link(outgoing, |links| &links.0) {
            wires.take_soon(&mut wires.lock(), link);
        }
    }
    fn room(&self, incoming: usize) {
        if let Some((wires, link)) = self.link(incoming, |links| &links.1) {
            wires.bring_soon(&mut wires.lock(), link);
        }
    }
    fn stop(&self, _delivered: bool) -> Result<()> {
        if let Some(wires) = self.wires.upgrade() {
            wires.cut(self.share);
        }
        Ok(())
    }
}
