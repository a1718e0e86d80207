use arrow_array::{Int64Array, StringViewArray};

use super::*;
use crate::connect::{ArrowSink, BlackholeSink, CsvOptions, CsvSink, SinkSpec};
use crate::operator::Sink;

fn two() -> RecordBatch {
    let schema = schema(&[("n", DataType::Int64), ("s", DataType::Utf8View)]);
    batch(&schema, vec![Arc::new(Int64Array::from(vec![Some(1), None])), Arc::new(StringViewArray::from(vec!["a", "b"]))])
}

fn uris(dir: &Path) -> Vec<String> {
    let mut endings = vec!["csv", "arrow"];
    if cfg!(feature = "parquet") {
        endings.push("parquet");
    }
    if cfg!(feature = "json") {
        endings.push("jsonl");
    }
    endings.iter().map(|e| dir.join(format!("out.{e}")).display().to_string()).collect()
}

#[test]
fn a_file_appears_on_commit_and_not_on_abort() {
    let dir = tempfile::tempdir().unwrap();
    for uri in uris(dir.path()) {
        let name = Path::new(&uri).file_name().unwrap().to_str().unwrap().to_string();
        let hidden = format!(".{name}.tmp-{}-", std::process::id());
        let mut sink = SinkSpec::from_uri(&uri).unwrap().open().unwrap();
        assert_eq!(sink.describe(), uri);
        sink.open(&two().schema()).unwrap();
        let files = listing(dir.path());
        assert!(files.len() == 1 && files[0].starts_with(&hidden), "{files:?}");
        sink.write(&two()).unwrap();
        sink.abort();
        assert!(listing(dir.path()).is_empty(), "{uri}: nothing is left");

        std::fs::write(&uri, "old").unwrap();
        let mut sink = SinkSpec::from_uri(&uri).unwrap().open().unwrap();
        sink.open(&two().schema()).unwrap();
        sink.write(&two()).unwrap();
        assert_eq!(std::fs::read(&uri).unwrap(), b"old", "{uri}: untouched before the commit");
        sink.commit().unwrap();
        assert_eq!(listing(dir.path()), [name.as_str()]);
        assert_ne!(std::fs::read(&uri).unwrap(), b"old");
        assert!(matches!(sink.write(&two()), Err(Error::Internal(_))));

        std::fs::write(&uri, "old").unwrap();
        let mut dropped = SinkSpec::from_uri(&uri).unwrap().open().unwrap();
        dropped.open(&two().schema()).unwrap();
        drop(dropped);
        assert_eq!(listing(dir.path()), [name.as_str()], "{uri}: dropped is aborted");
        std::fs::remove_file(&uri).unwrap();
    }
}

#[test]
fn a_process_of_the_same_number_does_not_write_into_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("out.csv");
    // one of another container, which was given up and has the file open yet; files of other processes are not touched
    let old = dir.path().join(format!(".out.csv.tmp-{}-1f", std::process::id()));
    let other = dir.path().join(format!(".out.csv.tmp-{}9-1f", std::process::id()));
    let mut zombie = std::fs::File::create(&old).unwrap();
    std::fs::write(&other, "theirs").unwrap();
    let mut sink = CsvSink::new(&target, &CsvOptions::default()).unwrap();
    sink.open(&two().schema()).unwrap();
    sink.write(&two()).unwrap();
    std::io::Write::write_all(&mut zombie, b"rows of an attempt that was given up").unwrap();
    assert!(std::fs::rename(&old, &target).is_err(), "it can put nothing in place");
    sink.commit().unwrap();
    assert!(!std::fs::read_to_string(&target).unwrap().contains("given up"));
    assert_eq!(listing(dir.path()), [other.file_name().unwrap().to_str().unwrap(), "out.csv"]);
    // of one process two still may not
    let mut first = CsvSink::new(&target, &CsvOptions::default()).unwrap();
    first.open(&two().schema()).unwrap();
    let second = CsvSink::new(&target, &CsvOptions::default()).unwrap().open(&two().schema()).unwrap_err();
    assert!(second.to_string().contains("two sinks write to"), "{second}");
    first.write(&two()).unwrap();
    first.commit().unwrap();
}

