//! A source that gives other rows than before is found out when the job continues.

use super::*;
use crate::Result;
use crate::operator::{Read, Source, Split, SplitReader};

/// [`Numbers`] whose rows from `from` on are others from the second process on.
#[derive(Clone)]
struct Fickle {
    numbers: Numbers,
    from: i64,
    shorter: bool,
    rereads: bool,
    /// How often a reader has nothing yet that begins behind some rows.
    waits: u32,
}

struct Reader {
    inner: Box<dyn SplitReader>,
    of: Fickle,
    waits: u32,
}

impl Source for Fickle {
    fn schema(&self) -> arrow_schema::SchemaRef {
        self.numbers.schema()
    }
    fn project(&mut self, columns: &[String]) -> Result<()> {
        self.numbers.project(columns)
    }
    fn bounded(&self) -> bool {
        self.numbers.bounded()
    }
    fn splits(&self) -> Result<Vec<Split>> {
        self.numbers.splits()
    }
    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let numbers = if self.shorter { Numbers { rows: self.from, ..self.numbers.clone() } } else { self.numbers.clone() };
        let waits = position.map_or(0, |_| self.waits);
        Ok(Box::new(Reader { inner: numbers.open(split, position)?, of: self.clone(), waits }))
    }
    fn rereads(&self) -> bool {
        self.rereads
    }
    fn describe(&self) -> String {
        "fickle".into()
    }
}

impl SplitReader for Reader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        if self.waits > 0 {
            self.waits -= 1;
            return Ok(Read::Wait);
        }
        // never more than three at once, so that what was read at once is read again in pieces
        let read = self.inner.next(if self.of.from < i64::MAX { max_rows.min(3) } else { max_rows })?;
        let Read::Rows(read, time) = read else { return Ok(read) };
        let other = |(k, v): Row| if v >= self.of.from { (k, v + 1_000_000) } else { (k, v) };
        Ok(Read::Rows(batch(&rows(&read).into_iter().map(other).collect::<Vec<_>>()), time))
    }
    fn position(&self) -> serde_json::Value {
        self.inner.position()
    }
}

/// The plan over such a source: two cuts at `cut`, then a crash.
fn over(numbers: &Numbers, from: i64, shorter: bool, rereads: bool) -> Plan {
    plan(Fickle { numbers: numbers.clone(), from, shorter, rereads, waits: 0 })
}

fn plan(source: Fickle) -> Plan {
    let mut p = Plan::default();
    let s = p.source(source);
    let c = p.node("counter", &[(s, 0, by_key(), false)], false, true, Counter::default);
    p.sink(c);
    p
}

/// A checkpoint in the midst of a job, and how far its partitions had got.
fn cut(numbers: &Numbers, seed: u64) -> (Checkpoint, Vec<u64>) {
    cut_from(&over(numbers, i64::MAX, false, true), seed, 60, None)
}

/// The same after so many steps of a job that continues, if it does.
fn cut_from(plan: &Plan, seed: u64, step: u64, from: Option<&Checkpoint>) -> (Checkpoint, Vec<u64>) {
    let control = Control::new();
    let ticket = Arc::new(std::sync::Mutex::new(None));
    let (c, t) = (control.clone(), Arc::clone(&ticket));
    let executor = Simulated::new(seed).at(step, move || *t.lock().unwrap() = Some(c.request_snapshot())).crash_at(400);
    let _ = run_on(Arc::new(executor), &plan.0, bind(2, &Seen::default()), &options(2, 20), &control, from);
    let taken = ticket.lock().unwrap().take().unwrap().try_take().unwrap().unwrap();
    let checkpoint: Checkpoint = serde_json::from_slice(&serde_json::to_vec(&taken).unwrap()).unwrap();
    let read = checkpoint.positions.iter().flat_map(|p| &p.open).map(|o| o.row).collect();
    (checkpoint, read)
}

