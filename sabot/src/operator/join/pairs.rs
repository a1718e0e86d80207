//! Pairs of a probe morsel and the index, a few thousand at a time.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow_buffer::NullBuffer;
use arrow_schema::SchemaRef;

use super::condition::{Bound, take};
use super::index::Index;
use crate::Result;
use crate::kernel::Morsel;
use crate::operator::kept::pick;
use crate::operator::keys::NO_GROUP;
use crate::plan::JoinKind;

/// Rows of an output batch: enough to amortise `take`, small enough to stay in cache.
pub(super) const OUT_ROWS: usize = 8192;
/// Chunks of candidates that a condition looks at before others get a turn.
pub(super) const CHUNKS: usize = 16;

/// The build rows that a probe row may be joined with.
pub(super) enum Candidates {
    /// This one, or `NO_GROUP`.
    One(Vec<u32>),
    /// A range of the index's lists.
    Lists(Vec<(u32, u32)>),
}

impl Candidates {
    fn list(&self, at: usize) -> Option<(u32, u32)> {
        match self {
            Candidates::Lists(ranges) => ranges.get(at).copied(),
            Candidates::One(_) => None,
        }
    }
}

/// A probe morsel on its way.
pub(super) struct Pending {
    pub(super) morsel: Morsel,
    /// Its kept rows, and the candidates of each.
    pub(super) rows: Vec<u32>,
    pub(super) candidates: Candidates,
    /// The next row, how many of its candidates were looked at, and whether one of them was a partner.
    pub(super) at: usize,
    pub(super) taken: u32,
    pub(super) hit: bool,
    /// Rows without a candidate that were taken out and are not accounted for yet.
    pub(super) missed: u64,
}

/// Rows of the output: which probe row, which build row, and whether there is one.
#[derive(Default)]
pub(super) struct Pairs {
    pub(super) lefts: Vec<u32>,
    pub(super) rights: Vec<u32>,
    /// Empty if a build row is always there.
    has_right: Vec<bool>,
    /// Probe rows that came out, and that did not.
    pub(super) used: u64,
    pub(super) filtered: u64,
}

impl Pairs {
    /// Pairs of probe rows that have one candidate each, or none.
    fn of_ones(rows: &[u32], ones: &[u32], keep: bool) -> Pairs {
        if keep {
            let has_right: Vec<bool> = ones.iter().map(|one| *one != NO_GROUP).collect();
            let rights = ones.iter().map(|one| if *one == NO_GROUP { 0 } else { *one }).collect();
            return Pairs { lefts: rows.to_vec(), rights, has_right, used: rows.len() as u64, filtered: 0 };
        }
        let mut out = Pairs { lefts: vec![0; rows.len()], rights: vec![0; rows.len()], ..Pairs::default() };
        let mut found = 0;
        for (row, one) in rows.iter().zip(ones) {
            // what is no pair is overwritten
            if let (Some(left), Some(right)) = (out.lefts.get_mut(found), out.rights.get_mut(found)) {
                (*left, *right) = (*row, *one);
            }
            found += usize::from(*one != NO_GROUP);
        }
        out.lefts.truncate(found);
        out.rights.truncate(found);
        (out.used, out.filtered) = (found as u64, (rows.len() - found) as u64);
        out
    }
    fn alone(&mut self, row: u32) {
        self.lefts.push(row);
        self.rights.push(0);
        self.has_right.push(false);
    }
    /// A probe row is done.
    fn done(&mut self, row: u32, hit: bool, keep: bool) {
        if !hit && keep {
            self.alone(row);
        }
        if hit || keep {
            self.used += 1;
        } else {
            self.filtered += 1;
        }
    }
    /// The build rows that have a probe row.
    pub(super) fn found(&self) -> impl Iterator<Item = u32> + '_ {
        let all = self.has_right.is_empty();
        let has = self.has_right.iter().copied().chain(std::iter::repeat_n(true, if all { self.rights.len() } else { 0 }));
        self.rights.iter().zip(has).filter(|(_, has)| *has).map(|(r, _)| *r)
    }
}

