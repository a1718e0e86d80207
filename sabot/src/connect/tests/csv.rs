use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Int64Array, StringViewArray};
use arrow_schema::TimeUnit;

use super::*;
use crate::connect::{CsvOptions, CsvSource, OnBadLine};

fn open(text: impl AsRef<[u8]>, options: &CsvOptions, expected: &SchemaRef) -> (tempfile::TempDir, crate::Result<CsvSource>) {
    let dir = tempfile::tempdir().unwrap();
    let path = write(&dir.path().join("f.csv"), text);
    let source = CsvSource::open(&[path], options, "Row", expected);
    (dir, source)
}

fn skip() -> CsvOptions {
    CsvOptions { on_bad_line: OnBadLine::Skip, ..CsvOptions::default() }
}

fn abc() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, false),
        Field::new("s", DataType::Utf8View, false),
        Field::new("m", DataType::Int64, true),
    ]))
}

/// The error of the file, by line and column, and what it says.
fn bad(text: impl AsRef<[u8]>) -> (String, String) {
    let (_dir, source) = open(text, &CsvOptions::default(), &abc());
    let (place, what) = data_error(read_all(&source.unwrap(), 1000).unwrap_err());
    (place.rsplit_once('/').unwrap().1.to_string(), what)
}

#[test]
fn every_kind_of_bad_line_names_its_place() {
    let is = |(place, what): (String, String), at: &str, text: &str| {
        assert_eq!(place, at, "{what}");
        assert!(what.contains(text), "{what}");
    };
    is(bad("n,s,m\n1,a,2\n3,b,x7\n"), "f.csv:3:5", "column `m`: found `x7`, expected i64");
    is(bad("s,n,extra,m\r\na,1,,2\r\nb,9223372036854775808,,\r\n"), "f.csv:3:3", "column `n`: found `9223372036854775808`");
    is(bad("n,s,m\n1,a,2\n,b,3\n"), "f.csv:3:1", "column `n`: no value, expected i64; declare it as `Option<..>`");
    is(bad("n,s,m\n1,a,2\nNA,b,3\n"), "f.csv:3:1", "no value");
    is(bad("n,s,m\n1,a,2\n\n\n4,a\n"), "f.csv:5:1", "the line has 2 fields, expected 3");
    is(bad("n,s,m\n1,a,2,9\n"), "f.csv:2:1", "the line has 4 fields, expected 3");
    is(bad(b"n,s,m\n1,\xff,2\n"), "f.csv:2:3", "not valid UTF-8");
    is(bad("n,s,m\n1,\"a\nb\",2\n3,\"c\nd\",e\n"), "f.csv:5:4", "found `e`");
    is(bad("n,s,m\n1,a,2\n3,\"b,4\n5,c,6\n"), "f.csv:3:3", "the quote that begins here is never closed");
    is(bad("\u{FEFF}n,s,m\n1,ä,x\n"), "f.csv:2:5", "found `x`");
    is(bad("n,s,m\n1,a,\"\"\n"), "f.csv:2:5", "found ``");
    // The first bad line is reported, whichever kind it is.
    is(bad("n,s,m\n1,a,x\n4,a\n"), "f.csv:2:5", "found `x`");
    is(bad("n,s,m\n4,a\n1,a,x\n"), "f.csv:2:1", "2 fields");
    is(bad("n,s,m\n1,a,x\ny,a,1\n"), "f.csv:2:5", "found `x`");
}

#[test]
fn skipped_lines_are_counted() {
    let text = b"n,s,m\n1,a,2\n3,b,x\n,c,4\n5,d\n6,e,7,8\n9,\xff,1\n10,f,\ny,g,z\n11,NA,NA\n";
    for max_rows in [1, 2, 3, 100] {
        let (_dir, source) = open(text, &skip(), &abc());
        let source = source.unwrap();
        let split = source.splits().unwrap().remove(0);
        let mut reader = source.open(&split, None).unwrap();
        let mut failed = 0;
        let mut batches = Vec::new();
        while let Read::Rows(batch, _) = reader.next(max_rows).unwrap() {
            failed += reader.take_failed();
            batches.push(batch);
        }
        failed += reader.take_failed();
        let rows = concat_batches(&source.schema(), &batches).unwrap();
        assert_eq!(failed, 6);
        assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[1, 10, 11]);
        assert_eq!(rows.column(1).as_ref(), &StringViewArray::from(vec!["a", "f", "NA"]), "a text without null keeps NA");
        assert_eq!(rows.column(2).as_ref(), &Int64Array::from(vec![Some(2), None, None]));
        reopen_everywhere(&source);
    }
    // A column that nobody reads is not parsed.
    let (_dir, source) = open(text, &skip(), &abc());
    let mut source = source.unwrap();
    source.project(&["n".into()]).unwrap();
    assert_eq!(read_all(&source, 100).unwrap().column(0).as_primitive::<Int64Type>().values(), &[1, 3, 9, 10, 11]);
    // A quote that is never closed is not a bad line but a broken file.
    let (_dir, source) = open("n,s,m\n1,a,2\n3,\"b,4\n5,c,6\n", &skip(), &abc());
    assert!(data_error(read_all(&source.unwrap(), 100).unwrap_err()).1.contains("never closed"));
}

