//! Keyed state in a directory of checkpoints of which most hold only what has changed: the job dies again and again, between any two
//! steps, and its files show what a model makes of the rows that were read.

use std::path::Path;
use std::time::Duration as Wait;

use sabot::connect::{SinkSpec, SourceSpec};
use sabot::operator::Read;
use sabot::record::{Named, from_batch, schema_of};
use sabot::runtime::{Control, Simulated};

use super::timers::{First, Kept, Numbered, expiring, model_of_expiry};
use super::*;

fn written<R: Named>(dir: &Path) -> Vec<R> {
    let paths = vec![dir.display().to_string()];
    let source = SourceSpec::Parquet { paths }.open("R", &Arc::new(schema_of::<R>())).unwrap();
    let mut rows = Vec::new();
    for split in source.splits().unwrap() {
        let mut reader = source.open(&split, None).unwrap();
        while let Read::Rows(batch, _) = reader.next(10_000).unwrap() {
            rows.extend(from_batch::<R>(&batch, "rows").unwrap());
        }
    }
    rows
}

/// Options of a run, beside those of the checkpoints.
pub(super) fn dies_and_goes_on(seeds: std::ops::Range<u64>, more: impl Fn(&mut sabot::runtime::RunOptions)) {
    let (mut restored, mut left_out, jobs) = (0, 0, seeds.end - seeds.start);
    for seed in seeds {
        let random = mix(seed ^ 0x5_7a7e);
        let (partitions, disorder, spread) = (1 + (random >> 8) as u32 % 3, (random >> 16) as i64 % 6, 200 + (random >> 50) as i64 % 300);
        // in memory, if the machine has such a place: nothing here is about the disk, and syncing is slow
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let consumed = Consumed::default();
        let job = |life: u64| {
            let to = |name: &str| SinkSpec::from_uri(&format!("{}/", dir.path().join(name).display())).unwrap();
            let job = expiring(source(partitions, disorder, &consumed), spread);
            let job = job.sink("numbered", to("numbered")).sink("first", to("first")).sink("kept", to("kept"));
            job.options(|o| {
                o.threads = [1, 2, 3, 8][(seed + life) as usize % 4];
                o.morsel_rows = [1, 7, 50][(random >> 40) as usize % 3];
                o.bypass_rows = 0;
                o.idle_after = Wait::from_secs(3600);
                o.checkpoint_dir = Some(dir.path().join("checkpoints"));
                o.checkpoint_every = Wait::from_micros(900);
                more(o);
            })
        };
        for life in 0..4 {
            let crash = 300 + mix(seed << 8 | life) % 900;
            let executor = Arc::new(Simulated::new(seed * 10 + life).crash_at(crash));
            assert!(job(life).run_on(executor, &Control::new(), None).is_err(), "seed {seed}: it died");
        }
        let control = Control::new();
        let stop = control.clone();
        let executor = Arc::new(Simulated::new(seed).at(900, move || stop.stop()));
        let report = job(4).run_on(executor, &control, None).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        restored += u64::from(report.checkpoints.restored.is_some());
        left_out += report.checkpoints.reused;
        let (numbered, first, kept, _) = model_of_expiry(rows_of(&consumed, disorder).0, spread);
        let at = |name: &str| dir.path().join(name);
        same_rows(&written::<Numbered>(&at("numbered")), &numbered, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        same_rows(&written::<First>(&at("first")), &first, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        same_rows(&written::<Kept>(&at("kept")), &kept, 0.0).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    }
    assert!(restored > jobs / 2 && left_out > 10_000 * jobs, "{restored} went on, {left_out} bytes were not written again");
}

#[test]
fn changes_alone_are_enough_to_go_on() {
    dies_and_goes_on(0..8, |_| {});
}

#[cfg(feature = "fjall")]
mod on_disk {
    use super::super::timers::{check_odd, odd};
    use super::*;

    /// A store goes with the last worker that leaves the job, which may be a moment after its result is there.
    fn gone(base: &Path) {
        let start = std::time::Instant::now();
        while std::fs::read_dir(base).unwrap().count() > 0 {
            assert!(start.elapsed() < Wait::from_secs(20), "a store is left behind");
            std::thread::yield_now();
        }
    }

    /// Nothing stays decoded, or some does; the stores go with the jobs, also with those that died.
    #[test]
    fn state_on_disk_dies_and_goes_on() {
        let base = tempfile::tempdir().unwrap();
        for (seeds, memory) in [(100..104, 0), (104..107, 100_000)] {
            dies_and_goes_on(seeds, |o| {
                o.state_dir = Some(base.path().to_owned());
                o.state_memory = memory;
            });
        }
        gone(base.path());
    }

    #[test]
    fn state_on_disk_gives_the_same_rows_on_any_number_of_threads() {
        let base = tempfile::tempdir().unwrap();
        let rows: Vec<Reading> = (0..3).flat_map(|p| (0..400).map(move |r| reading(p, r))).collect();
        for (threads, morsel, memory) in [(1, 1, 0), (2, 64, 0), (3, 7, 2_000), (8, 1000, 0)] {
            let job = odd(sabot::testing::splits(&rows, 50)).options(|o| {
                o.state_dir = Some(base.path().to_owned());
                o.state_memory = memory;
            });
            let ran = Trial::new().threads(threads).morsel_rows(morsel).run(job).unwrap();
            assert!(check_odd(threads as u64, &ran, rows.clone()) > 100);
        }
        gone(base.path());
    }

    #[test]
    fn a_place_for_state_that_is_none_is_refused_before_a_row_is_read() {
        let job = odd(sabot::testing::splits(&[reading(0, 0)], 50)).options(|o| o.state_dir = Some("/dev/null".into()));
        let error = Trial::new().run(job).unwrap_err().to_string();
        assert!(error.contains("/dev/null: cannot be used as the directory of keyed state (`--state-dir`)"), "{error}");
    }
}
