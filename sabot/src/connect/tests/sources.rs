use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow_array::UInt64Array;

use super::*;
use crate::connect::{Generate, MemorySource, from_fn, from_reader};

fn n() -> SchemaRef {
    strict(&[("p", DataType::UInt64), ("n", DataType::UInt64)])
}

fn rows(partition: u64, first: u64, rows: usize) -> RecordBatch {
    let p: ArrayRef = Arc::new(UInt64Array::from_iter_values(std::iter::repeat_n(partition, rows)));
    let n_: ArrayRef = Arc::new(UInt64Array::from_iter_values(first..first + rows as u64));
    batch(&n(), vec![p, n_])
}

fn generate(partitions: u32, limit: Option<u64>) -> Generate {
    from_fn(n(), partitions, limit, |p, first, n| Ok((rows(p.into(), first, n), Some(first as i64))))
}

#[test]
fn memory_is_cut_without_regard_to_batches() {
    let sizes = [0, 1, 70_000, 5, 0, 65_531, 3];
    let mut first = 0;
    let mut batches = Vec::new();
    for size in sizes {
        batches.push(rows(0, first, size));
        first += size as u64;
    }
    let mut source = MemorySource::new(n(), batches).unwrap();
    let cut: Vec<u64> = source.splits().unwrap().iter().filter_map(|s| s.rows).collect();
    assert_eq!(cut, [65_536, 65_536, 4468]);
    assert_eq!(read_all(&source, 1000).unwrap(), rows(0, 0, 135_540));
    source.project(&["n".into()]).unwrap();
    assert_eq!(read_all(&source, 100_000).unwrap(), rows(0, 0, 135_540).project(&[1]).unwrap());
    let small = MemorySource::new(n(), vec![rows(0, 0, 3), rows(0, 3, 1), rows(0, 4, 9)]).unwrap();
    reopen_everywhere(&small);
    assert!(MemorySource::new(n(), vec![]).unwrap().splits().unwrap().is_empty());
    assert!(usage_error(MemorySource::new(n(), vec![rows(0, 0, 3).project(&[0]).unwrap()])).contains("other columns"));
}

#[test]
fn a_limited_generator_is_a_bounded_source() {
    let source = generate(2, Some(70_000));
    assert!(source.bounded());
    let splits = source.splits().unwrap();
    let cut: Vec<(u32, u64, u64)> = splits.iter().map(|s| (s.partition, s.sequence, s.rows.unwrap())).collect();
    assert_eq!(cut, [(0, 0, 65_536), (0, 1, 4464), (1, 0, 65_536), (1, 1, 4464)]);
    let last = drain(source.open(&splits[3], None).unwrap().as_mut(), 5000).unwrap();
    assert_eq!(last, [rows(1, 65_536, 4464)]);
    reopen_everywhere(&generate(1, Some(50)));
}

#[test]
fn an_endless_generator_continues_anywhere_at_its_pace() {
    let now = Arc::new(AtomicU64::new(0));
    let clock = now.clone();
    let source = generate(3, None).rows_per_second_by(100.0, move || Duration::from_millis(clock.load(Ordering::SeqCst))).unwrap();
    assert!(!source.bounded());
    let split = source.splits().unwrap().remove(2);
    let mut reader = source.open(&split, Some(&1000.into())).unwrap();
    assert!(matches!(reader.next(10).unwrap(), Read::Idle));
    now.store(50, Ordering::SeqCst);
    assert!(matches!(reader.next(10).unwrap(), Read::Rows(b, Some(1000)) if b == rows(2, 1000, 5)));
    assert!(matches!(reader.next(10).unwrap(), Read::Idle));
    assert_eq!(reader.position(), 1005);
    assert!(usage_error(generate(1, None).rows_per_second(0.0)).contains("positive"));
    assert!(generate(1, None).rows_per_second(1e9).is_ok());
    let short = from_fn(n(), 1, None, |_, first, n| Ok((rows(0, first, n - 1), None)));
    let error = short.open(&short.splits().unwrap()[0], None).unwrap().next(10).unwrap_err();
    assert!(error.to_string().contains("9 rows with 2 columns where 10 rows"), "{error}");
}