#[test]
fn nulls_and_quotes_are_told_apart() {
    let expected = schema(&[("s", DataType::Utf8View), ("n", DataType::Int64)]);
    let (_dir, source) = open("s,n\n,1\n\"\",2\nNA,3\n\"NA\",4\nx, NA \n\"a\"\"b\",5\n", &CsvOptions::default(), &expected);
    let rows = read_all(&source.unwrap(), 100).unwrap();
    assert_eq!(rows.column(0).as_ref(), &StringViewArray::from(vec![None, Some(""), None, Some("NA"), Some("x"), Some("a\"b")]));
    assert_eq!(rows.column(1).as_ref(), &Int64Array::from(vec![Some(1), Some(2), Some(3), Some(4), None, Some(5)]));
    let options = CsvOptions { nulls: vec!["-".into()], quote: None, delimiter: '\t', ..CsvOptions::default() };
    let (_dir, source) = open("s\tn\n\"\t1\n-\t-\n\t2\n", &options, &expected);
    let rows = read_all(&source.unwrap(), 100).unwrap();
    assert_eq!(rows.column(0).as_ref(), &StringViewArray::from(vec![Some("\""), None, Some("")]));
}

#[test]
fn headers_and_empty_files() {
    let expected = schema(&[("n", DataType::Int64)]);
    for text in ["n", "n\n", "\u{FEFF}n\r\n", "\n\nn\n\n"] {
        let (_dir, source) = open(text, &CsvOptions::default(), &expected);
        assert_eq!(read_all(&source.unwrap(), 100).unwrap().num_rows(), 0, "{text:?}");
    }
    let (_dir, source) = open("", &CsvOptions::default(), &expected);
    assert!(source.err().unwrap().to_string().contains("the file is empty"));
    let bare = CsvOptions { header: false, ..CsvOptions::default() };
    let (_dir, source) = open("", &bare, &expected);
    assert_eq!(read_all(&source.unwrap(), 100).unwrap().num_rows(), 0);
    let (_dir, source) = open("1,x\n2,y", &bare, &expected);
    assert_eq!(read_all(&source.unwrap(), 100).unwrap().num_rows(), 2);
    let two = schema(&[("n", DataType::Int64), ("m", DataType::Int64)]);
    let (_dir, source) = open("1\n", &bare, &two);
    assert!(source.err().unwrap().to_string().contains("1 fields, fewer than the 2 columns"));
    let (_dir, source) = open("m\n1\n", &CsvOptions::default(), &expected);
    assert!(matches!(source, Err(Error::Schema { .. })));
    let list = schema(&[("l", DataType::List(Arc::new(Field::new("item", DataType::Int64, true))))]);
    let (_dir, source) = open("l\n", &CsvOptions::default(), &list);
    assert!(usage_error(source).contains("column `l` of record `Row` is a list<i64>"));
    let (_dir, source) = open("n\n", &CsvOptions { delimiter: '"', ..CsvOptions::default() }, &expected);
    assert!(usage_error(source).contains("both"));
}

#[test]
fn cells_of_unusual_form() {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let paris = DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Paris".into()));
    let expected = schema(&[
        ("u", utc),
        ("p", paris),
        ("c", DataType::Decimal128(6, 2)),
        ("b", DataType::Boolean),
        ("t", DataType::Time64(TimeUnit::Microsecond)),
    ]);
    let text = "u,p,c,b,t\n2013-01-01 05:00:00,2013-01-01T06:00:00+01:00, 1.500 ,YES,05:17:00.25\n";
    let (_dir, source) = open(text, &CsvOptions::default(), &expected);
    let row = read_all(&source.unwrap(), 1).unwrap();
    let hour = row.column(0).as_primitive::<TimestampMicrosecondType>().value(0);
    assert_eq!(hour, 1_357_016_400_000_000);
    assert_eq!(row.column(1).as_primitive::<TimestampMicrosecondType>().value(0), hour);
    for (line, column) in [
        ("2013-01-01,2013-01-01T06:00:00,1,1,", 12),
        (",,1.255,,", 3),
        (",,12345.67,,", 3),
        (",,,2,", 4),
        (",,,,517", 5),
        ("2013-13-01,,,,", 1),
    ] {
        let (_dir, source) = open(format!("u,p,c,b,t\n{line}\n"), &CsvOptions::default(), &expected);
        let (place, what) = data_error(read_all(&source.unwrap(), 1).unwrap_err());
        assert!(place.ends_with(&format!("f.csv:2:{column}")), "{line}: {place} {what}");
    }
}

