//! Errors of input and output that pass by themselves, and the page that explains all messages.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use sabot::connect::{Collected, MemorySink};
use sabot::operator::{Read, Split, SplitReader};
use sabot::prelude::*;
use sabot::runtime::{Control, Report, Simulated};
use sabot::stream::Job;

#[derive(Record, Clone, Debug, PartialEq)]
struct Number {
    n: i64,
}

const SPLITS: i64 = 3;
const ROWS: i64 = 40;

/// What goes wrong when, by the number of the call.
#[derive(Clone)]
struct Weather {
    calls: Arc<AtomicU32>,
    fails: fn(u32) -> Option<ErrorKind>,
}
impl Weather {
    fn new(fails: fn(u32) -> Option<ErrorKind>) -> Self {
        Weather { calls: Arc::default(), fails }
    }
    fn check(&self, what: &str) -> Result<()> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        (self.fails)(call).map_or(Ok(()), |kind| Err(Error::io("far/away", what, kind.into())))
    }
}

/// Numbers from afar, in splits.
struct Far {
    schema: SchemaRef,
    opening: Weather,
    reading: Weather,
}
struct FarReader {
    next: i64,
    end: i64,
    schema: SchemaRef,
    reading: Weather,
}
impl sabot::operator::Source for Far {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn project(&mut self, _: &[String]) -> Result<()> {
        Ok(())
    }
    fn bounded(&self) -> bool {
        true
    }
    fn splits(&self) -> Result<Vec<Split>> {
        let split = |s: i64| Split { partition: 0, sequence: s as u64, rows: None, bytes: None, spec: (s * ROWS).into() };
        Ok((0..SPLITS).map(split).collect())
    }
    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        self.opening.check("cannot open")?;
        let first = split.spec.as_i64().unwrap();
        let next = position.map_or(first, |p| p.as_i64().unwrap());
        Ok(Box::new(FarReader { next, end: first + ROWS, schema: Arc::clone(&self.schema), reading: self.reading.clone() }))
    }
    fn describe(&self) -> String {
        "afar".into()
    }
}
impl SplitReader for FarReader {
    fn next(&mut self, _: usize) -> Result<Read> {
        // a few rows each time; on an error the reader has already moved on, as one that reads ahead would
        let rows: Vec<i64> = (self.next..self.end.min(self.next + 7)).collect();
        self.next += rows.len() as i64;
        self.reading.check("cannot read")?;
        if rows.is_empty() {
            return Ok(Read::End);
        }
        let column: ArrayRef = Arc::new(Int64Array::from(rows));
        Ok(Read::Rows(RecordBatch::try_new(Arc::clone(&self.schema), vec![column])?, None))
    }
    fn position(&self) -> serde_json::Value {
        self.next.into()
    }
}

/// A sink behind a bad line.
struct FarSink {
    inner: MemorySink,
    weather: Weather,
    repeatable: bool,
}
impl sabot::operator::Sink for FarSink {
    fn open(&mut self, schema: &SchemaRef) -> Result<()> {
        self.weather.check("cannot open")?;
        self.inner.open(schema)
    }
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.weather.check("cannot write")?;
        self.inner.write(batch)
    }
    fn commit(&mut self) -> Result<()> {
        self.weather.check("cannot commit")?;
        self.inner.commit()
    }
    fn abort(&mut self) {
        self.inner.abort();
    }
    fn repeatable(&self) -> bool {
        self.repeatable
    }
    fn describe(&self) -> String {
        "far sink".into()
    }
}

pipeline! {
    /// Numbers as they are.
    pub fn copied(numbers: Source<Number, Bounded>);
    copied = numbers -> filter(|n| n.n >= 0);
    copied -> sink;
}

