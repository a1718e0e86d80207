//! Rows that an edge of the user's dealt out to several instances, back in the order before it, by their [places](crate::operator::Places).
//!
//! Whole morsels are put into order as they are. Those whose places lie between each other are pieces of one: their rows are merged. So
//! what comes out is what came to the edge, less the rows that were dropped in between, in morsels of the same origins. Rows
//! without places are from before a checkpoint, when all were at one instance: they come first, as they are.
//!
//! Cost: rows of pieces are sorted by 16-byte numbers, of which each piece has them in order, and gathered once.

use std::collections::VecDeque;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_select::interleave::interleave_record_batch;

use super::gate::Held;
use crate::kernel::Morsel;
use crate::operator::{places, without_places};
use crate::{Error, Result};

impl Held {
    /// Whether the rows were dealt out.
    pub(super) fn has_places(&self) -> bool {
        places(&self.morsel.batch).is_some()
    }
    /// The least and the greatest place of a kept row.
    fn span(&self) -> Option<(i128, i128)> {
        let places = places(&self.morsel.batch)?;
        let ends = |mut rows: Box<dyn Iterator<Item = i128> + '_>| {
            let first = rows.next()?;
            Some(rows.fold((first, first), |(least, most), place| (least.min(place), most.max(place))))
        };
        match &self.morsel.selection {
            None => ends(Box::new(places.iter().copied())),
            Some(s) => ends(Box::new(s.rows().filter_map(|row| places.get(row).copied()))),
        }
    }
    fn without_places(self) -> Result<Held> {
        let batch = without_places(&self.morsel.batch)?;
        Ok(Held { morsel: Morsel { batch, ..self.morsel }, ..self })
    }
}

/// Some rows in order.
#[derive(Default)]
pub(super) struct Dealt {
    /// With the span of their places, in the order of the least.
    waiting: VecDeque<(Option<(i128, i128)>, Held)>,
    /// In order, without places.
    ready: VecDeque<Held>,
}

impl Dealt {
    /// Of rows that are all there.
    pub(super) fn new(rows: impl IntoIterator<Item = Held>) -> Self {
        let mut waiting: Vec<_> = rows.into_iter().map(|held| (held.span(), held)).collect();
        waiting.sort_by_key(|(span, held)| (held.from.0, span.map(|(least, _)| least)));
        Dealt { waiting: waiting.into(), ready: VecDeque::new() }
    }
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.ready.is_empty()
    }
    pub(super) fn held(&self) -> impl Iterator<Item = &Held> {
        self.ready.iter().chain(self.waiting.iter().map(|(_, held)| held))
    }
    /// The next rows.
    ///
    /// # Errors
    /// If Arrow cannot put rows together.
    pub(super) fn next(&mut self) -> Result<Option<Held>> {
        if let Some(held) = self.ready.pop_front() {
            return Ok(Some(held));
        }
        let Some((span, first)) = self.waiting.pop_front() else { return Ok(None) };
        let (edge, mut pieces) = (first.from.0, vec![first]);
        let mut end = span.map(|(_, most)| most);
        while let (Some(most), Some((Some((least, others)), held))) = (end, self.waiting.front()) {
            if *least >= most || held.from.0 != edge {
                break;
            }
            end = Some(most.max(*others));
            pieces.extend(self.waiting.pop_front().map(|(_, held)| held));
        }
        self.ready = merged(pieces)?;
        Ok(self.ready.pop_front())
    }
}

/// The rows of pieces by place; those of one origin that follow each other as one morsel.
fn merged(pieces: Vec<Held>) -> Result<VecDeque<Held>> {
    if pieces.len() < 2 {
        return pieces.into_iter().map(Held::without_places).collect();
    }
    let mut batches: Vec<RecordBatch> = Vec::with_capacity(pieces.len());
    // piece and row of each place
    let mut rows: Vec<(i128, usize, usize)> = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        let dense = piece.morsel.compact()?;
        rows.extend(places(&dense).unwrap_or_default().iter().enumerate().map(|(row, place)| (*place, number, row)));
        batches.push(without_places(&dense)?);
    }
    rows.sort_by_key(|(place, ..)| *place);
    let mut out = VecDeque::new();
    let alike = |a: usize, b: usize| {
        let (a, b) = (batches.get(a), batches.get(b));
        a.zip(b).is_some_and(|(a, b)| {
            let types = |batch: &RecordBatch| batch.columns().iter().map(|c| c.data_type().clone()).collect::<Vec<_>>();
            std::sync::Arc::ptr_eq(a.schema_ref(), b.schema_ref()) || types(a) == types(b)
        })
    };
    let origin = |number: usize| pieces.get(number).map(|p| p.morsel.origin);
    for run in rows.chunk_by(|(_, a, _), (_, b, _)| a == b || (origin(*a) == origin(*b) && alike(*a, *b))) {
        let Some(piece) = run.first().and_then(|(_, number, _)| pieces.get(*number)) else { continue };
        let morsel = Morsel::new(together(&batches, run)?, piece.morsel.origin);
        out.push_back(Held { morsel, channel: piece.channel, bytes: 0, from: piece.from, also: Vec::new() });
    }
    if let Some(first) = out.front_mut() {
        first.also = pieces.iter().flat_map(|p| [(p.channel, p.bytes)].into_iter().chain(p.also.iter().copied())).collect();
    }
    Ok(out)
}

/// These rows, of batches of one schema, as one batch.
fn together(batches: &[RecordBatch], rows: &[(i128, usize, usize)]) -> Result<RecordBatch> {
    // numbers of the batches that rows are of, so that others need not be of their schema
    let mut used: Vec<usize> = rows.iter().map(|(_, number, _)| *number).collect();
    used.sort_unstable();
    used.dedup();
    let of: Vec<&RecordBatch> = used.iter().filter_map(|number| batches.get(*number)).collect();
    let at: Vec<(usize, usize)> = rows.iter().map(|(_, number, row)| (used.partition_point(|u| u < number), *row)).collect();
    match of.first() {
        Some(batch) if batch.num_columns() == 0 => {
            let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
            Ok(RecordBatch::try_new_with_options(batch.schema(), Vec::new(), &options)?)
        }
        Some(_) => Ok(interleave_record_batch(&of, &at)?),
        None => Err(Error::internal("rows of no piece")),
    }
}