#[test]
fn splits_begin_at_records_whatever_the_quotes() {
    let mut text = String::from("n,s\r\n");
    let mut expected = Vec::new();
    for n in 0..200_i64 {
        let s = match n % 5 {
            0 => "plain".to_string(),
            1 => format!("a\n{n},b\nc"),
            2 => "say \"hi\"\n\"\"\n".to_string(),
            3 => "x\"y".to_string(),
            _ => ",\r\n,".to_string(),
        };
        // A quote within an unquoted field means itself.
        let cell = if n % 5 == 3 || n % 5 == 0 { s.clone() } else { format!("\"{}\"", s.replace('"', "\"\"")) };
        text.push_str(&format!("{n},{cell}\r\n"));
        expected.push((n, s));
    }
    let row = strict(&[("n", DataType::Int64), ("s", DataType::Utf8View)]);
    let dir = tempfile::tempdir().unwrap();
    let path = write(&dir.path().join("f.csv"), &text);
    for bytes in [1, 7, 64, 1000, 1 << 20] {
        let source = CsvSource::open(std::slice::from_ref(&path), &CsvOptions::default(), "Row", &row).unwrap().split_bytes(bytes);
        let rows = read_all(&source, 13).unwrap();
        let found: Vec<(i64, String)> = rows
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .iter()
            .zip(rows.column(1).as_string_view())
            .map(|(n, s)| (*n, s.unwrap().into()))
            .collect();
        assert_eq!(found, expected, "split every {bytes} bytes");
        let splits = source.splits().unwrap();
        assert_eq!(splits.iter().filter_map(|s| s.bytes).sum::<u64>(), text.len() as u64 - 4, "all bytes after the header");
        assert!(bytes >= 1000 || splits.len() > 3);
        if bytes == 64 {
            reopen_everywhere(&source);
        }
    }
}

#[test]
fn the_pass_for_cuts_crosses_its_buffers() {
    // Longer than the buffer of the pass, with long stretches without quotes, and records over the edges.
    let dir = tempfile::tempdir().unwrap();
    for quoted in [false, true] {
        let line = if quoted { "1,\"two\nlines\"\n" } else { "1,two words\n" };
        let text = format!("n,s\n{}{}", "12345,some text without them\n".repeat(20_000), line.repeat(20_000));
        let path = write(&dir.path().join("f.csv"), &text);
        let row = strict(&[("n", DataType::Int64), ("s", DataType::Utf8View)]);
        let source = CsvSource::open(&[path], &CsvOptions::default(), "Row", &row).unwrap().split_bytes(50_000);
        assert!(source.splits().unwrap().len() >= 15);
        assert_eq!(read_all(&source, 4096).unwrap().num_rows(), 40_000);
    }
}

#[test]
fn a_file_that_changed_is_refused() {
    let (dir, source) = open("n\n1\n2\n", &CsvOptions::default(), &schema(&[("n", DataType::Int64)]));
    let source = source.unwrap();
    let split = source.splits().unwrap().remove(0);
    write(&dir.path().join("f.csv"), "n\n1\n");
    let error = source.open(&split, None).unwrap().next(10).unwrap_err();
    assert!(error.to_string().contains("became shorter"), "{error}");
    let again =
        CsvSource::open(&[dir.path().join("f.csv").display().to_string()], &CsvOptions::default(), "Row", &source.schema()).unwrap();
    assert!(again.open(&split, None).err().unwrap().to_string().contains("has changed"));
    assert!(matches!(source.open(&split, Some(&"x".into())), Err(Error::Checkpoint(_))));
    assert!(matches!(source.open(&split, Some(&99.into())), Err(Error::Checkpoint(_))));
}

