//! The indexed build side: the rows of each key.

use arrow_array::{Array, ArrayRef};

use super::JoinSpec;
use super::build::{Build, valid_rows};
use crate::operator::keys::NO_GROUP;
use crate::operator::{Kept, Keys, instants};
use crate::{Error, Result};

/// For each group of equal keys its rows.
pub(super) struct Index {
    /// The kept columns of the build side.
    pub(super) columns: Vec<ArrayRef>,
    /// Number of rows of the build side.
    count: u32,
    /// Start of each group in `rows`, and the end of the last.
    starts: Vec<u32>,
    /// Rows by group: in source order, or by time.
    pub(super) rows: Vec<u32>,
    /// The time of each entry of `rows`; empty if rows are not matched in time.
    pub(super) times: Vec<i64>,
}

impl Index {
    /// Indexes the build side; `keys` are its distinct keys afterwards. Times are in nanoseconds or microseconds.
    pub(super) fn new(spec: &JoinSpec, build: &mut Build, keys: &mut Keys, nanos: bool) -> Result<Index> {
        let all = build.all()?;
        let count = u32::try_from(all.num_rows())
            .map_err(|_| Error::Plan(format!("the right side of `{}` has more than 2^32 rows on one instance", spec.name)))?;
        let on = build.keys(&all);
        let valid = valid_rows(&on, count);
        let kept = valid.as_deref().map_or(Kept::Range(0, count as usize), Kept::Some);
        let mut groups = Vec::new();
        keys.clear();
        keys.insert(&on, kept, &mut groups)?;
        let (starts, mut rows) = by_group(&groups, keys.len(), kept);
        let mut times = Vec::new();
        if let (Some(column), Some((_, event))) = (build.time.and_then(|i| all.columns().get(i)), &spec.times) {
            let of_rows = instants::ticks(column, nanos, event.offset)?;
            let time = |row: &u32| of_rows.get(*row as usize).copied().unwrap_or_default();
            for (from, to) in starts.iter().zip(starts.iter().skip(1)) {
                if let Some(group) = rows.get_mut(*from as usize..*to as usize)
                    && !group.is_sorted_by_key(time)
                {
                    // stable: rows of equal time stay in source order
                    group.sort_by_key(time);
                }
            }
            times = rows.iter().map(time).collect();
        }
        Ok(Index { columns: all.columns().to_vec(), count, starts, rows, times })
    }
    /// Indexes of parts of the build side as one: rows and groups are numbered on.
    pub(super) fn chain(parts: Vec<Index>) -> Result<Index> {
        let too_many = || Error::Plan("the right side of a join has more than 2^32 rows".into());
        let (mut starts, mut rows, mut times) = (Vec::new(), Vec::new(), Vec::new());
        let mut first = 0u32;
        for part in &parts {
            let listed = u32::try_from(rows.len()).map_err(|_| too_many())?;
            starts.extend(part.starts.iter().take(part.groups()).map(|s| s + listed));
            rows.extend(part.rows.iter().map(|row| row + first));
            times.extend_from_slice(&part.times);
            first = first.checked_add(part.count).ok_or_else(too_many)?;
        }
        starts.push(u32::try_from(rows.len()).map_err(|_| too_many())?);
        let mut columns = Vec::new();
        for i in 0..parts.first().map_or(0, |p| p.columns.len()) {
            let pieces: Vec<&dyn Array> = parts.iter().filter_map(|p| p.columns.get(i)).map(AsRef::as_ref).collect();
            columns.push(arrow_select::concat::concat(&pieces)?);
        }
        Ok(Index { columns, count: first, starts, rows, times })
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
        self.starts.len().saturating_sub(1)
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
