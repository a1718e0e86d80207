//! The test of the idea that a stream is a batch: the same rows, endless and cut up in every way that a seed can choose.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use super::dealt::mix;
use super::feeds::{Deal, Feeds};
use super::shrink::shrink;
use super::text::{RowText, rows_as_text};
use super::{Ran, Trial, same_rows};
use crate::stream::Job;
use crate::{Error, Result};

/// Runs a pipeline over given rows as a batch and, for each of many seeds, as a stream, and compares every open sink.
///
/// For each seed the rows of each source are dealt to partitions (in each they keep their order), read in pieces with pauses, by
/// some number of threads, in morsels of some size, in some interleaving of all tasks; every fourth run is one of several processes; every
/// second takes a checkpoint, crashes later, and continues on another number of threads. The batch run has the same rows in the same partitions. The rows
/// of each open sink must be the same, in any order; rows that carry changes are summed up first.
///
/// No row is late, unless [`disorder`](Self::disorder) says how long the sources wait.
///
/// A pipeline whose result depends on more than its rows (one that keeps state per key in the order of arrival, without event
/// time, over several partitions) fails this test, as it should; [`partitions(1)`](Self::partitions) restricts it.
///
/// ```
/// use sabot::prelude::*;
/// use sabot::testing::StreamCheck;
///
/// #[derive(Record, Clone, Debug)]
/// struct Reading { sensor: i64, value: i64, #[event_time] at: Timestamp<Micros> }
///
/// pipeline! {
///     /// The most of each sensor and minute.
///     pub fn most(readings: Source<Reading>);
///     most = readings -> key_by(sensor) -> window(tumbling(1.minute())) -> aggregate(|r| row { most: max(r.value) });
///     most -> sink;
/// }
///
/// # fn main() -> Result<()> {
/// let reading = |n: i64| Reading { sensor: n % 3, value: n * 7 % 11, at: Timestamp::new(n * 5_000_000 - n % 4 * 8_000_000) };
/// let readings: Vec<Reading> = (0..40).map(reading).collect();
/// StreamCheck::new(|feeds| most(feeds.rows("readings", &readings))).seeds(0..20).run()?;
///
/// // a source that waits too little loses rows, which is no difference: the batch goes without them, too
/// let late = StreamCheck::new(|feeds| most(feeds.rows("readings", &readings))).disorder(5.sec()).seeds(0..20).run()?;
/// assert!(late.late > 0);
/// # Ok(()) }
/// ```
pub struct StreamCheck<F> {
    job: F,
    seeds: Range<u64>,
    partitions: u32,
    tolerance: f64,
    crashes: bool,
    disorder: Option<i64>,
}

/// What a check has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Seeds that were run.
    pub seeds: u64,
    /// Rows that streams were given.
    pub rows: u64,
    /// Rows of these that were late, and so in neither result.
    pub late: u64,
    /// Rows of the results.
    pub results: u64,
    /// Runs that crashed behind a checkpoint and went on from it.
    pub restored: u64,
}

impl<F> std::fmt::Debug for StreamCheck<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamCheck").field("seeds", &self.seeds).finish_non_exhaustive()
    }
}

/// One way to run a stream.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) seed: u64,
    pub(super) partitions: u32,
    pub(super) threads: usize,
    pub(super) later: usize,
    pub(super) morsel: usize,
    /// In how many processes, if not in this one alone; and how many go on after a crash.
    pub(super) shares: Option<(usize, usize)>,
    /// When to take a checkpoint and when to crash, as parts of a run without.
    pub(super) crash: Option<(f64, f64)>,
}

impl Way {
    fn of(seed: u64, partitions: u32, crashes: bool) -> Self {
        let random = mix(seed);
        let part = |bits: u64| (bits & 0xff) as f64 / 256.0;
        // a checkpoint takes part of a run until it is complete
        let cut = 0.05 + 0.5 * part(random >> 32);
        Way {
            seed,
            partitions: 1 + (random % u64::from(partitions.max(1))) as u32,
            threads: 1 + (random >> 8) as usize % 4,
            later: 1 + (random >> 12) as usize % 4,
            morsel: [1, 7, 64, 1000].get((random >> 16) as usize % 4).copied().unwrap_or(64),
            shares: (random >> 20).is_multiple_of(4).then_some((1 + (random >> 24) as usize % 3, 1 + (random >> 28) as usize % 3)),
            crash: (crashes && seed % 2 == 1).then(|| (cut, cut + (1.0 - cut) * (0.4 + 0.6 * part(random >> 40)))),
        }
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} partitions, {} threads, morsels of {} rows", self.partitions, self.threads, self.morsel)?;
        if let Some((shares, later)) = self.shares {
            write!(f, ", in {shares} processes, after a crash in {later}")?;
        }
        match self.crash {
            Some((cut, crash)) => write!(
                f,
                ", a checkpoint after {:.0} % of the run, a crash after {:.0} %, then {} threads",
                cut * 100.0,
                crash * 100.0,
                self.later
            ),
            None => Ok(()),
        }
    }
}

/// The rows to use: for each source, those that are left.
pub(super) type Left = BTreeMap<String, Vec<usize>>;

