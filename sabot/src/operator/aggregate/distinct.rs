//! Numbers of distinct values.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Int64Array, PrimitiveArray, UInt32Array, UInt64Array, cast::AsArray};
use arrow_schema::{DataType, Field};

use super::accumulator::{gather, input, short};
use super::lists::{Lists, items_of, list_column, list_type};
use super::store::{stored_type, valid_rows};
use super::{Accumulator, AccumulatorFactory, Extreme, Kind, Needs, OverChanges};
use crate::operator::{Failure, Kept, Keys};
use crate::record::Value;
use crate::{Error, Result};

/// A column type whose values can be told apart: those of [`Extreme`].
#[diagnostic::on_unimplemented(
    message = "`count_distinct` cannot tell values of type `{Self}` apart",
    label = "cannot be compared",
    note = "it takes numbers, bool, dates, times, decimals, text, bytes, and `Option` of these"
)]
pub trait Distinct: Extreme {}
#[diagnostic::do_not_recommend]
impl<V: Extreme> Distinct for V {}

/// The number of distinct values of a column. Nulls are skipped; zeros of both signs are one value, and all NaNs are one.
pub fn count_distinct<V: Distinct>() -> Arc<dyn AccumulatorFactory> {
    Arc::new(DistinctFactory::<V>(PhantomData))
}

struct DistinctFactory<V>(PhantomData<fn() -> V>);

impl<V: Distinct> AccumulatorFactory for DistinctFactory<V> {
    fn create(&self) -> Box<dyn Accumulator> {
        Box::new(CountDistinct::<V> { pairs: None, of: Lists::new(), counts: Vec::new(), numbers: Vec::new(), kind: PhantomData })
    }
    fn state_fields(&self) -> Vec<Field> {
        vec![Field::new("values", list_type(&comparable_type::<V>(), false), false)]
    }
    fn output(&self) -> (DataType, bool) {
        (DataType::UInt64, false)
    }
    fn inputs(&self) -> usize {
        1
    }
    fn describe(&self) -> String {
        format!("count_distinct({})", short::<V>())
    }
    fn over_changes(&self) -> OverChanges {
        OverChanges::Kept(Kind { needs: Needs::Distinct, ..Kind::default() })
    }
}

/// The pairs of group and value in one hash table, as the groups themselves are.
///
/// Cost: a probe per row; memory per distinct pair, no allocation per group or row.
struct CountDistinct<V> {
    pairs: Option<Keys>,
    /// Numbers of the pairs of each group.
    of: Lists<u32>,
    counts: Vec<u64>,
    numbers: Vec<u32>,
    kind: PhantomData<fn() -> V>,
}

impl<V: Value> CountDistinct<V> {
    fn take(&mut self, values: ArrayRef, groups: Vec<u32>) -> Result<()> {
        let pairs = match &mut self.pairs {
            Some(pairs) => pairs,
            None => {
                let fields =
                    [Arc::new(Field::new("group", DataType::UInt32, false)), Arc::new(Field::new("value", comparable_type::<V>(), false))];
                self.pairs.insert(Keys::new(&fields)?)
            }
        };
        let mut next = pairs.len() as u32;
        let rows = groups.len();
        let columns: [ArrayRef; 2] = [Arc::new(UInt32Array::from(groups.clone())), values];
        pairs.insert(&columns, Kept::Range(0, rows), &mut self.numbers)?;
        for (group, pair) in groups.iter().zip(&self.numbers) {
            // new pairs are numbered in order
            if *pair == next {
                next += 1;
                self.of.push(*group as usize, *pair);
                if let Some(count) = self.counts.get_mut(*group as usize) {
                    *count += 1;
                }
            }
        }
        Ok(())
    }
}

impl<V: Distinct> Accumulator for CountDistinct<V> {
    fn resize(&mut self, groups: usize) {
        self.of.resize(groups);
        self.counts.resize(groups, 0);
        if groups == 0 {
            self.pairs.iter_mut().for_each(Keys::clear);
        }
    }
    fn update(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let (values, of) = valid_rows(&input::<V>(columns)?, groups, kept)?;
        Ok(self.take(comparable(&values)?, of)?)
    }
    fn merge(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let (values, of) = items_of(columns, 0, groups, kept)?;
        Ok(self.take(values, of)?)
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let (numbers, lengths) = self.of.flat(groups);
        let values = match &self.pairs {
            Some(pairs) => pairs.columns(&numbers)?.pop().ok_or_else(|| Error::internal("pairs without values"))?,
            None => arrow_array::new_empty_array(&comparable_type::<V>()),
        };
        Ok(vec![list_column(values, false, lengths)?])
    }
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef, Failure> {
        Ok(Arc::new(UInt64Array::from(gather(&self.counts, groups))))
    }
    fn bytes(&self) -> usize {
        self.pairs.as_ref().map_or(0, Keys::bytes) + self.of.bytes() + self.counts.capacity() * 8
    }
}

/// The type of [`comparable`] values of `V`.
fn comparable_type<V: Value>() -> DataType {
    match stored_type::<V>() {
        t if t.is_floating() => DataType::Int64,
        t => t,
    }
}

/// Values that are equal exactly if their bits are: floats as words, with one zero and one NaN.
pub(super) fn comparable(array: &ArrayRef) -> Result<ArrayRef> {
    if !array.data_type().is_floating() {
        return Ok(Arc::clone(array));
    }
    let floats = arrow_cast::cast(array, &DataType::Float64)?;
    let word = |v: f64| (if v.is_nan() { f64::NAN } else { v + 0.0 }).to_bits() as i64;
    let words: PrimitiveArray<Int64Type> = floats.as_primitive::<Float64Type>().unary(word);
    Ok(Arc::new(words) as Arc<Int64Array>)
}
