//! The rows of one side that may still have partners.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use arrow_array::RecordBatch;
use arrow_schema::FieldRef;

use super::bucket::{ALONE, Bucket, MET, WAITS};
use super::layers::{SideCut, Stretches};
use super::pairing::Picked;
use super::shape::Shape;
use crate::Result;
use crate::operator::distinct::take_rows;
use crate::operator::keys::key_groups;

/// The range of a row's partners is cut into so many stretches of time: a row looks into one more than that, and rows outlive their time by
/// this part of it at most.
const PARTS: i64 = 4;

/// Where a stored row is: its stretch of time, and its number there.
pub(super) type At = (i64, u32);

/// The kept rows of a side by stretches of event time.
pub(super) struct Store {
    shape: Shape,
    fields: Vec<FieldRef>,
    /// The length of a stretch.
    width: i64,
    buckets: BTreeMap<i64, Bucket>,
    /// Rows that come out by themselves if they meet no partner, by time.
    alone: Option<BinaryHeap<Reverse<(i64, At)>>>,
    /// Whether stretches were forgotten since the last cut.
    forgot: bool,
}

/// Rows that were forgotten and had not come out by themselves; of these, those that had met a partner.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Forgotten {
    pub(super) rows: usize,
    pub(super) hits: usize,
}

