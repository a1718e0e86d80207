//! What a check gives a pipeline to read.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{RecordBatch, UInt64Array};
use arrow_select::take::take_record_batch;

use super::dealt::{Dealt, mix};
use super::stream_check::Left;
use super::text::rows_as_text;
use crate::operator::instants::micros;
use crate::record::{Named, Record, columns_of, to_batch};
use crate::stream::Source;

/// How rows are dealt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deal {
    pub(super) seed: u64,
    pub(super) partitions: u32,
    /// Whether they are the batch.
    pub(super) ends: bool,
    pub(super) disorder: Option<i64>,
}

/// Makes the sources of a pipeline under [check](super::StreamCheck).
#[derive(Debug)]
pub struct Feeds {
    deal: Deal,
    left: Option<Left>,
    made: RefCell<BTreeMap<String, Made>>,
}

/// A source that was made.
#[derive(Debug)]
struct Made {
    /// Rows that the test gave.
    size: usize,
    batch: RecordBatch,
    partitions: Arc<Vec<Vec<u32>>>,
}

impl Feeds {
    pub(super) fn new(deal: Deal, left: Option<Left>) -> Self {
        Feeds { deal, left, made: RefCell::default() }
    }
    /// These rows as the source `name`: dealt to partitions, in each of which they keep their order. As a stream they never
    /// are late, unless the check [says](super::StreamCheck::disorder) how long sources wait.
    pub fn rows<R: Named>(&self, name: &str, rows: &[R]) -> Source<R> {
        self.batch(name, &to_batch(rows))
    }
    /// As [`rows`](Self::rows), of rows in a batch; columns are matched by name.
    pub fn batch<R: Record>(&self, name: &str, rows: &RecordBatch) -> Source<R> {
        let kept: Vec<usize> = match &self.left {
            Some(left) => left.get(name).cloned().unwrap_or_default(),
            None => (0..rows.num_rows()).collect(),
        };
        let indices = UInt64Array::from_iter_values(kept.iter().map(|row| *row as u64));
        let batch = take_record_batch(rows, &indices).unwrap_or_else(|_| rows.clone());
        let salt = name.bytes().fold(self.deal.seed, |s, b| mix(s ^ u64::from(b)));
        let mut partitions = vec![Vec::new(); self.deal.partitions.max(1) as usize];
        for (at, row) in (0u32..).zip(&kept) {
            // by the row's number among all, so that rows stay where they are when others are left out
            let to = mix(salt ^ *row as u64) % partitions.len() as u64;
            if let Some(partition) = partitions.get_mut(to as usize) {
                partition.push(at);
            }
        }
        let mut disorder = self.deal.disorder;
        if let Some(time) = columns_of::<R>().iter().find(|c| c.event_time)
            && let Some(column) = batch.column_by_name(&time.name)
            && let Ok(times) = micros(column)
        {
            match disorder {
                Some(disorder) if self.deal.ends => partitions.iter_mut().for_each(|p| leave_out_late(p, &times, disorder)),
                Some(_) => {}
                None => disorder = partitions.iter().map(|p| lag(p, &times)).max(),
            }
        }
        let partitions = Arc::new(partitions);
        self.made
            .borrow_mut()
            .insert(name.to_owned(), Made { size: rows.num_rows(), batch: batch.clone(), partitions: Arc::clone(&partitions) });
        let dealt = Dealt { batch, partitions, seed: (!self.deal.ends).then_some(salt), disorder };
        Source::custom(move || Ok(dealt.clone()))
    }
    /// How many rows the test gave, by source.
    pub(super) fn sizes(&self) -> BTreeMap<String, usize> {
        self.made.borrow().iter().map(|(name, made)| (name.clone(), made.size)).collect()
    }
    /// How many rows were dealt.
    pub(super) fn dealt(&self) -> u64 {
        self.made.borrow().values().flat_map(|m| m.partitions.iter()).map(|p| p.len() as u64).sum()
    }
    /// The rows: source, partition, text.
    pub(super) fn listing(&self) -> Vec<(String, usize, String)> {
        let mut out = Vec::new();
        for (name, made) in self.made.borrow().iter() {
            let text = rows_as_text(std::slice::from_ref(&made.batch)).unwrap_or_default();
            for (partition, rows) in made.partitions.iter().enumerate() {
                let line = |row: &u32| text.get(*row as usize).map(|t| (name.clone(), partition, t.0.clone()));
                out.extend(rows.iter().filter_map(line));
            }
        }
        out
    }
}

/// How far a row of the partition lags behind rows before it at most.
fn lag(partition: &[u32], times: &[i64]) -> i64 {
    let (mut greatest, mut most) = (i64::MIN, 0);
    for time in partition.iter().filter_map(|row| times.get(*row as usize)) {
        greatest = greatest.max(*time);
        most = most.max(greatest.saturating_sub(*time));
    }
    most
}

/// Leaves out what is late by the rule of sources: behind the greatest time before it less the disorder.
fn leave_out_late(partition: &mut Vec<u32>, times: &[i64], disorder: i64) {
    let mut watermark = i64::MIN;
    partition.retain(|row| {
        let Some(time) = times.get(*row as usize) else { return false };
        let kept = *time >= watermark;
        watermark = watermark.max(time.saturating_sub(disorder));
        kept
    });
}
