//! Overlapping windows, put together from their panes.
//!
//! The panes of the next window that have ended are merged before it is due, a few with each morsel: then what is left to do when the window
//! ends is its last panes and its results, and these come sooner. It is the same work in the same order, so results are the same.

use super::last::{FinalAggregate, MANY};
use super::spec::Groups;
use super::window::Units;
use crate::Result;
use crate::operator::{Account, EventTime, Kept, Output};

/// The beginning of the next window.
pub(super) struct Ahead {
    /// Where the window starts.
    start: i64,
    /// The pane to merge next, and how many of its groups are merged.
    next: (i64, usize),
    windows: Groups,
}

impl Ahead {
    pub(super) fn bytes(&self) -> usize {
        self.windows.bytes()
    }
}

impl FinalAggregate {
    /// As [`emit_windows`](Self::emit_windows), for windows of several panes: the states of the panes are merged in the
    /// order of time.
    pub(super) fn emit_hops(&mut self, units: Units, from: EventTime, until: EventTime, out: &mut dyn Output) -> Result<()> {
        let first = self.open.first_key_value().map(|(pane, _)| units.first_window(*pane, from));
        if first.is_none_or(|start| units.end(start) > until) {
            return Ok(());
        }
        let (mut windows, mut merged) = match self.ahead.take() {
            Some(ahead) if first == Some(ahead.start) => (ahead.windows, Some(ahead.next)),
            _ => (Groups::new(&self.spec, &self.fields)?, None),
        };
        let (mut panes, mut starts, mut done) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = i64::MIN;
        while let Some((pane, _)) = self.open.first_key_value() {
            let start = units.first_window(*pane, from).max(next);
            if units.end(start) > until {
                break;
            }
            let (pane, groups) = merged.take().unwrap_or((start, 0));
            for (at, of) in self.open.range(pane..start.saturating_add(units.size)) {
                panes.extend_from_slice(of.get(if *at == pane { groups } else { 0 }..).unwrap_or(&[]));
            }
            starts.resize(panes.len(), start);
            next = start.saturating_add(units.slide);
            // no later window holds a pane before it
            while let Some(first) = self.open.first_entry()
                && *first.key() < next
            {
                done.extend(first.remove());
            }
            if panes.len() >= MANY {
                self.combine(units, &mut windows, &panes, std::mem::take(&mut starts))?;
                panes.clear();
            }
            if windows.keys.len() >= MANY {
                self.emit_combined(&mut windows, out)?;
            }
        }
        self.combine(units, &mut windows, &panes, starts)?;
        self.emit_combined(&mut windows, out)?;
        let rows = self.groups.rows_of(&done);
        out.account(Account { used: rows, held: -(rows as i64), ..Account::default() });
        self.dead += done.len();
        Ok(())
    }
    /// Merges some groups of panes that have ended into the next window. Whether there was something to merge.
    pub(super) fn merge_ahead(&mut self, units: Units) -> Result<bool> {
        let Some((first, _)) = self.open.first_key_value() else { return Ok(false) };
        let start = units.first_window(*first, self.watermark);
        let mut ahead = match self.ahead.take() {
            Some(ahead) if ahead.start == start => ahead,
            _ => Ahead { start, next: (start, 0), windows: Groups::new(&self.spec, &self.fields)? },
        };
        let (pane, groups) = ahead.next;
        let mut ended = self
            .open
            .range(pane..start.saturating_add(units.size))
            .take_while(|(at, _)| units.pane_end(**at) <= self.watermark)
            .map(|(at, of)| (*at, of.get(if *at == pane { groups } else { 0 }..).unwrap_or(&[]), of.len()))
            .filter(|(_, rest, _)| !rest.is_empty());
        let some = ended.next().map(|(at, rest, all)| (at, rest.get(..MANY).unwrap_or(rest).to_vec(), all - rest.len()));
        let merged = some.is_some();
        if let Some((at, some, before)) = some {
            self.combine(units, &mut ahead.windows, &some, vec![start; some.len()])?;
            ahead.next = (at, before + some.len());
        }
        self.ahead = Some(ahead);
        Ok(merged)
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
        let kept = Kept::Range(0, panes.len());
        let mut numbers = Vec::new();
        windows.keys.insert(&columns, kept, &mut numbers)?;
        windows.resize();
        for (to, from) in windows.states.iter_mut().zip(&self.groups.states) {
            to.merge(&numbers, kept, &from.state(panes)?).map_err(|f| f.at(&self.spec.name, None))?;
        }
        Ok(())
    }
    fn emit_combined(&mut self, windows: &mut Groups, out: &mut dyn Output) -> Result<()> {
        if windows.keys.is_empty() {
            return Ok(());
        }
        let mut emission = self.emission(windows, &windows.all())?;
        while let Some(piece) = self.piece(windows, &mut emission, u16::MAX)? {
            self.send_piece(piece, out);
        }
        windows.clear();
        Ok(())
    }
}
