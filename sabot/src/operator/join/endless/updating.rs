//! Joins that are sent as they change: of rows that are taken back, and of endless rows of which one may stay without a partner for now.
//!
//! Idea: both sides are kept as rows with how often they count, and a change of a row is paired with what the other side has: its
//! weight times that of each partner. So the changes add up to the join of the rows so far, whichever side is faster. The changes of one
//! morsel are added up per row first; then what is taken back leaves, then what comes.
//!
//! Rows that come out without a partner, or (semi join) with one, keep count of their partners: when the first one comes,
//! and when the last one goes, such a row is taken back or sent by itself. Without pairs and a condition
//! a [key is enough](super::existence) to know it.
//!
//! Cost: per row an encoding and two look-ups, per pair one decoding of the stored row in a batch of some thousand. State: all rows of both sides that count,
//! until the other side ends. It does not spill.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};

use super::counted::{Counted, NONE};
use super::counted_state;
use super::pairing::{Pairing, Rows};
use super::sending::Pairs;
use crate::kernel::{Morsel, Origin};
use crate::operator::join::pairs::{CHUNKS, OUT_ROWS};
use crate::operator::join::{Condition, JoinSpec};
use crate::operator::numbered::Numbered;
use crate::operator::weights::{Carried, WEIGHT, weights, with_weight_field};
use crate::operator::{Account, Frozen, GroupState, Instance, Operator, OperatorFactory, Output, Progress};
use crate::plan::{JoinKind, Matching};
use crate::{Error, Result};

/// A join that is sent as it changes; see the module's page. Left rows come on port 0, right rows on port 1.
pub struct UpdatingJoin {
    spec: Arc<JoinSpec>,
    pub(super) pairing: Pairing,
    pub(super) sides: [Counted; 2],
    /// Adds weights, if results are taken back.
    pub(super) weighed: Option<Carried>,
    pub(super) sent: Numbered,
    /// Sides that send no more: what the other keeps for them is not needed.
    ended: [bool; 2],
    pending: Option<Pending>,
}

impl std::fmt::Debug for UpdatingJoin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpdatingJoin").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// A row that counts more or less often than before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changed {
    pub(super) number: u32,
    /// A row of the batch that is it.
    pub(super) row: u32,
    pub(super) by: i64,
    /// The group of its key on the other side.
    pub(super) group: u32,
}

/// Changes that look for partners.
struct Pending {
    port: usize,
    origin: Origin,
    rows: RecordBatch,
    /// Those that are taken back come first.
    changed: Vec<Changed>,
    /// The one that looks, the stored row that it looks at next, if it has begun, and its partners so far.
    at: usize,
    next: Option<u32>,
    met: i64,
    /// Stored rows that have lost their last partner, so far.
    lost: BTreeSet<u32>,
}

/// Candidates of changes: which change, and which stored row.
#[derive(Default)]
struct Chunk {
    from: usize,
    at: Vec<usize>,
    stored: Vec<u32>,
}

