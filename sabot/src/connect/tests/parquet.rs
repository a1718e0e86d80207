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
    assert_eq!(rows, [67, 67, 66, 67, 67, 66, 50, 50]);
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

/// Random predicates over random columns: no row of which a predicate is true is left out, positions stay what they were,
/// and something is left out where values are clustered. With pages that hold values, codes of a dictionary, and first these and
/// then those.
#[test]
fn what_is_left_out_is_not_wanted() {
    for dictionary_bytes in [0, 1 << 20, 600] {
        left_out_of_file(dictionary_bytes);
    }
}

fn left_out_of_file(dictionary_bytes: usize) {
    use crate::kernel::{Comparison, Constant, Predicate};
    use arrow_array::{BooleanArray, Float32Array};
    use proptest::prelude::*;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.parquet");
    let (rows, mut seed) = (4000i64, 7u64);
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as i64
    };
    let i: Vec<Option<i64>> =
        (0..rows).map(|n| (random() % 7 != 0 && !(1000..1400).contains(&n)).then(|| n / 10 + random() % 40)).collect();
    let f: Vec<Option<f32>> =
        (0..rows).map(|n| (random() % 9 != 0).then(|| if random() % 50 == 0 { f32::NAN } else { (n / 100) as f32 * 0.1 })).collect();
    let s: Vec<Option<String>> =
        (0..rows).map(|n| (random() % 5 != 0).then(|| format!("{:04}{}", n / 50, "x".repeat((random() % 100) as usize)))).collect();
    let b: Vec<Option<bool>> = (0..rows).map(|n| (random() % 5 != 0).then_some((n / 700) % 2 == 0)).collect();
    let t: Vec<Option<String>> = (0..rows).map(|_| (random() % 6 != 0).then(|| format!("one of thirty: {}", random() % 30))).collect();
    let row = schema(&[
        ("i", DataType::Int64),
        ("f", DataType::Float32),
        ("s", DataType::Utf8View),
        ("b", DataType::Boolean),
        ("n", DataType::Int64),
        ("t", DataType::Utf8View),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(i.clone())),
        Arc::new(Float32Array::from(f.clone())),
        Arc::new(arrow_array::StringViewArray::from_iter(s.clone())),
        Arc::new(BooleanArray::from(b.clone())),
        Arc::new(Int64Array::from_iter_values(0..rows)),
        Arc::new(arrow_array::StringViewArray::from_iter(t.clone())),
    ];
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(1500))
        .set_data_page_row_count_limit(100)
        .set_write_batch_size(50)
        .set_dictionary_enabled(dictionary_bytes > 0)
        .set_dictionary_page_size_limit(dictionary_bytes)
        .build();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), row.clone(), Some(properties)).unwrap();
    writer.write(&batch(&row, columns)).unwrap();
    writer.close().unwrap();
    let path = path.display().to_string();

    fn is<T: PartialOrd>(a: &Option<T>, how: Comparison, v: &T) -> bool {
        a.as_ref().is_some_and(|a| match how {
            Comparison::Eq => a == v,
            Comparison::Ne => a != v,
            Comparison::Lt => a < v,
            Comparison::Le => a <= v,
            Comparison::Gt => a > v,
            Comparison::Ge => a >= v,
        })
    }
    let flags = &b;
    let holds = |p: &Predicate, row: usize| -> bool {
        fn go(p: &Predicate, leaf: &dyn Fn(&Predicate) -> bool) -> bool {
            match p {
                Predicate::And(all) => all.iter().all(|p| go(p, leaf)),
                Predicate::Or(all) => all.iter().any(|p| go(p, leaf)),
                Predicate::Unknown => true,
                p => leaf(p),
            }
        }
        go(p, &|p| match p {
            Predicate::Null { column, is } => *is == if column == "i" { i[row].is_none() } else { s[row].is_none() },
            Predicate::Compare { how, value: Constant::Int(v), .. } => is(&i[row], *how, v),
            Predicate::Compare { how, value: Constant::Float(v), .. } => is(&f[row], *how, &(*v as f32)),
            Predicate::Compare { how, value: Constant::Text(v), column } => is(if column == "s" { &s[row] } else { &t[row] }, *how, v),
            Predicate::Compare { how, value: Constant::Bool(v), .. } => is(&b[row], *how, v),
            _ => true,
        })
    };
    let how = prop::sample::select(vec![Comparison::Eq, Comparison::Ne, Comparison::Lt, Comparison::Le, Comparison::Gt, Comparison::Ge]);
    let compare = |column: &'static str, value: BoxedStrategy<Constant>| {
        (how.clone(), value).prop_map(move |(how, value)| Predicate::Compare { column: column.into(), how, value }).boxed()
    };
    let leaf = prop_oneof![
        compare("i", (-10i64..450).prop_map(Constant::Int).boxed()),
        compare("f", (-1i64..42).prop_map(|n| Constant::Float(n as f64 * 0.1)).boxed()),
        compare("s", (0i64..82).prop_map(|n| Constant::Text(format!("{n:04}x"))).boxed()),
        compare("t", (0i64..33).prop_map(|n| Constant::Text(format!("one of thirty: {n}"))).boxed()),
        compare("b", any::<bool>().prop_map(Constant::Bool).boxed()),
        (any::<bool>(), any::<bool>()).prop_map(|(c, is)| Predicate::Null { column: if c { "i" } else { "s" }.into(), is }),
        Just(Predicate::Unknown),
    ];
    let tree = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(Predicate::And),
            prop::collection::vec(inner, 1..3).prop_map(Predicate::Or)
        ]
    });
    let left_out = std::cell::Cell::new(0u64);
    let config = proptest::test_runner::Config { cases: 40, failure_persistence: None, ..Default::default() };
    let random = proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(config, random);
    let check = |(p, max_rows): (Predicate, usize)| {
        let mut source = ParquetSource::open(std::slice::from_ref(&path), "Row", &row).unwrap().split_rows(600);
        source.leave_out(&p).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        let mut first = 0u64;
        for split in source.splits().unwrap() {
            let (mut reader, mut at, mut rows) = (source.open(&split, None).unwrap(), 0u64, 0u64);
            loop {
                let read = reader.next(max_rows).unwrap();
                let skipped = reader.take_left_out();
                at += skipped;
                left_out.set(left_out.get() + skipped);
                let (b, wanted) = match read {
                    crate::operator::Read::Rows(b, _) => (b, None),
                    crate::operator::Read::Some(b, wanted) => (b, Some(wanted)),
                    _ => break,
                };
                let kept: Vec<usize> = wanted.as_ref().map_or_else(|| (0..b.num_rows()).collect(), |w| w.rows().collect());
                prop_assert!(b.num_rows() <= max_rows && kept.len() == wanted.map_or(b.num_rows(), |w| w.count()));
                let numbers = b.column(4).as_primitive::<Int64Type>().values();
                for at_row in &kept {
                    let row = (first + at) as usize + at_row;
                    prop_assert_eq!(row as i64, numbers[*at_row], "the position of a row");
                    let text = b.column(5).as_string_view();
                    prop_assert_eq!(text.is_valid(*at_row).then(|| text.value(*at_row)), t[row].as_deref());
                    let found = (
                        b.column(0).is_valid(*at_row).then(|| b.column(0).as_primitive::<Int64Type>().value(*at_row)),
                        b.column(2).is_valid(*at_row).then(|| b.column(2).as_string_view().value(*at_row)),
                        b.column(3).is_valid(*at_row).then(|| b.column(3).as_boolean().value(*at_row)),
                    );
                    prop_assert_eq!(found, (i[row], s[row].as_deref(), flags[row]));
                    seen.insert(row);
                }
                at += b.num_rows() as u64;
                rows += kept.len() as u64;
                left_out.set(left_out.get() + (b.num_rows() - kept.len()) as u64);
            }
            prop_assert!(Some(rows) <= split.rows);
            first += at;
        }
        prop_assert_eq!(first, 4000);
        for row in (0..4000).filter(|row| !seen.contains(row)) {
            prop_assert!(!holds(&p, row), "row {} was left out, but {} is true of it", row, p);
        }
        Ok(())
    };
    runner.run(&(tree, prop::sample::select(vec![30usize, 1000])), check).unwrap();
    assert!(left_out.get() > 40_000, "only {} rows were left out", left_out.get());

    let mut source = ParquetSource::open(std::slice::from_ref(&path), "Row", &row).unwrap().split_rows(600);
    let p = Predicate::Compare { column: "i".into(), how: Comparison::Gt, value: Constant::Int(300) };
    source.leave_out(&p).unwrap();
    reopen_everywhere(&source);

    // few rows, here and there
    let mut source = ParquetSource::open(std::slice::from_ref(&path), "Row", &row).unwrap().split_rows(600);
    let p = Predicate::Compare { column: "t".into(), how: Comparison::Eq, value: Constant::Text("one of thirty: 7".into()) };
    source.leave_out(&p).unwrap();
    let wanted: Vec<i64> = (0..rows).filter(|n| t[*n as usize].as_deref() == Some("one of thirty: 7")).collect();
    assert!(wanted.len() > 50);
    assert_eq!(read_all(&source, 100).unwrap().column(4).as_primitive::<Int64Type>().values().to_vec(), wanted);
    reopen_everywhere(&source);
}

