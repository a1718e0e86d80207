//! The indexed build side: the rows of each key.

use arrow_array::ArrayRef;

use super::JoinSpec;
use super::build::{Build, valid_rows};
use crate::operator::keys::NO_GROUP;
use crate::operator::{Kept, Keys, instants};
use crate::{Error, Result};

/// For each group of equal keys its rows.
pub(super) struct Index {
    /// The kept columns of the build side; those that only make keys or times may be empty.
    pub(super) columns: Vec<ArrayRef>,
    /// Number of rows of the build side.
    count: u32,
    /// Every row has a key of its own, which has its number: there are no lists.
    pub(super) single: bool,
    groups: usize,
    /// Start of each group in `rows`, and the end of the last.
    starts: Vec<u32>,
    /// Rows by group: in source order, or by time.
    pub(super) rows: Vec<u32>,
    /// The time of each entry of `rows`; empty if rows are not matched in time.
    pub(super) times: Vec<i64>,
}

impl Index {
    /// Indexes the build side, without its columns; `keys` are its distinct keys afterwards. Times are in nanoseconds or
    /// microseconds. Only if `may_be_single` an index may do without lists.
    pub(super) fn new(spec: &JoinSpec, build: &Build, keys: &mut Keys, nanos: bool, may_be_single: bool) -> Result<Index> {
        let count = u32::try_from(build.rows)
            .map_err(|_| Error::Plan(format!("the right side of `{}` has more than 2^32 rows on one instance", spec.name)))?;
        keys.clear();
        keys.foresee(build.batches().iter().map(|b| build.keys(b)), build.rows)?;
        let mut groups = Vec::with_capacity(build.rows);
        // the rows without a null in their key, once there are others
        let mut listed: Option<Vec<u32>> = None;
        let mut of_rows = Vec::new();
        let (mut first, mut found) = (0u32, Vec::new());
        for batch in build.batches() {
            let on = build.keys(batch);
            let rows = batch.num_rows() as u32;
            let valid = valid_rows(&on, rows);
            let kept = valid.as_deref().map_or(Kept::Range(0, rows as usize), Kept::Some);
            keys.insert(&on, kept, &mut found)?;
            groups.append(&mut found);
            if listed.is_some() || valid.is_some() {
                let list = listed.get_or_insert_with(|| (0..first).collect());
                kept.each(|_, row| list.push(first + row as u32));
            }
            if let (Some(column), Some((_, event))) = (build.time.and_then(|i| batch.columns().get(i)), &spec.times) {
                of_rows.append(&mut instants::ticks(column, nanos, event.offset)?);
            }
            first += rows;
        }
        let single = may_be_single && listed.is_none() && keys.len() == groups.len();
        let mut index =
            Index { columns: Vec::new(), count, single, groups: keys.len(), starts: Vec::new(), rows: Vec::new(), times: Vec::new() };
        if single {
            return Ok(index);
        }
        let kept = listed.as_deref().map_or(Kept::Range(0, count as usize), Kept::Some);
        (index.starts, index.rows) = by_group(&groups, keys.len(), kept);
        if spec.times.is_some() {
            let time = |row: &u32| of_rows.get(*row as usize).copied().unwrap_or_default();
            for (from, to) in index.starts.iter().zip(index.starts.iter().skip(1)) {
                if let Some(group) = index.rows.get_mut(*from as usize..*to as usize)
                    && !group.is_sorted_by_key(time)
                {
                    // stable: rows of equal time stay in source order
                    group.sort_by_key(time);
                }
            }
            index.times = index.rows.iter().map(time).collect();
        }
        Ok(index)
    }
    /// Gives an index without lists its lists.
    fn list(&mut self) {
        if std::mem::replace(&mut self.single, false) {
            self.starts = (0..=self.count).collect();
            self.rows = (0..self.count).collect();
        }
    }
    /// Indexes of parts of the build side as one, without columns: rows and groups are numbered on.
    pub(super) fn chain(mut parts: Vec<Index>) -> Result<Index> {
        let too_many = || Error::Plan("the right side of a join has more than 2^32 rows".into());
        let single = parts.iter().all(|p| p.single);
        if !single {
            parts.iter_mut().for_each(Index::list);
        }
        let (mut starts, mut rows, mut times) = (Vec::new(), Vec::new(), Vec::new());
        let (mut first, mut groups) = (0u32, 0);
        for part in parts {
            let listed = u32::try_from(rows.len()).map_err(|_| too_many())?;
            starts.extend(part.starts.iter().take(part.groups).map(|s| s + listed));
            rows.extend(part.rows.iter().map(|row| row + first));
            times.extend_from_slice(&part.times);
            groups += part.groups;
            first = first.checked_add(part.count).ok_or_else(too_many)?;
        }
        if !single {
            starts.push(u32::try_from(rows.len()).map_err(|_| too_many())?);
        }
        Ok(Index { columns: Vec::new(), count: first, single, groups, starts, rows, times })
    }
    /// Where the rows of a group are.
    #[inline]
    pub(super) fn range(&self, group: u32) -> (u32, u32) {
        let at = group as usize;
        match (self.starts.get(at), self.starts.get(at.wrapping_add(1))) {
            (Some(from), Some(to)) if group != NO_GROUP => (*from, *to),
            _ => (0, 0),
        }
    }
    /// Number of groups.
    pub(super) fn groups(&self) -> usize {
        self.groups
    }
    /// Bytes held beside the columns.
    pub(super) fn bytes(&self) -> usize {
        (self.starts.len() + self.rows.len()) * 4 + self.times.len() * 8
    }
}

/// The rows of each group, in order (a counting sort), and where each group starts.
fn by_group(groups: &[u32], count: usize, kept: Kept<'_>) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0u32; count + 1];
    for group in groups {
        if let Some(count) = starts.get_mut(*group as usize + 1) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for s in &mut starts {
        sum += *s;
        *s = sum;
    }
    let mut next = starts.clone();
    let mut rows = vec![0u32; groups.len()];
    kept.each(|i, row| {
        if let Some(at) = groups.get(i).and_then(|g| next.get_mut(*g as usize)) {
            if let Some(slot) = rows.get_mut(*at as usize) {
                *slot = row as u32;
            }
            *at += 1;
        }
    });
    (starts, rows)
}
