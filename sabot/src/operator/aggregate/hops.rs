//! Overlapping windows, put together from their panes.

use super::last::{FinalAggregate, MANY};
use super::spec::Groups;
use super::window::Units;
use crate::Result;
use crate::operator::{Account, EventTime, Kept, Output};

impl FinalAggregate {
    /// As [`emit_windows`](Self::emit_windows), for windows of several panes: the states of the panes are merged in the
    /// order of time.
    pub(super) fn emit_hops(&mut self, units: Units, from: EventTime, until: EventTime, out: &mut dyn Output) -> Result<()> {
        let mut windows = Groups::new(&self.spec, &self.fields)?;
        let (mut panes, mut starts, mut done) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = i64::MIN;
        while let Some((pane, _)) = self.open.first_key_value() {
            let start = units.first_window(*pane, from).max(next);
            if units.end(start) > until {
                break;
            }
            for (_, groups) in self.open.range(start..start.saturating_add(units.size)) {
                panes.extend_from_slice(groups);
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
        self.bury(done.len())
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
