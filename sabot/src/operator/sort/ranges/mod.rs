//! A sort over several processes: each instance puts one range of the result in order, and no instance has all rows.
//!
//! Idea: a *sample sort* (Frazer and McKellar, "Samplesort: a sampling approach to minimal storage tree sorting", 1970), as DeWitt,
//! Naughton and Schneider have it for machines that share nothing ("Parallel sorting on a shared-nothing architecture using probabilistic
//! splitting", 1991). Four nodes take part:
//!
//! - [`KeySample`], beside whoever makes the rows, draws a sample of the sort keys, and counts the rows of each split;
//! - [`RangeBounds`], a single one, cuts the order of all samples in [`KEY_GROUPS`] ranges of about as many rows each, and tells every row
//!   its number: the rows of a split are numbered behind those of all splits before it;
//! - [`RangeDeal`] keeps the rows, which go nowhere else, until it is told, then sends each to the instance that has its range
//!   ([`Exchange::Range`](crate::operator::Exchange));
//! - [`RangeMerge`] sorts the ranges that are its own, on disk if memory is short.
//!
//! So a row goes from one process to another once, and what each process holds is what it read, then its part of the result.
//!
//! **The result is that of a sort in one process, to the bit.** Rows are sorted by (key, number), and a number says where the row is in
//! source order; so equal rows stay in source order, whoever dealt them. Every instance also knows the rank of its first row in the whole
//! result (how many rows of lower ranges each dealer has is told in rows beside the others), so rows have the origins that
//! [`place_of`](super::place_of) gives them anywhere.
//!
//! **Bounds are pairs (key, number)**, and not keys: rows of one key are cut as others are, so a key that most rows have is spread over
//! instances too. Whatever the bounds are, the result is the same; they only say who does how much. With [`SAMPLES`] samples the part of
//! one of n instances is off by about a √(n / 4096)-th: 4 % of its own size for 8 instances.
//!
//! **Order within a split**: who made a split's rows keeps them in order. Several instances make rows of one split behind a join, for
//! example; those of a lower instance come first, as in [`PartialSort`](super::PartialSort), and rows of no split come behind those of all
//! splits. A job that goes on from a checkpoint may have other instances for the same rows, so rows that were there before come first:
//! each continuation is a [generation](Label). Thus it does not matter who is given the rows of a cut.
//!
//! **No barrier comes behind the bounds.** They are there when all samples have ended, and so has everything that could send a barrier to
//! these nodes. So a checkpoint holds samples, and rows that are kept, but no rows that were dealt; were it otherwise, [`RangeDeal`] would
//! end the job instead of a wrong cut.

mod bounds;
mod deal;
mod labels;
mod merge;
mod order;
mod sample;

use std::sync::Arc;

use arrow_array::types::{UInt8Type, UInt64Type};
use arrow_array::{ArrayRef, PrimitiveArray, RecordBatch, cast::AsArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

pub use bounds::RangeBounds;
pub use deal::RangeDeal;
pub use merge::RangeMerge;
pub use order::InOrder;
pub use sample::KeySample;

use crate::kernel::hash::{KEY_GROUPS, instance_of};
use crate::operator::Instance;
use crate::{Error, Result};

/// Samples that decide on the bounds: 32 for each range.
const SAMPLES: usize = 4096;

/// The column that says to which range a row belongs: no name of the user's.
pub const RANGE: &str = "sort range";
/// The column of row numbers.
const NUMBER: &str = "row number";
/// Marks numbers that are none: so many rows of a dealer are in lower ranges than this one.
const BELOW: u64 = 1 << 63;

/// The rows of a sort with their ranges and numbers.
fn dealt(schema: &Schema) -> SchemaRef {
    let own = [Field::new(RANGE, DataType::UInt8, false), Field::new(NUMBER, DataType::UInt64, false)];
    let fields = schema.fields().iter().map(|f| f.as_ref().clone()).chain(own);
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
}

/// The first range of an instance.
fn first_of(instance: Instance) -> usize {
    let groups = usize::from(KEY_GROUPS);
    (instance.index * groups).div_ceil(instance.of.max(1)).min(groups - 1)
}

/// The ranges of an instance; none if there are more instances than ranges.
fn owned(instance: Instance) -> Vec<u16> {
    (0..KEY_GROUPS).filter(|g| instance_of(*g, KEY_GROUPS, instance.of) == instance.index).collect()
}

/// The ranges of rows that were dealt.
fn ranges(batch: &RecordBatch) -> Result<PrimitiveArray<UInt8Type>> {
    let column: Option<&ArrayRef> = batch.column_by_name(RANGE);
    column.and_then(|c| c.as_primitive_opt()).cloned().ok_or_else(|| Error::internal("rows without their ranges"))
}

/// The numbers of rows that were dealt.
fn numbers(batch: &RecordBatch) -> Result<PrimitiveArray<UInt64Type>> {
    let column: Option<&ArrayRef> = batch.column_by_name(NUMBER);
    column.and_then(|c| c.as_primitive_opt()).cloned().ok_or_else(|| Error::internal("rows without their numbers"))
}
