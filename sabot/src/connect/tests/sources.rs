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