#[test]
fn an_iterator_is_a_source() {
    let mut source = from_reader("numbers", n(), || {
        Ok(Box::new([3, 0, 5].into_iter().scan(0, |first, size| {
            let batch = rows(0, *first, size);
            *first += size as u64;
            Some(Ok(batch))
        })))
    });
    reopen_everywhere(&source);
    source.project(&["n".into()]).unwrap();
    assert_eq!(read_all(&source, 2).unwrap(), rows(0, 0, 8).project(&[1]).unwrap());
    let split = source.splits().unwrap().remove(0);
    let error = source.open(&split, Some(&9.into())).unwrap().next(10).unwrap_err();
    assert!(error.to_string().contains("1 rows before the position"), "{error}");
}

#[cfg(feature = "json")]
#[test]
fn json_lines_in_pieces() {
    use crate::connect::{JsonSource, OnBadLine, SourceSpec};
    let dir = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..200).map(|n| format!("{{\"s\":\"{}\",\"n\":{n}}}", "x".repeat(n % 37))).collect();
    let path = write(&dir.path().join("a.jsonl"), format!("\u{FEFF}{}\n\n", lines.join(if cfg!(windows) { "\r\n" } else { "\n" })));
    let expected = strict(&[("n", DataType::Int64)]);
    for bytes in [1, 10, 100, 1000, 1 << 20] {
        let source = JsonSource::open(std::slice::from_ref(&path), OnBadLine::Fail, &expected).unwrap().split_bytes(bytes);
        let found = read_all(&source, 7).unwrap();
        let n: Vec<i64> = found.column(0).as_any().downcast_ref::<arrow_array::Int64Array>().unwrap().values().to_vec();
        assert_eq!(n, (0..200).collect::<Vec<i64>>(), "splits of {bytes} bytes");
        if bytes == 1000 {
            reopen_everywhere(&source);
        }
    }
    let path = write(&dir.path().join("bad.jsonl"), "{\"n\":1}\n{\"n\":\"one\"}\n\n{\"n\":3}\nnonsense");
    let fail = SourceSpec::from_uri(&path).unwrap().open("R", &expected).unwrap();
    let (place, what) = data_error(read_all(fail.as_ref(), 10).unwrap_err());
    assert!(place.ends_with("bad.jsonl:2") && what.contains("one"), "{place}: {what}");
    let skip = SourceSpec::from_uri(&format!("{path}?on_bad_line=skip")).unwrap().open("R", &expected).unwrap();
    let mut reader = skip.open(&skip.splits().unwrap()[0], None).unwrap();
    assert_eq!(drain(reader.as_mut(), 10).unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    assert_eq!(reader.take_failed(), 2);
    let error = usage_error(SourceSpec::from_uri(&format!("{path}?on_bad_lines=skip")));
    assert!(error.contains("no option `on_bad_lines`"), "{error}");
}

#[test]
fn a_channel_is_read_once_and_refused_by_checkpoints() {
    let column: ArrayRef = Arc::new(arrow_array::Int64Array::from(vec![1, 2, 3]));
    let sent = RecordBatch::try_from_iter([("n", column)]).unwrap();
    let (sender, mut source) = crate::connect::ChannelSource::new(sent.schema(), 1);
    assert!(!source.replays() && !source.bounded());
    source.project(&["n".into()]).unwrap();
    let split = source.splits().unwrap().remove(0);
    let mut reader = source.open(&split, None).unwrap();
    assert!(usage_error(source.open(&split, None).map(drop)).contains("once"));
    sender.send(sent.clone()).unwrap();
    assert!(sender.try_send(sent.clone()).is_err(), "it is full");
    assert!(matches!(reader.next(2).unwrap(), Read::Rows(b, _) if b.num_rows() == 2));
    sender.send(RecordBatch::new_empty(Arc::new(Schema::empty()))).unwrap();
    assert!(matches!(reader.next(2).unwrap(), Read::Rows(b, _) if b.num_rows() == 1));
    assert!(data_error(reader.next(2).unwrap_err()).1.contains("other columns"));
    drop(reader);
    assert!(sender.send(sent).is_err(), "the job is over");
}
