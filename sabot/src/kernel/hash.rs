//! Hashing of key columns: which rows belong together, and which instance keeps them.
//!
//! Idea: one `u64` per row, computed one column at a time in tight loops over the column's values.
//!
//! Invariants:
//! - The hash of a value is fixed: the same on every machine, in every version, at every thread count. Checkpoints and
//!   workers of a cluster rely on it, so a change here breaks the restore of every keyed state.
//! - Equal values hash equal whatever their encoding: `Utf8` = `LargeUtf8` = `Utf8View` = a dictionary of them;
//!   integers by value, whatever their width. A null hashes to a constant.
//! - Columns combine in order: `(a, b)` and `(b, a)` differ.
//! - Floats hash by value, as SQL compares them: `-0.0` as `0.0`, every NaN alike. The language has no float keys; steps
//!   that compare whole rows (`distinct`, `intersect`) need them.
//!
//! Cost: about one multiplication per fixed-width value, one per eight bytes of a string; a dictionary hashes its
//! values once.

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, PrimitiveArray, RecordBatch};
use arrow_buffer::ScalarBuffer;
use arrow_schema::{DataType, IntervalUnit, TimeUnit};

use crate::{Error, Result};

/// Key groups per job: the unit of keyed state and of rescaling, hence also the greatest useful parallelism of keyed
/// steps. Flink's default maximum parallelism is 128 too.
pub const KEY_GROUPS: u16 = 128;

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const MUL: u64 = 0xd6e8_feb8_6659_fd93;
const NULL: u64 = 0x5bd1_e995_97f4_a7c5;

/// The key group of a hash: the high bits choose it, so that hash tables may use the low ones.
#[inline]
pub fn key_group(hash: u64, groups: u16) -> u16 {
    (((hash >> 32) * u64::from(groups)) >> 32) as u16
}

/// The instance that owns a key group. Instances own contiguous ranges of groups, in order.
#[inline]
pub fn instance_of(group: u16, groups: u16, instances: usize) -> usize {
    usize::from(group) * instances / usize::from(groups.max(1))
}

/// The hash of these columns for each row of `batch`, all rows, kept or not.
///
/// # Errors
/// If a column does not exist or its type cannot be a key.
pub fn hash_columns(batch: &RecordBatch, columns: &[String]) -> Result<Vec<u64>> {
    let mut arrays = Vec::with_capacity(columns.len());
    for name in columns {
        let column = batch.column_by_name(name);
        arrays.push(column.ok_or_else(|| Error::Plan(format!("key column `{name}` is not in the stream")))?);
    }
    let mut hashes = Vec::new();
    hash_arrays(arrays.into_iter(), batch.num_rows(), &mut hashes)?;
    Ok(hashes)
}

/// The combined hash of `arrays` for each of `rows` rows, into `hashes` (cleared first). No array: all rows are equal.
///
/// # Errors
/// If the type of an array cannot be a key.
pub fn hash_arrays<'a>(arrays: impl Iterator<Item = &'a ArrayRef>, rows: usize, hashes: &mut Vec<u64>) -> Result<()> {
    hashes.clear();
    hashes.resize(rows, SEED);
    let mut first = true;
    for array in arrays {
        if array.len() != rows {
            return Err(Error::internal("key columns of unequal length"));
        }
        if first {
            hash_one::<true>(array.as_ref(), hashes)?;
        } else {
            hash_one::<false>(array.as_ref(), hashes)?;
        }
        first = false;
    }
    Ok(())
}

/// The hash of a byte string, as a key column of strings or binaries gives it.
#[inline]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut h = SEED ^ (bytes.len() as u64).wrapping_mul(MUL);
    for word in words {
        h = fold(h ^ u64::from_le_bytes(*word), MUL).wrapping_add(SEED);
    }
    if !tail.is_empty() {
        let last = tail.iter().rev().fold(0u64, |w, &b| (w << 8) | u64::from(b));
        h = fold(h ^ last, MUL).wrapping_add(SEED);
    }
    mix(h)
}

