//! Every type, with nulls, through every file format.

use arrow_array::types::{
    Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Int32Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::*;
use arrow_buffer::{NullBuffer, i256};
use arrow_schema::{Fields, TimeUnit};

use super::*;
use crate::connect::{CsvOptions, CsvSource, SinkSpec};

fn primitive<T: arrow_array::ArrowPrimitiveType>(values: [T::Native; 3], t: DataType) -> ArrayRef {
    let [a, b, c] = values;
    Arc::new(PrimitiveArray::<T>::from_iter([Some(a), None, Some(b), Some(c)]).with_data_type(t))
}

fn flat() -> RecordBatch {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    let utc = |unit| DataType::Timestamp(unit, Some("UTC".into()));
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])),
        Arc::new(Int8Array::from(vec![Some(i8::MIN), None, Some(0), Some(i8::MAX)])),
        Arc::new(Int16Array::from(vec![Some(i16::MIN), None, Some(0), Some(i16::MAX)])),
        Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(0), Some(i32::MAX)])),
        Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(0), Some(i64::MAX)])),
        Arc::new(UInt8Array::from(vec![Some(u8::MIN), None, Some(1), Some(u8::MAX)])),
        Arc::new(UInt16Array::from(vec![Some(u16::MIN), None, Some(1), Some(u16::MAX)])),
        Arc::new(UInt32Array::from(vec![Some(u32::MIN), None, Some(1), Some(u32::MAX)])),
        Arc::new(UInt64Array::from(vec![Some(u64::MIN), None, Some(1), Some(u64::MAX)])),
        arrow_cast::cast(&Float32Array::from(vec![Some(-1.5), None, Some(f32::INFINITY), Some(0.25)]), &DataType::Float16).unwrap(),
        Arc::new(Float32Array::from(vec![Some(-1.5), None, Some(f32::MIN_POSITIVE), Some(0.1)])),
        Arc::new(Float64Array::from(vec![Some(-1.5), None, Some(f64::NEG_INFINITY), Some(0.1 + 0.2)])),
        Arc::new(StringArray::from(vec![Some("a,\"b\"\n"), None, Some(""), Some("NA")])),
        Arc::new(LargeStringArray::from(vec![Some("ä"), None, Some("x"), Some(" pad ")])),
        Arc::new(StringViewArray::from(vec![Some("longer than twelve bytes"), None, Some(""), Some("null")])),
        Arc::new([Some("red"), None, Some("blue"), Some("red")].into_iter().collect::<DictionaryArray<Int32Type>>()),
        Arc::new(BinaryArray::from(vec![Some(b"\x00\xff".as_ref()), None, Some(b"x"), Some(b"abc")])),
        Arc::new(BinaryViewArray::from(vec![Some(b"\x00\xff".as_ref()), None, Some(b"x"), Some(b"abc")])),
        Arc::new(
            FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some(b"ab"), None, Some(b"\x00\x01"), Some(b"yz")].into_iter(), 2)
                .unwrap(),
        ),
    ];
    columns.extend([
        primitive::<Date32Type>([-1, 0, 15_706], DataType::Date32),
        primitive::<Date64Type>([-86_400_000, 0, 86_400_000 * 15_706], DataType::Date64),
        primitive::<Time32SecondType>([0, 1, 86_399], DataType::Time32(Second)),
        primitive::<Time32MillisecondType>([0, 1, 86_399_999], DataType::Time32(Millisecond)),
        primitive::<Time64MicrosecondType>([0, 1, 86_399_999_999], DataType::Time64(Microsecond)),
        primitive::<Time64NanosecondType>([0, 1, 86_399_999_999_999], DataType::Time64(Nanosecond)),
        primitive::<TimestampSecondType>([-1, 0, 1_357_016_400], DataType::Timestamp(Second, None)),
        primitive::<TimestampMillisecondType>([-1, 0, 1_357_016_400_001], DataType::Timestamp(Millisecond, None)),
        primitive::<TimestampMicrosecondType>([-1, 0, 1_357_016_400_000_001], utc(Microsecond)),
        primitive::<TimestampNanosecondType>([-1, 0, 1_357_016_400_000_000_001], utc(Nanosecond)),
        primitive::<TimestampMicrosecondType>([-1, 0, 1_357_016_400_000_001], DataType::Timestamp(Microsecond, Some("+02:00".into()))),
        primitive::<TimestampMicrosecondType>(
            [-1, 0, 1_357_016_400_000_001],
            DataType::Timestamp(Microsecond, Some("Europe/Paris".into())),
        ),
        primitive::<DurationSecondType>([-1, 0, 90], DataType::Duration(Second)),
        primitive::<DurationMillisecondType>([-1, 0, 90], DataType::Duration(Millisecond)),
        primitive::<DurationMicrosecondType>([-1, 0, 90], DataType::Duration(Microsecond)),
        primitive::<DurationNanosecondType>([-1, 0, 90], DataType::Duration(Nanosecond)),
        primitive::<Decimal32Type>([-12_345, 0, 99_999], DataType::Decimal32(5, 2)),
        primitive::<Decimal64Type>([-12_345, 0, 99_999], DataType::Decimal64(10, 2)),
        primitive::<Decimal128Type>([-12_345, 0, 99_999], DataType::Decimal128(20, 4)),
        primitive::<Decimal256Type>([i256::from(-12_345), i256::ZERO, i256::from(99_999)], DataType::Decimal256(50, 0)),
    ]);
    let names: Vec<String> =
        columns.iter().enumerate().map(|(i, c)| format!("{i} {}", super::super::types::plain(c.data_type()))).collect();
    RecordBatch::try_from_iter_with_nullable(names.iter().map(String::as_str).zip(columns).map(|(n, c)| (n, c, true))).unwrap()
}

