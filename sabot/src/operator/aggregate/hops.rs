//! Overlapping windows, put together from their panes.
//!
//! The panes of the next window that have ended are merged before it is due, a few with each morsel: then what is left to do when the window
//! ends is its last panes and its results, and these come sooner. It is the same work in the same order, so results are the same.
//!
//! All keys of the next window have one start, so its table has the keys alone (integers are often found by index then), and it lists its groups
//! by key group as they come, which is the order in which they leave.

use arrow_array::ArrayRef;

use super::emission::Emission;
use super::last::{FinalAggregate, MANY};
use super::spec::Groups;
use super::window::Units;
use crate::Result;
use crate::kernel::hash::KEY_GROUPS;
use crate::operator::keys::key_groups;
use crate::operator::{Account, EventTime, Kept, Output};

/// The beginning of the next window.
pub(super) struct Ahead {
    /// Where the window starts; none if what is here was sent, and only its memory is of use.
    start: Option<i64>,
    /// The pane to merge next, and how many of its groups are merged.
    next: (i64, usize),
    windows: Groups,
    by_key_group: Vec<Vec<u32>>,
}

impl Ahead {
    pub(super) fn bytes(&self) -> usize {
        self.windows.bytes() + self.by_key_group.iter().map(|of| of.capacity() * 4).sum::<usize>()
    }
    /// Enters groups from number `from` on into their key groups. The numbers are those of rows with these keys.
    fn enter(&mut self, from: usize, numbers: &[u32], keys: &[ArrayRef]) -> Result<()> {
        let mut next = from as u32;
        for (number, of) in numbers.iter().zip(key_groups(keys, numbers.len())?) {
            if *number == next {
                self.by_key_group.get_mut(usize::from(of)).into_iter().for_each(|list| list.push(next));
                next += 1;
            }
        }
        Ok(())
    }
}

