//! The rows of one side in one stretch of event time, and the hash index over them.
//!
//! For each key the last row that came, for each row the one of its key that came before it: an index that only grows, at twelve
//! bytes per row beside its key, and goes with the stretch. A stretch is no longer than a part of what a row's
//! partners may be apart, so that a walk along a key's rows passes few that are no partners.

use arrow_array::RecordBatch;
use arrow_schema::FieldRef;

use super::pieces::Pieces;
use super::shape::Shape;
use crate::Result;
use crate::operator::keys::NO_GROUP;
use crate::operator::{Kept, Keys};

/// No row.
pub(super) const NONE: u32 = u32::MAX;
/// A row has met no partner so far, has met one, or came out by itself, as none can come any more.
pub(super) const WAITS: u8 = 0;
pub(super) const MET: u8 = 1;
pub(super) const ALONE: u8 = 2;

pub(super) struct Bucket {
    pub(super) keys: Keys,
    heads: Vec<u32>,
    before: Vec<u32>,
    times: Vec<i64>,
    /// What became of each row, and whether something did since the last cut.
    pub(super) fates: Vec<u8>,
    pub(super) settled: bool,
    pub(super) pieces: Pieces,
    groups: Vec<u32>,
}

impl Bucket {
    pub(super) fn new(fields: &[FieldRef]) -> Result<Bucket> {
        Ok(Bucket {
            keys: Keys::new(fields)?,
            heads: Vec::new(),
            before: Vec::new(),
            times: Vec::new(),
            fates: Vec::new(),
            settled: false,
            pieces: Pieces::default(),
            groups: Vec::new(),
        })
    }
    /// Adds rows, whose keys have no null. Returns the number of the first.
    pub(super) fn push(&mut self, rows: &RecordBatch, shape: &Shape, times: &[i64], fates: &[u8]) -> Result<u32> {
        let first = self.pieces.push(rows)?;
        self.keys.insert(&shape.keys(rows), Kept::Range(0, rows.num_rows()), &mut self.groups)?;
        self.heads.resize(self.keys.len(), NONE);
        for (group, row) in self.groups.iter().zip(first..) {
            if let Some(head) = self.heads.get_mut(*group as usize) {
                self.before.push(std::mem::replace(head, row));
            }
        }
        self.times.extend_from_slice(times);
        self.fates.extend_from_slice(fates);
        Ok(first)
    }
    /// The last row of a key.
    #[inline]
    pub(super) fn head(&self, group: u32) -> u32 {
        if group == NO_GROUP { NONE } else { self.heads.get(group as usize).copied().unwrap_or(NONE) }
    }
    /// The time of a row, and the one of its key before it.
    #[inline]
    pub(super) fn row(&self, row: u32) -> (i64, u32) {
        let at = row as usize;
        (self.times.get(at).copied().unwrap_or_default(), self.before.get(at).copied().unwrap_or(NONE))
    }
    /// Something became of a row. Returns whether it waited for it.
    pub(super) fn settle(&mut self, row: u32, fate: u8) -> bool {
        match self.fates.get_mut(row as usize) {
            Some(now) if *now == WAITS => {
                *now = fate;
                self.settled = true;
                true
            }
            _ => false,
        }
    }
    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        let index = (self.heads.capacity() + self.before.capacity()) * 4 + self.times.capacity() * 8 + self.fates.capacity();
        self.keys.bytes() + index + self.pieces.bytes()
    }
}