impl Store {
    /// A store for rows whose partners' times lie in a range of this length; stretches are at least `least` long.
    pub(super) fn new(shape: Shape, fields: Vec<FieldRef>, range: i64, least: i64, come_out: bool) -> Store {
        let width = (range / PARTS).max(least).max(1);
        Store { shape, fields, width, buckets: BTreeMap::new(), alone: come_out.then(BinaryHeap::new), forgot: false }
    }
    /// What it keeps of a row.
    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }
    /// Keeps some rows of a batch, whose keys have no null; `times` and `fates` are of all its rows.
    pub(super) fn insert(&mut self, batch: &RecordBatch, rows: &[u32], times: &[i64], fates: &[u8]) -> Result<()> {
        let mut stretches: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        let time = |row: &u32| times.get(*row as usize).copied().unwrap_or_default();
        for row in rows {
            stretches.entry(time(row).div_euclid(self.width)).or_default().push(*row);
        }
        for (id, rows) in stretches {
            let bucket = match self.buckets.entry(id) {
                std::collections::btree_map::Entry::Occupied(e) => e.into_mut(),
                std::collections::btree_map::Entry::Vacant(e) => e.insert(Bucket::new(&self.fields)?),
            };
            let of: Vec<i64> = rows.iter().map(time).collect();
            let fate: Vec<u8> = rows.iter().map(|row| fates.get(*row as usize).copied().unwrap_or(WAITS)).collect();
            let first = bucket.push(&take_rows(batch, &rows)?, &self.shape, &of, &fate)?;
            if let Some(alone) = &mut self.alone {
                let waits = of.iter().zip(&fate).zip(first..).filter(|((_, fate), _)| **fate == WAITS);
                alone.extend(waits.map(|((time, _), row)| Reverse((*time, (id, row)))));
            }
        }
        Ok(())
    }
    /// The stretches that overlap these times, both included.
    pub(super) fn over(&self, from: i64, to: i64) -> Vec<i64> {
        if from > to {
            return Vec::new();
        }
        self.buckets.range(from.div_euclid(self.width)..=to.div_euclid(self.width)).map(|(id, _)| *id).collect()
    }
    pub(super) fn bucket(&mut self, id: i64) -> Option<&mut Bucket> {
        self.buckets.get_mut(&id)
    }
    /// A row has met a partner. Returns whether it is its first.
    pub(super) fn met(&mut self, (id, row): At) -> bool {
        self.buckets.get_mut(&id).is_some_and(|b| b.settle(row, MET))
    }
    /// Rows before `bound` (all, if there is none) meet no partner any more: those that met none, which come out by themselves.
    pub(super) fn lonely(&mut self, bound: Option<i64>) -> Vec<At> {
        let mut out = Vec::new();
        let Some(alone) = &mut self.alone else { return out };
        while let Some(Reverse((_, at))) = alone.peek().copied().filter(|Reverse((time, _))| bound.is_none_or(|b| *time < b)) {
            alone.pop();
            if self.buckets.get_mut(&at.0).is_some_and(|b| b.settle(at.1, ALONE)) {
                out.push(at);
            }
        }
        out
    }
    /// Forgets the stretches that are over at `bound`, or all.
    pub(super) fn forget(&mut self, bound: Option<i64>) -> Forgotten {
        let mut gone = Forgotten::default();
        while let Some(first) = self.buckets.first_entry() {
            let end = first.key().saturating_add(1).saturating_mul(self.width);
            if bound.is_some_and(|b| end > b) {
                break;
            }
            let bucket = first.remove();
            self.forgot = true;
            gone.rows += bucket.fates.iter().filter(|f| **f != ALONE).count();
            gone.hits += bucket.fates.iter().filter(|f| **f == MET).count();
        }
        gone
    }
    /// These rows, to be gathered.
    pub(super) fn pick(&self, rows: &[At]) -> Picked {
        let mut picked = Picked::default();
        let mut last: Option<(i64, usize)> = None;
        for (id, row) in rows {
            let Some(bucket) = self.buckets.get(id) else { continue };
            let base = match last {
                Some((known, base)) if known == *id => base,
                _ => picked.add(bucket.pieces.batches()),
            };
            last = Some((*id, base));
            picked.push(base, bucket.pieces.place(*row));
        }
        picked
    }
    /// What layers do not hold, or all; and whether stretches were forgotten since the last cut.
    pub(super) fn cut(&mut self, whole: bool) -> (SideCut, bool) {
        let mut cut = SideCut::new(&self.shape, whole);
        for (id, bucket) in &mut self.buckets {
            let said = whole || bucket.pieces.grown() || std::mem::take(&mut bucket.settled);
            bucket.settled = false;
            let Bucket { fates, pieces, .. } = bucket;
            cut.add(*id, pieces, said.then_some(fates));
        }
        (cut, std::mem::take(&mut self.forgot))
    }
    /// Puts the rows back that are `mine`. Returns whether there are any, and whether there is nothing here now but all of these stretches.
    pub(super) fn restore(&mut self, stretches: &Stretches, mine: &dyn Fn(u16) -> bool) -> Result<(bool, bool)> {
        let mut found = false;
        for stretch in stretches.values() {
            for (rows, fates, mine) in stretch.of(&self.shape, mine)? {
                found |= !mine.is_empty();
                self.insert(rows, &mine, &self.shape.times(rows)?, fates)?;
            }
        }
        let mut as_written = self.buckets.len() == stretches.len();
        for (id, bucket) in &mut self.buckets {
            as_written &= stretches.get(id).is_some_and(|s| s.rows == bucket.pieces.rows());
            bucket.pieces.unwritten(false);
        }
        Ok((found, as_written))
    }
    fn all(&self) -> Vec<(RecordBatch, Vec<u8>)> {
        let mut out = Vec::new();
        for bucket in self.buckets.values() {
            let mut fates = bucket.fates.iter().copied();
            for batch in bucket.pieces.batches() {
                out.push((batch.clone(), fates.by_ref().take(batch.num_rows()).collect()));
            }
        }
        out
    }
    /// Forgets the rows of a key group.
    pub(super) fn release(&mut self, group: u16) -> Result<()> {
        let all = self.all();
        self.buckets.clear();
        self.alone.iter_mut().for_each(BinaryHeap::clear);
        for (rows, fates) in all {
            let groups = key_groups(&self.shape.keys(&rows), rows.num_rows())?;
            let kept: Vec<u32> = groups.iter().zip(0u32..).filter(|(g, _)| **g != group).map(|(_, row)| row).collect();
            let times = self.shape.times(&rows)?;
            self.insert(&rows, &kept, &times, &fates)?;
        }
        Ok(())
    }
    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let alone = self.alone.as_ref().map_or(0, |a| a.capacity() * size_of::<(i64, At)>());
        self.buckets.values().map(Bucket::bytes).sum::<usize>() + alone
    }
}
