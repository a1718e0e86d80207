//! The functions of `over`: each makes one column from columns that are in order, and from where partitions begin.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, Float64Array, PrimitiveArray, UInt32Array, UInt64Array, cast::AsArray};
use arrow_buffer::NullBuffer;
use arrow_row::{RowConverter, SortField};
use arrow_schema::DataType;
use arrow_select::take::take;

use super::Failure;
use super::aggregate::{Extreme, Mean, Summand};
use crate::Error;
use crate::record::{Fixed, Value};

/// Where partitions, and rows of equal rank, begin.
#[derive(Debug)]
pub struct Partitions {
    /// The first row of each partition.
    pub starts: Vec<usize>,
    /// Whether a row begins a new rank: it differs in the order columns from the row before, or begins a partition.
    pub peers: Vec<bool>,
    /// Whether there is an order; if not, aggregates are over whole partitions.
    pub ordered: bool,
}

impl Partitions {
    /// The partitions as ranges of rows.
    fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let ends = self.starts.iter().skip(1).copied().chain([self.peers.len()]);
        self.starts.iter().copied().zip(ends).map(|(from, to)| from..to)
    }
    /// Running results as they are, or, without an order, the last of each partition for all of its rows.
    fn framed(&self, running: ArrayRef) -> Result<ArrayRef, Failure> {
        if self.ordered {
            return Ok(running);
        }
        let last: Vec<u32> = self.ranges().flat_map(|r| std::iter::repeat_n(r.end.saturating_sub(1) as u32, r.len())).collect();
        Ok(take(&running, &UInt32Array::from(last), None)?)
    }
}

/// A window function.
pub trait WindowFunction: Send + Sync {
    /// Type and nullability of the column it makes.
    fn output(&self) -> (DataType, bool);
    /// For `explain`: `lag 2`.
    fn describe(&self) -> String;
    /// The column, from columns of all rows in order.
    ///
    /// # Errors
    /// If a sum overflows, or a column has another type.
    fn compute(&self, columns: &[ArrayRef], parts: &Partitions) -> Result<ArrayRef, Failure>;
}

/// A place in the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranking {
    /// 1, 2, 3, ..
    RowNumber,
    /// Rows before the first of equal rank, plus one.
    Rank,
    /// Ranks before, plus one.
    DenseRank,
    /// (rank - 1) / (rows - 1), or 0 of a single row.
    PercentRank,
}

impl WindowFunction for Ranking {
    fn output(&self) -> (DataType, bool) {
        (if *self == Ranking::PercentRank { DataType::Float64 } else { DataType::UInt64 }, false)
    }
    fn describe(&self) -> String {
        match self {
            Ranking::RowNumber => "row_number",
            Ranking::Rank => "rank",
            Ranking::DenseRank => "dense_rank",
            Ranking::PercentRank => "percent_rank",
        }
        .into()
    }
    fn compute(&self, _: &[ArrayRef], parts: &Partitions) -> Result<ArrayRef, Failure> {
        let mut out: Vec<u64> = Vec::with_capacity(parts.peers.len());
        let mut shares: Vec<f64> = Vec::new();
        for range in parts.ranges() {
            let (mut rank, mut dense) = (0u64, 0u64);
            let rows = range.len();
            for (number, new) in (1u64..).zip(parts.peers.get(range).unwrap_or(&[])) {
                if *new {
                    (rank, dense) = (number, dense + 1);
                }
                match self {
                    Ranking::RowNumber => out.push(number),
                    Ranking::Rank => out.push(rank),
                    Ranking::DenseRank => out.push(dense),
                    Ranking::PercentRank => shares.push(if rows > 1 { (rank - 1) as f64 / (rows - 1) as f64 } else { 0.0 }),
                }
            }
        }
        Ok(if *self == Ranking::PercentRank { Arc::new(Float64Array::from(shares)) } else { Arc::new(UInt64Array::from(out)) })
    }
}