#[test]
fn impossible_targets_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| CsvSink::new(path, &CsvOptions::default()).unwrap().open(&two().schema());
    let missing = open(&dir.path().join("none/out.csv")).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }) && missing.to_string().contains("create its directory first"), "{missing}");
    assert!(usage_error(open(dir.path())).contains("is a directory"));
    write(&dir.path().join("file"), "");
    assert!(matches!(open(&dir.path().join("file/out.csv")), Err(Error::Io { .. })));

    let mut first = CsvSink::new(dir.path().join("out.csv"), &CsvOptions::default()).unwrap();
    first.open(&two().schema()).unwrap();
    assert!(usage_error(open(&dir.path().join("out.csv"))).contains("two sinks"));
    first.abort();
    open(&dir.path().join("out.csv")).unwrap();
}

#[test]
fn a_full_disk_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(dir.path()).output();
    if !mounted.as_ref().is_ok_and(|o| o.status.success()) {
        println!("skipped: no tmpfs can be mounted here ({mounted:?})");
        return;
    }
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((0..300_000).map(|n: i64| n.wrapping_mul(0x5851_F42D_4C95_7F2D))));
    let batch = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
    let mut results = Vec::new();
    for uri in uris(dir.path()) {
        let mut sink = SinkSpec::from_uri(&uri).unwrap().open().unwrap();
        let result = sink.open(&batch.schema()).and_then(|()| sink.write(&batch)).and_then(|()| sink.commit());
        sink.abort();
        results.push((uri, result, listing(dir.path())));
    }
    let unmounted = std::process::Command::new("umount").arg(dir.path()).status();
    assert!(unmounted.unwrap().success());
    for (uri, result, left) in results {
        let error = result.expect_err(&uri);
        assert!(matches!(&error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull), "{uri}: {error:?}");
        assert!(error.to_string().starts_with(&uri) && error.to_string().contains("free some space"), "{error}");
        assert!(left.is_empty(), "{uri}: {left:?}");
    }
}

#[test]
fn lists_do_not_fit_a_csv_cell() {
    let dir = tempfile::tempdir().unwrap();
    let list = schema(&[("l", DataType::List(Arc::new(Field::new("item", DataType::Int64, true))))]);
    let mut sink = CsvSink::new(dir.path().join("o.csv"), &CsvOptions::default()).unwrap();
    let text = usage_error(sink.open(&list));
    assert!(text.contains("column `l` is a list<i64>") && text.contains("JSON lines"), "{text}");
    assert!(listing(dir.path()).is_empty());
}

#[test]
fn csv_is_quoted_where_it_must_be() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("o.csv");
    let mut sink = CsvSink::new(&path, &CsvOptions { delimiter: ';', ..CsvOptions::default() }).unwrap();
    let strings: ArrayRef =
        Arc::new(StringViewArray::from(vec![Some("a;b"), None, Some(""), Some("NA"), Some("say \"x\"\n"), Some("a,b")]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(1), Some(2), Some(3), Some(4), Some(5)]));
    let batch = RecordBatch::try_from_iter([("s;t", strings), ("n", numbers)]).unwrap();
    sink.open(&batch.schema()).unwrap();
    sink.write(&batch).unwrap();
    sink.commit().unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "\"s;t\";n\n\"a;b\";\n;1\n\"\";2\n\"NA\";3\n\"say \"\"x\"\"\n\";4\na,b;5\n");
    let mut bare = CsvSink::new(&path, &CsvOptions { quote: None, header: false, ..CsvOptions::default() }).unwrap();
    bare.open(&batch.schema()).unwrap();
    assert!(data_error(bare.write(&batch).unwrap_err()).1.contains("cannot be written without quotes"));
}

#[test]
fn a_slice_writes_its_own_bytes_only() {
    let dir = tempfile::tempdir().unwrap();
    let long: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..10_000).map(|n| format!("a text longer than twelve bytes {n}"))));
    let batch = RecordBatch::try_from_iter([("s", long)]).unwrap();
    let mut sink = ArrowSink::new(dir.path().join("o.arrow"));
    sink.open(&batch.schema()).unwrap();
    for i in 0..10 {
        sink.write(&batch.slice(i * 10, 10)).unwrap();
    }
    sink.commit().unwrap();
    assert!(std::fs::metadata(dir.path().join("o.arrow")).unwrap().len() < 30_000);
}

#[test]
fn a_blackhole_counts() {
    let (mut sink, counter) = BlackholeSink::new();
    sink.open(&two().schema()).unwrap();
    sink.write(&two()).unwrap();
    sink.commit().unwrap();
    assert_eq!(counter.rows(), 2);
}
