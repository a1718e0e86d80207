//! All ranges one behind the other at a single instance, where a step behind the sort makes something of each block of rows.
//!
//! A partial aggregate has a state for each split, and sums of floats depend on where splits end. Ranges end anywhere, so two instances have
//! parts of one split; put together here, rows come in the batches in which a sort by one instance sends them. Instances have
//! sorted, and send as fast as rows are taken, so nothing but a part of a batch is kept; and nothing for a checkpoint, as in
//! [`RangeMerge`](super::RangeMerge).

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;

use crate::kernel::{Morsel, Origin};
use crate::operator::sort::{OUT_ROWS, UNIT, place_of};
use crate::operator::{Account, Instance, Mark, Operator, OperatorFactory, Output, Progress};
use crate::{Error, Result};

/// Passes the rows of a [`RangeMerge`](super::RangeMerge) on. A single instance with ordered, gathered input.
#[derive(Debug)]
pub struct InOrder {
    schema: SchemaRef,
    node: u32,
    /// Rows that do not fill a batch yet.
    part: Vec<RecordBatch>,
    rows: usize,
    /// The rank of the first of them.
    rank: usize,
    begun: bool,
}

impl InOrder {
    /// The instance for plan node `node`, which is the source of its rows.
    pub fn factory(schema: &SchemaRef, node: u32) -> Arc<dyn OperatorFactory> {
        let schema = Arc::clone(schema);
        Arc::new(move |_: Instance| {
            let schema = Arc::clone(&schema);
            Ok(Box::new(InOrder { schema, node, part: Vec::new(), rows: 0, rank: 0, begun: false }) as Box<dyn Operator>)
        })
    }
    fn send(&mut self, out: &mut dyn Output) -> Result<()> {
        if self.rows > 0 {
            let batch = concat_batches(&self.schema, &std::mem::take(&mut self.part))?;
            out.account(Account { used: self.rows as u64, held: -(self.rows as i64), ..Account::default() });
            out.emit(Morsel::new(batch, place_of(self.node, self.rank)));
            self.rank += std::mem::take(&mut self.rows);
        }
        Ok(())
    }
}

impl Operator for InOrder {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let Origin { split, row, .. } = morsel.origin;
        let mut batch = morsel.compact()?;
        out.account(Account { held: batch.num_rows() as i64, ..Account::default() });
        if split as usize * UNIT + row as usize != self.rank + self.rows {
            return Err(Error::internal("the ranges of a sort do not follow each other"));
        }
        if !std::mem::replace(&mut self.begun, true) {
            out.pass(Mark::Ascending(place_of(self.node, self.rank)));
        }
        while batch.num_rows() > 0 {
            let rows = batch.num_rows().min(OUT_ROWS - self.rows);
            self.part.push(batch.slice(0, rows));
            self.rows += rows;
            batch = batch.slice(rows, batch.num_rows() - rows);
            if self.rows == OUT_ROWS {
                self.send(out)?;
            }
        }
        Ok(Progress::Done)
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        self.send(out)?;
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.part.iter().map(crate::record::bytes_of).sum()
    }
}
