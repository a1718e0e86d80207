use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::WriterProperties;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, Int64Array, StringArray};
use arrow_schema::TimeUnit;

use super::*;
use crate::connect::{ParquetSource, SourceSpec};

/// Writes a file of `n` (0..rows) and `s` (null for every third row) with row groups of `group` rows.
fn numbers(path: &Path, rows: i64, group: usize) -> String {
    let schema = schema(&[("n", DataType::Int64), ("s", DataType::Utf8)]);
    let n: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let s: ArrayRef = Arc::new((0..rows).map(|n| (n % 3 != 0).then(|| format!("row {n}"))).collect::<StringArray>());
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), schema.clone(), Some(properties)).unwrap();
    if rows > 0 {
        writer.write(&batch(&schema, vec![n, s])).unwrap();
    }
    writer.close().unwrap();
    path.display().to_string()
}

fn row() -> SchemaRef {
    schema(&[("s", DataType::Utf8View), ("n", DataType::Int64)])
}

#[test]
fn the_flights_of_2013() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data/nycflights13/flights.parquet");
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let flight = schema(&[
        ("carrier", DataType::Utf8View),
        ("origin", DataType::Utf8View),
        ("dep_delay", DataType::Int64),
        ("distance", DataType::Int64),
        ("time_hour", utc),
    ]);
    let spec = SourceSpec::from_uri(path.to_str().unwrap()).unwrap();
    let mut source = spec.open("Flight", &flight).unwrap();
    source.project(&["time_hour".into(), "carrier".into(), "dep_delay".into(), "distance".into()]).unwrap();
    let splits = source.splits().unwrap();
    assert_eq!(splits.len(), 6);
    assert_eq!(splits.iter().filter_map(|s| s.rows).sum::<u64>(), 336_776);
    let rows = read_all(source.as_ref(), 8192).unwrap();
    assert_eq!(rows.num_rows(), 336_776);
    let nulls: Vec<usize> = rows.columns().iter().map(|c| c.null_count()).collect();
    assert_eq!(nulls, [0, 0, 8255, 0]);
    assert_eq!(rows.column(1).as_string_view().value(0), "UA");
    let strict_delay = strict(&[("dep_delay", DataType::Int64)]);
    let (place, what) = data_error(read_all(spec.open("Flight", &strict_delay).unwrap().as_ref(), 8192).unwrap_err());
    assert!(place.ends_with("flights.parquet: row 839"), "{place}");
    assert!(what.contains("column `dep_delay` is null"), "{what}");
}

#[test]
fn splits_are_row_groups_and_parts_of_large_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = numbers(&dir.path().join("f.parquet"), 500, 200);
    let source = ParquetSource::open(std::slice::from_ref(&path), "Row", &row()).unwrap().split_rows(90);
    let rows: Vec<u64> = source.splits().unwrap().iter().filter_map(|s| s.rows).collect();
    assert_eq!(rows, [90, 90, 20, 90, 90, 20, 90, 10]);
    for max_rows in [1, 7, 90, 1000] {
        let rows = read_all(&source, max_rows).unwrap();
        assert_eq!(rows.column(1).as_primitive::<Int64Type>().values().to_vec(), (0..500).collect::<Vec<i64>>());
        assert_eq!(rows.column(0).null_count(), 167);
        assert_eq!(rows.column(0).as_string_view().value(499), "row 499");
    }
    reopen_everywhere(&source);
    // A caller may ask for fewer rows than before.
    let mut reader = source.open(&source.splits().unwrap()[0], None).unwrap();
    assert!(matches!(reader.next(40).unwrap(), Read::Rows(b, _) if b.num_rows() == 40));
    assert!(matches!(reader.next(3).unwrap(), Read::Rows(b, _) if b.num_rows() == 3));
    assert_eq!(reader.position(), 43);
    assert!(matches!(reader.next(1000).unwrap(), Read::Rows(b, _) if b.column(1).as_primitive::<Int64Type>().value(0) == 43));
}

