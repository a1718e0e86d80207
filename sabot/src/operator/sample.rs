//! A random part of the rows: each stays with the same probability, by a hash of (seed, position in the source).
//!
//! So which rows stay depends neither on threads nor on morsels, nor on a restart. Where rows have no position of their own
//! (behind a join or a `flat_map`), a single instance counts them in source order.

use std::sync::Arc;

use super::{Account, Frozen, GroupState, Instance, Operator, OperatorFactory, Output, Progress};
use crate::kernel::hash::{combine, hash_integer};
use crate::kernel::{Morsel, Selection};
use crate::{Error, Result};

/// How much, and which.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SampleSpec {
    /// Probability of a row to stay, from 0 to 1.
    pub fraction: f64,
    /// Chooses among samples of the same size.
    pub seed: u64,
}

/// A Bernoulli sample.
#[derive(Debug)]
pub struct Sample {
    spec: SampleSpec,
    /// Rows so far, where they are counted.
    counted: Option<u64>,
}

impl Sample {
    /// Instances. If `counted`, a single one with ordered, gathered input.
    pub fn factory(spec: SampleSpec, counted: bool) -> Arc<dyn OperatorFactory> {
        Arc::new(move |_: Instance| Ok(Box::new(Sample { spec, counted: counted.then_some(0) }) as Box<dyn Operator>))
    }
    /// Whether a hash is below the fraction: compared by its upper 53 bits, which a float holds exactly.
    fn stays(&self, hash: u64) -> bool {
        ((hash >> 11) as f64) < self.spec.fraction * (1u64 << 53) as f64
    }
}

impl Operator for Sample {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let rows = morsel.rows();
        let o = morsel.origin;
        let seed = hash_integer(self.spec.seed as i64);
        let mut words = match &morsel.selection {
            Some(s) => s.words().to_vec(),
            None => all(morsel.batch.num_rows()),
        };
        let split = match self.counted {
            None => combine(combine(combine(seed, o.source.into()), o.partition.into()), o.split),
            Some(_) => seed,
        };
        let mut next = self.counted.unwrap_or_default();
        for (word, start) in words.iter_mut().zip((o.row..).step_by(64)) {
            for bit in crate::kernel::SetBits(*word) {
                let position = if self.counted.is_some() { next } else { start + bit as u64 };
                next += 1;
                if !self.stays(combine(split, position)) {
                    *word &= !(1 << bit);
                }
            }
        }
        self.counted = self.counted.map(|_| next);
        let selection = Selection::new(words);
        let used = selection.count();
        out.account(Account { used: used as u64, filtered: (rows - used) as u64, ..Account::default() });
        if used > 0 {
            out.emit(Morsel { selection: (used < morsel.batch.num_rows()).then_some(selection), ..morsel });
        }
        Ok(Progress::Done)
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let Some(counted) = self.counted else { return Ok(Frozen::empty()) };
        Ok(Frozen::new(move || Ok(vec![GroupState { group: 0, bytes: counted.to_le_bytes().to_vec() }])))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        let bytes = state.bytes.first_chunk::<8>().ok_or_else(|| Error::Checkpoint("the state of a sample is cut short".into()))?;
        self.counted = Some(u64::from_le_bytes(*bytes));
        Ok(())
    }
}

/// A bit for each of `rows` rows.
fn all(rows: usize) -> Vec<u64> {
    let mut words = vec![!0u64; rows.div_ceil(64)];
    if let (Some(last), tail @ 1..) = (words.last_mut(), rows % 64) {
        *last = (1 << tail) - 1;
    }
    words
}
