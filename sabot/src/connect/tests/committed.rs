//! What a sink has committed, read back.

use arrow_array::Int64Array;

use super::*;
use crate::connect::SinkSpec;
use crate::operator::{Beginning, Sink};

fn rows(first: i64, n: i64) -> RecordBatch {
    let text = (first..first + n).map(|i| (i % 3 > 0).then(|| format!("row {i}, \"quoted\""))).collect::<arrow_array::StringViewArray>();
    let kind = (first..first + n).map(|i| Some(if i % 2 == 0 { "even" } else { "odd" }));
    let kind = kind.collect::<arrow_array::DictionaryArray<arrow_array::types::Int32Type>>();
    let number: ArrayRef = Arc::new((first..first + n).collect::<Int64Array>());
    RecordBatch::try_from_iter_with_nullable([
        ("n", number, false),
        ("text", Arc::new(text) as _, true),
        ("kind", Arc::new(kind) as _, true),
    ])
    .unwrap()
}

/// The rows as an output has them: without dictionaries.
fn plain(batch: &RecordBatch) -> RecordBatch {
    let kind = arrow_cast::cast(batch.column(2), &DataType::Utf8).unwrap();
    let columns = vec![Arc::clone(batch.column(0)), Arc::clone(batch.column(1)), kind];
    RecordBatch::try_from_iter_with_nullable(["n", "text", "kind"].into_iter().zip(columns).map(|(n, c)| (n, c, n != "n"))).unwrap()
}

/// Whether this build knows a format.
fn known(format: &str) -> bool {
    match format {
        "parquet" => cfg!(feature = "parquet"),
        "jsonl" => cfg!(feature = "json"),
        _ => true,
    }
}

fn committed(spec: &SinkSpec, schema: &Schema) -> RecordBatch {
    let found = spec.committed(schema).unwrap();
    let schema = Arc::clone(found.schema());
    let batches: Vec<RecordBatch> = found.collect::<crate::Result<_>>().unwrap();
    concat_batches(&schema, &batches).unwrap()
}

#[test]
fn files_of_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["a.parquet", "a.csv", "a.tsv", "csv:a.txt?delimiter=;&header=false", "a.jsonl", "a.arrow", "csv:[a]*.x"];
    for name in names.into_iter().filter(|n| known(n.trim_start_matches("a."))) {
        let (scheme, path) = name.split_once(':').map_or((String::new(), name), |(s, p)| (format!("{s}:"), p));
        let spec = SinkSpec::from_uri(&format!("{scheme}{}/{path}", dir.path().display())).unwrap();
        let batch = rows(0, 20_000);
        let missing = spec.committed(&batch.schema()).err().unwrap();
        assert!(matches!(&missing, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound), "{missing}");
        let mut sink = spec.open().unwrap();
        sink.open(&batch.schema()).unwrap();
        sink.write(&batch.slice(0, 5)).unwrap();
        sink.write(&batch.slice(5, 19_995)).unwrap();
        assert!(spec.committed(&batch.schema()).is_err(), "{name}: nothing shows before the commit");
        sink.commit().unwrap();
        assert_eq!(committed(&spec, &batch.schema()), plain(&batch), "{name}");
    }
}

#[test]
fn parts_of_a_directory_as_far_as_they_are_published() {
    for format in ["parquet", "csv", "jsonl", "arrow"].into_iter().filter(|f| known(f)) {
        let dir = tempfile::tempdir().unwrap();
        let spec = SinkSpec::from_uri(&format!("{format}:{}/out/", dir.path().display())).unwrap();
        let schema = rows(0, 0).schema();
        let mut sink: Box<dyn Sink> = spec.open().unwrap();
        sink.two_phase().unwrap().begin(Beginning { generation: 1, from: None, savepoint: false, fenced: false }).unwrap();
        sink.open(&schema).unwrap();
        assert_eq!(committed(&spec, &schema).num_rows(), 0, "{format}: a sink that has begun has no rows");
        // numbers with more digits than names have count as numbers
        for (n, epoch) in [(0, 9), (1, 10), (2, 99_999_999), (3, 100_000_000)] {
            sink.write(&rows(n * 100, 100)).unwrap();
            let prepared = sink.two_phase().unwrap().prepare(epoch, false).unwrap().finish().unwrap();
            assert_eq!(committed(&spec, &schema).num_rows() as i64, n * 100, "{format}: what is prepared is no row yet");
            // published twice, as after a crash
            sink.two_phase().unwrap().publish(&prepared).unwrap();
            sink.two_phase().unwrap().publish(&prepared).unwrap();
            assert_eq!(committed(&spec, &schema), plain(&rows(0, n * 100 + 100)), "{format}");
        }
        // what is not the sink's is not read
        std::fs::write(dir.path().join("out/notes.csv"), "n\n1\n").unwrap();
        std::fs::write(dir.path().join("out/part-00000011.txt"), "n\n1\n").unwrap();
        assert_eq!(committed(&spec, &schema).num_rows(), 400, "{format}");
        // a file that is taken away meanwhile is an error, and not an end
        let mut reading = spec.committed(&schema).unwrap();
        assert!(reading.next().unwrap().is_ok());
        std::fs::remove_dir_all(dir.path().join("out")).unwrap();
        assert!(reading.any(|batch| batch.is_err()), "{format}");
    }
}

#[test]
fn other_columns_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for format in ["parquet", "arrow"].into_iter().filter(|f| known(f)) {
        let spec = SinkSpec::from_uri(&format!("{}/a.{format}", dir.path().display())).unwrap();
        let mut sink = spec.open().unwrap();
        sink.open(&rows(0, 0).schema()).unwrap();
        sink.write(&rows(0, 3)).unwrap();
        sink.commit().unwrap();
        let other = Schema::new(vec![Field::new("n", DataType::Utf8, false), Field::new("txt", DataType::Utf8, true)]);
        let told = spec.committed(&other).unwrap().next().unwrap().unwrap_err().to_string();
        assert!(told.contains("n      | string         | i64") && told.contains("is it `text`?"), "{told}");
    }
}
