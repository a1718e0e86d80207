//! A run whose input has dictionary columns: first what reads one of these only, once per value, then the rest by rows.

use arrow_array::ArrayRef;

use super::by_value::{ByValue, Values};
use super::faults::ErrorPolicy;
use super::plan::{Bound, Plan};
use super::run::{Input, Outcome, Request, Run};
use super::step::Step;
use super::task::Driven;
use super::{Level, Morsel, Selection};
use crate::record::Accepted;
use crate::{Error, Result};

/// Kept rows, and computed columns by number.
type Done = (Driven, Vec<Option<ArrayRef>>);

impl<S: Step> Run<S> {
    /// What reads one dictionary column only: the rows that its predicates keep, and its columns over values.
    fn over_values(&self, unit: &ByValue, values: &Values<'_>, alive: Option<&[u64]>, level: Level) -> Option<Done> {
        let column = self.lineage.inputs.get(unit.input)?;
        let array = (column.accept)(values.array()).ok()?;
        let accepted = Accepted::single(self.lineage.inputs.len(), unit.input, array);
        let used = values.used(alive);
        let input = Input {
            pass: &unit.values,
            accepted: &accepted,
            rows: accepted.rows(),
            alive: Some(&used),
            dense: false,
            level,
            errors: ErrorPolicy::Fail,
        };
        match self.attempt(&input, false).ok()? {
            Outcome::Done(driven, columns, _) => Some((driven, columns)),
            _ => None,
        }
    }

    /// Once per dictionary value, then the rest. `None` if a value fails: it may belong to rows that are never asked for.
    pub(super) fn by_value(&self, plan: &Plan, bound: &Bound, morsel: &Morsel, request: &Request) -> Result<Option<Done>> {
        let mut alive: Option<Vec<u64>> = None;
        let entry = morsel.selection.as_ref().map(Selection::words);
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.types.len()];
        let mut pass = &plan.pass;
        for unit in &bound.by_value {
            let place = bound.places.get(unit.input).copied().flatten();
            let Some(values) = place.and_then(|p| morsel.batch.columns().get(p)).and_then(|a| Values::of(a, unit.strict)) else {
                return Ok(None);
            };
            let now = alive.as_deref().or(entry);
            let Some((driven, over_values)) = self.over_values(unit, &values, now, request.level) else { return Ok(None) };
            if unit.filters {
                alive = Some(values.kept(now, &driven));
            }
            for m in &unit.made {
                if let (Some(slot), Some(Some(array))) = (columns.get_mut(*m), over_values.get(*m)) {
                    *slot = Some(values.map(array)?);
                }
            }
            pass = &unit.rest;
        }
        let rows = morsel.batch.num_rows();
        let now = alive.as_deref().or(entry);
        let driven = if pass.mask == 0 {
            let kept = now.map_or_else(|| full(rows), <[u64]>::to_vec);
            Driven { count: kept.iter().map(|w| w.count_ones() as usize).sum(), kept, bad: false }
        } else {
            let accepted = self.accept(pass, bound, morsel, request)?;
            let input =
                Input { pass, accepted: &accepted, rows, alive: now, dense: plan.dense, level: request.level, errors: ErrorPolicy::Fail };
            match self.execute(&input).map_err(|p| Error::internal(p.to_string()))? {
                Outcome::Done(driven, rest, _) => {
                    columns.iter_mut().zip(rest).for_each(|(c, r)| *c = c.take().or(r));
                    driven
                }
                // found again, with its row, without dictionaries
                _ => return Ok(None),
            }
        };
        if plan.dense && driven.count < rows {
            let mask = Selection::new(driven.kept.as_slice()).mask(rows);
            for slot in bound.by_value.iter().flat_map(|u| &u.made) {
                if let Some(Some(array)) = columns.get_mut(*slot) {
                    *array = arrow_select::filter::filter(array, &mask)?;
                }
            }
        }
        Ok(Some((driven, columns)))
    }
}

/// All of so many rows.
fn full(rows: usize) -> Vec<u64> {
    let mut words = vec![!0u64; rows / 64];
    if !rows.is_multiple_of(64) {
        words.push((1 << (rows % 64)) - 1);
    }
    words
}
