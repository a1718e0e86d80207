//! The input gate of one port: what came, in the order in which the operator shall see it.
//!
//! *Arrival*: first come, first served. For operators that do not care, and for endless inputs, where nothing could be
//! waited for.
//!
//! *Source order* (bounded inputs): the list of all splits is known, so the next split is known. Its rows are delivered
//! as they come if a single producer brings them; otherwise once all producers have ended it, by edge, row and producer
//! instance (edges first, so that it does not tell how long morsels are). Rows of later splits wait here, and count against their channel. Rows that an operator emitted by its own
//! decision (on a watermark or at its end, see [`chain`](super::chain)) carry that operator as their source: they follow
//! behind all splits, by their `Origin`, then edge, producer instance, and order of emission. None of this
//! depends on timing. Whether it depends on the number of instances is up to the rows: pieces of one morsel that a hash
//! exchange dealt to several instances come back in order of instances.
//!
//! Rows that were dealt out by an edge of the user's carry their places, and come in the order of these: see [`dealt`](super::dealt).
//!
//! An operator's own rows wait for the end of all producers, unless each of them either has ended or has
//! [said](crate::operator::Mark::Ascending) that what it still sends ascends. Then a row is delivered when no producer can
//! send one that belongs before it. Instances own ranges of key groups, so the rows of the first instance pass as they come;
//! those of others wait in their channels, whose limits hold their producers back, until it is their turn: the larger part of a
//! result need not be in memory at any time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::checkpoint::{SplitKey, split_key};
use super::dealt::Dealt;
use crate::Result;
use crate::kernel::{Morsel, Origin};
use crate::shuffle::Message;

/// The channel of rows that came out of a checkpoint.
pub(super) const NO_CHANNEL: usize = usize::MAX;

/// Edge and producer instance.
pub(super) type From = (usize, usize);

/// Rows in a gate.
pub(super) struct Held {
    pub(super) morsel: Morsel,
    /// Where the bytes are counted.
    pub(super) channel: usize,
    pub(super) bytes: usize,
    /// Decides between rows of equal origin.
    pub(super) from: From,
    /// Further bytes that these rows stand for, by channel: of pieces that were put together.
    pub(super) also: Vec<(usize, usize)>,
}

/// What a gate lets through.
pub(super) enum Passed {
    Rows(Held),
    /// A mark, in order of arrival.
    Mark(usize, Message),
    /// All marks of an edge for a split, out of a checkpoint.
    Marked(usize, SplitKey),
    /// The end of a split, in source order.
    SplitEnd(SplitKey),
}

pub(super) enum Gate {
    Arrival(VecDeque<Passed>),
    Source(SourceOrder),
}

impl Gate {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Gate::Arrival(queue) => queue.is_empty(),
            Gate::Source(order) => order.buffers.is_empty() && order.own.is_empty() && order.dealt.is_empty(),
        }
    }
    pub(super) fn rows(&mut self, held: Held) {
        match self {
            Gate::Arrival(queue) => queue.push_back(Passed::Rows(held)),
            Gate::Source(order) => order.add(held),
        }
    }
    /// The next thing; `closed` if no producer sends any more.
    ///
    /// # Errors
    /// If pieces of a morsel cannot be put together.
    pub(super) fn next(&mut self, closed: bool) -> Result<Option<Passed>> {
        match self {
            Gate::Arrival(queue) => Ok(queue.pop_front()),
            Gate::Source(order) => order.next(closed),
        }
    }
    /// The rows held back now.
    pub(super) fn held(&self) -> Vec<&Held> {
        match self {
            Gate::Arrival(queue) => queue.iter().filter_map(|p| if let Passed::Rows(h) = p { Some(h) } else { None }).collect(),
            Gate::Source(order) => {
                let splits = order.buffers.values().flat_map(|b| b.placed.held().chain(&b.rows));
                splits.chain(order.dealt.held()).chain(order.own.values()).collect()
            }
        }
    }
}

#[derive(Default)]
struct Buffer {
    rows: VecDeque<Held>,
    sorted: bool,
    /// Whether rows have places.
    dealt: bool,
    /// Those that are whole, in order.
    placed: Dealt,
}

pub(super) struct SourceOrder {
    /// All splits that can come, in order.
    splits: Arc<Vec<SplitKey>>,
    pub(super) delivered: usize,
    /// Splits whose end was told before a checkpoint.
    skipped: BTreeSet<SplitKey>,
    /// Splits that have ended on this port.
    ended: BTreeSet<SplitKey>,
    /// Sources whose splits come from a single producer each; other sources of `splits` from several.
    streaming: BTreeMap<u32, bool>,
    buffers: BTreeMap<SplitKey, Buffer>,
    /// Rows of no split, with the number of their arrival.
    own: BTreeMap<(Origin, From, u64), Held>,
    arrived: u64,
    /// Of these, rows that had places, in order.
    dealt: Dealt,
    /// Producers that have not ended; with the origin before which none of their rows will come, if they have said so.
    producers: BTreeMap<From, Option<Origin>>,
}

