//! Which groups have changed since the last cut, for operators that write their groups in [layers](super::Layer).
//!
//! Nothing is noted before the first cut: a job without checkpoints pays a test per row. From then on it is a flag per row, and a number
//! per group that changes, but for groups that are new since the last cut: these are the last ones, and are written anyway.

/// What layers hold of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Written {
    /// Nothing.
    #[default]
    No,
    /// Nothing, and it is listed as changed.
    New,
    /// What it is.
    Yes,
    /// What it was before it was listed as changed.
    Changed,
}

/// The groups that have changed since the last cut.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Of those that there were at the last cut, in the order in which they were noted; none if the next layer is a whole one.
    groups: Option<Vec<u32>>,
    /// How many there were.
    known: u32,
    /// What the last cut said beside groups.
    tags: Vec<(String, String)>,
}

impl Changes {
    /// A group is about to change.
    #[inline]
    pub(super) fn note(&mut self, group: u32, written: &mut Written) {
        let Some(groups) = &mut self.groups else { return };
        if group >= self.known {
            return;
        }
        *written = match written {
            Written::No => Written::New,
            Written::Yes => Written::Changed,
            Written::New | Written::Changed => return,
        };
        groups.push(group);
    }
    /// Nobody knows what has changed: the next layer is a whole one.
    pub(super) fn forget(&mut self) {
        self.groups = None;
    }
    /// Layers hold all that there is: so many groups.
    pub(super) fn settled(&mut self, all: usize) {
        self.groups = Some(Vec::new());
        self.known = all as u32;
    }
    /// A cut is made: the groups that it is of, in ascending order, of `all` that there are; and whether it is a whole one. What changes
    /// from here on is for the next. Those that the new layer holds are to be marked.
    pub(super) fn cut(&mut self, whole: bool, all: usize) -> (Vec<u32>, bool) {
        let changed = self.groups.replace(Vec::new()).filter(|_| !whole);
        let whole = changed.is_none();
        let new = if whole { 0 } else { self.known };
        let mut groups = changed.unwrap_or_default();
        groups.sort_unstable();
        groups.extend(new..all as u32);
        self.known = all as u32;
        (groups, whole)
    }
    /// Whether the last cut said the same beside groups.
    pub(super) fn said(&mut self, tags: &[(String, String)]) -> bool {
        let same = self.tags == tags;
        self.tags = tags.to_vec();
        same
    }
    pub(super) fn bytes(&self) -> usize {
        self.groups.as_ref().map_or(0, |g| g.capacity() * 4)
    }
}