/// A dictionary that does not have the text that is asked for, and one where few rows have it, in row groups large enough
/// for a sample; then a column of which too many rows are wanted.
#[test]
fn a_large_row_group_is_judged_by_a_sample() {
    use crate::kernel::{Comparison, Constant, Predicate};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.parquet");
    let row = schema(&[("t", DataType::Utf8View), ("n", DataType::Int64)]);
    // the second row group has no "3"
    let text: Vec<String> = (0..80_000u32).map(|n| if n < 40_000 { n % 37 } else { n % 37 / 4 * 4 }.to_string()).collect();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(arrow_array::StringViewArray::from_iter_values(&text)), Arc::new(Int64Array::from_iter_values(0..80_000))];
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(40_000)).build();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), row.clone(), Some(properties)).unwrap();
    writer.write(&batch(&row, columns)).unwrap();
    writer.close().unwrap();
    let path = path.display().to_string();
    for (how, value, sieved) in [(Comparison::Eq, "3", true), (Comparison::Ne, "3", false), (Comparison::Lt, "10", true)] {
        let p = Predicate::Compare { column: "t".into(), how, value: Constant::Text(value.into()) };
        let mut source = ParquetSource::open(std::slice::from_ref(&path), "Row", &row).unwrap().split_rows(15_000);
        source.leave_out(&p).unwrap();
        let (mut wanted, mut left_out) = (Vec::new(), 0);
        for split in source.splits().unwrap() {
            let mut reader = source.open(&split, None).unwrap();
            loop {
                let read = reader.next(4096).unwrap();
                left_out += reader.take_left_out();
                let (b, kept) = match read {
                    Read::Rows(b, _) => (b.clone(), (0..b.num_rows()).collect()),
                    Read::Some(b, kept) => (b, kept.rows().collect::<Vec<usize>>()),
                    _ => break,
                };
                left_out += (b.num_rows() - kept.len()) as u64;
                wanted.extend(kept.iter().map(|row| b.column(1).as_primitive::<Int64Type>().value(*row)));
            }
        }
        let compare = |text: &str| match how {
            Comparison::Eq => text == value,
            Comparison::Lt => text < value,
            _ => text != value,
        };
        let expected: Vec<i64> = if sieved { (0..80_000).filter(|n| compare(&text[*n as usize])).collect() } else { (0..80_000).collect() };
        assert_eq!(wanted, expected, "{how:?} {value}");
        assert_eq!(left_out, 80_000 - expected.len() as u64, "{how:?} {value}");
    }
}