impl SourceOrder {
    pub(super) fn new(splits: Arc<Vec<SplitKey>>, streaming: BTreeMap<u32, bool>) -> Self {
        SourceOrder {
            splits,
            delivered: 0,
            skipped: BTreeSet::new(),
            ended: BTreeSet::new(),
            streaming,
            buffers: BTreeMap::new(),
            own: BTreeMap::new(),
            arrived: 0,
            dealt: Dealt::default(),
            producers: BTreeMap::new(),
        }
    }
    /// Skips splits that were delivered before a checkpoint.
    pub(super) fn skip(&mut self, delivered: impl Fn(&SplitKey) -> bool) {
        self.skipped = self.splits.iter().copied().filter(delivered).collect();
    }
    pub(super) fn split_ended(&mut self, split: SplitKey) {
        self.ended.insert(split);
    }
    fn add(&mut self, held: Held) {
        let split = split_key(&held.morsel.origin);
        if self.streaming.contains_key(&split.0) {
            let buffer = self.buffers.entry(split).or_default();
            buffer.dealt |= held.has_places();
            buffer.rows.push_back(held);
            buffer.sorted = false;
        } else {
            let origin = held.morsel.origin;
            if let Some(Some(least)) = self.producers.get_mut(&held.from) {
                *least = origin.max(*least);
            }
            self.own.insert((origin, held.from, self.arrived), held);
            self.arrived += 1;
        }
    }
    /// A producer may send rows.
    pub(super) fn producer(&mut self, from: From) {
        self.producers.insert(from, None);
    }
    /// What a producer still sends is in order, and not before `least`.
    pub(super) fn ascends(&mut self, from: From, least: Origin) {
        self.producers.insert(from, Some(least));
    }
    /// A producer sends no more.
    pub(super) fn ended(&mut self, from: From) {
        self.producers.remove(&from);
    }
    /// Whether a producer sends its last rows.
    pub(super) fn ending(&self) -> bool {
        self.producers.values().any(Option::is_some)
    }
    /// Whether the first of the waiting rows of no split comes before all that are still to come.
    fn first_is_due(&self) -> bool {
        let Some((origin, from, _)) = self.own.first_key_value().map(|(place, _)| *place) else { return false };
        self.producers.iter().all(|(other, least)| least.is_some_and(|least| (origin, from) <= (least, *other)))
    }
    fn next(&mut self, closed: bool) -> Result<Option<Passed>> {
        while self.splits.get(self.delivered).is_some_and(|s| self.skipped.contains(s)) {
            self.delivered += 1;
        }
        let next = self.splits.get(self.delivered).copied();
        let first = self.buffers.first_key_value().map(|(split, buffer)| (*split, buffer.dealt));
        if let Some(split) = next.filter(|next| self.ended.contains(next) && first.is_none_or(|(first, _)| first > *next)) {
            self.delivered += 1;
            self.ended.remove(&split);
            return Ok(Some(Passed::SplitEnd(split)));
        }
        if let Some((split, dealt)) = first {
            // rows that were dealt out come from several even if one is left
            let single = !dealt && self.streaming.get(&split.0) == Some(&true);
            let whole = closed || Some(split) < next || (Some(split) == next && (single || self.ended.contains(&split)));
            if whole {
                // rows of a single producer come in order, which need not be that of their numbers
                return Ok(self.pop(split, !single)?.map(Passed::Rows));
            }
        }
        if !self.dealt.is_empty() {
            return Ok(self.dealt.next()?.map(Passed::Rows));
        }
        if closed || (next.is_none() && self.buffers.is_empty() && self.first_is_due()) {
            return Ok(self.pop_own()?.map(Passed::Rows));
        }
        Ok(None)
    }
    fn pop(&mut self, split: SplitKey, sort: bool) -> Result<Option<Held>> {
        let Some(buffer) = self.buffers.get_mut(&split) else { return Ok(None) };
        if buffer.dealt && buffer.placed.is_empty() {
            buffer.placed = Dealt::new(std::mem::take(&mut buffer.rows));
        } else if sort && !buffer.sorted && !buffer.dealt {
            buffer.rows.make_contiguous().sort_by_key(|h| (h.from.0, h.morsel.origin.row, h.from.1));
            buffer.sorted = true;
        }
        let held = if buffer.dealt { buffer.placed.next()? } else { buffer.rows.pop_front() };
        if buffer.rows.is_empty() && buffer.placed.is_empty() {
            self.buffers.remove(&split);
        }
        Ok(held)
    }
    /// The first of the rows of no split. Of those that were dealt out, all of one origin are put into order.
    fn pop_own(&mut self) -> Result<Option<Held>> {
        let Some((place, held)) = self.own.pop_first() else { return Ok(None) };
        let same = |other: &(Origin, From, u64)| other.0 == place.0;
        if !held.has_places() && !self.own.first_key_value().is_some_and(|(other, h)| same(other) && h.has_places()) {
            return Ok(Some(held));
        }
        let mut all = vec![held];
        while self.own.first_key_value().is_some_and(|(other, _)| same(other)) {
            all.extend(self.own.pop_first().map(|(_, held)| held));
        }
        self.dealt = Dealt::new(all);
        self.dealt.next()
    }
}
