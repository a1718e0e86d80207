//! Each left row with the right row that is nearest in event time, where the right side may be endless: a look-up in a slowly
//! changing table, as it was at the time of the row.
//!
//! Idea: a left row waits until the right watermark says that no right row follows which could be the nearer one: one at its own time for
//! `backward`, one as far ahead as the tolerance for `forward` and `nearest`. Then it is looked up, once and for all. So answers
//! do not depend on which side is faster, and nothing is taken back. Left rows come out in order of time, held back no
//! further than they wait.
//!
//! State: the left rows that wait, and of each key the right rows that may still be asked for. `backward` without a tolerance keeps the last one
//! of each key for ever, which is the table. It does not spill.
//!
//! Cost: per right row one copy and one insertion at the end of its key's list, per left row a copy and a binary search.

use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;

use super::pairing::{Pairing, Rows};
use super::versions::Versions;
use super::waiting::Waiting;
use super::{places, shape::Shape};
use crate::kernel::{Morsel, Origin};
use crate::operator::join::JoinSpec;
use crate::operator::join::pairs::OUT_ROWS;
use crate::operator::{Account, END_OF_TIME, EventTime, Frozen, GroupState, Instance, Operator, OperatorFactory, Output, Progress};
use crate::plan::{Direction, JoinKind, Matching};
use crate::{Error, Result};

/// An as-of join; see the module's page. Left rows come on port 0, right rows on port 1.
pub struct AsOfJoin {
    spec: Arc<JoinSpec>,
    pairing: Pairing,
    waiting: Waiting,
    versions: Versions,
    times: [EventTime; 2],
    /// How far ahead of a left row its partner may be, in microseconds; `None` is any distance.
    ahead: Option<i64>,
    scale: i64,
}

impl std::fmt::Debug for AsOfJoin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsOfJoin").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl AsOfJoin {
    /// Instances over inputs with these schemas, hashed by the keys.
    ///
    /// # Errors
    /// If a column does not exist, the types of a pair of keys differ, or it is no as-of join.
    pub fn factory(spec: Arc<JoinSpec>, left: &SchemaRef, right: &SchemaRef) -> Result<Arc<dyn OperatorFactory>> {
        let (left, right) = (Arc::clone(left), Arc::clone(right));
        let new = move || Self::new(Arc::clone(&spec), &left, &right);
        new()?;
        Ok(Arc::new(move |_: Instance| Ok(Box::new(new()?) as Box<dyn Operator>)))
    }
    /// The columns of the result.
    ///
    /// # Errors
    /// If a column does not exist.
    pub fn schema(spec: &JoinSpec, left: &SchemaRef, right: &SchemaRef) -> Result<SchemaRef> {
        Ok(Pairing::new(spec, None, left, right)?.schema)
    }
    fn new(spec: Arc<JoinSpec>, left: &SchemaRef, right: &SchemaRef) -> Result<Self> {
        let (Matching::AsOf { direction, tolerance }, JoinKind::Left) = (spec.matching, spec.kind) else {
            return Err(Error::Plan(format!("`{}` does not match each left row with one right row", spec.name)));
        };
        let scale = if spec.nanos(left, right)? { 1000 } else { 1 };
        let fields = spec.key_fields(left, right)?;
        let pairing = Pairing::new(&spec, None, left, right)?;
        let [of_left, of_right] = pairing.shapes.clone();
        Ok(AsOfJoin {
            waiting: Waiting::new(of_left),
            versions: Versions::new(of_right, fields, spec.matching, scale)?,
            pairing,
            times: [EventTime::MIN; 2],
            ahead: if direction == Direction::Backward { Some(0) } else { tolerance },
            scale,
            spec,
        })
    }
    /// Left rows before this time need not wait; `None` is all.
    fn bound(&self) -> Option<i64> {
        let [_, right] = self.times;
        match self.ahead {
            _ if right == END_OF_TIME => None,
            Some(ahead) => Some(right.saturating_mul(self.scale).saturating_sub(ahead.saturating_mul(self.scale))),
            None => Some(i64::MIN),
        }
    }
    /// Answers left rows.
    fn answer(&mut self, rows: &RecordBatch, times: &[i64], origin: Origin, out: &mut dyn Output) -> Result<()> {
        let picked = self.versions.find(&self.waiting.shape().keys(rows), times)?;
        let all: Vec<u32> = (0..rows.num_rows() as u32).collect();
        let batch = self.pairing.batch([&Rows::Of(rows, &all), &Rows::Picked(&picked)], all.len())?;
        out.account(Account { used: all.len() as u64, held: -(all.len() as i64), ..Account::default() });
        out.emit(Morsel::new(batch, origin));
        Ok(())
    }
    /// Answers the rows that need not wait any longer, and forgets versions.
    fn advance(&mut self, out: &mut dyn Output) -> Result<()> {
        let bound = self.bound();
        while let Some((rows, times)) = self.waiting.due(bound, OUT_ROWS)? {
            self.answer(&rows, &times, Origin { source: self.spec.node, ..Origin::default() }, out)?;
        }
        let [left, _] = self.times;
        let to_come = (left < END_OF_TIME).then(|| left.saturating_mul(self.scale));
        let floor = [to_come, self.waiting.earliest()].into_iter().flatten().min();
        let gone = self.versions.sweep(floor)?;
        out.account(Account { used: gone as u64, held: -(gone as i64), ..Account::default() });
        Ok(())
    }
}

