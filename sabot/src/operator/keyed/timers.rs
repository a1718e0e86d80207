//! Times at which something is due for a key, by key group.
//!
//! Within a key group they are in order of time, and at one time in the order in which the keys were born: neither depends on how
//! keys are spread over instances. About 60 bytes each; setting, deleting and taking one costs the logarithm of their number.

use std::collections::BTreeMap;

use crate::kernel::hash::KEY_GROUPS;
use crate::operator::EventTime;

/// When, and which key of the group by order of birth.
pub(super) type Due = (EventTime, u64);

#[derive(Debug)]
pub(super) struct Timers {
    /// The numbers of the keys.
    groups: Vec<BTreeMap<Due, u32>>,
    len: usize,
}

impl Default for Timers {
    fn default() -> Self {
        Timers { groups: (0..KEY_GROUPS).map(|_| BTreeMap::new()).collect(), len: 0 }
    }
}

impl Timers {
    /// Returns whether it was not set before.
    pub(super) fn set(&mut self, group: u16, due: Due, number: u32) -> bool {
        let new = self.groups.get_mut(usize::from(group)).is_some_and(|g| g.insert(due, number).is_none());
        self.len += usize::from(new);
        new
    }
    /// Returns whether it was set.
    pub(super) fn delete(&mut self, group: u16, due: Due) -> bool {
        let was = self.groups.get_mut(usize::from(group)).is_some_and(|g| g.remove(&due).is_some());
        self.len -= usize::from(was);
        was
    }
    /// Takes the first of a group that is due at `until`.
    pub(super) fn pop(&mut self, group: u16, until: EventTime) -> Option<(Due, u32)> {
        let timers = self.groups.get_mut(usize::from(group))?;
        let first = timers.first_entry().filter(|e| e.key().0 <= until)?;
        self.len -= 1;
        Some(first.remove_entry())
    }
    /// Whether one of a group is due at `until`.
    #[inline]
    pub(super) fn is_due(&self, group: u16, until: EventTime) -> bool {
        self.len > 0 && self.groups.get(usize::from(group)).and_then(BTreeMap::first_key_value).is_some_and(|((at, _), _)| *at <= until)
    }
    /// The groups in which one is due at `until`.
    pub(super) fn due(&self, until: EventTime) -> Vec<u16> {
        (0..KEY_GROUPS).filter(|g| self.is_due(*g, until)).collect()
    }
    pub(super) fn earliest(&self) -> Option<EventTime> {
        if self.len == 0 {
            return None;
        }
        self.groups.iter().filter_map(BTreeMap::first_key_value).map(|((at, _), _)| *at).min()
    }
    pub(super) fn of(&self, group: u16) -> impl Iterator<Item = (Due, u32)> + '_ {
        self.groups.get(usize::from(group)).into_iter().flatten().map(|(due, number)| (*due, *number))
    }
    pub(super) fn count(&self, group: u16) -> usize {
        self.groups.get(usize::from(group)).map_or(0, BTreeMap::len)
    }
    pub(super) fn clear(&mut self, group: u16) {
        if let Some(timers) = self.groups.get_mut(usize::from(group)) {
            self.len -= std::mem::take(timers).len();
        }
    }
    /// Keys have other numbers now: `to[old]` is the new one.
    pub(super) fn renumber(&mut self, to: &[u32]) {
        for number in self.groups.iter_mut().flat_map(BTreeMap::values_mut) {
            *number = to.get(*number as usize).copied().unwrap_or(*number);
        }
    }
    pub(super) fn bytes(&self) -> usize {
        /// An entry, and its share of the nodes of the tree, which are about two thirds full.
        const EACH: usize = 60;
        self.len * EACH
    }
}
