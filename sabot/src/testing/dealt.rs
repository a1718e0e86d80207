//! Rows of a test as a source with partitions: endless and in pieces that a seed chooses, or ending.

use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::take::take_record_batch;

use crate::operator::{EventTime, Read, Source as Opened, Split, SplitReader};
use crate::{Error, Result};

/// One in so many reads of the endless form gives nothing for now.
const IDLE: u64 = 4;

/// Rows dealt to partitions.
#[derive(Clone)]
pub(super) struct Dealt {
    pub(super) batch: RecordBatch,
    /// The rows of each partition, in its order.
    pub(super) partitions: Arc<Vec<Vec<u32>>>,
    /// Endless: how rows are cut, and when none come.
    pub(super) seed: Option<u64>,
    /// How far a row lags behind rows before it in its partition.
    pub(super) disorder: Option<EventTime>,
}

impl Opened for Dealt {
    fn schema(&self) -> SchemaRef {
        self.batch.schema()
    }
    fn project(&mut self, columns: &[String]) -> Result<()> {
        let schema = self.batch.schema();
        let at = columns.iter().map(|c| schema.index_of(c)).collect::<Result<Vec<_>, _>>()?;
        self.batch = self.batch.project(&at)?;
        Ok(())
    }
    fn bounded(&self) -> bool {
        self.seed.is_none()
    }
    fn splits(&self) -> Result<Vec<Split>> {
        let rows = |rows: &Vec<u32>| self.seed.is_none().then_some(rows.len() as u64);
        let split = |(partition, of): (u32, &Vec<u32>)| Split { partition, sequence: 0, rows: rows(of), bytes: None, spec: 0.into() };
        Ok((0..).zip(self.partitions.iter()).map(split).collect())
    }
    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let number = |v: &serde_json::Value| v.as_u64().map(|v| v as usize).ok_or_else(|| Error::Checkpoint("not a row number".into()));
        let next = position.map_or(Ok(0), number)?;
        Ok(Box::new(Reader { source: self.clone(), partition: split.partition as usize, next, asked: 0 }))
    }
    fn disorder(&self) -> Option<EventTime> {
        self.disorder
    }
    fn describe(&self) -> String {
        "rows of a test".into()
    }
}

struct Reader {
    source: Dealt,
    partition: usize,
    next: usize,
    asked: u64,
}

impl SplitReader for Reader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        let rows = self.source.partitions.get(self.partition).map(Vec::as_slice).unwrap_or_default();
        let rest = rows.get(self.next..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(Read::End);
        }
        let mut wanted = max_rows.max(1);
        if let Some(seed) = self.source.seed {
            self.asked += 1;
            let random = mix(seed ^ (self.partition as u64) << 48 ^ (self.next as u64) << 16 ^ self.asked);
            if random.is_multiple_of(IDLE) {
                return Ok(Read::Idle);
            }
            wanted = 1 + (random >> 8) as usize % wanted;
        }
        let piece = rest.get(..wanted.min(rest.len())).unwrap_or(rest);
        self.next += piece.len();
        let rows = UInt32Array::from(piece.to_vec());
        Ok(Read::Rows(take_record_batch(&self.source.batch, &rows)?, None))
    }
    fn position(&self) -> serde_json::Value {
        self.next.into()
    }
}

/// A number that looks random, of another.
pub(super) fn mix(x: u64) -> u64 {
    let mut x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