/// The hash of an integer, as a key column of any integer, date, time, timestamp or duration type gives it.
#[inline(always)]
pub fn hash_integer(value: i64) -> u64 {
    mix((value as u64).wrapping_add(SEED))
}

/// Combines the hash of the columns so far with the hash of the next.
#[inline(always)]
pub fn combine(so_far: u64, next: u64) -> u64 {
    mix(so_far.rotate_left(17).wrapping_mul(MUL).wrapping_add(next))
}

/// Puts the hash of a column's value beside those of the columns before; there are none before the first.
#[inline(always)]
fn put<const FIRST: bool>(so_far: u64, next: u64) -> u64 {
    if FIRST { next } else { combine(so_far, next) }
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide as u64) ^ ((wide >> 64) as u64)
}

/// A bijection whose every output bit depends on every input bit (Stafford's variant 13 of the Murmur3 finaliser).
#[inline(always)]
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The bits of a float, the same for `0.0` and `-0.0`, and for every NaN.
#[inline(always)]
pub fn float_bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() }
}

/// The values of a column without nulls whose hash is that of [each value](hash_integer): 64-bit integers and times.
pub fn words_hashed_alone(column: &dyn Array) -> Option<ScalarBuffer<i64>> {
    let wide = matches!(
        column.data_type(),
        DataType::Int64 | DataType::UInt64 | DataType::Timestamp(..) | DataType::Date64 | DataType::Time64(_) | DataType::Duration(_)
    );
    if !wide || column.null_count() > 0 {
        return None;
    }
    let data = column.to_data();
    let values = data.buffers().first()?.clone();
    Some(ScalarBuffer::new(values, data.offset(), data.len()))
}

fn wide(value: i128) -> u64 {
    match i64::try_from(value) {
        Ok(v) => hash_integer(v),
        Err(_) => combine(hash_integer(value as i64), hash_integer((value >> 64) as i64)),
    }
}

fn primitive<const FIRST: bool, T: ArrowPrimitiveType>(array: &dyn Array, hashes: &mut [u64], hash: impl Fn(T::Native) -> u64) {
    let array: &PrimitiveArray<T> = array.as_primitive();
    match array.nulls() {
        None => hashes.iter_mut().zip(array.values().iter()).for_each(|(h, v)| *h = put::<FIRST>(*h, hash(*v))),
        Some(nulls) => {
            for ((h, v), valid) in hashes.iter_mut().zip(array.values().iter()).zip(nulls.iter()) {
                *h = put::<FIRST>(*h, if valid { hash(*v) } else { NULL });
            }
        }
    }
}

fn strings<'a, const FIRST: bool>(values: impl Iterator<Item = Option<&'a [u8]>>, hashes: &mut [u64]) {
    for (h, v) in hashes.iter_mut().zip(values) {
        *h = put::<FIRST>(*h, v.map_or(NULL, hash_bytes));
    }
}

