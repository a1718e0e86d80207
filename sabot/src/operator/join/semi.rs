//! Semi and anti joins: which left rows have a partner. The rows themselves go on as they came; only the selection changes.

use super::condition::Bound;
use super::index::Index;
use super::pairs::{CHUNKS, Candidates, Pending};
use crate::Result;
use crate::kernel::{Morsel, Selection};
use crate::operator::keys::NO_GROUP;

/// A probe morsel, and which of its kept rows were found to have a partner.
pub(super) struct Semi {
    pending: Pending,
    hits: Vec<bool>,
}

impl Semi {
    pub(super) fn new(pending: Pending) -> Self {
        Semi { hits: vec![false; pending.rows.len()], pending }
    }
    /// Looks on. Returns whether all rows are done.
    pub(super) fn look(&mut self, index: &Index, condition: Option<&Bound>) -> Result<bool> {
        let Some(condition) = condition else {
            let hits = self.hits.iter_mut();
            match &self.pending.candidates {
                Candidates::One(rows) => hits.zip(rows).for_each(|(hit, row)| *hit = *row != NO_GROUP),
                Candidates::Lists(ranges) => hits.zip(ranges).for_each(|(hit, (from, to))| *hit = from < to),
            }
            return Ok(true);
        };
        for _ in 0..CHUNKS {
            let (lefts, rights, parts) = self.pending.candidates(index, true);
            let mask = condition.test(&self.pending.morsel, index, &lefts, &rights)?;
            let mut fits = mask.iter();
            for part in parts {
                let hit = fits.by_ref().take(part.len).fold(part.hit, |any, one| any | one);
                self.hits.iter_mut().skip(part.at).take(1).for_each(|h| *h |= hit);
                if !part.last {
                    self.pending.hit = hit;
                }
            }
            if self.pending.over() {
                return Ok(true);
            }
        }
        Ok(false)
    }
    /// The rows that have a partner, or those that have none; and how many rows there were.
    pub(super) fn finish(self, with: bool) -> (Morsel, u64) {
        let Pending { morsel, rows, .. } = self.pending;
        let mut words = vec![0u64; morsel.batch.num_rows().div_ceil(64)];
        for (row, hit) in rows.iter().zip(&self.hits) {
            if *hit == with
                && let Some(word) = words.get_mut(*row as usize / 64)
            {
                *word |= 1 << (row % 64);
            }
        }
        (Morsel { selection: Some(Selection::new(words)), ..morsel }, rows.len() as u64)
    }
}
