//! The design's example from end to end: threads, simulation, a checkpoint inside a window, another process.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use sabot::prelude::*;
use sabot::runtime::{Checkpoint, Control, Simulated, Ticket};
use sabot::stream::{Job, JobSpec};
use sabot::testing::{Trial, same_rows};

const FLIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/nycflights13/flights.parquet");

/// One departure from a New York airport.
#[derive(Record, Clone, Debug)]
struct Flight {
    carrier: Str,
    dep_delay: Option<i64>,
    distance: i64,
    #[event_time]
    time_hour: Timestamp<Micros>,
}

/// A carrier's day.
#[derive(Record, Clone, Debug, PartialEq)]
struct DailyDrag {
    carrier: Str,
    window_start: Timestamp<Micros>,
    window_end: Timestamp<Micros>,
    drag: Option<f64>,
    flights: u64,
}

/// Minutes lost per 100 miles flown.
#[operator]
fn drag(delay: i64, distance: i64) -> f64 {
    delay as f64 * 100.0 / distance as f64
}

pipeline! {
    /// Average drag per carrier and day.
    pub fn daily_drag(flights: Source<Flight>, minimum_miles: i64);

    long   = flights -> filter(|f| f.distance >= minimum_miles)
                     -> with(|f| row { drag: drag(f.dep_delay?, f.distance) });
    daily  = long    -> key_by(carrier) -> window(tumbling(1.day()))
                     -> aggregate(|f| row { drag: mean(f.drag), flights: count() });
    daily -> sink;
}

/// Every bit of a result, in any order: the order of groups is that of key groups, which is the same for all runs too,
/// but it is not promised.
fn bits(rows: &[DailyDrag]) -> Vec<String> {
    let mut out: Vec<String> = rows
        .iter()
        .map(|r| format!("{} {:?} {:?} {:?} {}", r.carrier, r.window_start, r.window_end, r.drag.map(f64::to_bits), r.flights))
        .collect();
    out.sort();
    out
}

fn uninterrupted() -> Vec<DailyDrag> {
    daily_drag(parquet(FLIGHTS), 500).sequential().collect().unwrap()
}

/// The same in plain Rust, over the rows as the source delivers them. Sums are taken in row order.
#[test]
fn equals_plain_rust() {
    let flights: Vec<Flight> = {
        let spec = sabot::connect::SourceSpec::from_uri(FLIGHTS).unwrap();
        let schema = Arc::new(sabot::record::schema_of::<Flight>());
        let source = spec.open("Flight", &schema).unwrap();
        let mut rows = Vec::new();
        for split in source.splits().unwrap() {
            let mut reader = source.open(&split, None).unwrap();
            while let sabot::operator::Read::Rows(batch, _) = reader.next(10_000).unwrap() {
                rows.extend(sabot::record::from_batch::<Flight>(&batch, "flights").unwrap());
            }
        }
        rows
    };
    assert_eq!(flights.len(), 336_776);
    let day = 86_400_000_000i64;
    let mut days: BTreeMap<(String, i64), (f64, u64, u64)> = BTreeMap::new();
    for f in flights.iter().filter(|f| f.distance >= 500) {
        let slot = days.entry((f.carrier.to_string(), f.time_hour.value().div_euclid(day) * day)).or_default();
        if let Some(delay) = f.dep_delay {
            slot.0 += drag(delay, f.distance);
            slot.1 += 1;
        }
        slot.2 += 1;
    }
    let rows = uninterrupted();
    assert_eq!(rows.len(), days.len());
    for row in rows {
        let (sum, count, flights) = days[&(row.carrier.to_string(), row.window_start.value())];
        assert_eq!(row.window_end.value() - row.window_start.value(), day);
        assert_eq!(row.flights, flights);
        match row.drag {
            // partial sums per split: equal but for rounding
            Some(d) => assert!(sabot::testing::close(d, sum / count as f64, 1e-9), "{row:?}"),
            None => assert_eq!(count, 0, "{row:?}"),
        }
    }
}

#[test]
fn plan_is_one_run_and_reads_four_columns() {
    let text = daily_drag(parquet(FLIGHTS), 500).explain().unwrap();
    assert!(text.contains("run of filter, with, inputs") && text.contains("columns carrier, dep_delay, distance, time_hour"), "{text}");
    assert!(text.contains("may be endless"), "{text}");
}

#[test]
fn threads_morsels_and_seeds_do_not_show() {
    let expected = bits(&uninterrupted());
    for threads in [1, 2, 3, 8] {
        let ran = Trial::new().threads(threads).morsel_rows(5000).run(daily_drag(parquet(FLIGHTS), 500)).unwrap();
        assert_eq!(bits(&ran.rows("daily").unwrap()), expected, "{threads} threads");
    }
    for seed in 0..4 {
        let trial = Trial::new().threads(1 + seed as usize).morsel_rows(9001).seed(seed);
        let ran = trial.run(daily_drag(parquet(FLIGHTS), 500)).unwrap();
        assert_eq!(bits(&ran.rows("daily").unwrap()), expected, "seed {seed}");
    }
}