fn hash_one<const FIRST: bool>(array: &dyn Array, hashes: &mut [u64]) -> Result<()> {
    macro_rules! int {
        ($($t:ty),*) => {{ $(if array.data_type() == &<$t as ArrowPrimitiveType>::DATA_TYPE {
            primitive::<FIRST, $t>(array, hashes, |v| hash_integer(v as i64));
            return Ok(());
        })* }};
    }
    int!(Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type, Date32Type, Date64Type);
    int!(Time32SecondType, Time32MillisecondType, Time64MicrosecondType, Time64NanosecondType);
    int!(DurationSecondType, DurationMillisecondType, DurationMicrosecondType, DurationNanosecondType);
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => primitive::<FIRST, TimestampSecondType>(array, hashes, hash_integer),
        DataType::Timestamp(TimeUnit::Millisecond, _) => primitive::<FIRST, TimestampMillisecondType>(array, hashes, hash_integer),
        DataType::Timestamp(TimeUnit::Microsecond, _) => primitive::<FIRST, TimestampMicrosecondType>(array, hashes, hash_integer),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => primitive::<FIRST, TimestampNanosecondType>(array, hashes, hash_integer),
        DataType::Interval(IntervalUnit::YearMonth) => primitive::<FIRST, IntervalYearMonthType>(array, hashes, |v| hash_integer(v.into())),
        DataType::Decimal32(..) => primitive::<FIRST, Decimal32Type>(array, hashes, |v| hash_integer(v.into())),
        DataType::Decimal64(..) => primitive::<FIRST, Decimal64Type>(array, hashes, hash_integer),
        DataType::Decimal128(..) => primitive::<FIRST, Decimal128Type>(array, hashes, wide),
        DataType::Decimal256(..) => primitive::<FIRST, Decimal256Type>(array, hashes, |v| match v.to_i128() {
            Some(v) => wide(v),
            None => hash_bytes(&v.to_le_bytes()),
        }),
        DataType::Float16 => primitive::<FIRST, Float16Type>(array, hashes, |v| hash_integer(float_bits(v.to_f64()) as i64)),
        DataType::Float32 => primitive::<FIRST, Float32Type>(array, hashes, |v| hash_integer(float_bits(v.into()) as i64)),
        DataType::Float64 => primitive::<FIRST, Float64Type>(array, hashes, |v| hash_integer(float_bits(v) as i64)),
        DataType::Boolean => {
            for (h, v) in hashes.iter_mut().zip(array.as_boolean().iter()) {
                *h = put::<FIRST>(*h, v.map_or(NULL, |v| hash_integer(v.into())));
            }
        }
        DataType::Utf8 => strings::<FIRST>(array.as_string::<i32>().iter().map(|v| v.map(str::as_bytes)), hashes),
        DataType::LargeUtf8 => strings::<FIRST>(array.as_string::<i64>().iter().map(|v| v.map(str::as_bytes)), hashes),
        DataType::Utf8View => strings::<FIRST>(array.as_string_view().iter().map(|v| v.map(str::as_bytes)), hashes),
        DataType::Binary => strings::<FIRST>(array.as_binary::<i32>().iter(), hashes),
        DataType::LargeBinary => strings::<FIRST>(array.as_binary::<i64>().iter(), hashes),
        DataType::BinaryView => strings::<FIRST>(array.as_binary_view().iter(), hashes),
        DataType::FixedSizeBinary(_) => strings::<FIRST>(array.as_fixed_size_binary().iter(), hashes),
        DataType::Null => hashes.iter_mut().for_each(|h| *h = put::<FIRST>(*h, NULL)),
        DataType::Dictionary(..) => dictionary::<FIRST>(array, hashes)?,
        DataType::Struct(_) => structure::<FIRST>(array, hashes)?,
        other => {
            return Err(Error::Plan(format!(
                "a column of type {other} cannot be a key; convert it to an integer, a decimal or a string first"
            )));
        }
    }
    Ok(())
}

fn dictionary<const FIRST: bool>(array: &dyn Array, hashes: &mut [u64]) -> Result<()> {
    let dictionary = array.as_any_dictionary();
    let values = dictionary.values();
    let mut of_values = vec![SEED; values.len()];
    hash_one::<true>(values.as_ref(), &mut of_values)?;
    if of_values.is_empty() {
        hashes.iter_mut().for_each(|h| *h = put::<FIRST>(*h, NULL));
        return Ok(());
    }
    // Normalised keys are within the values, also below a null.
    let keys = dictionary.normalized_keys();
    let nulls = dictionary.keys().nulls();
    for (row, (h, key)) in hashes.iter_mut().zip(keys).enumerate() {
        let null = nulls.is_some_and(|n| n.is_null(row));
        *h = put::<FIRST>(*h, if null { NULL } else { of_values.get(key).copied().unwrap_or(NULL) });
    }
    Ok(())
}

