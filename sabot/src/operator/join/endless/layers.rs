//! The state of a join in [layers](crate::operator::Layer): rows by stretches of event time.
//!
//! Rows of a stretch only become more until the stretch is forgotten as a whole, so a layer holds, of both sides, the rows that have come to each
//! stretch since the layer before, and says which stretches there are. Where something becomes of rows that wait, each layer has that of all
//! rows of the stretches in which something did: a byte for each.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::LargeBinaryBuilder;
use arrow_array::types::{Int64Type, UInt32Type};
use arrow_array::{Array, Int64Array, LargeBinaryArray, RecordBatch, RecordBatchOptions, UInt32Array, cast::AsArray};
use arrow_schema::{DataType, Field, Schema};

use super::pieces::Pieces;
use super::shape::Shape;
use crate::operator::keys::rows_of;
use crate::operator::{Frozen, Layer, LayerRows, Spare, ipc, packed};
use crate::{Error, Result};

/// In a layer: a stretch, how many rows it has, how many of them the layer holds, what became of all of them, and the time of the join.
const STRETCH: &str = "sabot.stretch";
const ROWS: &str = "sabot.rows";
const NEW: &str = "sabot.new";
const FATES: &str = "sabot.fates";
const TIME: &str = "sabot.time";

/// A stretch in a cut.
struct Stretch {
    id: i64,
    rows: u32,
    new: u32,
    fates: Option<Vec<u8>>,
}

/// A side in a cut: a cheap copy.
pub(super) struct SideCut {
    shape: Shape,
    batches: Vec<RecordBatch>,
    stretches: Vec<Stretch>,
    whole: bool,
}