/// Values between the least and the greatest that no row has.
#[test]
fn bloom_filters_leave_row_groups_out() {
    use crate::kernel::{Comparison, Constant, Predicate};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.parquet");
    let row = schema(&[("n", DataType::Int64), ("s", DataType::Utf8View), ("i", DataType::Int32)]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values((0..4000).map(|n| n * 977 % 4000 * 2))),
        Arc::new(arrow_array::StringViewArray::from_iter_values((0..4000).map(|n| format!("text {}", n * 977 % 4000 * 2)))),
        Arc::new(arrow_array::Int32Array::from_iter_values((0..4000).map(|n| n * 977 % 4000 * 2))),
    ];
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(1000)).set_bloom_filter_enabled(true).build();
    let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), row.clone(), Some(properties)).unwrap();
    writer.write(&batch(&row, columns)).unwrap();
    writer.close().unwrap();
    let path = path.display().to_string();
    let rows = |p: &Predicate| -> u64 {
        let mut source = ParquetSource::open(std::slice::from_ref(&path), "Row", &row).unwrap();
        source.leave_out(p).unwrap();
        source.splits().unwrap().iter().filter_map(|s| s.rows).sum()
    };
    let mut none = 0;
    for n in 1000..1020 {
        let values = [("n", Constant::Int(n)), ("s", Constant::Text(format!("text {n}"))), ("i", Constant::Int(n))];
        let leaves = values.map(|(column, value)| Predicate::Compare { column: column.into(), how: Comparison::Eq, value });
        for p in [leaves[0].clone(), leaves[1].clone(), leaves[2].clone(), Predicate::Or(leaves.to_vec()), Predicate::And(leaves.to_vec())]
        {
            let left = rows(&p);
            assert!(left <= 4000 && (n % 2 == 1 || left >= 1000), "{p}: {left} rows");
            none += u64::from(n % 2 == 1 && left == 0);
        }
        // the other relations say nothing
        assert_eq!(rows(&Predicate::Compare { column: "n".into(), how: Comparison::Ne, value: Constant::Int(n) }), 4000);
    }
    assert!(none > 40, "only {none} of 50 were excluded");
}
