//! What leaves a join that is sent as it changes: pairs and rows by themselves, each as often as its weight says.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{Int8Array, RecordBatch};

use super::counted::NONE;
use super::pairing::{Pairing, Picked, Rows};
use super::updating::UpdatingJoin;
use crate::Result;
use crate::operator::Output;
use crate::operator::join::pairs::OUT_ROWS;
use crate::operator::weights::Carried;

/// Rows of the result: a row of a batch, a stored row of the other side or `NONE`, and a weight.
pub(super) type Pairs = Vec<(u32, u32, i64)>;

impl UpdatingJoin {
    /// These stored rows of a side, where `NONE` is a row that is missing.
    pub(super) fn pick(&self, port: usize, numbers: &[u32]) -> Result<Picked> {
        let Some(side) = self.sides.get(port) else { return Ok(Picked::default()) };
        let mut picked = if numbers.contains(&NONE) { Picked::maybe(side.shape()) } else { Picked::default() };
        let distinct: Vec<u32> = numbers.iter().copied().filter(|n| *n != NONE).collect::<BTreeSet<u32>>().into_iter().collect();
        let base = picked.add(&[side.decoded(&distinct)?]);
        for number in numbers {
            match distinct.binary_search(number) {
                Ok(at) => picked.push(base, (0, at)),
                Err(_) => picked.push_none(),
            }
        }
        Ok(picked)
    }
    /// Sends stored rows of a side that meet their first partner, or have lost the last one.
    pub(super) fn by_themselves(&mut self, port: usize, rows: impl Iterator<Item = u32>, first: bool, out: &mut dyn Output) -> Result<()> {
        let Some(side) = self.sides.get(port) else { return Ok(()) };
        let weight = |number: u32| self.at_first(port, side.times(number)) * if first { 1 } else { -1 };
        let all: Vec<(u32, i64)> = rows.map(|number| (number, weight(number))).collect();
        for some in all.chunks(OUT_ROWS) {
            let batch = side.decoded(&some.iter().map(|(number, _)| *number).collect::<Vec<_>>())?;
            let pairs: Pairs = some.iter().zip(0u32..).map(|((_, weight), row)| (row, NONE, *weight)).collect();
            let sent = Self::sent(&self.pairing, &mut self.weighed, port, &batch, &pairs, &|_| Ok(None))?;
            sent.into_iter().for_each(|batch| self.sent.emit(batch, out));
        }
        Ok(())
    }
    /// Sends rows of a batch, each with a stored row of the other side, or by itself.
    pub(super) fn send(&mut self, port: usize, rows: &RecordBatch, pairs: &Pairs, out: &mut dyn Output) -> Result<()> {
        let mut weighed = self.weighed.take();
        let pick = |numbers: &[u32]| self.pick(1 - port, numbers).map(Some);
        let sent = Self::sent(&self.pairing, &mut weighed, port, rows, pairs, &pick);
        self.weighed = weighed;
        sent?.into_iter().for_each(|batch| self.sent.emit(batch, out));
        Ok(())
    }
    /// The batches of these rows, each row as often as its weight says.
    fn sent(
        pairing: &Pairing,
        weighed: &mut Option<Carried>,
        port: usize,
        rows: &RecordBatch,
        pairs: &Pairs,
        pick: &dyn Fn(&[u32]) -> Result<Option<Picked>>,
    ) -> Result<Vec<RecordBatch>> {
        let copies = |(row, stored, weight): &(u32, u32, i64)| {
            let one = (*row, *stored, if *weight < 0 { -1i8 } else { 1 });
            std::iter::repeat_n(one, weight.unsigned_abs() as usize)
        };
        let all: Vec<(u32, u32, i8)> = pairs.iter().flat_map(copies).collect();
        let mut out = Vec::new();
        for some in all.chunks(OUT_ROWS) {
            let here: Vec<u32> = some.iter().map(|(row, _, _)| *row).collect();
            let there: Vec<u32> = some.iter().map(|(_, stored, _)| *stored).collect();
            let alone = there.iter().all(|stored| *stored == NONE);
            let picked = if alone { None } else { pick(&there)? };
            let (here, there) = (Rows::Of(rows, &here), picked.as_ref().map_or(Rows::Missing, Rows::Picked));
            let batch = pairing.batch(if port == 0 { [&here, &there] } else { [&there, &here] }, some.len())?;
            out.push(match weighed {
                Some(weighed) => weighed.with(batch, Arc::new(Int8Array::from(some.iter().map(|(_, _, w)| *w).collect::<Vec<i8>>())))?,
                None => batch,
            });
        }
        Ok(out)
    }
}
