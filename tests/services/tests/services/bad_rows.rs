//! Lines that are no rows as a stream of their own: each once, and counted, at any number of threads, wherever the job dies.

use sabot::connect::SourceSpec;
use sabot::prelude::*;
use sabot::testing::{Ran, Trial};

use super::ledger::mix;

/// A number with a time, which may be late.
#[derive(Record, Clone, Debug, PartialEq)]
struct Reading {
    n: i64,
    #[event_time]
    at: Timestamp<Micros>,
}

/// A numbered line.
#[derive(Record, Clone, Debug, PartialEq)]
struct Line {
    n: i64,
    label: Str,
}
#[derive(Record, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Note {
    position: u64,
    text: Str,
}
#[derive(Record, Clone, Debug, PartialEq)]
struct Count {
    label: Str,
    lines: u64,
}

pipeline! {
    /// Lines by label, those that are none, and how many there are of each.
    pub fn sorted_out(lines: Source<Line, Bounded>);
    (rows, bad) = lines -> bad_rows();
    rows -> sink;
    counts = rows -> key_by(label) -> aggregate(|r| row { lines: count() });
    counts -> sink;
    notes = bad -> filter(|b| b.error != "") -> select(|b| row { position: b.position, text: b.text });
    notes -> sink;
}
pipeline! {
    /// The same of rows that are also late, or on time.
    pub fn timed(readings: Source<Reading>);
    (good, bad) = readings -> bad_rows();
    (on_time, late) = good -> watermark(disorder = 0.sec()) -> late_rows();
    on_time -> sink;
    late -> sink;
    bad -> sink;
}

const LINES: u64 = 900;

fn is_bad(n: u64) -> bool {
    mix(n).is_multiple_of(4) || (300..380).contains(&n)
}
fn write(format: &str) -> tempfile::NamedTempFile {
    let (head, good): (_, fn(u64) -> String) = match format {
        "csv" => ("n,label\n", |n| format!("{n},l{}\n", n % 3)),
        _ => ("", |n| format!("{{\"n\":{n},\"label\":\"l{}\"}}\n", n % 3)),
    };
    let text: String = (0..LINES).map(|n| if is_bad(n) { format!("bad {n}\n") } else { good(n) }).collect();
    let file = tempfile::Builder::new().suffix(&format!(".{format}")).tempfile().unwrap();
    std::fs::write(file.path(), head.to_owned() + &text).unwrap();
    file
}
fn source<R: Record>(file: &tempfile::NamedTempFile) -> Source<R, Bounded> {
    SourceSpec::from_uri(&file.path().display().to_string()).unwrap().into()
}

fn check(ran: &Ran, first: u64, what: &str) {
    let rows: Vec<i64> = ran.rows::<Line>("rows").unwrap().iter().map(|r| r.n).collect();
    assert_eq!(rows, (0..LINES).filter(|n| !is_bad(*n)).map(|n| n as i64).collect::<Vec<_>>(), "{what}");
    let wanted: Vec<Note> =
        (0..LINES).filter(|n| is_bad(*n)).map(|n| Note { position: first + n, text: format!("bad {n}").as_str().into() }).collect();
    assert_eq!(ran.rows::<Note>("notes").unwrap(), wanted, "{what}");
    let lines: u64 = ran.rows::<Count>("counts").unwrap().iter().map(|c| c.lines).sum();
    assert_eq!(lines as usize, rows.len(), "{what}");
}

#[test]
fn bad_lines_are_a_stream() {
    for (format, first) in [("csv", 2), ("jsonl", 1)] {
        let file = write(format);
        for threads in [1, 2, 3, 8] {
            for morsel in [1, 7, 64, 1000] {
                let trial = Trial::new().threads(threads).morsel_rows(morsel);
                let ran = trial.run(sorted_out(source(&file))).unwrap();
                check(&ran, first, &format!("{format}, {threads} threads, morsels of {morsel}"));
                // read = used + failed, and what failed is what the other stream took in
                let report = ran.report.as_ref().unwrap();
                let node = |end: &str| report.nodes.iter().find(|n| n.name.ends_with(end)).unwrap();
                let bad = (0..LINES).filter(|n| is_bad(*n)).count() as u64;
                let read = node("lines/source").account;
                assert_eq!((read.rows_in, read.failed, read.used), (LINES, bad, LINES - bad));
                assert_eq!(report.nodes.iter().find(|n| n.bad).unwrap().account.rows_in, bad);
            }
        }
    }
}

#[test]
fn bad_lines_survive_crashes() {
    let mut restored = 0;
    for seed in 0..40u64 {
        let random = mix(seed ^ 0xbad);
        let (format, first) = [("csv", 2), ("jsonl", 1)][seed as usize % 2];
        let file = write(format);
        let morsel = [1, 7, 50][(random >> 40) as usize % 3];
        let crash = [900, 250, 90][(random >> 40) as usize % 3] + (random >> 24) % 60;
        let died = Trial::new().threads(1 + random as usize % 4).morsel_rows(morsel).seed(seed).crash_at(crash);
        let died = died.snapshot_at(crash / 4).snapshot_at(crash / 2).run(sorted_out(source(&file))).unwrap();
        restored += u64::from(died.checkpoint.is_some());
        let again = Trial::new().threads(1 + (random >> 4) as usize % 4).morsel_rows(13).seed(seed + 1000).from(died.checkpoint);
        check(&again.run(sorted_out(source(&file))).unwrap(), first, &format!("seed {seed}"));
    }
    assert!(restored > 25, "{restored} of 40 had a complete checkpoint");
}

/// Late rows and bad ones are two streams beside that of one source.
#[test]
fn bad_and_late_rows_of_one_source() {
    let file = tempfile::Builder::new().suffix(".jsonl").tempfile().unwrap();
    let line = |n: u64| match n % 4 {
        3 => format!("bad {n}\n"),
        1 => format!("{{\"n\":{n},\"at\":\"1970-01-01T00:00:00\"}}\n"),
        _ => format!("{{\"n\":{n},\"at\":\"1970-01-01T01:{:02}:{:02}\"}}\n", n / 60, n % 60),
    };
    std::fs::write(file.path(), (0..400).map(line).collect::<String>()).unwrap();
    let readings = || Source::<Reading>::from(SourceSpec::from_uri(&format!("follow:{}", file.path().display())).unwrap());
    let ran = Trial::new().threads(2).morsel_rows(7).seed(3).stop_at(2000).run(timed(readings())).unwrap();
    let numbers = |stream: &str| ran.rows::<Reading>(stream).unwrap().iter().map(|r| r.n).collect::<Vec<i64>>();
    let those = |rest: &[i64]| (0..400).filter(|n| rest.contains(&(n % 4))).collect::<Vec<i64>>();
    assert_eq!((numbers("on_time"), numbers("late"), ran.late()), (those(&[0, 2]), those(&[1]), 100));
    let bad: Vec<i64> = ran.rows::<BadRow>("bad").unwrap().iter().map(|b| b.position as i64 - 1).collect();
    assert_eq!(bad, those(&[3]));
}