impl UpdatingJoin {
    /// Instances for plan node `node` over inputs with these schemas, hashed by the keys; `changes` says whether results carry weights.
    ///
    /// # Errors
    /// If a column does not exist, the types of a pair of keys differ, or rows are matched in time.
    pub fn factory(
        spec: Arc<JoinSpec>,
        condition: Option<Condition>,
        left: &SchemaRef,
        right: &SchemaRef,
        changes: bool,
    ) -> Result<Arc<dyn OperatorFactory>> {
        let (left, right) = (bare(left), bare(right));
        let new = move |instance| Self::new(&spec, condition.as_ref(), &left, &right, changes, instance);
        new(Instance { index: 0, of: 1 })?;
        Ok(Arc::new(move |i: Instance| Ok(Box::new(new(i)?) as Box<dyn Operator>)))
    }
    /// The columns of the result.
    ///
    /// # Errors
    /// If a column does not exist.
    pub fn schema(spec: &JoinSpec, left: &SchemaRef, right: &SchemaRef, changes: bool) -> Result<SchemaRef> {
        let schema = Pairing::new(spec, None, &bare(left), &bare(right))?.schema;
        Ok(if changes { with_weight_field(&schema) } else { schema })
    }
    fn new(
        spec: &Arc<JoinSpec>,
        condition: Option<&Condition>,
        left: &SchemaRef,
        right: &SchemaRef,
        changes: bool,
        instance: Instance,
    ) -> Result<Self> {
        if spec.matching != Matching::Equal {
            return Err(Error::Plan(format!("`{}` matches rows in time, which is not known of rows that are taken back", spec.name)));
        }
        let fields = spec.key_fields(left, right)?;
        let pairing = Pairing::new(spec, condition, left, right)?;
        let [of_left, of_right] = pairing.shapes.clone();
        Ok(UpdatingJoin {
            spec: Arc::clone(spec),
            sides: [Counted::new(of_left, &fields)?, Counted::new(of_right, &fields)?],
            pairing,
            weighed: changes.then(Carried::default),
            sent: Numbered::new(spec.node, instance),
            ended: [false; 2],
            pending: None,
        })
    }
    /// By how much more often a row of this side comes out by itself, if it counts `times` and meets its first partner.
    pub(super) fn at_first(&self, port: usize, times: i64) -> i64 {
        match self.spec.kind {
            JoinKind::Semi if port == 0 => times,
            _ if self.spec.kind.comes_alone(port) => -times,
            _ => 0,
        }
    }
    /// Whether rows of this side come out by themselves, by whether they have partners.
    fn keeps_count(&self, port: usize) -> bool {
        self.spec.kind.comes_alone(port) || (port == 0 && self.spec.kind == JoinKind::Semi)
    }
    /// Whether the keys of the right side are all that is asked for.
    fn asks_for_keys(&self) -> bool {
        !self.spec.kind.pairs() && !self.pairing.is_conditional()
    }
    /// Both sides, that of `port` first.
    pub(super) fn both(&mut self, port: usize) -> (&mut Counted, &mut Counted) {
        let [left, right] = &mut self.sides;
        if port == 0 { (left, right) } else { (right, left) }
    }
    /// The changes of a batch, added up per row.
    fn changed(&mut self, port: usize, rows: &RecordBatch, with_key: &[u32], weight: &dyn Fn(u32) -> i64) -> Result<Vec<Changed>> {
        let (own, other) = self.both(port);
        let numbers = own.numbers(rows, with_key)?;
        let groups = other.find(&own.shape().keys(rows), with_key)?;
        let one = |((number, group), row): ((u32, u32), &u32)| Changed { number, row: *row, by: weight(*row), group };
        let mut all: Vec<Changed> = numbers.into_iter().zip(groups).zip(with_key).map(one).collect();
        all.sort_by_key(|c| c.number);
        let mut sums: Vec<Changed> = Vec::with_capacity(all.len());
        for c in all {
            match sums.last_mut().filter(|last| last.number == c.number) {
                Some(last) => last.by += c.by,
                None => sums.push(c),
            }
        }
        sums.retain(|c| c.by != 0);
        sums.sort_by_key(|c| c.by > 0);
        Ok(sums)
    }
    /// Sends rows of this side whose keys have a null: they have no partner.
    fn without_key(
        &mut self,
        port: usize,
        rows: &RecordBatch,
        with_key: &[u32],
        weight: &dyn Fn(u32) -> i64,
        out: &mut dyn Output,
    ) -> Result<()> {
        let mut next = with_key.iter().peekable();
        let lonely = (0..rows.num_rows() as u32).filter(|row| next.next_if(|with| *with == row).is_none());
        let pairs: Pairs = lonely.map(|row| (row, NONE, weight(row))).collect();
        let comes = self.spec.kind.comes_alone(port);
        let (used, filtered) = if comes { (rows.num_rows(), 0) } else { (with_key.len(), pairs.len()) };
        out.account(Account { used: used as u64, filtered: filtered as u64, ..Account::default() });
        if comes { self.send(port, rows, &pairs, out) } else { Ok(()) }
    }
    /// Looks for partners until all are found or the output is full.
    fn pump(&mut self, out: &mut dyn Output) -> Result<Progress> {
        let Some(mut pending) = self.pending.take() else { return Ok(Progress::Done) };
        for _ in 0..CHUNKS {
            let chunk = self.look(&mut pending);
            self.met(&mut pending, &chunk, out)?;
            if pending.at >= pending.changed.len() {
                let lost = std::mem::take(&mut pending.lost);
                self.by_themselves(1 - pending.port, lost.into_iter(), false, out)?;
                self.both(pending.port).0.tidy()?;
                return Ok(Progress::Done);
            }
            if out.full() {
                break;
            }
        }
        self.pending = Some(pending);
        Ok(Progress::More)
    }
    /// The next candidates.
    fn look(&mut self, pending: &mut Pending) -> Chunk {
        let (_, other) = self.both(pending.port);
        let mut chunk = Chunk { from: pending.at, ..Chunk::default() };
        while let Some(changed) = pending.changed.get(pending.at) {
            let mut next = pending.next.take().unwrap_or_else(|| other.head(changed.group));
            while next != NONE {
                if chunk.at.len() >= OUT_ROWS {
                    pending.next = Some(next);
                    return chunk;
                }
                chunk.at.push(pending.at);
                chunk.stored.push(next);
                next = other.after(next);
            }
            pending.at += 1;
        }
        chunk
    }
    /// Sends pairs, once the condition is asked, and rows that come out by themselves.
    fn met(&mut self, pending: &mut Pending, chunk: &Chunk, out: &mut dyn Output) -> Result<()> {
        let fits = self.test(pending, chunk)?;
        let (port, kind) = (pending.port, self.spec.kind);
        let (alone, counts, stays) = (self.spec.kind.comes_alone(port), self.keeps_count(1 - port), !self.is_over(1 - port));
        let (own, other) = self.both(port);
        let (mut pairs, mut first) = (Pairs::new(), Vec::new());
        let mut candidates = chunk.at.iter().zip(&chunk.stored).zip(&fits).peekable();
        for at in chunk.from..=pending.at {
            let Some(changed) = pending.changed.get(at).copied() else { break };
            while let Some(((_, stored), fits)) = candidates.next_if(|((of, _), _)| **of == at) {
                if !fits {
                    continue;
                }
                let times = other.times(*stored);
                pending.met += times;
                if kind.pairs() {
                    pairs.push((changed.row, *stored, changed.by * times));
                }
                let (before, now) = if counts { other.meet(*stored, changed.by) } else { (0, 0) };
                if before == 0 && now != 0 && !pending.lost.remove(stored) {
                    first.push(*stored);
                } else if before != 0 && now == 0 {
                    pending.lost.insert(*stored);
                }
            }
            if at < pending.at {
                let met = std::mem::take(&mut pending.met);
                if (met == 0 && alone) || (met != 0 && kind == JoinKind::Semi && port == 0) {
                    pairs.push((changed.row, NONE, changed.by));
                }
                if stays {
                    own.add(changed.number, changed.by, met);
                }
            }
        }
        self.by_themselves(1 - port, first.into_iter(), true, out)?;
        self.send(port, &pending.rows, &pairs, out)
    }
    /// Whether this side sends no more.
    pub(super) fn is_over(&self, port: usize) -> bool {
        self.ended.get(port).copied().unwrap_or_default()
    }
    /// Which candidates fulfil the condition.
    fn test(&self, pending: &Pending, chunk: &Chunk) -> Result<Vec<bool>> {
        if !self.pairing.is_conditional() || chunk.at.is_empty() {
            return Ok(vec![true; chunk.at.len()]);
        }
        let row = |at: &usize| pending.changed.get(*at).map_or(0, |c| c.row);
        let rows: Vec<u32> = chunk.at.iter().map(row).collect();
        let stored = self.pick(1 - pending.port, &chunk.stored)?;
        let (here, there) = (Rows::Of(&pending.rows, &rows), Rows::Picked(&stored));
        let sides = if pending.port == 0 { [&here, &there] } else { [&there, &here] };
        let place = |pair: usize| {
            let row = rows.get(pair).copied().unwrap_or_default();
            Origin { row: pending.origin.row + u64::from(row), ..pending.origin }
        };
        Ok(self.pairing.test(sides, rows.len(), &place)?.iter().collect())
    }
}

