//! Any number of rows per row.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::take::take;

use super::fault::guarded;
use super::weights::Carried;
use super::{Account, Failure, Instance, Operator, OperatorFactory, Output, Progress};
use crate::kernel::{Morsel, Origin, PLACE};
use crate::record::{Accepted, Buffers, Env, Missing, Named, Record, Rows, Value, View, Writer, schema_of};
use crate::{Error, Result};

/// Rows of an output batch.
const OUT_ROWS: usize = 4096;

/// Calls a function that makes an iterator of rows from every row; the iterators may be infinite.
///
/// Output is emitted 4096 rows at a time. When the consumer is full in the middle of a row's iterator, the iterator cannot
/// be kept (it borrows from the row), so it is made again on resumption and the items that were already taken are
/// skipped: a row of `n` items costs about `n` steps plus, for each interruption, as many steps as items were taken.
pub struct FlatMap<R, O, F> {
    name: Arc<str>,
    schema: SchemaRef,
    call: Arc<F>,
    pending: Option<Pending>,
    carried: Carried,
    kind: PhantomData<fn() -> (R, O)>,
}

struct Pending {
    accepted: Accepted,
    origin: Origin,
    /// Row numbers within the morsel, if rows were dropped.
    numbers: Option<Vec<usize>>,
    at: usize,
    taken: usize,
    /// The places of the rows, if they were dealt out.
    places: Option<ArrayRef>,
}

impl Pending {
    fn number(&self, row: usize) -> usize {
        self.numbers.as_ref().and_then(|n| n.get(row).copied()).unwrap_or(row)
    }
}

impl<R, O, F> std::fmt::Debug for FlatMap<R, O, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlatMap").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<R, O, F> FlatMap<R, O, F>
where
    R: Record,
    O: Named,
    F: for<'a> Fn(&View<'a, R>) -> Box<dyn Iterator<Item = O> + 'a> + Send + Sync + 'static,
{
    /// Instances; their output has the columns of `O`.
    pub fn factory(name: &str, call: F) -> Arc<dyn OperatorFactory> {
        let (name, call): (Arc<str>, _) = (name.into(), Arc::new(call));
        let schema: SchemaRef = Arc::new(schema_of::<O>());
        Arc::new(move |_: Instance| {
            let (name, schema, call) = (Arc::clone(&name), Arc::clone(&schema), Arc::clone(&call));
            Ok(Box::new(FlatMap::<R, O, F> { name, schema, call, pending: None, carried: Carried::default(), kind: PhantomData })
                as Box<dyn Operator>)
        })
    }
    fn pump(&mut self, out: &mut dyn Output) -> Result<Progress> {
        let Some(mut pending) = self.pending.take() else { return Ok(Progress::Done) };
        let mut ended = Ended::default();
        let result = self.emit(&mut pending, &mut ended, out);
        out.account(Account { used: ended.used, filtered: ended.empty, held: -((ended.used + ended.empty) as i64), ..Account::default() });
        let progress = result?;
        if progress == Progress::More {
            self.pending = Some(pending);
        }
        Ok(progress)
    }
    /// Emits batches until the morsel is used up or the output is full.
    fn emit(&mut self, pending: &mut Pending, ended: &mut Ended, out: &mut dyn Output) -> Result<Progress> {
        loop {
            let first = pending.number(pending.at);
            // places tell the order of rows that were dealt out, within the morsel that they came in
            let origin = match pending.places {
                Some(_) => pending.origin,
                None => Origin { row: pending.origin.row + first as u64, ..pending.origin },
            };
            let row = Cell::new(pending.at);
            let mut from = pending.places.is_some().then(Vec::new);
            let filled = guarded(&row, || Ok(self.fill((pending.at, pending.taken), &pending.accepted, &row, ended, from.as_mut())));
            let filled = filled.map_err(|f| match f {
                Failure::Row { row: Some(row), what, operator } => {
                    Failure::Row { row: Some(pending.number(row)), what, operator }.at(&self.name, Some(pending.origin))
                }
                other => other.at(&self.name, Some(pending.origin)),
            })?;
            (pending.at, pending.taken) = (filled.at, filled.taken);
            if filled.rows > 0 {
                let batch = self.batch(filled.writer, filled.rows)?;
                let batch = match (&pending.places, from) {
                    (Some(places), Some(from)) => {
                        let places = take(places.as_ref(), &UInt32Array::from(from), None)?;
                        self.carried.with_places(batch, places)?
                    }
                    _ => batch,
                };
                out.emit(Morsel::new(batch, origin));
            }
            if pending.at >= pending.accepted.rows() {
                return Ok(Progress::Done);
            }
            if out.full() {
                return Ok(Progress::More);
            }
        }
    }
    /// Takes items into one batch, from item `taken` of row `at` on; notes the row of each in `from`.
    fn fill(
        &self,
        (mut at, mut taken): (usize, usize),
        accepted: &Accepted,
        row: &Cell<usize>,
        ended: &mut Ended,
        mut from: Option<&mut Vec<u32>>,
    ) -> Filled<O> {
        let rows = Rows::<R>::new(accepted);
        let mut writer = <O as Value>::Write::new(OUT_ROWS);
        let mut written = 0;
        while let Some(view) = rows.get(at) {
            row.set(at);
            let mut items = (self.call)(&view).skip(taken);
            let before = written;
            let mut more = true;
            while written < OUT_ROWS {
                let Some(item) = items.next() else {
                    more = false;
                    break;
                };
                writer.put(written, item.borrow(), &Env::COPY);
                written += 1;
                taken += 1;
            }
            if let Some(from) = &mut from {
                from.extend(std::iter::repeat_n(at as u32, written - before));
            }
            if more {
                break;
            }
            if taken > 0 {
                ended.used += 1;
            } else {
                ended.empty += 1;
            }
            at += 1;
            taken = 0;
        }
        Filled { writer, rows: written, at, taken }
    }
    fn batch(&self, writer: <O as Value>::Write, rows: usize) -> Result<RecordBatch> {
        let array = writer.finish(rows, &Buffers::default());
        let columns = array.as_struct_opt().ok_or_else(|| Error::internal("a record that is not written as a struct"))?.columns().to_vec();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

struct Filled<O: Value> {
    writer: O::Write,
    rows: usize,
    at: usize,
    taken: usize,
}

/// Rows whose iterator ended: with items, and without.
#[derive(Default)]
struct Ended {
    used: u64,
    empty: u64,
}

impl<R, O, F> Operator for FlatMap<R, O, F>
where
    R: Record,
    O: Named,
    F: for<'a> Fn(&View<'a, R>) -> Box<dyn Iterator<Item = O> + 'a> + Send + Sync + 'static,
{
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let batch = morsel.compact()?;
        out.account(Account { held: batch.num_rows() as i64, ..Account::default() });
        let numbers = morsel.selection.as_ref().map(|s| s.rows().collect());
        let accepted = Accepted::of::<R>(&batch, Missing::Blank, &self.name)?;
        let places = batch.column_by_name(PLACE).cloned();
        self.pending = Some(Pending { accepted, origin: morsel.origin, numbers, at: 0, taken: 0, places });
        self.pump(out)
    }
    fn resume(&mut self, out: &mut dyn Output) -> Result<Progress> {
        self.pump(out)
    }
}