/// The value of another row of the partition, null outside of it.
pub struct Neighbour<V> {
    /// Rows back.
    back: u64,
    /// Rows ahead, if `back` is 0.
    ahead: u64,
    kind: PhantomData<fn() -> V>,
}

impl<V> Neighbour<V> {
    /// `rows` rows before.
    pub fn back(rows: u64) -> Self {
        Neighbour { back: rows, ahead: 0, kind: PhantomData }
    }
    /// `rows` rows behind.
    pub fn ahead(rows: u64) -> Self {
        Neighbour { back: 0, ahead: rows, kind: PhantomData }
    }
}

impl<V: Value> WindowFunction for Neighbour<V> {
    fn output(&self) -> (DataType, bool) {
        (V::data_type(), true)
    }
    fn describe(&self) -> String {
        if self.back > 0 { format!("lag {}", self.back) } else { format!("lead {}", self.ahead) }
    }
    fn compute(&self, columns: &[ArrayRef], parts: &Partitions) -> Result<ArrayRef, Failure> {
        let column = first(columns)?;
        let mut at: Vec<Option<u32>> = Vec::with_capacity(parts.peers.len());
        for range in parts.ranges() {
            for row in range.clone() {
                let to = if self.back > 0 {
                    usize::try_from(self.back).ok().and_then(|n| row.checked_sub(n))
                } else {
                    usize::try_from(self.ahead).ok().and_then(|n| row.checked_add(n))
                };
                at.push(to.filter(|to| range.contains(to)).map(|to| to as u32));
            }
        }
        declared::<V>(take(column, &UInt32Array::from(at), None)?)
    }
}

/// The number of rows so far, or of values if there is a column.
#[derive(Clone, Copy, Debug)]
pub struct RunningCount;

impl WindowFunction for RunningCount {
    fn output(&self) -> (DataType, bool) {
        (DataType::UInt64, false)
    }
    fn describe(&self) -> String {
        "count".into()
    }
    fn compute(&self, columns: &[ArrayRef], parts: &Partitions) -> Result<ArrayRef, Failure> {
        let nulls = columns.first().and_then(|c| c.logical_nulls());
        let mut out = Vec::with_capacity(parts.peers.len());
        for range in parts.ranges() {
            let mut count = 0u64;
            for row in range {
                count += u64::from(nulls.as_ref().is_none_or(|n| n.is_valid(row)));
                out.push(count);
            }
        }
        parts.framed(Arc::new(UInt64Array::from(out)))
    }
}

/// The sum so far. Nulls are skipped; of a nullable column it is null before the first value.
pub struct RunningSum<V>(pub(crate) PhantomData<fn() -> V>);

type NativeOf<T> = <<T as Fixed>::Arrow as ArrowPrimitiveType>::Native;

impl<V: Summand> WindowFunction for RunningSum<V> {
    fn output(&self) -> (DataType, bool) {
        (<V::Total as Fixed>::arrow_type(), V::NULLABLE)
    }
    fn describe(&self) -> String {
        "sum".into()
    }
    fn compute(&self, columns: &[ArrayRef], parts: &Partitions) -> Result<ArrayRef, Failure> {
        let column = <V::Base as Value>::accept(first(columns)?)?;
        let array = primitive::<V::Base>(&column)?;
        let mut sums: Vec<NativeOf<V::Total>> = Vec::with_capacity(parts.peers.len());
        let mut valid = Vec::with_capacity(if V::NULLABLE { parts.peers.len() } else { 0 });
        for range in parts.ranges() {
            let (mut sum, mut seen) = (NativeOf::<V::Total>::default(), false);
            for row in range {
                if let Some(value) = array.values().get(row).filter(|_| array.is_valid(row)) {
                    sum = V::add(sum, *value)
                        .ok_or_else(|| Failure::row(row, "the running sum overflows; sum a wider type, such as a float or a decimal"))?;
                    seen = true;
                }
                sums.push(sum);
                if V::NULLABLE {
                    valid.push(seen);
                }
            }
        }
        let nulls = V::NULLABLE.then(|| NullBuffer::from(valid));
        let array = PrimitiveArray::<<V::Total as Fixed>::Arrow>::new(sums.into(), nulls);
        parts.framed(Arc::new(array.with_data_type(<V::Total as Fixed>::arrow_type())))
    }
}