#[test]
fn empty_files_and_no_columns() {
    let dir = tempfile::tempdir().unwrap();
    numbers(&dir.path().join("a.parquet"), 0, 10);
    numbers(&dir.path().join("b.parquet"), 25, 10);
    numbers(&dir.path().join("c.parquet"), 0, 10);
    let mut source = ParquetSource::open(&[dir.path().display().to_string()], "Row", &row()).unwrap();
    assert_eq!(source.splits().unwrap().len(), 3);
    assert_eq!(read_all(&source, 4).unwrap().num_rows(), 25);
    source.project(&[]).unwrap();
    assert_eq!(read_all(&source, 4).unwrap().num_rows(), 25);
}

#[test]
fn broken_files_are_named_in_plain_words() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole.parquet");
    numbers(&whole, 100, 50);
    let bytes = std::fs::read(&whole).unwrap();
    let broken = dir.path().join("broken.parquet");
    for keep in (0..bytes.len()).step_by(97) {
        let path = write(&broken, &bytes[..keep]);
        let (place, what) = data_error(ParquetSource::open(&[path], "Row", &row()).err().unwrap());
        assert!(place.ends_with("broken.parquet"));
        let expected = if keep < 4 { "not a Parquet file" } else { "the file is cut off" };
        assert!(what.contains(expected), "{keep} bytes: {what}");
    }
    let path = write(&broken, "n,s\n1,a\n");
    assert!(ParquetSource::open(&[path], "Row", &row()).err().unwrap().to_string().contains("not a Parquet file"));
    let missing = ParquetSource::open(&["missing.parquet".into()], "Row", &row());
    assert!(matches!(missing, Err(Error::Io { .. })));
    let other = schema(&[("n", DataType::Int32), ("S", DataType::Utf8View)]);
    let text = ParquetSource::open(&[whole.display().to_string()], "Row", &other).err().unwrap().to_string();
    assert!(text.contains("n      | i32 or null    | i64 or null") && text.contains("is it `s`?"), "{text}");
}

#[test]
fn a_file_with_any_byte_wrong_is_an_error_or_reads_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole.parquet");
    numbers(&whole, 60, 30);
    let bytes = std::fs::read(&whole).unwrap();
    let path = dir.path().join("broken.parquet");
    let mut errors = 0;
    for i in (0..bytes.len()).step_by(3) {
        let mut bytes = bytes.clone();
        bytes[i] ^= 0x55;
        let path = write(&path, &bytes);
        let result = ParquetSource::open(&[path], "Row", &row()).and_then(|source| read_all(&source, 10));
        match result {
            Ok(_) => {}
            Err(Error::Data { place, .. } | Error::Schema { place, .. }) => {
                assert!(place.contains("broken.parquet"), "{place}");
                errors += 1;
            }
            Err(other) => panic!("byte {i}: {other:?}"),
        }
    }
    assert!(errors > 50, "{errors}");
}

#[test]
fn flights_survive_csv() {
    use crate::connect::{CsvOptions, CsvSource, SinkSpec};
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data/nycflights13/flights.parquet").display().to_string();
    let file = std::fs::File::open(&path).unwrap();
    let all = ::parquet::arrow::arrow_reader::ArrowReaderMetadata::load(&file, Default::default()).unwrap();
    let flight = all.schema().clone();
    assert_eq!(flight.fields().len(), 19);
    let source = ParquetSource::open(&[path], "Flight", &flight).unwrap();
    let flights = drain(source.open(&source.splits().unwrap()[1], None).unwrap().as_mut(), 65_536).unwrap().remove(0);
    let dir = tempfile::tempdir().unwrap();
    let uri = dir.path().join("flights.csv").display().to_string();
    let mut sink = SinkSpec::from_uri(&uri).unwrap().open().unwrap();
    sink.open(&flight).unwrap();
    sink.write(&flights).unwrap();
    sink.commit().unwrap();
    let read = CsvSource::open(&[uri], &CsvOptions::default(), "Flight", &flight).unwrap();
    assert_eq!(read.splits().unwrap().len(), 2);
    assert_eq!(read_all(&read, 10_000).unwrap(), flights);
}