fn structure<const FIRST: bool>(array: &dyn Array, hashes: &mut [u64]) -> Result<()> {
    let parent = array.as_struct();
    let mut of_fields = Vec::new();
    hash_arrays(parent.columns().iter(), array.len(), &mut of_fields)?;
    for (row, (h, inner)) in hashes.iter_mut().zip(of_fields).enumerate() {
        *h = put::<FIRST>(*h, if parent.is_null(row) { NULL } else { inner });
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        BinaryViewArray, DictionaryArray, Float64Array, Int16Array, Int64Array, LargeStringArray, StringArray, StringViewArray, StructArray,
    };

    use super::*;

    fn hash(arrays: &[ArrayRef]) -> Vec<u64> {
        let mut out = Vec::new();
        hash_arrays(arrays.iter(), arrays[0].len(), &mut out).unwrap();
        out
    }

    #[test]
    fn encodings_agree() {
        let words = vec![Some("a"), None, Some(""), Some("a much longer string than twelve"), Some("a")];
        let plain = hash(&[Arc::new(StringArray::from(words.clone()))]);
        assert_eq!(plain, hash(&[Arc::new(LargeStringArray::from(words.clone()))]));
        assert_eq!(plain, hash(&[Arc::new(StringViewArray::from(words.clone()))]));
        assert_eq!(plain, hash(&[Arc::new(words.clone().into_iter().collect::<DictionaryArray<Int8Type>>())]));
        assert_eq!(plain, hash(&[Arc::new(words.into_iter().map(|w| w.map(str::as_bytes)).collect::<BinaryViewArray>())]));
        assert_eq!(plain[0], plain[4]);
        assert_eq!(hash(&[Arc::new(Int16Array::from(vec![-3, 7]))]), hash(&[Arc::new(Int64Array::from(vec![-3, 7]))]));
    }

    #[test]
    fn values_never_change() {
        assert_eq!(hash(&[Arc::new(Int64Array::from(vec![Some(0), Some(1), None]))]), [hash_integer(0), hash_integer(1), NULL]);
        assert_eq!((hash_integer(42), hash_bytes(b"sabot"), hash_bytes(b"")), PINNED);
    }
    const PINNED: (u64, u64, u64) = (13_679_457_532_755_275_413, 2_730_702_669_972_084_291, 16_294_208_416_658_607_535);

    #[test]
    fn columns_combine_in_order_and_structs_as_their_fields() {
        let a: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let b: ArrayRef = Arc::new(Int64Array::from(vec![2, 1]));
        let ab = hash(&[Arc::clone(&a), Arc::clone(&b)]);
        assert_ne!(ab, hash(&[Arc::clone(&b), Arc::clone(&a)]));
        assert_ne!(ab[0], ab[1]);
        let fields = vec![
            (Arc::new(arrow_schema::Field::new("a", DataType::Int64, false)), a),
            (Arc::new(arrow_schema::Field::new("b", DataType::Int64, false)), b),
        ];
        assert_eq!(ab, hash(&[Arc::new(StructArray::from(fields))]));
    }

    #[test]
    fn floats_hash_by_value() {
        let other_nan = f64::from_bits(f64::NAN.to_bits() | 1 << 63 | 5);
        let floats = hash(&[Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, other_nan, 1.5]))]);
        assert_eq!((floats[0], floats[2]), (floats[1], floats[3]));
        assert_eq!(floats[4], hash(&[Arc::new(arrow_array::Float32Array::from(vec![1.5]))])[0]);
        assert!(floats[0] != floats[4] && floats[0] != floats[2]);
    }

    #[test]
    fn lists_are_refused() {
        let list: ArrayRef = Arc::new(arrow_array::ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1)])]));
        assert!(hash_arrays([&list].into_iter(), 1, &mut Vec::new()).is_err());
    }

    #[test]
    fn groups_are_even_and_instances_contiguous() {
        let mut sizes = vec![0; KEY_GROUPS.into()];
        (0..128_000).for_each(|i| sizes[usize::from(key_group(hash_integer(i), KEY_GROUPS))] += 1);
        assert!(sizes.iter().all(|s| (800..1200).contains(s)), "{sizes:?}");
        for n in [1, 2, 3, 8, 128] {
            let owners: Vec<usize> = (0..KEY_GROUPS).map(|g| instance_of(g, KEY_GROUPS, n)).collect();
            assert!(owners.is_sorted() && owners[0] == 0 && owners[127] == n - 1);
        }
    }
}
