//! Custom partitioning: the rows of a morsel to the instances that a column names.
//!
//! A row goes to the instance number `value mod instances`, euclidean, so that -1 goes to the last. They are dealt out
//! as by the [`Partitioner`](super::Partitioner). A morsel whose rows all go to one instance is passed on as it is.
//!
//! Numbers below the number of instances are not divided.

use arrow_array::types::{ArrowPrimitiveType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow_array::{Array, RecordBatch, cast::AsArray};
use arrow_schema::DataType;

use super::partition::deal;
use crate::kernel::Morsel;
use crate::{Error, Result};

/// Splits morsels over instances by a column of integers.
#[derive(Clone, Debug)]
pub struct ByNumber {
    column: String,
    instances: u32,
}

impl ByNumber {
    /// By `column` over `instances` instances.
    pub fn new(column: String, instances: usize) -> Self {
        ByNumber { column, instances: u32::try_from(instances).unwrap_or(u32::MAX).max(1) }
    }
    /// The pieces of `morsel`, dense, with their instance; at most one per instance, ascending, none empty. Pieces keep the origin
    /// of the whole.
    ///
    /// # Errors
    /// If the column is missing, is no integer, or has nulls.
    pub fn split(&self, morsel: Morsel) -> Result<Vec<(usize, Morsel)>> {
        let rows = morsel.rows();
        if rows == 0 {
            return Ok(Vec::new());
        }
        if self.instances == 1 {
            return Ok(vec![(0, morsel)]);
        }
        let kept: Option<Vec<u32>> = morsel.selection.as_ref().map(|s| s.rows().map(|row| row as u32).collect());
        let owners = self.owners(&morsel.batch, kept.as_deref())?;
        let mut sizes = vec![0usize; self.instances as usize];
        for owner in &owners {
            if let Some(n) = sizes.get_mut(*owner as usize) {
                *n += 1;
            }
        }
        deal(morsel, kept, owners.into_iter(), &sizes, &sizes)
    }
    /// The instance of each kept row.
    fn owners(&self, batch: &RecordBatch, kept: Option<&[u32]>) -> Result<Vec<u32>> {
        let name = &self.column;
        let wrong = |what: String| Error::Plan(format!("rows cannot be dealt out by column `{name}`: {what}"));
        let column = batch.column_by_name(name).ok_or_else(|| wrong("there is no such column".into()))?;
        if column.null_count() > 0 {
            return Err(wrong("it has nulls".into()));
        }
        let (column, of) = (column.as_ref(), i64::from(self.instances));
        let signed = |value: i64| if (0..of).contains(&value) { value as u32 } else { value.rem_euclid(of) as u32 };
        let unsigned = |value: u64| if value < of as u64 { value as u32 } else { (value % of as u64) as u32 };
        Ok(match column.data_type() {
            DataType::Int8 => each::<Int8Type>(column, kept, |v| signed(v.into())),
            DataType::Int16 => each::<Int16Type>(column, kept, |v| signed(v.into())),
            DataType::Int32 => each::<Int32Type>(column, kept, |v| signed(v.into())),
            DataType::Int64 => each::<Int64Type>(column, kept, signed),
            DataType::UInt8 => each::<UInt8Type>(column, kept, |v| unsigned(v.into())),
            DataType::UInt16 => each::<UInt16Type>(column, kept, |v| unsigned(v.into())),
            DataType::UInt32 => each::<UInt32Type>(column, kept, |v| unsigned(v.into())),
            DataType::UInt64 => each::<UInt64Type>(column, kept, unsigned),
            other => return Err(wrong(format!("it is {other}, not an integer"))),
        })
    }
}

fn each<T: ArrowPrimitiveType>(column: &dyn Array, kept: Option<&[u32]>, of: impl Fn(T::Native) -> u32) -> Vec<u32> {
    let values = column.as_primitive::<T>().values();
    match kept {
        None => values.iter().map(|v| of(*v)).collect(),
        Some(kept) => kept.iter().map(|row| of(values.get(*row as usize).copied().unwrap_or_default())).collect(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array};

    use super::*;
    use crate::kernel::{Origin, Selection};

    const TYPES: [DataType; 8] = [
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt8,
        DataType::UInt16,
        DataType::UInt32,
        DataType::UInt64,
    ];

    /// The value as the type has it, and the column of it.
    fn cut(kind: usize, values: &[i64]) -> (Vec<i128>, ArrayRef) {
        macro_rules! cut {
            ($native:ty, $array:ty) => {{
                let cut: Vec<$native> = values.iter().map(|v| *v as $native).collect();
                (cut.iter().map(|v| i128::from(*v)).collect(), Arc::new(<$array>::from(cut)) as ArrayRef)
            }};
        }
        match kind {
            0 => cut!(i8, arrow_array::Int8Array),
            1 => cut!(i16, arrow_array::Int16Array),
            2 => cut!(i32, arrow_array::Int32Array),
            3 => cut!(i64, arrow_array::Int64Array),
            4 => cut!(u8, arrow_array::UInt8Array),
            5 => cut!(u16, arrow_array::UInt16Array),
            6 => cut!(u32, arrow_array::UInt32Array),
            _ => cut!(u64, arrow_array::UInt64Array),
        }
    }

    fn numbers() -> impl proptest::strategy::Strategy<Value = Vec<i64>> {
        use proptest::prelude::*;
        let number = prop_oneof![-9i64..9, any::<i64>(), Just(i64::MIN), Just(i64::MAX), Just(-1)];
        proptest::collection::vec(number, 0..300)
    }

    proptest::proptest! {
        #[test]
        fn every_kept_row_goes_where_its_number_says_once_and_in_order(
            of_rows in numbers(),
            keep in proptest::option::of(proptest::collection::vec(proptest::num::u64::ANY, 5)),
            start in 0usize..20,
            kind in 0usize..8,
            instances in 1usize..9,
        ) {
            let (values, column) = cut(kind, &of_rows);
            assert_eq!(column.data_type(), &TYPES[kind]);
            let row: ArrayRef = Arc::new((0..of_rows.len() as i64).collect::<Int64Array>());
            let whole = RecordBatch::try_from_iter([("shard", column), ("row", row)]).unwrap();
            // a slice: values do not begin where their buffers do
            let start = start.min(of_rows.len());
            let batch = whole.slice(start, of_rows.len() - start);
            let rows = batch.num_rows();
            let word = |w: usize| if rows - w * 64 >= 64 { u64::MAX } else { (1 << (rows - w * 64)) - 1 };
            let selection = keep.map(|keep| Selection::new((0..rows.div_ceil(64)).map(|w| keep[w] & word(w)).collect::<Vec<u64>>()));
            let origin = Origin { source: 1, partition: 2, split: 3, row: 4 };
            let mut morsel = Morsel::new(batch, origin);
            morsel.selection = selection.clone();
            // a row at a time
            let mut expected: Vec<Vec<i64>> = vec![Vec::new(); instances];
            for row in selection.map_or_else(|| (0..rows).collect(), |s| s.rows().collect::<Vec<_>>()) {
                let at = values[start + row].rem_euclid(instances as i128) as usize;
                expected[at].push((start + row) as i64);
            }
            let mut got: Vec<Vec<i64>> = vec![Vec::new(); instances];
            let mut before = None;
            for (instance, piece) in ByNumber::new("shard".into(), instances).split(morsel).unwrap() {
                assert!(before.replace(instance).is_none_or(|b| b < instance));
                assert!(piece.rows() > 0 && piece.origin == origin);
                let dense = piece.compact().unwrap();
                got[instance] = dense.column_by_name("row").unwrap().as_primitive::<Int64Type>().values().to_vec();
            }
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn a_column_that_names_no_instance_is_refused() {
        let batch = |column: ArrayRef| Morsel::new(RecordBatch::try_from_iter([("shard", column)]).unwrap(), Origin::default());
        let refused = |column: ArrayRef, name: &str| ByNumber::new(name.into(), 3).split(batch(column)).unwrap_err().to_string();
        let floats = || Arc::new(arrow_array::Float64Array::from(vec![1.0, 2.0])) as ArrayRef;
        assert!(refused(floats(), "shard").contains("it is Float64, not an integer"));
        assert!(refused(floats(), "other").contains("there is no such column"));
        let nulls = Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef;
        assert!(refused(nulls, "shard").contains("it has nulls"));
    }
}
