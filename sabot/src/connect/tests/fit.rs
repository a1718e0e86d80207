use arrow_array::{Array, DictionaryArray, Int64Array, StringArray, TimestampMicrosecondArray, types::Int32Type};
use arrow_schema::TimeUnit;

use super::*;
use crate::connect::{MemorySource, fitted};

#[test]
fn the_table_shows_offending_columns_and_hints() {
    let expected = strict(&[
        ("carrier", DataType::Utf8View),
        ("dep_delay", DataType::Int64),
        ("distance", DataType::Int64),
        ("nowhere", DataType::Boolean),
    ]);
    let found = schema(&[("carrier", DataType::Utf8), ("depDelay", DataType::Int64), ("distance", DataType::Float64)]);
    let error = crate::connect::fit::fit("flights.parquet", "Flight", &expected, &found).unwrap_err();
    assert_eq!(
        error.to_string(),
        "flights.parquet: the columns do not fit record `Flight`
  column    | expected | found
  dep_delay | i64      | missing; is it `depDelay`?
  distance  | i64      | f64 or null
  nowhere   | bool     | missing
(1 other column fits)
it has: carrier, depDelay, distance"
    );
    let twice = schema(&[("a", DataType::Int64), ("a", DataType::Int64)]);
    let error = crate::connect::fit::fit("x", "R", &schema(&[("a", DataType::Int64)]), &twice).unwrap_err();
    assert!(error.to_string().contains("occurs more than once"), "{error}");
}

#[test]
fn other_encodings_of_the_same_values_fit() {
    let dictionary: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
    let found = schema(&[
        ("extra", DataType::Int64),
        ("s", DataType::Utf8),
        ("d", dictionary.data_type().clone()),
        ("e", DataType::Utf8),
        ("t", DataType::Timestamp(TimeUnit::Microsecond, None)),
    ]);
    let strings: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, Some("z")]));
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None, Some(3)]));
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(vec![1, 2, 3])), strings.clone(), Arc::new(dictionary.clone()), strings, times];
    let source = MemorySource::new(found.clone(), vec![batch(&found, columns)]).unwrap();
    let expected = schema(&[
        ("t", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        ("d", DataType::Utf8View),
        ("e", dictionary.data_type().clone()),
        ("s", DataType::LargeUtf8),
    ]);
    let mut source = fitted(Box::new(source), "R", &expected).unwrap();
    assert_eq!(source.schema(), expected);
    let rows = read_all(source.as_ref(), 2).unwrap();
    assert_eq!(rows.column(0).null_count(), 1);
    reopen_everywhere(source.as_ref());
    source.project(&["s".into(), "t".into()]).unwrap();
    assert_eq!(read_all(source.as_ref(), 2).unwrap(), rows.project(&[3, 0]).unwrap());
    assert!(usage_error(source.project(&["u".into()])).contains("no column `u`"));
}

#[test]
fn a_null_for_a_field_without_option_is_found_at_its_row() {
    let found = schema(&[("n", DataType::Int64)]);
    let source =
        MemorySource::new(found.clone(), vec![batch(&found, vec![Arc::new(Int64Array::from(vec![Some(1), Some(2), None]))])]).unwrap();
    let source = fitted(Box::new(source), "R", &strict(&[("n", DataType::Int64)])).unwrap();
    let (place, what) = data_error(read_all(source.as_ref(), 2).unwrap_err());
    assert_eq!(place, "memory, split 0 of partition 0, row 3");
    assert!(what.contains("column `n` is null"), "{what}");
}
