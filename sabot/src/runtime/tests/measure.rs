//! What scheduling and exchanges cost. `cargo test --release -p sabot --lib measure -- --ignored --nocapture`

use super::*;
use crate::kernel::Morsel;
use crate::operator::{Account, Operator, Output, Progress, Read, Source, Split, SplitReader};

/// The same batch over and over, so that reading costs nothing.
struct Cached(arrow_array::RecordBatch, u64, u64);
struct CachedReader(arrow_array::RecordBatch, u64);

impl Source for Cached {
    fn schema(&self) -> arrow_schema::SchemaRef {
        schema()
    }
    fn project(&mut self, _: &[String]) -> crate::Result<()> {
        Ok(())
    }
    fn bounded(&self) -> bool {
        true
    }
    fn splits(&self) -> crate::Result<Vec<Split>> {
        Ok((0..self.1).map(|sequence| Split { partition: 0, sequence, rows: None, bytes: None, spec: serde_json::Value::Null }).collect())
    }
    fn open(&self, _: &Split, _: Option<&serde_json::Value>) -> crate::Result<Box<dyn SplitReader>> {
        Ok(Box::new(CachedReader(self.0.clone(), self.2)))
    }
    fn describe(&self) -> String {
        "cached".into()
    }
}
impl SplitReader for CachedReader {
    fn next(&mut self, _: usize) -> crate::Result<Read> {
        if self.1 == 0 {
            return Ok(Read::End);
        }
        self.1 -= 1;
        Ok(Read::Rows(self.0.clone(), None))
    }
    fn position(&self) -> serde_json::Value {
        self.1.into()
    }
}

struct Swallow;
impl Operator for Swallow {
    fn process(&mut self, _: usize, m: Morsel, out: &mut dyn Output) -> crate::Result<Progress> {
        out.account(Account { filtered: m.rows() as u64, ..Account::default() });
        Ok(Progress::Done)
    }
}
struct Pass;
impl Operator for Pass {
    fn process(&mut self, _: usize, m: Morsel, out: &mut dyn Output) -> crate::Result<Progress> {
        out.emit(m);
        Ok(Progress::Done)
    }
}

#[test]
#[ignore = "a measurement"]
fn measure() {
    for (rows, morsels) in [(16_384, 2000u64), (1024, 20_000), (64, 100_000)] {
        let cached = batch(&(0..rows).map(|i| (i * 7919 % 10_007, i)).collect::<Vec<_>>());
        for hash in [false, true] {
            for threads in [1, 2, 4] {
                let mut p = Plan::default();
                let s = p.source(Cached(cached.clone(), 20, morsels / 20));
                let a = p.step("pass", s, || Pass);
                let b = if hash {
                    p.node("swallow", &[(a, 0, by_key(), false)], false, false, || Swallow)
                } else {
                    p.step("swallow", a, || Swallow)
                };
                p.sink(b);
                let (_, r) = go(&p, &RunOptions { checkpoints: false, ..options(threads, rows as usize) });
                let total = morsels as f64 * rows as f64;
                println!(
                    "{rows:6} rows per morsel, {threads} threads, hash exchange {hash:5}: {:7.1} Mrow/s, {:6.2} us per morsel, {} turns",
                    total / r.wall.as_secs_f64() / 1e6,
                    r.wall.as_secs_f64() * 1e6 / morsels as f64,
                    r.workers.iter().map(|w| w.turns).sum::<u64>()
                );
            }
        }
    }
}
