//! Left rows that wait for the right side's time to pass them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use arrow_array::RecordBatch;

use super::pieces::Pieces;
use super::shape::Shape;
use super::versions::Version;
use crate::Result;
use crate::kernel::Origin;
use crate::operator::by_group::gather;
use crate::operator::keys::key_groups;

/// Rows below which delivered ones are not worth dropping.
const FEW: usize = 4096;

/// Rows by event time, then by their positions in the source.
pub(super) struct Waiting {
    shape: Shape,
    rows: BinaryHeap<Reverse<Version>>,
    pieces: Pieces,
}

impl Waiting {
    pub(super) fn new(shape: Shape) -> Waiting {
        Waiting { shape, rows: BinaryHeap::new(), pieces: Pieces::default() }
    }
    /// What it keeps of a row.
    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }
    pub(super) fn push(&mut self, rows: &RecordBatch, times: &[i64], origins: &[Origin]) -> Result<()> {
        let first = self.pieces.push(rows)?;
        let all = times.iter().zip(origins).zip(first..);
        self.rows.extend(all.map(|((time, origin), row)| Reverse(Version { time: *time, origin: *origin, row })));
        Ok(())
    }
    /// The time of the earliest row.
    pub(super) fn earliest(&self) -> Option<i64> {
        self.rows.peek().map(|Reverse(v)| v.time)
    }
    /// Takes out up to `most` rows before `bound`, or of all, in order.
    pub(super) fn due(&mut self, bound: Option<i64>, most: usize) -> Result<Option<(RecordBatch, Vec<i64>)>> {
        let mut due = Vec::new();
        while let Some(Reverse(next)) = self.rows.peek().copied().filter(|Reverse(v)| due.len() < most && bound.is_none_or(|b| v.time < b))
        {
            self.rows.pop();
            due.push(next);
        }
        if due.is_empty() {
            return Ok(None);
        }
        let rows = self.gather(&due)?;
        if self.rows.is_empty() || self.pieces.rows() as usize > FEW.max(2 * self.rows.len()) {
            self.settle()?;
        }
        Ok(Some((rows, due.iter().map(|v| v.time).collect())))
    }
    fn gather(&self, rows: &[Version]) -> Result<RecordBatch> {
        let at: Vec<(usize, usize)> = rows.iter().map(|v| self.pieces.place(v.row)).collect();
        gather(&self.shape.schema, self.pieces.batches(), &at)
    }
    /// Drops rows that were taken out.
    fn settle(&mut self) -> Result<()> {
        let kept: Vec<Version> = std::mem::take(&mut self.rows).into_iter().map(|Reverse(v)| v).collect();
        self.replace(&kept)
    }
    /// Keeps these rows alone.
    fn replace(&mut self, kept: &[Version]) -> Result<()> {
        let rows = self.gather(kept)?;
        self.rows.clear();
        self.pieces = Pieces::default();
        let (times, origins): (Vec<i64>, Vec<Origin>) = kept.iter().map(|v| (v.time, v.origin)).unzip();
        if rows.num_rows() > 0 { self.push(&rows, &times, &origins) } else { Ok(()) }
    }
    /// A copy.
    pub(super) fn cut(&self) -> (Pieces, Vec<Version>) {
        (self.pieces.clone(), self.rows.iter().map(|Reverse(v)| *v).collect())
    }
    /// Forgets the rows of a key group.
    pub(super) fn release(&mut self, group: u16) -> Result<()> {
        let all: Vec<Version> = self.rows.iter().map(|Reverse(v)| *v).collect();
        let rows = self.gather(&all)?;
        let groups = key_groups(&self.shape.keys(&rows), rows.num_rows())?;
        let kept: Vec<Version> = all.into_iter().zip(groups).filter(|(_, g)| *g != group).map(|(v, _)| v).collect();
        self.replace(&kept)
    }
    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Version>() + self.pieces.bytes()
    }
}