fn far(opening: Weather, reading: Weather) -> Source<Number, Bounded> {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    Source::custom_bounded(move || Ok(Far { schema: Arc::clone(&schema), opening: opening.clone(), reading: reading.clone() }))
}
fn into(job: Job, weather: Weather, repeatable: bool) -> (Job, Collected) {
    let (inner, collected) = MemorySink::new();
    let sink = Mutex::new(Some(FarSink { inner, weather, repeatable }));
    (job.sink("copied", Sink::custom(move || Ok(sink.lock().unwrap().take().unwrap()))), collected)
}
fn impatient(job: Job, threads: usize) -> Job {
    job.options(|o| {
        o.threads = threads;
        o.retry_wait = Duration::from_millis(1);
    })
}
fn numbers(collected: &Collected) -> Vec<i64> {
    let rows = collected.batches().unwrap();
    rows.iter().flat_map(|b| sabot::record::from_batch::<Number>(b, "the result").unwrap()).map(|n| n.n).collect()
}
fn fine(_: u32) -> Option<ErrorKind> {
    None
}
fn lines(report: &Report, of: &str) -> usize {
    report.events.iter().filter(|e| e.contains(of) && e.contains("attempt")).count()
}

#[test]
fn reading_goes_on_where_it_was() {
    let all: Vec<i64> = (0..SPLITS * ROWS).collect();
    for threads in [1, 2, 3] {
        let opening = Weather::new(|call| (call == 0).then_some(ErrorKind::ConnectionRefused));
        let reading = Weather::new(|call| (call % 4 == 1).then_some(ErrorKind::ConnectionReset));
        let (job, collected) = into(copied(far(opening, reading.clone())), Weather::new(fine), false);
        let report = impatient(job, threads).run().unwrap();
        assert_eq!(numbers(&collected), all, "{threads} threads");
        let failed = (0..reading.calls.load(Ordering::Relaxed)).filter(|c| c % 4 == 1).count();
        assert_eq!((lines(&report, "cannot read"), lines(&report, "cannot open")), (failed, 1), "{:?}", report.events);
    }
    // under a virtual clock no wait takes time
    for seed in 0..10 {
        let reading = Weather::new(|call| (call % 3 != 0).then_some(ErrorKind::TimedOut));
        let (job, collected) = into(copied(far(Weather::new(fine), reading)), Weather::new(fine), false);
        let job = job.options(|o| {
            o.threads = 1 + seed as usize % 3;
            o.retries = 50;
            o.retry_wait = Duration::from_secs(3600);
        });
        job.run_on(Arc::new(Simulated::new(seed)), &Control::new(), None).unwrap();
        assert_eq!(numbers(&collected), all, "seed {seed}");
    }
}

#[test]
fn sinks_that_allow_it_are_asked_again() {
    let weather = || Weather::new(|call| (call % 3 != 2).then_some(ErrorKind::Interrupted));
    for threads in [1, 3] {
        let (job, collected) = into(copied(far(Weather::new(fine), Weather::new(fine))), weather(), true);
        let report = impatient(job, threads).run().unwrap();
        assert_eq!(numbers(&collected), (0..SPLITS * ROWS).collect::<Vec<_>>());
        let times = ["cannot open", "cannot write", "cannot commit"].map(|what| lines(&report, what));
        assert!(times[0] == 2 && times[1] >= 2 && times[2] == 2, "{times:?}");
    }
    let (job, collected) = into(copied(far(Weather::new(fine), Weather::new(fine))), weather(), false);
    let error = impatient(job, 1).run().unwrap_err().to_string();
    assert!(error.contains("far/away: cannot open") && collected.batches().is_none(), "{error}");
}