impl Operator for AsOfJoin {
    fn process(&mut self, port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        out.account(Account { held: morsel.rows() as i64, ..Account::default() });
        let dense = morsel.compact()?;
        let origins = positions(&morsel);
        if port == 0 {
            let rows = self.waiting.shape().rows(&dense)?;
            let times = self.waiting.shape().times(&rows)?;
            let bound = self.bound();
            if times.iter().all(|t| bound.is_none_or(|b| *t < b)) {
                self.answer(&rows, &times, morsel.origin, out)?;
            } else {
                self.waiting.push(&rows, &times, &origins)?;
                self.advance(out)?;
            }
            return Ok(Progress::Done);
        }
        let rows = self.versions.shape().rows(&dense)?;
        let (times, with_key) = (self.versions.shape().times(&rows)?, self.versions.shape().with_key(&rows));
        let lost = rows.num_rows() - with_key.len();
        out.account(Account { filtered: lost as u64, held: -(lost as i64), ..Account::default() });
        if lost == 0 {
            self.versions.insert(&rows, &times, &origins)?;
        } else if !with_key.is_empty() {
            let some = |row: &u32| Some((*times.get(*row as usize)?, *origins.get(*row as usize)?));
            let (times, origins): (Vec<i64>, Vec<Origin>) = with_key.iter().filter_map(some).unzip();
            self.versions.insert(&arrow_select::take::take_record_batch(&rows, &UInt32Array::from(with_key))?, &times, &origins)?;
        }
        Ok(Progress::Done)
    }
    fn watermark(&mut self, port: usize, time: EventTime, out: &mut dyn Output) -> Result<()> {
        if let Some(t) = self.times.get_mut(port) {
            *t = time.max(*t);
        }
        self.advance(out)
    }
    fn hold(&self) -> EventTime {
        self.waiting.earliest().map_or(END_OF_TIME, |t| t.div_euclid(self.scale))
    }
    fn finish(&mut self, port: usize, out: &mut dyn Output) -> Result<Progress> {
        self.watermark(port, END_OF_TIME, out)?;
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.waiting.bytes() + self.versions.bytes()
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let sides = [(self.waiting.shape().clone(), self.waiting.cut()), (self.versions.shape().clone(), self.versions.cut())];
        Ok(Frozen::new(move || places::write(&sides)))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        let times = |shape: &Shape, rows: &RecordBatch| shape.times(rows);
        for (port, (rows, origins)) in places::read(state, &self.pairing.shapes)?.into_iter().enumerate() {
            if rows.num_rows() == 0 {
                continue;
            }
            if port == 0 {
                let times = times(self.waiting.shape(), &rows)?;
                self.waiting.push(&rows, &times, &origins)?;
            } else {
                let times = times(self.versions.shape(), &rows)?;
                self.versions.insert(&rows, &times, &origins)?;
            }
        }
        Ok(())
    }
    fn release(&mut self, group: u16) {
        // cannot fail on rows that were kept before
        let _ = self.waiting.release(group);
        let _ = self.versions.release(group);
    }
}

/// The positions of the kept rows of a morsel.
fn positions(morsel: &Morsel) -> Vec<Origin> {
    let at = |row: usize| Origin { row: morsel.origin.row + row as u64, ..morsel.origin };
    match &morsel.selection {
        Some(selection) => selection.rows().map(at).collect(),
        None => (0..morsel.batch.num_rows()).map(at).collect(),
    }
}
