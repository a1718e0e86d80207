//! The first rows.

use std::sync::Arc;

use super::{Account, Frozen, GroupState, Instance, Operator, OperatorFactory, Output, Progress};
use crate::kernel::{Morsel, Selection, SetBits};
use crate::{Error, Result};

/// Lets the first rows through. A single instance with ordered, gathered input.
#[derive(Debug)]
pub struct Limit {
    left: u64,
}

impl Limit {
    /// An instance that lets `rows` rows through.
    pub fn factory(rows: u64) -> Arc<dyn OperatorFactory> {
        Arc::new(move |_: Instance| Ok(Box::new(Limit { left: rows }) as Box<dyn Operator>))
    }
}

/// The selection without all but its first `rows` rows.
fn first(selection: &Selection, rows: usize) -> Selection {
    let mut left = rows;
    let words: Vec<u64> = selection
        .words()
        .iter()
        .map(|word| {
            let here = word.count_ones() as usize;
            let kept = if here <= left { *word } else { SetBits(*word).take(left).fold(0, |w, bit| w | 1 << bit) };
            left -= kept.count_ones() as usize;
            kept
        })
        .collect();
    Selection::new(words)
}

impl Operator for Limit {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let rows = morsel.rows();
        let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(rows);
        out.account(Account { used: taken as u64, filtered: (rows - taken) as u64, ..Account::default() });
        self.left -= taken as u64;
        if taken > 0 {
            out.emit(match &morsel.selection {
                _ if taken == rows => morsel,
                None => Morsel::new(morsel.batch.slice(0, taken), morsel.origin),
                Some(s) => Morsel { selection: Some(first(s, taken)), ..morsel },
            });
        }
        if self.left == 0 {
            out.satisfied();
        }
        Ok(Progress::Done)
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let bytes = self.left.to_le_bytes().to_vec();
        Ok(Frozen::new(move || Ok(vec![GroupState { group: 0, bytes }])))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        let bytes = state.bytes.first_chunk::<8>().ok_or_else(|| Error::Checkpoint("the state of a limit is cut short".into()))?;
        self.left = u64::from_le_bytes(*bytes);
        Ok(())
    }
}
