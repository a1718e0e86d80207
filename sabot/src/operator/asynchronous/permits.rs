//! How many calls are out at once: a limit of the step, which its instances in a process share.
//!
//! Whoever has rows may use all of it, so that one large split is not called for slower because other instances have nothing to do. While several
//! want more, each has an equal part before any has more than that. A permit is given back when the call ends, and not when its instance hears of
//! it, which may be held up by those behind it. For the same reason who is woken for a permit and does not come has no part in the next
//! ones, until it asks again.
//!
//! Over several processes each has the part of its instances, since nothing is asked over the network before a call; but one call at least.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::operator::{Instance, Outside};

/// The calls that instances of one process may make.
#[derive(Default)]
pub(super) struct Permits(Mutex<State>);

#[derive(Default)]
struct State {
    /// What each of so many instances brings, of those that are here; also when it has no more rows.
    parts: (usize, BTreeMap<usize, usize>),
    /// By seat, the calls that are out, if there are some.
    out: BTreeMap<u64, usize>,
    /// By seat, how those that wait are woken.
    waiting: BTreeMap<u64, Arc<dyn Outside>>,
    /// Those that were woken and have not asked again; and whether anybody has taken a permit since.
    woken: BTreeSet<u64>,
    taken: bool,
    seats: u64,
}

impl State {
    fn all(&self) -> usize {
        self.parts.1.values().sum::<usize>().max(1)
    }
    fn free(&self) -> usize {
        self.all().saturating_sub(self.out.values().sum())
    }
    fn out_of(&self, seat: u64) -> usize {
        self.out.get(&seat).copied().unwrap_or_default()
    }
    /// Of those that want more, the one with the fewest calls always may.
    fn may(&self, seat: u64) -> bool {
        let others: BTreeSet<u64> = self.waiting.keys().chain(&self.woken).copied().filter(|other| *other != seat).collect();
        let (own, part) = (self.out_of(seat), self.all().div_ceil(1 + others.len()));
        self.free() > 0 && (own < part || others.iter().all(|other| self.out_of(*other) >= own))
    }
    /// Waits if it may not.
    fn asks(&mut self, seat: u64, outside: &Arc<dyn Outside>) -> bool {
        self.woken.remove(&seat);
        let may = self.may(seat);
        if !may {
            self.waiting.insert(seat, Arc::clone(outside));
        }
        may
    }
    /// Those that are told of free permits: as many as there are, those with the fewest calls first. If no call is out, whose end would be
    /// the next occasion, all.
    fn due(&mut self, but: Option<u64>) -> Vec<Arc<dyn Outside>> {
        let free = if self.out.is_empty() { usize::MAX } else { self.free() };
        let mut seats: Vec<(usize, u64)> = self.waiting.keys().filter(|s| Some(**s) != but).map(|s| (self.out_of(*s), *s)).collect();
        seats.sort_unstable();
        let due: Vec<u64> = seats.into_iter().take(free).map(|(_, seat)| seat).collect();
        self.woken.extend(&due);
        due.iter().filter_map(|seat| self.waiting.remove(seat)).collect()
    }
}

impl Permits {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave to make a call, while it is out.
pub(super) struct Permit {
    permits: Arc<Permits>,
    seat: u64,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.permits.lock();
        match state.out.get_mut(&self.seat) {
            Some(out) if *out > 1 => *out -= 1,
            _ => drop(state.out.remove(&self.seat)),
        }
        if std::mem::take(&mut state.taken) {
            state.woken.clear();
        }
        let due = state.due(None);
        drop(state);
        due.iter().for_each(|outside| outside.wake());
    }
}

/// The place of one instance among those that make calls.
pub(super) struct Seat {
    permits: Arc<Permits>,
    number: u64,
}

impl Seat {
    /// Of an instance of a step with at most `most` calls.
    pub(super) fn new(permits: &Arc<Permits>, most: usize, instance: Instance) -> Seat {
        let of = instance.of.max(1);
        let part = most / of + usize::from(instance.index < most % of);
        let mut state = permits.lock();
        if state.parts.0 != of {
            state.parts = (of, BTreeMap::new());
        }
        state.parts.1.insert(instance.index, part);
        state.seats += 1;
        let number = state.seats;
        drop(state);
        Seat { permits: Arc::clone(permits), number }
    }
    /// Whether a call may be made now. If not, the instance waits, and is woken to ask again.
    pub(super) fn may(&self, outside: &Arc<dyn Outside>) -> bool {
        self.permits.lock().asks(self.number, outside)
    }
    /// Takes a permit, or [waits](Self::may).
    pub(super) fn take(&self, outside: &Arc<dyn Outside>) -> Option<Permit> {
        let mut state = self.permits.lock();
        if !state.asks(self.number, outside) {
            return None;
        }
        state.waiting.remove(&self.number);
        state.taken = true;
        *state.out.entry(self.number).or_default() += 1;
        Some(Permit { permits: Arc::clone(&self.permits), seat: self.number })
    }
    /// The instance has done what it could for now: what it leaves is for others. It waits on if it `wants` to make calls.
    pub(super) fn settle(&self, wants: bool) {
        let mut state = self.permits.lock();
        if !wants {
            state.waiting.remove(&self.number);
            state.woken.remove(&self.number);
        }
        let due = if state.free() > 0 { state.due(Some(self.number)) } else { Vec::new() };
        drop(state);
        due.iter().for_each(|outside| outside.wake());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.settle(false);
    }
}