impl<F: Fn(&Feeds) -> Job> StreamCheck<F> {
    /// A check of the pipeline that `job` calls with sources made by [`Feeds::rows`]. It is called several times for each seed, and must
    /// give the same job each time.
    pub fn new(job: F) -> Self {
        StreamCheck { job, seeds: 0..100, partitions: 3, tolerance: 0.0, crashes: true, disorder: None }
    }
    /// With these seeds; 0 to 99 if it is not said. A message names the seed that failed: run it alone, `seeds(17..18)`.
    #[must_use]
    pub fn seeds(self, seeds: Range<u64>) -> Self {
        StreamCheck { seeds, ..self }
    }
    /// With up to this many partitions for each source; 3 if it is not said.
    #[must_use]
    pub fn partitions(self, most: u32) -> Self {
        StreamCheck { partitions: most, ..self }
    }
    /// Floats of results may differ by this, relative to the greater; 0 if it is not said.
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        StreamCheck { tolerance, ..self }
    }
    /// Without checkpoints and crashes.
    #[must_use]
    pub fn without_crashes(self) -> Self {
        StreamCheck { crashes: false, ..self }
    }
    /// Sources wait this long for rows that lag behind; those that lag further are late, and left out of the batch.
    #[must_use]
    pub fn disorder(self, disorder: crate::record::Duration<crate::record::Micros>) -> Self {
        StreamCheck { disorder: Some(disorder.value()), ..self }
    }

    /// Runs all seeds.
    ///
    /// # Errors
    /// For the first seed whose stream fails, or gives other rows than the batch. The message has the seed, how it was run, the
    /// rows that differ, and the few rows of input that suffice for a difference.
    pub fn run(self) -> Result<Checked> {
        let mut checked = Checked::default();
        for seed in self.seeds.clone() {
            let way = Way::of(seed, self.partitions, self.crashes);
            if let Err(error) = self.once(&way, None, &mut checked) {
                return Err(self.explain(way, error));
            }
            checked.seeds += 1;
        }
        Ok(checked)
    }

    /// One seed.
    fn once(&self, way: &Way, left: Option<&Left>, checked: &mut Checked) -> Result<()> {
        let feeds = |ends| Feeds::new(Deal { seed: way.seed, partitions: way.partitions, ends, disorder: self.disorder }, left.cloned());
        let job = || (self.job)(&feeds(false));
        let batch = feeds(true);
        let expected = sinks(&Trial::new().run((self.job)(&batch))?)?;
        let trial = |threads, later: bool| {
            let trial = Trial::new().threads(threads).morsel_rows(way.morsel);
            way.shares.map_or(trial.clone(), |shares| trial.shares(if later { shares.1 } else { shares.0 }))
        };
        let plain = trial(way.threads, false).seed(way.seed).run(job())?;
        let compare = |ran: &Ran| -> Result<u64> {
            let mut rows = 0;
            for (name, found) in sinks(ran)? {
                let expected = expected.get(&name).map(Vec::as_slice).unwrap_or_default();
                same_rows(&found, expected, self.tolerance).map_err(|e| Error::Usage(format!("sink `{name}`: {e}")))?;
                rows += found.len() as u64;
            }
            Ok(rows)
        };
        checked.results += compare(&plain)?;
        checked.rows += batch.dealt();
        checked.late += plain.late();
        if let Some((cut, crash)) = way.crash {
            let at = |part: f64| 1 + (plain.steps as f64 * part) as u64;
            let ran = trial(way.threads, false).seed(way.seed).snapshot_at(at(cut)).crash_at(at(crash)).run(job())?;
            if ran.crashed() {
                checked.restored += u64::from(ran.checkpoint.is_some());
                compare(&trial(way.later, true).seed(way.seed ^ 0xc4a5).from(ran.checkpoint).run(job())?)?;
            } else {
                compare(&ran)?;
            }
        }
        Ok(())
    }

    /// Looks for a plainer run over fewer rows that fails, too.
    fn explain(&self, way: Way, error: Error) -> Error {
        let feeds = Feeds::new(Deal { seed: way.seed, partitions: way.partitions, ends: true, disorder: self.disorder }, None);
        drop((self.job)(&feeds));
        let all: Left = feeds.sizes().into_iter().map(|(name, rows)| (name, (0..rows).collect())).collect();
        let rows = all.values().map(Vec::len).sum::<usize>();
        let seed = way.seed;
        let found = shrink((way, all, error), |way, left| self.once(way, Some(left), &mut Checked::default()).err());
        let (way, left, error) = found;
        let feeds = Feeds::new(Deal { seed: way.seed, partitions: way.partitions, ends: true, disorder: self.disorder }, Some(left));
        drop((self.job)(&feeds));
        let mut text = format!("the stream is not as the batch with seed {seed}; {} of {rows} rows suffice:", feeds.dealt());
        for (name, partition, row) in feeds.listing() {
            let _ = write!(text, "\n  {name}, partition {partition}: {row}");
        }
        let _ = write!(text, "\nrun with {way}:\n{error}\nthe same again: `.seeds({seed}..{})`", seed + 1);
        Error::Usage(text)
    }
}

/// The rows of all open sinks.
fn sinks(ran: &Ran) -> Result<BTreeMap<String, Vec<RowText>>> {
    ran.sinks().map(|(name, batches)| Ok((name.to_owned(), rows_as_text(batches)?))).collect()
}