#[test]
fn columns_are_found_by_name_in_each_file() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("1.csv"), "a,b\n1,2\n");
    write(&dir.path().join("2.csv"), "b,x,a\n4,z,3\n");
    let row = strict(&[("a", DataType::Int64), ("b", DataType::Int64)]);
    let mut source = CsvSource::open(&[dir.path().display().to_string()], &CsvOptions::default(), "Row", &row).unwrap();
    assert!(source.describe().ends_with("1.csv and 1 more file"));
    source.project(&["b".into(), "a".into()]).unwrap();
    let rows = read_all(&source, 10).unwrap();
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[2, 4]);
    assert_eq!(rows.column(1).as_primitive::<Int64Type>().values(), &[1, 3]);
    source.project(&[]).unwrap();
    assert_eq!(read_all(&source, 10).unwrap().num_rows(), 2);
    assert!(source.schema().fields().is_empty());
}

/// The records of a text by the `csv` crate.
fn oracle(text: &[u8], dialect: crate::connect::csv_options::Dialect) -> Vec<Vec<Vec<u8>>> {
    let records = dialect.reader(text).into_byte_records().map(Result::unwrap);
    records.map(|r| r.iter().map(<[u8]>::to_vec).collect()).collect()
}

/// Reads a file of `width` text columns and gives its cells by row.
fn texts(source: &CsvSource, max_rows: usize) -> crate::Result<Vec<Vec<Vec<u8>>>> {
    let rows = read_all(source, max_rows)?;
    let cell = |row, c: &arrow_array::ArrayRef| c.as_string_view().value(row).as_bytes().to_vec();
    Ok((0..rows.num_rows()).map(|row| rows.columns().iter().map(|c| cell(row, c)).collect()).collect())
}

/// What arrow's parser says of a cell, and what a column of this type says.
fn both(data_type: &DataType, cell: &str, expected: Option<arrow_array::ArrayRef>) {
    use crate::connect::csv_column::{Column, Scratch};
    let (nothing, mut scratch, mut bad) = (arrow_buffer::Buffer::default(), Scratch::default(), Vec::new());
    let column = Column::of(&[Some(cell.as_bytes())], &nothing, &mut scratch);
    let found = crate::connect::csv_cell::parse(data_type, &column, &mut bad).unwrap();
    assert_eq!(bad.is_empty(), expected.is_some(), "{data_type} {cell:?}: {found:?}");
    if let Some(expected) = expected {
        // By its bits: 0 and -0 differ.
        assert_eq!(found.to_data().buffers(), expected.to_data().buffers(), "{data_type} {cell:?}");
    }
}

fn numbers_as_arrow_reads_them(cell: &str) {
    use arrow_array::types::*;
    use arrow_array::{ArrayRef, PrimitiveArray};
    use arrow_cast::parse::{Parser, parse_decimal, string_to_datetime};
    fn one<T: ArrowPrimitiveType>(value: T::Native, t: &DataType) -> ArrayRef {
        Arc::new(PrimitiveArray::<T>::new(vec![value].into(), None).with_data_type(t.clone()))
    }
    fn parsed<T: Parser>(cell: &str) {
        both(&T::DATA_TYPE, cell, T::parse(cell.trim()).map(|v| one::<T>(v, &T::DATA_TYPE)));
    }
    parsed::<Int8Type>(cell);
    parsed::<Int32Type>(cell);
    parsed::<Int64Type>(cell);
    parsed::<UInt8Type>(cell);
    parsed::<UInt64Type>(cell);
    parsed::<Float32Type>(cell);
    parsed::<Float64Type>(cell);
    parsed::<Date32Type>(cell);
    parsed::<DurationSecondType>(cell);
    for (precision, scale) in [(5, 2), (18, 0), (30, 6)] {
        let t = DataType::Decimal128(precision, scale);
        let digits = cell.trim().split_once('.').map_or(0, |(_, fraction)| fraction.trim_end_matches('0').len());
        let fits = digits <= scale as usize || cell.contains(['e', 'E']);
        let value = parse_decimal::<Decimal128Type>(cell.trim(), precision, scale).ok().filter(|_| fits);
        both(&t, cell, value.map(|v| one::<Decimal128Type>(v, &t)));
    }
    let instant = string_to_datetime(&chrono_utc(), cell.trim()).ok();
    let t = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    both(&t, cell, instant.map(|i| one::<TimestampMicrosecondType>(i.timestamp_micros(), &t)));
    let t = DataType::Timestamp(TimeUnit::Nanosecond, None);
    both(&t, cell, instant.and_then(|i| i.timestamp_nanos_opt()).map(|v| one::<TimestampNanosecondType>(v, &t)));
}

fn chrono_utc() -> arrow_array::timezone::Tz {
    "+00:00".parse().unwrap()
}