impl Pending {
    /// Takes out the rows that have no candidate.
    pub(super) fn drop_misses(&mut self) {
        let Candidates::Lists(ranges) = &mut self.candidates else { return };
        let mut found = 0;
        for at in 0..ranges.len() {
            if let (Some(row), Some((from, to))) = (self.rows.get(at).copied(), ranges.get(at).copied()) {
                // what is no candidate is overwritten
                if let (Some(row_to), Some(range_to)) = (self.rows.get_mut(found), ranges.get_mut(found)) {
                    (*row_to, *range_to) = (row, (from, to));
                }
                found += usize::from(from < to);
            }
        }
        self.missed = (self.rows.len() - found) as u64;
        self.rows.truncate(found);
        ranges.truncate(found);
    }
    /// Whether all rows are done.
    pub(super) fn over(&self) -> bool {
        self.at >= self.rows.len()
    }
    /// The next pairs without a condition.
    pub(super) fn next(&mut self, index: &Index, keep: bool) -> Pairs {
        if let Candidates::One(ones) = &self.candidates {
            let to = (self.at + OUT_ROWS).min(self.rows.len());
            let part = std::mem::replace(&mut self.at, to)..to;
            return Pairs::of_ones(self.rows.get(part.clone()).unwrap_or(&[]), ones.get(part).unwrap_or(&[]), keep);
        }
        let mut out = Pairs::default();
        while let (Some(row), Some((from, to))) = (self.rows.get(self.at), self.candidates.list(self.at)) {
            let room = OUT_ROWS.saturating_sub(out.lefts.len());
            if room == 0 {
                break;
            }
            let rest = index.rows.get((from + self.taken) as usize..to as usize).unwrap_or(&[]);
            let some = rest.get(..room).unwrap_or(rest);
            match some {
                [] => {}
                [one] => {
                    out.lefts.push(*row);
                    out.rights.push(*one);
                }
                many => {
                    out.lefts.extend(std::iter::repeat_n(*row, many.len()));
                    out.rights.extend_from_slice(many);
                }
            }
            if keep {
                out.has_right.extend(std::iter::repeat_n(true, some.len()));
            }
            if some.len() < rest.len() {
                self.taken += some.len() as u32;
                break;
            }
            out.done(*row, from < to, keep);
            self.at += 1;
            self.taken = 0;
        }
        out
    }
    /// The next candidates, and for each row how many of them are its, and whether they are its last.
    pub(super) fn candidates(&mut self, index: &Index, skip_hits: bool) -> (Vec<u32>, Vec<u32>, Vec<Part>) {
        let (mut lefts, mut rights, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        while let (Some(row), Some((from, to))) = (self.rows.get(self.at), self.candidates.list(self.at)) {
            let room = OUT_ROWS.saturating_sub(lefts.len());
            if room == 0 {
                break;
            }
            let hit = std::mem::take(&mut self.hit);
            let rest = index.rows.get((from + self.taken) as usize..to as usize).unwrap_or(&[]);
            let rest = if hit && skip_hits { &[] } else { rest };
            let some = rest.get(..room).unwrap_or(rest);
            lefts.extend(std::iter::repeat_n(*row, some.len()));
            rights.extend_from_slice(some);
            let last = some.len() == rest.len();
            parts.push(Part { at: self.at, row: *row, len: some.len(), last, hit });
            if !last {
                self.taken += some.len() as u32;
                break;
            }
            self.at += 1;
            self.taken = 0;
        }
        (lefts, rights, parts)
    }
    /// The next pairs that fulfil a condition.
    pub(super) fn next_if(&mut self, index: &Index, condition: &Bound, keep: bool) -> Result<Pairs> {
        let (lefts, rights, parts) = self.candidates(index, false);
        let mask = condition.test(&self.morsel, index, &lefts, &rights)?;
        let mut out = Pairs::default();
        let mut candidates = lefts.iter().zip(&rights).zip(&mask);
        for part in parts {
            let before = out.lefts.len();
            for ((l, r), _) in candidates.by_ref().take(part.len).filter(|(_, fits)| *fits) {
                out.lefts.push(*l);
                out.rights.push(*r);
            }
            let hit = part.hit || out.lefts.len() > before;
            if keep {
                out.has_right.extend(std::iter::repeat_n(true, out.lefts.len() - before));
            }
            if part.last {
                out.done(part.row, hit, keep);
            } else {
                self.hit = hit;
            }
        }
        Ok(out)
    }
}

/// The candidates of one probe row in a chunk.
pub(super) struct Part {
    /// The number of the kept row, and its row in the batch.
    pub(super) at: usize,
    pub(super) row: u32,
    pub(super) len: usize,
    pub(super) last: bool,
    /// An earlier chunk had a partner.
    pub(super) hit: bool,
}

/// Makes batches of pairs.
pub(super) struct Gather {
    pub(super) kind: JoinKind,
    pub(super) schema: SchemaRef,
    /// Columns of the probe side, and of the build side.
    pub(super) left: Vec<usize>,
    pub(super) right: Vec<usize>,
    /// Whether the last column of the probe side is the weight of its row, and so that of the pair.
    pub(super) weighed: bool,
}

impl Gather {
    /// The batch of these pairs.
    pub(super) fn pairs(&self, left: &RecordBatch, index: &Index, pairs: Pairs) -> Result<RecordBatch> {
        let rows = pairs.lefts.len();
        let mut columns = pick(left, &self.left)?;
        let first = pairs.lefts.first().copied().unwrap_or_default();
        if pairs.lefts.iter().zip(first..).all(|(left, next)| *left == next) {
            columns.iter_mut().for_each(|c| *c = c.slice(first as usize, rows));
        } else {
            columns = take(&columns, &pairs.lefts)?;
        }
        let weights = if self.weighed { columns.pop() } else { None };
        if self.kind.keeps_right() {
            columns.push(Arc::new(BooleanArray::from(vec![true; rows])));
        }
        let nulls = pairs.has_right.contains(&false).then(|| NullBuffer::from(pairs.has_right.clone()));
        let rights = UInt32Array::new(pairs.rights.into(), nulls);
        for column in self.build(index) {
            // `take` from an empty array is refused even where every index is null
            columns.push(if column.is_empty() {
                new_null_array(column.data_type(), rows)
            } else {
                arrow_select::take::take(column, &rights, None)?
            });
        }
        if self.kind.keeps_left() {
            columns.push(Arc::new(BooleanArray::from(pairs.has_right)));
        }
        columns.extend(weights);
        self.batch(columns, rows)
    }
    /// The batch of build rows without a probe row.
    pub(super) fn alone(&self, index: &Index, rows: &[u32]) -> Result<RecordBatch> {
        let fields = self.schema.fields();
        let nulls = fields.iter().take(self.left.len()).map(|f| new_null_array(f.data_type(), rows.len()));
        let mut columns: Vec<ArrayRef> = nulls.collect();
        columns.push(Arc::new(BooleanArray::from(vec![false; rows.len()])));
        columns.extend(take(&self.build(index).cloned().collect::<Vec<_>>(), rows)?);
        if self.kind.keeps_left() {
            columns.push(Arc::new(BooleanArray::from(vec![true; rows.len()])));
        }
        self.batch(columns, rows.len())
    }
    fn build<'a>(&'a self, index: &'a Index) -> impl Iterator<Item = &'a ArrayRef> {
        self.right.iter().filter_map(|i| index.columns.get(*i))
    }
    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}