impl SideCut {
    pub(super) fn new(shape: &Shape, whole: bool) -> SideCut {
        SideCut { shape: shape.clone(), batches: Vec::new(), stretches: Vec::new(), whole }
    }
    /// Adds a stretch; `fates` are of all of its rows, if something became of some or rows came.
    pub(super) fn add(&mut self, id: i64, pieces: &mut Pieces, fates: Option<&[u8]>) {
        let (new, batches) = pieces.unwritten(self.whole);
        self.batches.extend(batches);
        self.stretches.push(Stretch { id, rows: pieces.rows(), new, fates: fates.map(<[u8]>::to_vec) });
    }
    fn index(&self) -> Result<RecordBatch> {
        let ids: Int64Array = self.stretches.iter().map(|s| s.id).collect::<Vec<_>>().into();
        let rows: UInt32Array = self.stretches.iter().map(|s| s.rows).collect::<Vec<_>>().into();
        let new: UInt32Array = self.stretches.iter().map(|s| s.new).collect::<Vec<_>>().into();
        let mut fates = LargeBinaryBuilder::new();
        self.stretches.iter().for_each(|s| fates.append_option(s.fates.as_ref()));
        let fields = vec![
            Field::new(STRETCH, DataType::Int64, false),
            Field::new(ROWS, DataType::UInt32, false),
            Field::new(NEW, DataType::UInt32, false),
            Field::new(FATES, DataType::LargeBinary, true),
        ];
        let columns = vec![Arc::new(ids) as _, Arc::new(rows) as _, Arc::new(new) as _, Arc::new(fates.finish()) as _];
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}

/// A layer of both sides. `changed` is whether anything is to be said beside new rows and fates; `time` is the join's own.
pub(super) fn layer(sides: [SideCut; 2], whole: bool, changed: bool, time: i64, spare: Spare) -> Frozen {
    let all = || sides.iter().flat_map(|side| &side.stretches);
    let rows = LayerRows { written: all().map(|s| u64::from(s.new)).sum(), live: all().map(|s| u64::from(s.rows)).sum() };
    if whole && rows.live == 0 {
        return Frozen::empty();
    }
    if !whole && !changed && rows.written == 0 && all().all(|s| s.fates.is_none()) {
        return Frozen::layer(move || Ok(Layer { rows, ..Layer::default() }));
    }
    Frozen::layer(move || {
        let mut bytes = spare.take();
        for side in &sides {
            ipc::push(&ipc::tagged(&side.index()?, [(TIME.to_owned(), time.to_string())])?, &mut bytes)?;
            packed::push(&side.shape.schema, &side.batches, &mut bytes)?;
        }
        Ok(Layer { bytes, whole, rows, spare })
    })
}

/// The rows of a stretch as they were written, and what became of each; none is said where nothing can.
#[derive(Default)]
pub(super) struct Stretched {
    pub(super) batches: Vec<RecordBatch>,
    pub(super) fates: Vec<u8>,
    pub(super) rows: u32,
}

impl Stretched {
    /// Each batch with the fates of its rows, and which rows are of key groups that are `mine`.
    pub(super) fn of(&self, shape: &Shape, mine: &dyn Fn(u16) -> bool) -> Result<Vec<(&RecordBatch, &[u8], Vec<u32>)>> {
        let mut from = 0;
        let mut out = Vec::new();
        for batch in &self.batches {
            let rows = rows_of(&shape.keys(batch), batch.num_rows(), mine)?;
            out.push((batch, self.fates.get(from..from + batch.num_rows()).unwrap_or(&[]), rows));
            from += batch.num_rows();
        }
        Ok(out)
    }
}

/// The stretches of a side.
pub(super) type Stretches = BTreeMap<i64, Stretched>;

/// What the layers of an instance add up to: the stretches of both sides, and the join's own time.
pub(super) fn read(layers: &[&[u8]], shapes: [&Shape; 2]) -> Result<([Stretches; 2], i64)> {
    let mut sides = [Stretches::new(), Stretches::new()];
    let mut time = i64::MIN;
    for layer in layers {
        let mut bytes = *layer;
        for (stretches, shape) in sides.iter_mut().zip(shapes) {
            time = time.max(side(&mut bytes, stretches, shape)?);
        }
    }
    Ok((sides, time))
}

fn side(bytes: &mut &[u8], stretches: &mut Stretches, shape: &Shape) -> Result<i64> {
    let broken = || Error::Checkpoint(format!("the state of `{}` is cut short", shape.step()));
    let index = ipc::pop(bytes)?.ok_or_else(broken)?;
    let (written, batches) = packed::pop(bytes)?;
    let time = ipc::tag(&index, TIME).and_then(|t| t.parse().ok()).ok_or_else(broken)?;
    let same =
        written.fields().len() == shape.schema.fields().len() && written.fields().iter().zip(shape.schema.fields()).all(|(a, b)| a == b);
    if !same {
        return Err(Error::Checkpoint(format!("the rows that `{}` keeps were written with other columns", shape.step())));
    }
    let number = |name| index.column_by_name(name).and_then(|c| c.as_primitive_opt::<UInt32Type>()).ok_or_else(broken);
    let ids = index.column_by_name(STRETCH).and_then(|c| c.as_primitive_opt::<Int64Type>()).ok_or_else(broken)?;
    let (rows, new) = (number(ROWS)?, number(NEW)?);
    let fates: &LargeBinaryArray = index.column_by_name(FATES).and_then(|c| c.as_binary_opt::<i64>()).ok_or_else(broken)?;
    let mut batches = batches.into_iter();
    let mut there = Stretches::new();
    for at in 0..index.num_rows() {
        let mut stretch = stretches.remove(&ids.value(at)).unwrap_or_default();
        let mut missing = new.value(at);
        while missing > 0 {
            let batch = batches.next().filter(|b| b.num_rows() > 0).ok_or_else(broken)?;
            missing = missing.checked_sub(batch.num_rows() as u32).ok_or_else(broken)?;
            stretch.rows += batch.num_rows() as u32;
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            stretch.batches.push(RecordBatch::try_new_with_options(Arc::clone(&shape.schema), batch.columns().to_vec(), &options)?);
        }
        if fates.is_valid(at) {
            stretch.fates = fates.value(at).to_vec();
        }
        if stretch.rows != rows.value(at) || !stretch.fates.is_empty() && stretch.fates.len() != stretch.rows as usize {
            return Err(broken());
        }
        there.insert(ids.value(at), stretch);
    }
    *stretches = there;
    Ok(time)
}