/// The mean so far. Nulls are skipped; it is null before the first value.
pub struct RunningMean<V>(pub(crate) PhantomData<fn() -> V>);

impl<V: Mean> WindowFunction for RunningMean<V> {
    fn output(&self) -> (DataType, bool) {
        (DataType::Float64, true)
    }
    fn describe(&self) -> String {
        "mean".into()
    }
    fn compute(&self, columns: &[ArrayRef], parts: &Partitions) -> Result<ArrayRef, Failure> {
        let column = <V::Base as Value>::accept(first(columns)?)?;
        let array = primitive::<V::Base>(&column)?;
        let mut out: Vec<Option<f64>> = Vec::with_capacity(parts.peers.len());
        for range in parts.ranges() {
            let (mut sum, mut count) = (0.0, 0u64);
            for row in range {
                if let Some(value) = array.values().get(row).filter(|_| array.is_valid(row)) {
                    sum += V::float(*value);
                    count += 1;
                }
                out.push((count > 0).then(|| sum / count as f64));
            }
        }
        parts.framed(Arc::new(Float64Array::from(out)))
    }
}

/// The least or greatest value so far. Nulls are skipped; it is null before the first value.
pub struct RunningExtreme<V> {
    pub(crate) greatest: bool,
    pub(crate) kind: PhantomData<fn() -> V>,
}

impl<V: Extreme> WindowFunction for RunningExtreme<V> {
    fn output(&self) -> (DataType, bool) {
        (V::data_type(), V::NULLABLE)
    }
    fn describe(&self) -> String {
        if self.greatest { "max" } else { "min" }.into()
    }
    fn compute(&self, columns: &[ArrayRef], parts: &Partitions) -> Result<ArrayRef, Failure> {
        let column = first(columns)?;
        // one order for all types: that of the row format, which is the order of `min` and `max`
        let rows = RowConverter::new(vec![SortField::new(column.data_type().clone())])?.convert_columns(std::slice::from_ref(column))?;
        let nulls = column.logical_nulls();
        let mut at: Vec<Option<u32>> = Vec::with_capacity(parts.peers.len());
        for range in parts.ranges() {
            let mut best: Option<usize> = None;
            for row in range {
                if nulls.as_ref().is_none_or(|n| n.is_valid(row)) {
                    let better = best.is_none_or(|b| if self.greatest { rows.row(row) > rows.row(b) } else { rows.row(row) < rows.row(b) });
                    best = if better { Some(row) } else { best };
                }
                at.push(best.map(|b| b as u32));
            }
        }
        parts.framed(declared::<V>(take(column, &UInt32Array::from(at), None)?)?)
    }
}

fn first(columns: &[ArrayRef]) -> Result<&ArrayRef, Failure> {
    Ok(columns.first().ok_or_else(|| Error::internal("a window function without its column"))?)
}

fn primitive<T: Fixed>(array: &ArrayRef) -> Result<&PrimitiveArray<T::Arrow>, Failure> {
    Ok(array
        .as_primitive_opt::<T::Arrow>()
        .ok_or_else(|| Error::Plan(format!("a column of type {} is read as {}", array.data_type(), T::arrow_type())))?)
}

/// The column in the encoding of `V`.
fn declared<V: Value>(array: ArrayRef) -> Result<ArrayRef, Failure> {
    if *array.data_type() == V::data_type() { Ok(array) } else { Ok(arrow_cast::cast(&array, &V::data_type())?) }
}