#[cfg_attr(not(feature = "parquet"), allow(dead_code))]
fn nested() -> RecordBatch {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(3)])]);
    let fields = Fields::from(vec![Field::new("x", DataType::Int64, true), Field::new("y", DataType::Utf8View, true)]);
    let x: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, None, Some(4)]));
    let y: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), None, Some("c"), Some("d")]));
    let point = StructArray::new(fields, vec![x, y], Some(NullBuffer::from(vec![true, false, true, true])));
    RecordBatch::try_from_iter_with_nullable([("list", Arc::new(list) as ArrayRef, true), ("point", Arc::new(point), true)]).unwrap()
}

fn store(uri: &str, batch: &RecordBatch) {
    let mut sink = SinkSpec::from_uri(uri).unwrap().open().unwrap();
    sink.open(&batch.schema()).unwrap();
    sink.write(&batch.slice(0, 3)).unwrap();
    sink.write(&batch.slice(3, 1)).unwrap();
    sink.commit().unwrap();
}

/// Compares column by column, for a message that names the column.
fn same(found: &RecordBatch, expected: &RecordBatch) {
    for (i, (found, expected)) in found.columns().iter().zip(expected.columns()).enumerate() {
        let (found, expected) = match expected.data_type() {
            // Dictionaries may number their values differently.
            DataType::Dictionary(_, v) => (arrow_cast::cast(found, v).unwrap(), arrow_cast::cast(expected, v).unwrap()),
            _ => (found.clone(), expected.clone()),
        };
        assert_eq!(&found, &expected, "column {i}");
    }
    assert_eq!(found.num_columns(), expected.num_columns());
}

#[test]
fn csv() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.csv").display().to_string();
    store(&path, &flat());
    let source = CsvSource::open(std::slice::from_ref(&path), &CsvOptions::default(), "All", &flat().schema()).unwrap();
    same(&read_all(&source, 3).unwrap(), &flat());
    reopen_everywhere(&source);
    // One column: a null must not become an empty line.
    for i in 0..flat().num_columns() {
        let one = flat().project(&[i]).unwrap();
        store(&path, &one);
        let source = CsvSource::open(std::slice::from_ref(&path), &CsvOptions::default(), "One", &one.schema()).unwrap();
        same(&read_all(&source, 3).unwrap(), &one);
    }
}