#[test]
fn numbers_at_their_edges() {
    let cells = "0 -0 -0.0 +5 1. .5 . - -. 00012 127 128 -128 -129 255 256 9999999999999999 10000000000000000 9223372036854775807 \
        -9223372036854775808 9223372036854775808 18446744073709551615 18446744073709551616 0.1 0.30000000000000004 9007199254740993 \
        900719925474099.3 123456789012345678 1234567.8901234567 12345678.12345678 999.99 999.995 1000.00 1000 99999 1e3 -1E-3 inf -inf \
        NaN 1e400 16777217 1677721.7 0.000000000001 1_000 12345678a a2345678 1234567: /2345678 1.2.3 --1 -+1 0x10 ٣ 1970-01-01 1969-12-31 \
        2000-02-29 1900-02-29 2100-02-29 2024-02-30 0000-01-01 0001-01-01 9999-12-31 2013-1-1 2013-00-10 2013-01-00 2013-13-01 20130101 \
        1969-12-31T23:59:59.999999999Z 1969-12-31T23:59:59.9 2013-01-31T05:17:00Z 2013-01-31T05:17:00 2013-01-31T05:17:00.Z \
        2013-01-31T24:00:00Z 2013-01-31T23:60:00Z 2013-01-31T23:59:60Z 2013-01-31T05:17:00.1234567891Z 2013-01-31T05:17:00+01:00 \
        2013-01-31t05:17:00z 2013-01-31T05:17Z 1677-09-21T00:12:43.145224193 1677-09-21T00:12:43.145224192 2262-04-11T23:47:16.854775807 \
        2262-04-11T23:47:16.854775808 9999-12-31T23:59:59Z 0000-03-01T00:00:00Z";
    for cell in cells.split_ascii_whitespace() {
        numbers_as_arrow_reads_them(cell);
        numbers_as_arrow_reads_them(&format!(" {cell} "));
    }
    numbers_as_arrow_reads_them("2013-01-31 05:17:00.25");
    numbers_as_arrow_reads_them("");
    // Every day of four centuries.
    let days = |n: i32| Int64Array::from(vec![i64::from(n)]);
    for n in -146_097..146_097 {
        let date = arrow_array::types::Date32Type::to_naive_date_opt(n).unwrap().to_string();
        let found = crate::connect::csv_time::days(date.as_bytes()).unwrap();
        assert_eq!(days(found), days(n), "{date}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(600))]
    /// Whatever the text, its records are those of the `csv` crate, however it is cut, read and resumed.
    #[test]
    fn any_text_reads_as_by_the_csv_crate(
        parts in proptest::collection::vec("[a,\"\n\r]{0,60}|[ab,;]{1,80}|(\"[a,\n\r]{0,40}\",){1,4}|x{50,70}|(\"\"){0,40}", 0..6),
        bytes in 1_u64..300,
        max_rows in 1_usize..9,
        quoting in proptest::bool::weighted(0.9),
    ) {
        let text = format!("x{}", parts.concat());
        let options = CsvOptions { header: false, quote: quoting.then_some('"'), ..skip() };
        let dialect = options.dialect().unwrap();
        let records = oracle(text.as_bytes(), dialect);
        let width = records.first().map_or(0, Vec::len);
        let names: Vec<(String, DataType)> = (0..width).map(|i| (format!("c{i}"), DataType::Utf8View)).collect();
        let names: Vec<(&str, DataType)> = names.iter().map(|(n, t)| (n.as_str(), t.clone())).collect();
        let (_dir, source) = open(&text, &options, &strict(&names));
        let source = source.unwrap().split_bytes(bytes);
        // Between quotes at the end of the text, by the definition: byte by byte.
        let (mut start, mut quoted) = (true, false);
        for byte in text.bytes() {
            let quote = quoting && byte == b'"';
            (start, quoted) = match (start, quoted) {
                (true, _) if quote => (false, true),
                (_, true) => (quote, !quote),
                _ => (matches!(byte, b',' | b'\n' | b'\r'), false),
            };
        }
        if quoted {
            let message = data_error(texts(&source, max_rows).unwrap_err()).1;
            proptest::prop_assert!(message.contains("never closed"), "{}", message);
        } else {
            let good: Vec<_> = records.into_iter().filter(|r| r.len() == width).collect();
            proptest::prop_assert_eq!(texts(&source, max_rows).unwrap(), good);
        }
    }

    #[test]
    fn any_number_reads_as_by_arrow(
        cell in "[-+]?[0-9]{0,20}(\\.[0-9]{0,18})?|[0-9./:]{1,17}|[0-9]{4}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,10})?Z?)?",
    ) {
        numbers_as_arrow_reads_them(&cell);
    }
}