impl FinalAggregate {
    /// As [`emit_windows`](Self::emit_windows), for windows of several panes: the states of the panes are merged in the
    /// order of time.
    pub(super) fn emit_hops(&mut self, units: Units, from: EventTime, until: EventTime, out: &mut dyn Output) -> Result<()> {
        let first = self.open.first_key_value().map(|(pane, _)| units.first_window(*pane, from));
        let Some(first) = first.filter(|start| units.end(*start) <= until) else { return Ok(()) };
        let (mut done, mut next) = (Vec::new(), i64::MIN);
        if let Some(ahead) = self.ahead.take().filter(|ahead| ahead.start == Some(first)) {
            self.ahead = Some(self.emit_ahead(units, ahead, out)?);
            next = self.pass_window(units, first, &mut done);
        }
        let mut windows = None;
        let (mut panes, mut starts) = (Vec::new(), Vec::new());
        while let Some((pane, _)) = self.open.first_key_value() {
            let start = units.first_window(*pane, from).max(next);
            if units.end(start) > until {
                break;
            }
            self.open.range(start..start.saturating_add(units.size)).for_each(|(_, of)| panes.extend_from_slice(of));
            starts.resize(panes.len(), start);
            next = self.pass_window(units, start, &mut done);
            let windows = match &mut windows {
                Some(windows) => windows,
                none => none.insert(Groups::new(&self.spec, &self.fields)?),
            };
            if panes.len() >= MANY {
                self.combine(units, windows, &panes, std::mem::take(&mut starts))?;
                panes.clear();
            }
            if windows.keys.len() >= MANY {
                self.emit_combined(windows, out)?;
            }
        }
        if let Some(windows) = &mut windows {
            self.combine(units, windows, &panes, starts)?;
            self.emit_combined(windows, out)?;
        }
        let rows = self.groups.rows_of(&done);
        out.account(Account { used: rows, held: -(rows as i64), ..Account::default() });
        self.dead += done.len();
        Ok(())
    }
    /// The window that begins at `start` is over: takes the panes that no later one holds. Returns where the next one begins.
    fn pass_window(&mut self, units: Units, start: i64, done: &mut Vec<u32>) -> i64 {
        let next = start.saturating_add(units.slide);
        while let Some(first) = self.open.first_entry()
            && *first.key() < next
        {
            done.extend(first.remove());
        }
        next
    }
    /// Merges some groups of panes that have ended into the next window. Whether there was something to merge.
    pub(super) fn merge_ahead(&mut self, units: Units) -> Result<bool> {
        let Some((first, _)) = self.open.first_key_value() else { return Ok(false) };
        let start = units.first_window(*first, self.watermark);
        let mut ahead = match self.ahead.take() {
            Some(ahead) if ahead.start == Some(start) => ahead,
            old => self.begin_ahead(start, old)?,
        };
        let merged = self.merge_some(units, &mut ahead, units.last_pane(self.watermark))?;
        self.ahead = Some(ahead);
        Ok(merged)
    }
    /// A window of which nothing is merged yet, in the memory of one that is over.
    fn begin_ahead(&self, start: i64, old: Option<Ahead>) -> Result<Ahead> {
        let mut ahead = match old {
            Some(ahead) => ahead,
            None => Ahead {
                start: None,
                next: (0, 0),
                windows: Groups::new(&self.spec, self.fields.get(..self.spec.keys.len()).unwrap_or(&[]))?,
                by_key_group: vec![Vec::new(); usize::from(KEY_GROUPS)],
            },
        };
        ahead.windows.clear();
        ahead.by_key_group.iter_mut().for_each(Vec::clear);
        (ahead.start, ahead.next) = (Some(start), (start, 0));
        Ok(ahead)
    }
    /// Merges the next groups of panes that begin by `last`. Whether there were any.
    fn merge_some(&self, units: Units, ahead: &mut Ahead, last: i64) -> Result<bool> {
        let (pane, groups) = ahead.next;
        let end = ahead.start.unwrap_or(pane).saturating_add(units.size).min(last.saturating_add(1));
        let mut rest = self
            .open
            .range(pane..end.max(pane))
            .map(|(at, of)| (*at, of.get(if *at == pane { groups } else { 0 }..).unwrap_or(&[]), of.len()))
            .filter(|(_, rest, _)| !rest.is_empty());
        let Some((at, rest, all)) = rest.next() else { return Ok(false) };
        let some = rest.get(..MANY).unwrap_or(rest);
        let keys = self.groups.keys.first_columns(some, self.spec.keys.len())?;
        let before = ahead.windows.keys.len();
        let numbers = self.merge_panes(&mut ahead.windows, &keys, some)?;
        if ahead.windows.keys.len() > before {
            ahead.enter(before, &numbers, &keys)?;
        }
        ahead.next = (at, all - rest.len() + some.len());
        Ok(true)
    }
    /// Merges what is left of a window that has ended, and sends it.
    fn emit_ahead(&mut self, units: Units, mut ahead: Ahead, out: &mut dyn Output) -> Result<Ahead> {
        while self.merge_some(units, &mut ahead, i64::MAX)? {}
        let start = ahead.start.take();
        let mut emission = Emission::listed(&ahead.by_key_group);
        while let Some(piece) = self.piece(&ahead.windows, &mut emission, u16::MAX, start)? {
            self.send_piece(piece, out);
        }
        Ok(ahead)
    }
    /// Merges the states of panes into those of their windows, which begin at `starts`.
    fn combine(&self, units: Units, windows: &mut Groups, panes: &[u32], starts: Vec<i64>) -> Result<()> {
        if panes.is_empty() {
            return Ok(());
        }
        let mut columns = self.groups.keys.columns(panes)?;
        if let Some(last) = columns.last_mut() {
            *last = units.column(starts, last.data_type())?;
        }
        self.merge_panes(windows, &columns, panes).map(|_| ())
    }
    /// Merges the states of panes into groups with these keys. Returns their numbers.
    fn merge_panes(&self, windows: &mut Groups, keys: &[ArrayRef], panes: &[u32]) -> Result<Vec<u32>> {
        let kept = Kept::Range(0, panes.len());
        let mut numbers = Vec::new();
        windows.keys.insert(keys, kept, &mut numbers)?;
        windows.resize();
        for (to, from) in windows.states.iter_mut().zip(&self.groups.states) {
            to.merge(&numbers, kept, &from.state(panes)?).map_err(|f| f.at(&self.spec.name, None))?;
        }
        Ok(numbers)
    }
    fn emit_combined(&mut self, windows: &mut Groups, out: &mut dyn Output) -> Result<()> {
        if windows.keys.is_empty() {
            return Ok(());
        }
        let mut emission = self.emission(windows, &windows.all())?;
        while let Some(piece) = self.piece(windows, &mut emission, u16::MAX, None)? {
            self.send_piece(piece, out);
        }
        windows.clear();
        Ok(())
    }
}