#[cfg(feature = "parquet")]
#[test]
fn parquet() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.parquet").display().to_string();
    for batch in [flat(), nested()] {
        store(&path, &batch);
        let source = crate::connect::ParquetSource::open(std::slice::from_ref(&path), "All", &batch.schema()).unwrap();
        same(&read_all(&source, 3).unwrap(), &batch);
        reopen_everywhere(&source);
    }
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_in_other_encodings() {
    use arrow_schema::DataType::{BinaryView, LargeUtf8, Utf8, Utf8View};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.parquet").display().to_string();
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(Utf8));
    let views = DataType::Dictionary(Box::new(DataType::Int8), Box::new(Utf8View));
    let stored: [ArrayRef; 4] =
        [flat().column(12).clone(), flat().column(13).clone(), flat().column(14).clone(), flat().column(15).clone()];
    for column in stored {
        let batch = RecordBatch::try_from_iter_with_nullable([("s", column.clone(), true)]).unwrap();
        store(&path, &batch);
        for wanted in [Utf8, LargeUtf8, Utf8View, dictionary.clone(), views.clone()] {
            let expected = schema(&[("s", wanted.clone())]);
            let source = crate::connect::ParquetSource::open(std::slice::from_ref(&path), "S", &expected).unwrap();
            let found = read_all(&source, 3).unwrap();
            assert_eq!(&arrow_cast::cast(found.column(0), &Utf8).unwrap(), &arrow_cast::cast(&column, &Utf8).unwrap());
        }
        let expected = schema(&[("s", BinaryView)]);
        assert!(matches!(crate::connect::ParquetSource::open(std::slice::from_ref(&path), "S", &expected), Err(Error::Schema { .. })));
    }
}

#[test]
fn arrow() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.arrow");
    for batch in [flat(), nested()] {
        store(&path.display().to_string(), &batch);
        let reader = arrow_ipc::reader::FileReader::try_new(std::fs::File::open(&path).unwrap(), None).unwrap();
        let found = concat_batches(&reader.schema(), &reader.collect::<Result<Vec<_>, _>>().unwrap()).unwrap();
        same(&found, &batch);
    }
}

#[cfg(feature = "json")]
#[test]
fn json_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.jsonl");
    store(&path.display().to_string(), &flat());
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    for (row, line) in lines.iter().enumerate() {
        assert_eq!(line.as_object().unwrap().len(), flat().num_columns());
        assert!(row != 1 || line.as_object().unwrap().values().all(serde_json::Value::is_null));
    }
    assert_eq!(lines[0]["4 i64"], i64::MIN);
    assert_eq!(lines[3]["27 timestamp[us, UTC]"], "2013-01-01T05:00:00.000001Z");
    // infinities have no form in JSON
    let (finite, path_of) = (flat(), path.display().to_string());
    let keep: Vec<usize> =
        (0..finite.num_columns()).filter(|i| !matches!(finite.column(*i).data_type(), DataType::Float16 | DataType::Float64)).collect();
    let finite = finite.project(&keep).unwrap();
    for batch in [finite, nested()] {
        store(&path_of, &batch);
        let source = crate::connect::SourceSpec::from_uri(&path_of).unwrap().open("All", &batch.schema()).unwrap();
        same(&read_all(source.as_ref(), 3).unwrap(), &batch);
        reopen_everywhere(source.as_ref());
    }
    store(&path.display().to_string(), &nested());
    let first = std::fs::read_to_string(&path).unwrap().lines().next().unwrap().to_string();
    assert_eq!(first, r#"{"list":[1,null],"point":{"x":1,"y":"a"}}"#);
}
