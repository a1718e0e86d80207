//! File sinks that take part in checkpoints: what is there when, and what a later process makes of it.

use arrow_array::Int64Array;

use super::*;
use crate::connect::SinkSpec;
use crate::operator::{Beginning, Prepared, Sink};

fn numbers(range: std::ops::Range<i64>) -> RecordBatch {
    batch(&schema(&[("n", DataType::Int64)]), vec![Arc::new(Int64Array::from_iter_values(range))])
}

/// A sink as a process of this generation has it.
fn begin(uri: &str, generation: u64, from: Option<&Prepared>) -> crate::Result<Box<dyn Sink>> {
    let mut sink = SinkSpec::from_uri(uri)?.open()?;
    let two = sink.two_phase().expect("takes part");
    two.begin(Beginning { generation, from, savepoint: false, fenced: false })?;
    from.map_or(Ok(()), |from| two.publish(from))?;
    sink.open(numbers(0..0).schema_ref())?;
    Ok(sink)
}
fn prepare(sink: &mut Box<dyn Sink>, epoch: u64, last: bool) -> Prepared {
    sink.two_phase().unwrap().prepare(epoch, last).unwrap().finish().unwrap()
}
fn publish(sink: &mut Box<dyn Sink>, prepared: &Prepared) {
    sink.two_phase().unwrap().publish(prepared).unwrap();
}
fn visible(dir: &Path) -> Vec<String> {
    listing(dir).into_iter().filter(|n| !n.starts_with('.')).collect()
}

#[test]
fn a_directory_gets_a_file_with_each_checkpoint() {
    for ending in if cfg!(feature = "parquet") { vec!["csv", "parquet"] } else { vec!["csv"] } {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let uri = format!("{ending}:{}/", out.display());
        let part = |n: u64| format!("part-{n:08}.{ending}");
        let mut first = begin(&uri, 1, None).unwrap();
        first.write(&numbers(0..5)).unwrap();
        let one = prepare(&mut first, 1, false);
        assert!(visible(&out).is_empty(), "prepared is not shown");
        publish(&mut first, &one);
        publish(&mut first, &one);
        assert_eq!(visible(&out), [part(1)]);
        let two = prepare(&mut first, 2, false);
        publish(&mut first, &two);
        assert_eq!(visible(&out), [part(1)], "a checkpoint without rows adds no file");
        first.write(&numbers(5..7)).unwrap();
        let three = prepare(&mut first, 3, false);
        first.write(&numbers(7..9)).unwrap();
        let _four = prepare(&mut first, 4, false);
        first.write(&numbers(9..12)).unwrap();
        // It dies: 3 is durable but not shown, 4 was only prepared.
        assert!(begin(&uri, 2, Some(&three)).err().unwrap().to_string().contains("another sink or process"), "it is not dead yet");
        drop(first);
        let mut second = begin(&uri, 2, Some(&three)).unwrap();
        assert_eq!(visible(&out), [part(1), part(3)]);
        assert_eq!(listing(&out).len(), 3, "but for the new one nothing is staged: {:?}", listing(&out));
        second.write(&numbers(7..20)).unwrap();
        std::fs::remove_file(out.join(part(1))).unwrap();
        let last = prepare(&mut second, 4, true);
        publish(&mut second, &last);
        assert_eq!(listing(&out), [part(3), part(4)], "a file that was taken away does not come back");
        drop(second);
        let mut over = begin(&uri, 3, Some(&last)).unwrap();
        let again = prepare(&mut over, 5, true);
        publish(&mut over, &again);
        drop(over);
        assert_eq!(listing(&out), [part(3), part(4)], "a job that is over adds nothing");

        let early = begin(&uri, 4, Some(&three)).err().unwrap().to_string();
        assert!(early.contains(&part(4)) && early.contains("would be there twice"), "{early}");
        assert!(usage_error(begin(&uri, 1, None).map(drop)).contains("directory without files"));
        let elsewhere = format!("{ending}:{}/", dir.path().display());
        assert!(begin(&elsewhere, 5, Some(&last)).err().unwrap().to_string().contains("its files are in"));
    }
}

#[test]
fn a_directory_without_checkpoints_gets_one_file_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let uri = format!("csv:{}/", dir.path().display());
    let mut sink = SinkSpec::from_uri(&uri).unwrap().open().unwrap();
    sink.open(numbers(0..0).schema_ref()).unwrap();
    sink.write(&numbers(0..3)).unwrap();
    assert!(visible(dir.path()).is_empty());
    sink.abort();
    assert!(listing(dir.path()).is_empty());
    sink.open(numbers(0..0).schema_ref()).unwrap();
    sink.commit().unwrap();
    assert_eq!(listing(dir.path()), ["part-00000001.csv"], "a file with a header alone is a result too");
    assert_eq!(SinkSpec::from_uri("out/").unwrap(), SinkSpec::Parquet { path: "out/".into() });
}

#[test]
fn a_text_file_grows_and_appears_at_the_end() {
    for (ending, header) in if cfg!(feature = "json") { vec![("csv", 1), ("jsonl", 0)] } else { vec![("csv", 1)] } {
        let dir = tempfile::tempdir().unwrap();
        let (target, hidden) = (dir.path().join(format!("out.{ending}")), format!(".out.{ending}.staged"));
        let uri = target.display().to_string();
        let mut first = begin(&uri, 1, None).unwrap();
        first.write(&numbers(0..5)).unwrap();
        let one = prepare(&mut first, 1, false);
        publish(&mut first, &one);
        first.write(&numbers(5..10)).unwrap();
        let _lost = prepare(&mut first, 2, false);
        drop(first);
        assert_eq!(listing(dir.path()), [hidden.as_str()], "it outlives the process");

        let mut second = begin(&uri, 2, Some(&one)).unwrap();
        second.write(&numbers(5..7)).unwrap();
        let last = prepare(&mut second, 2, true);
        assert!(!target.exists());
        publish(&mut second, &last);
        publish(&mut second, &last);
        drop(second);
        assert_eq!(listing(dir.path()), [format!("out.{ending}")]);
        let text = std::fs::read_to_string(&target).unwrap();
        assert_eq!(text.lines().count(), 7 + header, "{text}");
        assert!(text.lines().last().unwrap().contains('6'), "{text}");

        let mut over = begin(&uri, 3, Some(&last)).unwrap();
        let again = prepare(&mut over, 3, true);
        assert_eq!(again, last);
        publish(&mut over, &again);
        assert_eq!(std::fs::read_to_string(&target).unwrap(), text);

        let early = begin(&uri, 4, Some(&one)).err().unwrap().to_string();
        assert!(early.contains("shorter than at the checkpoint"), "{early}");
    }
}