/// The schema without weights.
fn bare(schema: &SchemaRef) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().filter(|f| f.name() != WEIGHT).cloned().collect::<Vec<_>>()))
}

impl Operator for UpdatingJoin {
    fn process(&mut self, port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let Some(shape) = self.sides.get(port).map(Counted::shape) else { return Err(Error::internal("a join has two inputs")) };
        let dense = morsel.compact()?;
        let (rows, given) = (shape.rows(&dense)?, weights(&dense));
        let with_key = shape.with_key(&rows);
        let weight = |row: u32| given.map_or(1, |w| w.get(row as usize).copied().map_or(0, i64::from));
        self.without_key(port, &rows, &with_key, &weight, out)?;
        let changed = self.changed(port, &rows, &with_key, &weight)?;
        if self.asks_for_keys() {
            let done = if port == 0 { self.exist_left(&rows, &changed, out) } else { self.exist_right(&changed, out) };
            return done.map(|()| Progress::Done);
        }
        let (origin, lost) = (morsel.origin, BTreeSet::new());
        self.pending = Some(Pending { port, origin, rows, changed, at: 0, next: None, met: 0, lost });
        self.pump(out)
    }
    fn resume(&mut self, out: &mut dyn Output) -> Result<Progress> {
        self.pump(out)
    }
    fn finish(&mut self, port: usize, _out: &mut dyn Output) -> Result<Progress> {
        self.ended.iter_mut().skip(port).take(1).for_each(|ended| *ended = true);
        // where keys say what left rows are, those of the right are needed to the end
        if port == 1 || !self.asks_for_keys() {
            self.both(port).1.clear();
        }
        if self.ended == [true; 2] {
            self.sides.iter_mut().for_each(Counted::clear);
        }
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.sides.iter().map(Counted::held).sum()
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let [left, right] = &self.sides;
        let (sides, tag) = ([left.cut()?, right.cut()?], self.sent.tag());
        Ok(Frozen::new(move || counted_state::write(&sides, &tag)))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        counted_state::read(state, &mut self.sides, &mut self.sent)
    }
    fn release(&mut self, group: u16) {
        for side in &mut self.sides {
            // cannot fail on rows that were kept before
            let _ = side.release(group);
        }
    }
}
