//! Operators against naive row models.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod aggregate;
#[cfg(feature = "async")]
mod asynchronous;
mod endless_joins;
mod hand;
mod hops;
mod join;
mod keyed;
mod keyed_cuts;
mod keyed_disk;
mod keys;
mod layers;
mod measures;
mod ordered;
mod others;
mod ranges;
mod sessions;
mod speed;
mod updating_joins;

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;

use super::*;
use crate::kernel::{Morsel, Origin, Selection};

/// Memory with this share, in a directory of its own that goes when no file is left.
pub(super) fn memory(share: usize) -> Memory {
    let base = std::env::temp_dir().join("sabot-operator-tests");
    std::fs::create_dir_all(&base).unwrap();
    Memory::new("p/a", share, SpillDir::new(base).unwrap())
}

/// A generator of pseudo-random numbers (xorshift64*).
pub(super) struct Rng(pub(super) u64);
impl Rng {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub(super) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }
}

/// Collects output; full whenever `room` morsels were emitted since the last look.
#[derive(Default)]
pub(super) struct Out {
    pub(super) morsels: Vec<Morsel>,
    pub(super) marks: Vec<Mark>,
    pub(super) failed: Vec<Morsel>,
    pub(super) account: Account,
    pub(super) tight: bool,
    pub(super) satisfied: bool,
}
impl Output for Out {
    fn emit(&mut self, morsel: Morsel) {
        self.account.rows_out += morsel.rows() as u64;
        self.morsels.push(morsel);
    }
    fn pass(&mut self, mark: Mark) {
        self.marks.push(mark);
    }
    fn emit_failed(&mut self, morsel: Morsel) {
        self.failed.push(morsel);
    }
    fn full(&self) -> bool {
        self.tight
    }
    fn account(&mut self, rows: Account) {
        self.account.add(&rows);
    }
    fn satisfied(&mut self) {
        self.satisfied = true;
    }
}
impl Out {
    pub(super) fn feed(&mut self, op: &mut dyn Operator, port: usize, morsel: Morsel) {
        self.account.rows_in += morsel.rows() as u64;
        let mut progress = op.process(port, morsel, self).unwrap();
        while progress == Progress::More {
            progress = op.resume(self).unwrap();
        }
    }
    pub(super) fn finish(&mut self, op: &mut dyn Operator, port: usize) {
        let mut progress = op.finish(port, self).unwrap();
        while progress == Progress::More {
            progress = op.resume(self).unwrap();
        }
    }
    /// All rows by origin, as one batch.
    pub(super) fn rows(&self, schema: &SchemaRef) -> RecordBatch {
        let mut morsels = self.morsels.clone();
        morsels.sort_by_key(|m| m.origin);
        concat(schema, &morsels)
    }
}
pub(super) fn concat(schema: &SchemaRef, morsels: &[Morsel]) -> RecordBatch {
    let batches: Vec<RecordBatch> = morsels.iter().map(|m| m.compact().unwrap()).collect();
    arrow_select::concat::concat_batches(schema, &batches).unwrap()
}

/// Cuts a split into morsels of `size` rows; `keep` says which rows survive.
pub(super) fn cut(batch: &RecordBatch, split: u64, size: usize, keep: Option<&dyn Fn(usize) -> bool>) -> Vec<Morsel> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < batch.num_rows() {
        let len = size.min(batch.num_rows() - at);
        let selection = keep.map(|keep| {
            let mut words = vec![0u64; len.div_ceil(64)];
            (0..len).filter(|i| keep(at + i)).for_each(|i| words[i / 64] |= 1 << (i % 64));
            Selection::new(words)
        });
        out.push(Morsel { batch: batch.slice(at, len), selection, origin: Origin { source: 0, partition: 0, split, row: at as u64 } });
        at += len;
    }
    out
}

/// A function of an aggregate, over these columns.
pub(super) fn function(name: &str, inputs: &[&str], factory: Arc<dyn AccumulatorFactory>) -> Function {
    Function { name: name.into(), inputs: inputs.iter().map(|s| (*s).into()).collect(), factory }
}

/// A value of any column, printed; floats by their bits.
pub(super) fn show(array: &ArrayRef, row: usize) -> String {
    let array = super::kept::plain(array).unwrap();
    if array.is_null(row) {
        return "null".into();
    }
    if let Some(f) = arrow_array::cast::AsArray::as_primitive_opt::<arrow_array::types::Float64Type>(array.as_ref()) {
        return format!("f{:x}", f.value(row).to_bits());
    }
    arrow_cast::display::array_value_to_string(&array, row).unwrap()
}
pub(super) fn lines(batch: &RecordBatch) -> Vec<String> {
    (0..batch.num_rows()).map(|r| batch.columns().iter().map(|c| show(c, r)).collect::<Vec<_>>().join("|")).collect()
}
/// The batch with its text columns in another encoding.
pub(super) fn encode(batch: &RecordBatch, to: &arrow_schema::DataType) -> RecordBatch {
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|c| if kept::is_utf8(c.data_type()) { arrow_cast::cast(c, to).unwrap() } else { Arc::clone(c) })
        .collect();
    let fields: Vec<_> =
        batch.schema_ref().fields().iter().zip(&columns).map(|(f, c)| f.as_ref().clone().with_data_type(c.data_type().clone())).collect();
    RecordBatch::try_new(Arc::new(arrow_schema::Schema::new(fields)), columns).unwrap()
}
