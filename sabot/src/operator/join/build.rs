//! The rows of the build side: kept as they come, in key groups when they are written to a checkpoint.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, cast::AsArray, new_empty_array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::JoinSpec;
use crate::operator::kept::{named, no_column, plain, plain_type};
use crate::operator::keys::{by_key_group, in_key_groups, key_groups};
use crate::operator::{Frozen, GroupState, ipc};
use crate::plan::HAS_LEFT;
use crate::record::own;
use crate::{Error, Result};

/// The build side.
pub(super) struct Build {
    step: String,
    /// Each kept column once.
    names: Vec<String>,
    schema: SchemaRef,
    /// Key columns, columns that come out, and the event time, by position.
    on: Vec<usize>,
    pub(super) out: Vec<usize>,
    /// Those that come out or that a condition reads.
    used: Vec<usize>,
    pub(super) time: Option<usize>,
    batches: Vec<RecordBatch>,
    pub(super) rows: usize,
    /// For a join that keeps right rows without a partner: whether a row needs no more to come out by itself.
    seen: Option<Vec<bool>>,
}

impl Build {
    /// An empty build side; `also` are columns of the condition.
    pub(super) fn new(spec: &JoinSpec, also: &[String], right: &Schema) -> Result<Self> {
        let mut names: Vec<String> = Vec::new();
        let mut fields = Vec::new();
        let mut place = |name: &String| -> Result<usize> {
            if let Some(at) = names.iter().position(|n| n == name) {
                return Ok(at);
            }
            let f = right.field_with_name(name).map_err(|_| no_column(name, &spec.name))?;
            fields.push(Field::new(name, plain_type(f.data_type()), true));
            names.push(name.clone());
            Ok(names.len() - 1)
        };
        let on = spec.right_on.iter().map(&mut place).collect::<Result<_>>()?;
        let out = spec.right.iter().map(&mut place).collect::<Result<Vec<_>>>()?;
        let time = spec.times.iter().map(|(_, t)| place(&t.column)).next().transpose()?;
        let mut used = also.iter().map(&mut place).collect::<Result<Vec<_>>>()?;
        used.extend(&out);
        let seen = spec.kind.keeps_right().then(Vec::new);
        Ok(Build {
            step: spec.name.clone(),
            names,
            schema: Arc::new(Schema::new(fields)),
            on,
            out,
            used,
            time,
            batches: Vec::new(),
            rows: 0,
            seen,
        })
    }
    /// Where a column is.
    pub(super) fn position(&self, name: &str) -> Result<usize> {
        self.names.iter().position(|n| n == name).ok_or_else(|| no_column(name, &self.step))
    }
    /// Keeps the rows of a dense batch; dictionaries are decoded.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = named(batch, &self.names, &self.step)?.iter().map(plain).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        self.add(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?);
        Ok(())
    }
    fn add(&mut self, batch: RecordBatch) {
        self.rows += batch.num_rows();
        if let Some(seen) = &mut self.seen {
            seen.resize(self.rows, false);
        }
        self.batches.push(batch);
    }
    /// The rows, in order.
    pub(super) fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }
    /// The columns that come out or that a condition reads, in one piece; the others are empty.
    pub(super) fn columns(&self, batches: &[RecordBatch]) -> Result<Vec<ArrayRef>> {
        let column = |(at, field): (usize, &Arc<Field>)| {
            if !self.used.contains(&at) {
                return Ok(new_empty_array(field.data_type()));
            }
            let pieces: Vec<&dyn Array> = batches.iter().filter_map(|b| b.columns().get(at)).map(AsRef::as_ref).collect();
            match pieces.as_slice() {
                [] => Ok(new_empty_array(field.data_type())),
                _ => Ok(arrow_select::concat::concat(&pieces)?),
            }
        };
        self.schema.fields().iter().enumerate().map(column).collect()
    }
    /// Hands the rows over.
    pub(super) fn take(&mut self) -> Vec<RecordBatch> {
        std::mem::take(&mut self.batches)
    }
    /// All rows as one batch, which is kept in place of the many.
    pub(super) fn all(&mut self) -> Result<RecordBatch> {
        if self.batches.len() != 1 {
            self.batches = vec![concat(&self.schema, &self.batches, self.rows)?];
        }
        self.batches.first().cloned().ok_or_else(|| Error::internal("a build side without a batch"))
    }
    /// The key columns of a batch of this side.
    pub(super) fn keys(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        self.on.iter().filter_map(|i| batch.columns().get(*i)).cloned().collect()
    }
    /// The rows that found a partner.
    pub(super) fn found(&mut self, rows: impl Iterator<Item = u32>) {
        if let Some(seen) = &mut self.seen {
            for row in rows {
                if let Some(seen) = seen.get_mut(row as usize) {
                    *seen = true;
                }
            }
        }
    }
    /// The rows that found none, by key group, each in order: the same at any number of instances.
    pub(super) fn unseen(&mut self) -> Result<Vec<(u16, Vec<u32>)>> {
        let Some(seen) = &self.seen else { return Ok(Vec::new()) };
        let rows: Vec<u32> = seen.iter().zip(0u32..).filter(|(s, _)| !**s).map(|(_, row)| row).collect();
        let all = self.all()?;
        let keys = arrow_select::take::take_arrays(&self.keys(&all), &UInt32Array::from(rows.clone()), None)?;
        let (order, ranges) = by_key_group(&key_groups(&keys, rows.len())?);
        let row = |i: &u32| rows.get(*i as usize).copied();
        Ok(ranges.into_iter().map(|(g, r)| (g, order.get(r).unwrap_or(&[]).iter().filter_map(row).collect())).collect())
    }
    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.batches.iter().map(RecordBatch::get_array_memory_size).sum::<usize>() + self.seen.as_ref().map_or(0, Vec::len)
    }
    /// The rows, by key group, with what is known of their partners.
    pub(super) fn snapshot(&self) -> Frozen {
        let (batches, schema, on, rows) = (self.batches.clone(), Arc::clone(&self.schema), self.on.clone(), self.rows);
        let seen = self.seen.clone();
        Frozen::new(move || {
            let mut all = concat(&schema, &batches, rows)?;
            let keys: Vec<ArrayRef> = on.iter().filter_map(|i| all.columns().get(*i)).cloned().collect();
            if let Some(seen) = seen {
                let mut fields = schema.fields().to_vec();
                fields.push(Arc::new(Field::new(HAS_LEFT, DataType::Boolean, false)));
                let mut columns = all.columns().to_vec();
                columns.push(Arc::new(BooleanArray::from(seen)));
                all = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
            }
            let mut states = Vec::new();
            for (group, rows) in in_key_groups(&all, &keys)? {
                let mut bytes = Vec::new();
                ipc::push(&rows, &mut bytes)?;
                states.push(GroupState { group, bytes });
            }
            Ok(states)
        })
    }
    /// Takes rows that [`snapshot`](Self::snapshot) wrote.
    pub(super) fn restore(&mut self, state: &GroupState) -> Result<()> {
        let mut bytes = state.bytes.as_slice();
        while let Some(batch) = ipc::pop(&mut bytes)? {
            // the columns of a batch that was read share one buffer, which would be counted for each
            let batch = own(&batch)?;
            let (mut columns, rows) = (batch.columns().to_vec(), batch.num_rows());
            let seen = if self.seen.is_some() { columns.pop() } else { None };
            let fits = columns.len() == self.schema.fields().len()
                && batch.schema_ref().fields().iter().zip(self.schema.fields()).all(|(a, b)| a == b)
                && seen.as_ref().is_none_or(|s| *s.data_type() == DataType::Boolean);
            if !fits {
                return Err(Error::Checkpoint(format!("the build side of `{}` was written with other columns", self.step)));
            }
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            let from = self.rows;
            self.add(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?);
            if let (Some(to), Some(written)) = (&mut self.seen, seen) {
                to.iter_mut().skip(from).zip(written.as_boolean().values()).for_each(|(to, s)| *to = s);
            }
        }
        Ok(())
    }
    /// Drops the rows of a key group.
    pub(super) fn release(&mut self, group: u16) -> Result<()> {
        let all = self.all()?;
        let keep: Vec<bool> = key_groups(&self.keys(&all), self.rows)?.into_iter().map(|g| g != group).collect();
        let rest = arrow_select::filter::filter_record_batch(&all, &BooleanArray::from(keep.clone()))?;
        if let Some(seen) = &mut self.seen {
            let mut keep = keep.iter();
            seen.retain(|_| keep.next() == Some(&true));
        }
        self.rows = rest.num_rows();
        self.batches = vec![rest];
        Ok(())
    }
}

fn concat(schema: &SchemaRef, batches: &[RecordBatch], rows: usize) -> Result<RecordBatch> {
    if schema.fields().is_empty() {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        return Ok(RecordBatch::try_new_with_options(Arc::clone(schema), Vec::new(), &options)?);
    }
    Ok(arrow_select::concat::concat_batches(schema, batches)?)
}

/// The rows whose keys have no null; `None` is all.
pub(super) fn valid_rows(keys: &[ArrayRef], rows: u32) -> Option<Vec<u32>> {
    let nulls = keys.iter().fold(None, |n: Option<NullBuffer>, k| NullBuffer::union(n.as_ref(), k.logical_nulls().as_ref()));
    let nulls = nulls.filter(|n| n.null_count() > 0)?;
    Some((0..rows).filter(|row| nulls.is_valid(*row as usize)).collect())
}
