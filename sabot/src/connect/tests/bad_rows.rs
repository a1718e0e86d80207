//! Lines that are no rows, handed over: each once, with its number and text, wherever reading stops and goes on.

use super::*;
use crate::connect::{CsvOptions, CsvSource, OnBadLine};
use crate::operator::BadRow;

/// What a reader delivered: the first column of rows, and bad lines by number.
type Got = (Vec<i64>, Vec<(u64, String)>);

/// One call.
fn step(reader: &mut dyn SplitReader, max_rows: usize, got: &mut Got) -> bool {
    let read = reader.next(max_rows).unwrap();
    let bad: Vec<BadRow> = reader.take_bad();
    assert_eq!(reader.take_failed(), bad.len() as u64);
    for row in bad {
        assert_eq!((row.partition, &row.key), (0, &None));
        assert_eq!(row.value.as_deref(), Some(row.text.as_bytes()));
        got.1.push((row.position, row.text.to_string()));
    }
    match read {
        Read::Rows(batch, _) => {
            let numbers = arrow_array::cast::AsArray::as_primitive::<arrow_array::types::Int64Type>(batch.column(0));
            got.0.extend(numbers.values());
            true
        }
        _ => false,
    }
}

/// All of a source; reading stops after each `pause` calls, and goes on with a new reader.
fn all(source: &dyn Source, max_rows: usize, pause: usize) -> Got {
    let mut got = Got::default();
    for split in source.splits().unwrap() {
        let mut reader = source.open(&split, None).unwrap();
        for call in 1.. {
            if !step(reader.as_mut(), max_rows, &mut got) {
                break;
            }
            if call % pause == 0 {
                reader = source.open(&split, Some(&reader.position())).unwrap();
            }
        }
    }
    got
}

/// A file of lines, the numbers of its rows, and its bad lines.
fn lines(count: u64, head: &str, good: impl Fn(u64) -> String, bad: &[&str]) -> (String, Got) {
    let (mut text, mut wanted) = (head.to_owned(), Got::default());
    let first = head.lines().count() as u64;
    for n in 0..count {
        let line = if n % 5 == 3 || (200..260).contains(&n) { bad[n as usize % bad.len()].to_owned() } else { good(n) };
        if !bad.contains(&line.as_str()) {
            wanted.0.push(n as i64);
        } else {
            wanted.1.push((first + n + 1, line.clone()));
        }
        text.push_str(&line);
        text.push_str(if n % 7 == 0 { "\r\n" } else { "\n" });
    }
    (text, wanted)
}

fn check(open: impl Fn(u64) -> Box<dyn Source>, wanted: &Got) {
    for split_bytes in [64, 500, 1 << 20] {
        for max_rows in [1, 7, 1000] {
            for pause in [1, 3, usize::MAX] {
                let mut source = open(split_bytes);
                source.give_bad().unwrap();
                assert_eq!(all(source.as_ref(), max_rows, pause), *wanted, "{split_bytes} {max_rows} {pause}");
            }
        }
    }
}

#[test]
fn bad_csv_lines() {
    let dir = tempfile::tempdir().unwrap();
    let bad = ["x,1", "1", "1,2,3", ",4", "9,\"many\"", "12345678901234567890,0"];
    let (text, wanted) = lines(400, "n,m\n", |n| format!("{n},{}", n * 2), &bad);
    let path = write(&dir.path().join("a.csv"), text);
    let schema = strict(&[("n", DataType::Int64), ("m", DataType::Int64)]);
    let open = |options: &CsvOptions, split_bytes| {
        Box::new(CsvSource::open(std::slice::from_ref(&path), options, "R", &schema).unwrap().split_bytes(split_bytes)) as Box<dyn Source>
    };
    check(|split_bytes| open(&CsvOptions::default(), split_bytes), &wanted);
    let skips = CsvOptions { on_bad_line: OnBadLine::Skip, ..CsvOptions::default() };
    assert!(usage_error(open(&skips, 100).give_bad()).contains("leave out `on_bad_line=skip`"));
    // what is wrong, and a record of several lines
    let path = write(&dir.path().join("b.csv"), "n,m\n1,2\n\"2\n\",\"x\ny\"\n3,z\n1,\"never");
    let mut source = CsvSource::open(&[path], &CsvOptions::default(), "R", &schema).unwrap();
    source.give_bad().unwrap();
    let mut reader = source.open(&source.splits().unwrap()[0], None).unwrap();
    assert!(matches!(reader.next(3).unwrap(), Read::Rows(batch, _) if batch.num_rows() == 1));
    let bad = reader.take_bad();
    let told: Vec<(u64, &str, &str)> = bad.iter().map(|b| (b.position, &*b.text, &*b.error)).collect();
    assert_eq!(told[0], (3, "\"2\n\",\"x\ny\"", "column `m`: found `x\\ny`, expected i64"));
    assert_eq!(told[1], (6, "3,z", "column `m`: found `z`, expected i64"));
    let (place, what) = data_error(reader.next(3).unwrap_err());
    assert!(place.ends_with("b.csv:7:3") && what.contains("never closed"), "{place} {what}");
}

#[cfg(feature = "json")]
#[test]
fn bad_json_lines() {
    let dir = tempfile::tempdir().unwrap();
    let bad = ["{\"n\":\"x\"}", "{", "nonsense", "{\"m\":1}", "[1]", "{\"n\":1}{\"n\":2}"];
    let (text, wanted) = lines(400, "", |n| format!("{{\"n\":{n},\"m\":{}}}", n * 2), &bad);
    let path = write(&dir.path().join("a.jsonl"), text);
    let schema = strict(&[("n", DataType::Int64)]);
    let open = |on_bad_line, split_bytes| {
        Box::new(crate::connect::JsonSource::open(std::slice::from_ref(&path), on_bad_line, &schema).unwrap().split_bytes(split_bytes))
            as Box<dyn Source>
    };
    check(|split_bytes| open(OnBadLine::Fail, split_bytes), &wanted);
    assert!(usage_error(open(OnBadLine::Skip, 100).give_bad()).contains("leave out `on_bad_line=skip`"));
}

#[cfg(feature = "json")]
#[test]
fn bad_lines_of_followed_files() {
    use crate::connect::SourceSpec;
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    for format in ["csv", "jsonl"] {
        let bad = ["x,1", "1", "{", "1,2,3"];
        let (head, good): (_, fn(u64) -> String) =
            if format == "csv" { ("n,m\n", |n| format!("{n},0")) } else { ("", |n| format!("{{\"n\":{n},\"m\":0}}")) };
        let (text, wanted) = lines(300, head, good, &bad);
        let path = dir.path().join(format!("log.{format}"));
        let schema = strict(&[("n", DataType::Int64), ("m", DataType::Int64)]);
        write(&path, "");
        let mut source = SourceSpec::from_uri(&format!("follow:{}", path.display())).unwrap().open("R", &schema).unwrap();
        source.give_bad().unwrap();
        source.project(&["n".into(), "m".into()]).unwrap();
        let split = source.splits().unwrap().remove(0);
        let (mut got, mut position) = (Got::default(), None);
        for piece in text.as_bytes().chunks(577) {
            std::fs::File::options().append(true).open(&path).unwrap().write_all(piece).unwrap();
            // whoever goes on begins where the last one was
            let mut reader = source.open(&split, position.as_ref()).unwrap();
            while step(reader.as_mut(), 10, &mut got) {}
            position = Some(reader.position());
        }
        assert_eq!(got, wanted, "{format}");
    }
}
