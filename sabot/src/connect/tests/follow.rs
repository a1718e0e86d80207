//! Files that grow, and directories that get files.

use std::io::Write as _;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;

use super::*;
use crate::connect::SourceSpec;

fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false), Field::new("s", DataType::Utf8, true)]))
}
fn open(uri: &str) -> Box<dyn Source> {
    SourceSpec::from_uri(uri).unwrap().open("R", &columns()).unwrap()
}
fn append(path: &Path, text: &str) {
    std::fs::File::options().create(true).append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}
/// All rows that there are now.
fn rows(reader: &mut dyn SplitReader) -> Vec<i64> {
    let mut found = Vec::new();
    loop {
        match reader.next(2).unwrap() {
            Read::Rows(batch, _) => found.extend(batch.column(0).as_primitive::<Int64Type>().values()),
            Read::Idle | Read::End => return found,
            other => panic!("{other:?}"),
        }
    }
}
fn refused(reader: crate::Result<Read>) -> String {
    data_error(reader.unwrap_err()).1
}

#[test]
fn lines_are_read_once_they_are_whole() {
    let formats: &[(&str, &str, fn(i64) -> String)] = &[
        ("csv", "n,s\n", |n| format!("{n},\"a\nb{n}\"\n")),
        #[cfg(feature = "json")]
        ("jsonl", "", |n| format!("{{\"n\":{n},\"s\":\"a\\nb\"}}\n")),
    ];
    for (ending, head, line) in formats {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("log.{ending}"));
        let source = open(&format!("follow:{}?every_ms=20", dir.path().join(format!("*.{ending}")).display()));
        assert!(!source.bounded() && source.pace().list_again == Some(Duration::from_millis(20)));
        assert!(source.splits().unwrap().is_empty(), "nothing is there yet");
        append(&path, head.get(..2).unwrap_or_default());
        let split = source.splits().unwrap().remove(0);
        let mut reader = source.open(&split, None).unwrap();
        assert!(rows(reader.as_mut()).is_empty(), "not even the names of the columns");
        append(&path, head.get(2..).unwrap_or_default());
        assert!(rows(reader.as_mut()).is_empty());
        let text: String = (0..5).map(line).collect();
        append(&path, &text[..text.len() - 3]);
        assert_eq!(rows(reader.as_mut()), [0, 1, 2, 3], "{ending}: the last line is not whole");
        assert!(rows(reader.as_mut()).is_empty());
        let position = reader.position();
        append(&path, &text[text.len() - 3..]);
        append(&path, &line(5));
        assert_eq!(rows(reader.as_mut()), [4, 5], "{ending}");
        assert_eq!(rows(source.open(&split, Some(&position)).unwrap().as_mut()), [4, 5], "{ending}: from a position");
        assert_eq!(rows(source.open(&split, None).unwrap().as_mut()), [0, 1, 2, 3, 4, 5], "{ending}: from the start");

        // from any position, whatever is appended when
        let all: String = (0..6).map(line).collect::<String>();
        let mut reader = source.open(&split, None).unwrap();
        for n in 0..6 {
            assert!(matches!(reader.next(1).unwrap(), Read::Rows(b, _) if b.num_rows() == 1));
            let rest: Vec<i64> = (n + 1..6).collect();
            assert_eq!(rows(source.open(&split, Some(&reader.position())).unwrap().as_mut()), rest, "{ending}");
        }
        assert!(all.len() > 10);
    }
}

#[test]
fn a_file_that_is_another_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    append(&path, "n,s\n1,x\n2,y\n");
    let source = open(&format!("follow:{}", path.display()));
    let split = source.splits().unwrap().remove(0);
    let mut reader = source.open(&split, None).unwrap();
    assert_eq!(rows(reader.as_mut()), [1, 2]);
    let position = reader.position();
    std::fs::write(&path, "n,s\n1,x\n").unwrap();
    assert!(refused(reader.next(1)).contains("cut off"));

    std::fs::write(&path, "n,s\n7,x\n8,y\n9,z\n").unwrap();
    let error = source.open(&split, Some(&position)).err().unwrap();
    assert!(data_error(error).1.contains("another was put in its place"));

    // a name that moves on to a new file, as log rotation does
    std::fs::write(&path, "n,s\n1,x\n2,y\n").unwrap();
    let mut reader = source.open(&split, Some(&position)).unwrap();
    assert!(rows(reader.as_mut()).is_empty());
    std::fs::rename(&path, dir.path().join("a.1")).unwrap();
    assert!(rows(reader.as_mut()).is_empty(), "taken away: nothing more comes");
    append(&path, "n,s\n1,x\n2,y\n3,z\n");
    if cfg!(unix) {
        assert!(refused(reader.next(1)).contains("another file was put in its place"));
    }
}

#[cfg(feature = "parquet")]
#[test]
fn a_directory_that_gets_parquet_files() {
    use arrow_array::{Int64Array, StringArray};
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, n: Vec<i64>| {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["x"; n.len()]));
        let batch = batch(&columns(), vec![Arc::new(Int64Array::from(n)), text]);
        let mut sink = crate::connect::SinkSpec::from_uri(&dir.path().join(name).display().to_string()).unwrap().open().unwrap();
        sink.open(batch.schema_ref()).unwrap();
        sink.write(&batch).unwrap();
        sink.commit().unwrap();
    };
    let mut source = open(&format!("follow:parquet:{}", dir.path().display()));
    assert!(source.splits().unwrap().is_empty());
    put("a.parquet", vec![1, 2, 3]);
    put("b.parquet", vec![4]);
    let splits = source.splits().unwrap();
    assert_eq!(splits.len(), 2);
    assert_eq!(splits, source.splits().unwrap(), "the same file is the same split");
    source.project(&["n".into()]).unwrap();
    let mut reader = source.open(&splits[0], None).unwrap();
    assert!(matches!(reader.next(2).unwrap(), Read::Rows(b, _) if b.num_rows() == 2 && b.num_columns() == 1));
    assert_eq!(rows(source.open(&splits[0], Some(&reader.position())).unwrap().as_mut()), [3]);
    assert_eq!(rows(reader.as_mut()), [3]);
    assert!(matches!(reader.next(2).unwrap(), Read::End));
    assert!(matches!(source.open(&splits[0], Some(&reader.position())).unwrap().next(1).unwrap(), Read::End));
}

#[test]
fn what_cannot_be_followed() {
    for (uri, part) in [
        ("follow:a.xlsx", "`a.xlsx`"),
        ("follow:kafka://h/t", "only files can be followed"),
        ("follow:a.csv?every_ms=soon", "number of milliseconds, not `soon`"),
        ("follow:a.csv?evry=1", "no option `evry`"),
    ] {
        let error = usage_error(SourceSpec::from_uri(uri));
        assert!(error.contains(part), "{error}");
    }
    let spec = SourceSpec::from_uri("follow:a.csv?delimiter=;&every_ms=7").unwrap();
    assert!(
        matches!(&spec, SourceSpec::Follow { files, every_ms: 7 } if matches!(&**files, SourceSpec::Csv { options, .. } if options.delimiter == ';'))
    );
    assert_eq!(serde_json::from_str::<SourceSpec>(&serde_json::to_string(&spec).unwrap()).unwrap(), spec);
}