#[test]
fn what_does_not_pass_ends_the_job() {
    let tries = |reading: Weather, retries: u32| {
        let (job, collected) = into(copied(far(Weather::new(fine), reading.clone())), Weather::new(fine), true);
        let error = impatient(job, 1).options(|o| o.retries = retries).run().unwrap_err();
        assert!(matches!(error, Error::Io { .. }) && collected.batches().is_none(), "{error}");
        reading.calls.load(Ordering::Relaxed)
    };
    // always the same: the first time, and as often again as allowed
    assert_eq!(tries(Weather::new(|_| Some(ErrorKind::ConnectionReset)), 3), 4);
    assert_eq!(tries(Weather::new(|_| Some(ErrorKind::ConnectionReset)), 0), 1);
    for kind in [ErrorKind::NotFound, ErrorKind::PermissionDenied, ErrorKind::InvalidData, ErrorKind::StorageFull, ErrorKind::BrokenPipe] {
        assert!(!Error::io("x", "cannot read", kind.into()).is_transient(), "{kind}");
    }
    assert_eq!(tries(Weather::new(|_| Some(ErrorKind::PermissionDenied)), 3), 1);
    assert!(!Error::Data { place: "x".into(), what: "y".into() }.is_transient());
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The sentences that the cases of `ui-tests` expect, with the case.
fn sentences() -> Vec<(String, String)> {
    let mut out = Vec::new();
    for file in std::fs::read_dir(root().join("ui-tests/cases")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy();
            // place, token, sentence
            let sentences = text.lines().filter_map(|l| l.strip_prefix("//~ ERROR ")).filter_map(|l| l.splitn(3, " | ").nth(2));
            out.extend(sentences.map(|s| (s.to_owned(), name.to_string())));
        }
    }
    out
}

/// Whether the parts of a heading between `…` come in order in a sentence.
fn fits(heading: &str, sentence: &str) -> bool {
    let mut rest = sentence;
    heading.split('…').filter(|part| !part.trim().is_empty()).all(|part| {
        let found = rest.find(part.trim());
        rest = found.map_or("", |at| rest.get(at + part.trim().len()..).unwrap_or(""));
        found.is_some()
    })
}

/// `docs/errors.md` explains every message: each sentence that a case of `ui-tests` expects, and each variant of `Error`.
#[test]
fn every_message_is_explained() {
    let page = std::fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let headings: Vec<&str> = page.lines().filter_map(|l| l.strip_prefix("### ")).collect();
    let mut missing: Vec<String> = Vec::new();
    let mut seen = vec![false; headings.len()];
    for (sentence, case) in sentences() {
        let mut any = false;
        // the case may give only the beginning of a sentence
        for (heading, seen) in headings.iter().zip(&mut seen) {
            if fits(heading, &sentence) || (sentence.len() > 12 && heading.starts_with(&sentence)) {
                (any, *seen) = (true, true);
            }
        }
        if !any {
            missing.push(format!("{case}: {sentence}"));
        }
    }
    let source = std::fs::read_to_string(root().join("sabot/src/error.rs")).unwrap();
    let body = source.split("pub enum Error {").nth(1).and_then(|s| s.split("\n}\n").next()).unwrap();
    let variants = body.lines().filter_map(|l| l.strip_prefix("    ")).filter(|l| l.starts_with(char::is_uppercase));
    let variants: Vec<&str> = variants.filter_map(|l| l.split(|c: char| !c.is_alphanumeric()).next()).collect();
    assert!(variants.len() > 8, "{variants:?}");
    for variant in variants {
        match headings.iter().position(|h| *h == format!("Error::{variant}")) {
            Some(at) => seen[at] = true,
            None => missing.push(format!("sabot/src/error.rs: Error::{variant}")),
        }
    }
    assert!(
        missing.is_empty(),
        "docs/errors.md lacks {} messages; add for each a line `### ` and the sentence, with `…` for what differs, then cause and fix:\n{}",
        missing.len(),
        missing.join("\n")
    );
    let stale: Vec<&&str> = headings.iter().zip(&seen).filter(|(_, seen)| !**seen).map(|(h, _)| h).collect();
    assert!(stale.is_empty(), "docs/errors.md explains what no case of ui-tests expects; add a case, or remove: {stale:#?}");
}