/// Runs with a checkpoint about half way; the job itself is crashed.
fn interrupted(job: &Job, seed: u64, threads: usize) -> Checkpoint {
    let steps = {
        let executor = Arc::new(Simulated::new(seed));
        let job = daily_drag(parquet(FLIGHTS), 500).sink("daily", sabot::connect::SinkSpec::Blackhole).options(|o| {
            (o.threads, o.morsel_rows, o.checkpoints) = (threads, 4000, true);
        });
        job.run_on(Arc::<sabot::runtime::Simulated>::clone(&executor), &Control::new(), None).unwrap();
        executor.steps()
    };
    let (control, ticket): (Control, Arc<Mutex<Option<Ticket>>>) = (Control::new(), Arc::default());
    let (asked, slot) = (control.clone(), Arc::clone(&ticket));
    let executor = Simulated::new(seed).at(steps / 2, move || *slot.lock().unwrap() = Some(asked.request_snapshot())).crash_at(steps - 3);
    assert!(job.run_on(Arc::new(executor), &control, None).is_err(), "it crashed");
    let ticket = ticket.lock().unwrap().take().unwrap();
    ticket.try_take().expect("complete before the crash").unwrap()
}

/// What the second process gets: two files.
#[test]
fn a_second_process_continues_from_two_files() {
    let folder = tempfile::tempdir().unwrap();
    let expected = uninterrupted();
    for (seed, threads, later) in [(1, 1, 3), (2, 3, 2), (3, 2, 1), (4, 1, 1)] {
        let (spec_file, cut_file, out) = (folder.path().join("job.json"), folder.path().join("cut"), folder.path().join("out.parquet"));
        let job = daily_drag(parquet(FLIGHTS), 500).sink("daily", to(out.to_str().unwrap())).options(|o| {
            (o.threads, o.morsel_rows, o.checkpoints) = (threads, 4000, true);
        });
        let cut = interrupted(&job, seed, threads);
        assert!(!out.exists(), "nothing was committed");
        assert!(cut.positions.iter().any(|p| !p.open.is_empty() || !p.done.is_empty()), "rows were read");
        assert!(!cut.finished.iter().any(|f| f.contains("source")), "the source had not ended: {:?}", cut.finished);
        let held: i64 = cut.accounts.iter().map(|(_, a)| a.held).sum();
        assert!(held > 0 || !cut.in_flight.is_empty(), "windows were open: {:?}", cut.accounts);
        cut.write_file(&cut_file).unwrap();
        std::fs::write(&spec_file, serde_json::to_vec(&job.spec().unwrap()).unwrap()).unwrap();

        let me = std::env::current_exe().unwrap();
        let status = Command::new(me)
            .args(["--exact", "the_second_process", "--nocapture"])
            .env("SABOT_TEST_SPEC", &spec_file)
            .env("SABOT_TEST_CUT", &cut_file)
            .env("SABOT_TEST_THREADS", later.to_string())
            .status()
            .unwrap();
        assert!(status.success());
        // every bit: partial sums go to the instance that goes on with their split
        same_rows(&read(&out), &expected, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        std::fs::remove_file(&out).unwrap();
    }
}

fn read(file: &Path) -> Vec<DailyDrag> {
    let schema = Arc::new(sabot::record::schema_of::<DailyDrag>());
    let source = sabot::connect::SourceSpec::Parquet { paths: vec![file.to_str().unwrap().into()] }.open("DailyDrag", &schema).unwrap();
    let mut rows = Vec::new();
    for split in source.splits().unwrap() {
        let mut reader = source.open(&split, None).unwrap();
        while let sabot::operator::Read::Rows(batch, _) = reader.next(10_000).unwrap() {
            rows.extend(sabot::record::from_batch::<DailyDrag>(&batch, "out").unwrap());
        }
    }
    rows
}

/// Does nothing, unless [`a_second_process_continues_from_two_files`] starts this binary once more.
#[test]
fn the_second_process() {
    let Ok(spec) = std::env::var("SABOT_TEST_SPEC") else { return };
    let cut = PathBuf::from(std::env::var("SABOT_TEST_CUT").unwrap());
    let threads: usize = std::env::var("SABOT_TEST_THREADS").unwrap().parse().unwrap();
    let spec: JobSpec = serde_json::from_slice(&std::fs::read(spec).unwrap()).unwrap();
    let cut = Checkpoint::read_file(&cut).unwrap();
    let job = Job::from_spec(&spec).unwrap().parallel(threads).options(|o| o.bypass_rows = 0);
    let report = job.resume(&Control::new(), &cut).unwrap();
    assert_eq!(report.nodes[0].account.rows_in, 336_776, "rows before and after the cut");
    assert!(report.nodes.iter().all(|n| n.account.balanced() && n.account.held == 0));
}

#[test]
fn what_cannot_travel_is_refused() {
    let here: Vec<Flight> = Vec::new();
    let error = daily_drag(here, 500).spec().unwrap_err().to_string();
    assert!(error.contains("source `flights` is bound to a value of this process"), "{error}");
    let job = daily_drag(parquet(FLIGHTS), 500).sink("daily", Sink::custom(|| Ok(sabot::connect::MemorySink::new().0)));
    let error = job.spec().unwrap_err().to_string();
    assert!(error.contains("sink `daily` is bound to a value of this process"), "{error}");
    let mut spec = daily_drag(parquet(FLIGHTS), 500).spec().unwrap();
    spec.build = "another".into();
    assert!(Job::from_spec(&spec).unwrap_err().to_string().contains("build another"));
}
