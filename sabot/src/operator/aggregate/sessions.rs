//! Sessions, put together from their panes.
//!
//! Panes are as long as the gap, so the rows of a key in one pane belong to one session, and sessions are chains of panes whose
//! extents are less than the gap apart. The panes of a chain are merged in the order of time, each as soon as it takes no more
//! rows and the chain is looked at, so that a session that never ends is one group and a few panes. So what is merged
//! with what, and in which order, depends neither on arrival nor on watermarks.
//!
//! A chain is looked at when its first session may be over: at the end that it had when it was last looked at. Each key waits
//! for one such time.

use std::collections::BTreeMap;

use arrow_array::ArrayRef;
use arrow_schema::{DataType, FieldRef};

use super::extent::bounds;
use super::last::{FinalAggregate, MANY};
use super::spec::Groups;
use super::window::Units;
use crate::operator::{END_OF_TIME, EventTime, Kept, Keys};
use crate::{Error, Result};

/// A key that waits for nothing.
const NEVER: i64 = i64::MAX;

/// The open sessions of a final aggregate. Groups are those of its table, numbered without gaps.
///
/// Cost: a second look-up of the key per partial row; 40 bytes per group.
pub(super) struct Sessions {
    units: Units,
    /// The keys alone, without panes.
    keys: Keys,
    numbers: Vec<u32>,
    chains: Vec<Chain>,
    panes: Vec<Pane>,
    /// When to look at which keys. Only the entry that a chain waits for counts.
    due: BTreeMap<i64, Vec<u32>>,
}

/// The groups of a key, whose order is made when it is needed.
struct Chain {
    groups: Vec<u32>,
    due: i64,
}

/// A group: a pane, or several that were merged. Times are in units.
#[derive(Clone, Copy, Default)]
struct Pane {
    start: i64,
    first: i64,
    last: i64,
}

/// What became of sessions.
#[derive(Default)]
struct Settled {
    /// Groups to merge, in order: from, to.
    merged: Vec<(u32, u32)>,
    /// Groups of sessions that are over.
    over: Vec<u32>,
}

impl Sessions {
    /// No sessions of keys with these fields.
    pub(super) fn new(units: Units, fields: &[FieldRef]) -> Result<Self> {
        let keys = Keys::new(fields)?;
        Ok(Sessions { units, keys, numbers: Vec::new(), chains: Vec::new(), panes: Vec::new(), due: BTreeMap::new() })
    }
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.chains.clear();
        self.panes.clear();
        self.due.clear();
    }
    pub(super) fn bytes(&self) -> usize {
        let lists: usize = self.chains.iter().map(|c| c.groups.capacity() * 4).sum();
        let due: usize = self.due.values().map(|d| d.capacity() * 4 + 48).sum();
        self.keys.bytes() + self.chains.capacity() * size_of::<Chain>() + lists + self.panes.capacity() * size_of::<Pane>() + due
    }
    /// The groups of open sessions.
    pub(super) fn groups(&self) -> impl Iterator<Item = u32> {
        self.chains.iter().flat_map(|c| c.groups.iter().copied())
    }
    /// The earliest event time of a result to come from rows that have come.
    pub(super) fn hold(&self) -> EventTime {
        self.due.first_key_value().map_or(END_OF_TIME, |(end, _)| self.units.at(*end).saturating_sub(1))
    }
    /// Takes rows in: the i-th kept one is of group `groups[i]`, of the pane that starts at `starts[row]`.
    pub(super) fn enter(
        &mut self,
        columns: &[ArrayRef],
        groups: &[u32],
        kept: Kept<'_>,
        starts: &[i64],
        (firsts, lasts): (&[i64], &[i64]),
    ) -> Result<()> {
        self.keys.insert(columns, kept, &mut self.numbers)?;
        self.chains.resize_with(self.keys.len(), || Chain { groups: Vec::new(), due: NEVER });
        let (numbers, chains, panes, due, units) = (&self.numbers, &mut self.chains, &mut self.panes, &mut self.due, self.units);
        kept.each(|i, row| {
            let (Some(group), Some(key)) = (groups.get(i), numbers.get(i)) else { return };
            let (Some(start), Some(first), Some(last)) = (starts.get(row), firsts.get(row), lasts.get(row)) else { return };
            if let Some(pane) = panes.get_mut(*group as usize) {
                pane.first = pane.first.min(*first);
                pane.last = pane.last.max(*last);
                return;
            }
            panes.push(Pane { start: *start, first: *first, last: *last });
            if let Some(chain) = chains.get_mut(*key as usize) {
                chain.groups.push(*group);
                chain.wait(*key, units.session_end(*last), due);
            }
        });
        Ok(())
    }
    /// As [`enter`](Self::enter), of all groups anew.
    pub(super) fn rebuild(&mut self, columns: &[ArrayRef], groups: &[u32], starts: &[i64], bounds: (&[i64], &[i64])) -> Result<()> {
        self.clear();
        self.enter(columns, groups, Kept::Range(0, groups.len()), starts, bounds)?;
        self.due.clear();
        for (key, chain) in (0..).zip(&mut self.chains) {
            chain.due = NEVER;
            if let Some(end) = chain.first_end(self.units, &self.panes) {
                chain.wait(key, end, &mut self.due);
            }
        }
        Ok(())
    }
    /// Merges panes and takes out the sessions that end by `until`.
    fn settle(&mut self, until: EventTime) -> Settled {
        let mut out = Settled::default();
        while let Some(first) = self.due.first_entry()
            && self.units.over(*first.key(), until)
        {
            let (at, keys) = first.remove_entry();
            for key in keys {
                let Some(chain) = self.chains.get_mut(key as usize).filter(|c| c.due == at) else { continue };
                chain.due = NEVER;
                if let Some(end) = chain.settle(self.units, &mut self.panes, until, &mut out) {
                    chain.wait(key, end, &mut self.due);
                }
            }
        }
        let panes = &self.panes;
        out.over.sort_unstable_by_key(|g| (panes.get(*g as usize).map(|p| p.first), *g));
        out
    }
}

