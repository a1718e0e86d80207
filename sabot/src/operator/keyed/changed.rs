//! Which key groups have changed since the last cut.

use crate::kernel::hash::KEY_GROUPS;

/// Marks of key groups. Costs nothing per row once all groups that have keys are marked, as they always are in a job without
/// checkpoints.
#[derive(Debug)]
pub(super) struct Changed {
    marks: Vec<bool>,
    /// Groups that have, or had, keys.
    used: Vec<bool>,
    /// Used groups that are not marked.
    quiet: usize,
    /// Whether there was a cut.
    cut: bool,
}

impl Default for Changed {
    fn default() -> Self {
        let none = || vec![false; usize::from(KEY_GROUPS)];
        Changed { marks: none(), used: none(), quiet: 0, cut: false }
    }
}

impl Changed {
    #[inline]
    pub(super) fn mark(&mut self, group: u16) {
        let group = usize::from(group);
        if let Some(mark) = self.marks.get_mut(group).filter(|m| !**m) {
            *mark = true;
            self.quiet -= usize::from(self.used.get(group) == Some(&true));
        }
    }
    /// There is a key of this group, which is no change by itself.
    pub(super) fn used(&mut self, group: u16) {
        let group = usize::from(group);
        if let Some(used) = self.used.get_mut(group).filter(|u| !**u) {
            *used = true;
            self.quiet += usize::from(self.marks.get(group) == Some(&false));
        }
    }
    /// Whether all groups that have keys are marked.
    #[inline]
    pub(super) fn all(&self) -> bool {
        self.quiet == 0
    }
    /// A group comes out of a checkpoint: that is no change, but for an instance that was cut before, or gave the group up.
    pub(super) fn restored(&mut self, group: u16) {
        if self.cut {
            self.mark(group);
        }
    }
    /// Takes the marks for a cut. `all`: as if all were marked.
    pub(super) fn take(&mut self, all: bool) -> Vec<bool> {
        self.cut = true;
        self.quiet = self.used.iter().filter(|u| **u).count();
        let marks = std::mem::replace(&mut self.marks, vec![false; usize::from(KEY_GROUPS)]);
        if all { vec![true; usize::from(KEY_GROUPS)] } else { marks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_taken_once() {
        let mut changed = Changed::default();
        assert!(changed.all());
        changed.used(3);
        changed.used(5);
        changed.used(5);
        assert!(!changed.all());
        changed.mark(3);
        changed.mark(3);
        changed.mark(9);
        assert!(!changed.all());
        changed.mark(5);
        assert!(changed.all());
        let marks = changed.take(false);
        assert!((0..).zip(&marks).all(|(group, mark)| *mark == [3, 5, 9].contains(&group)));
        assert!(!changed.all() && changed.take(false).iter().all(|m| !m) && changed.take(true).iter().all(|m| *m));
        changed.mark(3);
        changed.mark(5);
        assert!(changed.all());
    }

    #[test]
    fn a_restored_group_is_as_it_was_stored_unless_there_was_a_cut() {
        let mut changed = Changed::default();
        changed.restored(4);
        assert!(changed.take(false).iter().all(|m| !m));
        changed.restored(4);
        assert_eq!(changed.take(false).iter().filter(|m| **m).count(), 1);
    }
}
