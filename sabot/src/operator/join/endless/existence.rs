//! Semi and anti joins without a condition, sent as they change: how often the right rows of a key count together says whether its left rows
//! have a partner.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;

use super::counted::NONE;
use super::sending::Pairs;
use super::updating::{Changed, UpdatingJoin};
use crate::Result;
use crate::operator::Output;

impl UpdatingJoin {
    /// Sends the left rows that have changed.
    pub(super) fn exist_left(&mut self, rows: &RecordBatch, changed: &[Changed], out: &mut dyn Output) -> Result<()> {
        let (semi, stays) = (self.at_first(0, 1) > 0, !self.is_over(1));
        let [left, right] = &mut self.sides;
        let comes = |c: &&Changed| (right.total(c.group) != 0) == semi;
        let come: Pairs = changed.iter().filter(comes).map(|c| (c.row, NONE, c.by)).collect();
        changed.iter().filter(|_| stays).for_each(|c| left.add(c.number, c.by, 0));
        left.tidy()?;
        self.send(0, rows, &come, out)
    }
    /// Sends the left rows of the keys that have right rows now and had none, or the other way round.
    pub(super) fn exist_right(&mut self, changed: &[Changed], out: &mut dyn Output) -> Result<()> {
        let [left, right] = &mut self.sides;
        // of each key how often its right rows counted and count, and its group on the left
        let mut totals: BTreeMap<u32, (i64, i64, u32)> = BTreeMap::new();
        for c in changed {
            let group = right.group(c.number);
            let before = right.total(group);
            totals.entry(group).or_insert((before, before, c.group)).1 += c.by;
        }
        let (mut first, mut lost) = (Vec::new(), Vec::new());
        for (before, _, group) in totals.into_values().filter(|(before, after, _)| (*before == 0) != (*after == 0)) {
            let turned = if before == 0 { &mut first } else { &mut lost };
            let mut next = left.head(group);
            while next != NONE {
                turned.push(next);
                next = left.after(next);
            }
        }
        changed.iter().for_each(|c| right.add(c.number, c.by, 0));
        right.tidy()?;
        self.by_themselves(0, first.into_iter(), true, out)?;
        self.by_themselves(0, lost.into_iter(), false, out)
    }
}