impl Chain {
    /// Lets the key `number`, which this is, wait for `end`, unless it waits for an earlier time.
    fn wait(&mut self, number: u32, end: i64, due: &mut BTreeMap<i64, Vec<u32>>) {
        if end < self.due || self.due == NEVER {
            self.due = end;
            due.entry(end).or_default().push(number);
        }
    }
    /// Brings the groups into the order of time.
    fn sort(&mut self, panes: &[Pane]) {
        let start = |group: &u32| panes.get(*group as usize).map(|p| p.start);
        if !self.groups.is_sorted_by_key(start) {
            self.groups.sort_unstable_by_key(start);
        }
    }
    /// The end of the first session, as far as it is known.
    fn first_end(&mut self, units: Units, panes: &[Pane]) -> Option<i64> {
        self.sort(panes);
        let mut known = self.groups.iter().filter_map(|g| panes.get(*g as usize));
        let first = units.session_end(known.next()?.last);
        Some(known.try_fold(first, |end, p| if p.first < end { Ok(units.session_end(p.last)) } else { Err(end) }).unwrap_or_else(|end| end))
    }
    /// As [`Sessions::settle`]; the end of the first session that stays, as far as it is known.
    fn settle(&mut self, units: Units, panes: &mut [Pane], until: EventTime, out: &mut Settled) -> Option<i64> {
        let pane = |panes: &[Pane], group: u32| panes.get(group as usize).copied().unwrap_or_default();
        self.sort(panes);
        let (mut left, mut rest, mut due) = (Vec::new(), self.groups.iter().copied().peekable(), None);
        while let Some(head) = rest.next() {
            let mut end = units.session_end(pane(panes, head).last);
            let mut grows = false;
            while let Some(next) = rest.peek().map(|g| pane(panes, *g)).filter(|next| next.first < end) {
                end = units.session_end(next.last);
                // merged when it has all of its rows
                grows = units.pane_end(next.start) > until;
                if grows {
                    break;
                }
                out.merged.extend(rest.next().map(|group| (group, head)));
                if let Some(pane) = panes.get_mut(head as usize) {
                    pane.last = next.last;
                }
            }
            if grows || !units.over(end, until) {
                left.push(head);
                left.extend(rest);
                due = Some(end);
                break;
            }
            out.over.push(head);
        }
        self.groups = left;
        due
    }
}

impl FinalAggregate {
    /// Takes the sessions that end by `until`: their groups, by start.
    pub(super) fn close_sessions(&mut self, until: EventTime) -> Result<Vec<u32>> {
        let Some(sessions) = &mut self.sessions else { return Ok(Vec::new()) };
        let Settled { merged, over } = sessions.settle(until);
        for some in merged.chunks(MANY) {
            let (from, to): (Vec<u32>, Vec<u32>) = some.iter().copied().unzip();
            for state in &mut self.groups.states {
                let states = state.state(&from)?;
                state.merge(&to, Kept::Range(0, to.len()), &states).map_err(|f| f.at(&self.spec.name, None))?;
            }
            for (from, to) in some {
                let rows = self.groups.rows.get_mut(*from as usize).map(std::mem::take).unwrap_or_default();
                if let Some(sum) = self.groups.rows.get_mut(*to as usize) {
                    *sum += rows;
                }
            }
        }
        self.dead += merged.len();
        Ok(over)
    }
}

/// Starts and ends of sessions, as columns of this type.
pub(super) fn session_bounds(units: Units, of: &Groups, groups: &[u32], data_type: &DataType) -> Result<(ArrayRef, ArrayRef)> {
    let extent = of.states.last().ok_or_else(|| Error::internal("a session without its extent"))?.state(groups)?;
    let (firsts, lasts) = bounds(&extent)?;
    let ends = lasts.iter().map(|last| units.session_end(*last)).collect();
    Ok((units.column(firsts.to_vec(), data_type)?, units.column(ends, data_type)?))
}
