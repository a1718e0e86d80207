//! How many calls are out at once: a limit of the step, which its instances in a process share.
//!
//! Whoever has rows may use all of it, so that one large split is not called for slower because other instances have nothing to do. While several
//! have, the next call is for the one with the fewest out, and of those for the one that has waited longest.
//!
//! Over several processes each has the part of its instances, since nothing is asked over the network before a call; but one call at least.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::operator::{Instance, Outside};

/// The calls that instances of one process may make.
#[derive(Default)]
pub(super) struct Permits(Mutex<State>);

#[derive(Default)]
struct State {
    /// What each of so many instances brings, of those that are here; also when it has no more rows.
    parts: (usize, BTreeMap<usize, usize>),
    /// The number of calls that are out.
    out: usize,
    /// By seat: the calls that are out.
    seats: BTreeMap<u64, usize>,
    /// By seat, those that wait: since when, and how they are woken.
    waiting: BTreeMap<u64, (u64, Arc<dyn Outside>)>,
    next: u64,
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
    fn free(&self) -> bool {
        self.out < self.parts.1.values().sum::<usize>().max(1)
    }
    fn out_of(&self, seat: u64) -> usize {
        self.seats.get(&seat).copied().unwrap_or_default()
    }
    /// Whose turn is next.
    fn first(&self) -> Option<u64> {
        self.waiting.iter().map(|(seat, (since, _))| (self.out_of(*seat), *since, *seat)).min().map(|(_, _, seat)| seat)
    }
    /// Whether a seat may make a call now; one that does not wait yet comes behind those that do.
    fn may(&self, seat: u64) -> bool {
        let own = |other: u64| match self.waiting.contains_key(&seat) {
            true => other == seat,
            false => self.out_of(seat) < self.out_of(other),
        };
        self.free() && self.first().is_none_or(own)
    }
    /// The one to be woken.
    fn due(&self) -> Option<Arc<dyn Outside>> {
        let first = self.first().filter(|_| self.free())?;
        self.waiting.get(&first).map(|(_, outside)| Arc::clone(outside))
    }
}

impl Permits {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one instance among those that make calls. Dropping it gives its calls back.
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
        let number = state.number();
        drop(state);
        Seat { permits: Arc::clone(permits), number }
    }
    /// Whether a call may be made now.
    pub(super) fn may(&self) -> bool {
        self.permits.lock().may(self.number)
    }
    /// Takes a permit. Without one the instance waits, and is woken when there is one for it.
    pub(super) fn take(&self, outside: &Arc<dyn Outside>) -> bool {
        let mut state = self.permits.lock();
        let may = state.may(self.number);
        if may {
            state.waiting.remove(&self.number);
            state.out += 1;
            *state.seats.entry(self.number).or_default() += 1;
        } else if !state.waiting.contains_key(&self.number) {
            let since = state.number();
            state.waiting.insert(self.number, (since, Arc::clone(outside)));
        }
        may
    }
    /// Gives permits back. Others hear of it when the instance [settles](Self::settle).
    pub(super) fn give(&self, permits: usize) {
        let mut state = self.permits.lock();
        if let Some(out) = state.seats.get_mut(&self.number) {
            let given = permits.min(*out);
            *out -= given;
            state.out -= given;
        }
    }
    /// The instance has done what it could, and waits on for a permit or not: whoever is next is woken, if it is another.
    pub(super) fn settle(&self, waits: bool) {
        let mut state = self.permits.lock();
        if !waits {
            state.waiting.remove(&self.number);
        }
        let due = if state.first() == Some(self.number) { None } else { state.due() };
        drop(state);
        if let Some(outside) = due {
            outside.wake();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.permits.lock();
        let out = state.seats.remove(&self.number).unwrap_or_default();
        state.out -= out.min(state.out);
        state.waiting.remove(&self.number);
        let due = state.due();
        drop(state);
        if let Some(outside) = due {
            outside.wake();
        }
    }
}