/// Continues from a checkpoint, until the sources are stopped.
fn go_on(plan: &Plan, checkpoint: &Checkpoint) -> Result<Report> {
    let control = Control::new();
    let stop = control.clone();
    let executor = Simulated::new(9).at(8000, move || stop.stop());
    run_on(Arc::new(executor), &plan.0, bind(2, &Seen::default()), &options(3, 50), &control, Some(checkpoint))
}

#[test]
fn other_rows_end_the_job_with_their_place() {
    let endless = Numbers { endless: true, partitions: 2, ..Numbers::new(3000, 17, 1) };
    let bounded = Numbers::new(6000, 17, 3000);
    for (numbers, seed) in [(&endless, 1), (&endless, 2), (&bounded, 3), (&bounded, 4)] {
        let (checkpoint, read) = cut(numbers, seed);
        assert!(read.iter().any(|r| *r > 20), "{read:?}");
        let proofs: Vec<_> = checkpoint.positions.iter().flat_map(|p| &p.open).filter_map(|o| o.proof.clone()).collect();
        assert!(!proofs.is_empty() && proofs.iter().all(|p| p.rows == 20), "{proofs:?}");
        // the same rows, also in other pieces: rows behind the cut may be any
        let last = if numbers.endless { 2999 } else { 5999 };
        for from in [i64::MAX, last] {
            let report = go_on(&over(numbers, from, false, true), &checkpoint).unwrap();
            assert_eq!(report.nodes[0].account.rows_out, 6000, "what was read for the proof does not count");
            assert_eq!(report.nodes[2].account.rows_in, 6000);
        }
        let error = go_on(&over(numbers, 0, false, true), &checkpoint).unwrap_err().to_string();
        for part in ["fickle, partition ", ", position ", ": 20 rows were read there before, and they are others now", "put its input back"]
        {
            assert!(error.contains(part), "{error}");
        }
        let error = go_on(&over(numbers, 1, true, true), &checkpoint).unwrap_err().to_string();
        assert!(error.contains("20 rows were read there before, and there are 0"), "{error}");
        // a source that may lose what it has delivered is not asked
        go_on(&over(numbers, 0, false, false), &checkpoint).unwrap();
    }
}

#[test]
fn counts_of_a_job_that_continues_are_those_of_one_that_did_not_stop() {
    let numbers = Numbers::new(6000, 17, 3000);
    let plan = over(&numbers, i64::MAX, false, true);
    let whole = go(&plan, &options(2, 20)).1;
    let counts = |report: &Report| report.nodes.iter().map(|n| (n.name.clone(), n.account)).collect::<Vec<_>>();
    for seed in 0..5 {
        let (checkpoint, _) = cut(&numbers, seed);
        assert_eq!(counts(&go_on(&plan, &checkpoint).unwrap()), counts(&whole), "seed {seed}");
    }
}

#[test]
fn a_checkpoint_names_partitions_that_are_not_proved_yet() {
    let numbers = Numbers { endless: true, partitions: 6, ..Numbers::new(3000, 17, 1) };
    let slow = plan(Fickle { numbers: numbers.clone(), from: i64::MAX, shorter: false, rereads: true, waits: 20 });
    let mut unproved = 0;
    for seed in 0..5 {
        let (first, read) = cut(&numbers, seed);
        assert!(read.len() == 6 && read.iter().all(|r| *r > 0), "{read:?}");
        let (second, again) = cut_from(&slow, seed, 60, Some(&first));
        assert!(again.len() == 6 && again.iter().zip(&read).all(|(now, before)| now >= before), "seed {seed}: {again:?} after {read:?}");
        unproved += again.iter().zip(&read).filter(|(now, before)| now == before).count();
        let report = go_on(&over(&numbers, i64::MAX, false, true), &second).unwrap();
        assert_eq!(report.nodes[0].account.rows_out, 18_000, "seed {seed}: each row once");
    }
    assert!(unproved > 5, "the cuts came too late");
}
