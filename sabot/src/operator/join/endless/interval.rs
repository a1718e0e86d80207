//! Pairs of rows whose event times are near, of two sides that may be endless.
//!
//! Idea: a symmetric hash join. A row looks for partners among the rows of the other side that came before it, then waits among those of
//! its own side for the partners that come after it. So each pair is found once, as soon as both its rows are there. A left row
//! at `t` has its partners at `t + from ..= t + to`; the right watermark behind that rules more of them out, and a row that
//! stayed alone comes out then, if the kind of the join wants it to. The left watermark does the same for right rows.
//!
//! The watermark is held back as far as what comes out may lie behind it, and only for the sides whose event time a later step
//! follows: a left row may still be paired with a right row that is `to` later than it.
//!
//! Cost: per row one copy into the state and five or six lookups, per pair a copy of both rows. State: the rows of `to - from`, a quarter
//! of that, and what one side's watermark is behind the other's. It does not spill.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::bucket::{MET, NONE, WAITS};
use super::layers;
use super::pairing::{Pairing, Picked, Rows};
use super::store::{At, Forgotten, Store};
use crate::kernel::{Morsel, Origin};
use crate::operator::join::pairs::{CHUNKS, OUT_ROWS};
use crate::operator::join::{Condition, JoinSpec};
use crate::operator::{
    Account, END_OF_TIME, EventTime, Frozen, GroupState, Instance, Kept, Operator, OperatorFactory, Output, Progress, Spare,
};
use crate::plan::{JoinKind, Matching};
use crate::{Error, Result};

/// A stretch of time is at least this long, in microseconds: sides that wait for each other's watermark fill many stretches.
const LEAST: i64 = 100_000;

/// Whose event time later steps follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TimesNeeded {
    /// That of the left row.
    pub left: bool,
    /// That of the right row.
    pub right: bool,
}

/// A join of rows that are near in time; see the module's page. Left rows come on port 0, right rows on port 1.
pub struct IntervalJoin {
    spec: Arc<JoinSpec>,
    needed: TimesNeeded,
    pairing: Pairing,
    stores: [Store; 2],
    times: [EventTime; 2],
    /// The least and the largest right time less left time, in microseconds, and microseconds times this are what rows tell.
    range: (i64, i64),
    scale: i64,
    pending: Option<Pending>,
    /// Whether what is there is what layers hold and what has come since.
    layered: bool,
    /// Memory for layers.
    spare: Spare,
}

impl std::fmt::Debug for IntervalJoin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IntervalJoin").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// A morsel that looks for partners.
struct Pending {
    port: usize,
    origin: Origin,
    rows: RecordBatch,
    times: Vec<i64>,
    /// Rows that may have partners, and whether each has met one.
    with_key: Vec<u32>,
    fates: Vec<u8>,
    /// The stretches to look into, the next one last; its groups, if they are known.
    stretches: Vec<i64>,
    groups: Option<Vec<u32>>,
    /// The row that looks, and the stored row that it looks at next, if it has begun.
    at: usize,
    next: Option<u32>,
}

/// Pairs on their way out.
#[derive(Default)]
struct Chunk {
    rows: Vec<u32>,
    stored: Picked,
    places: Vec<At>,
}

impl IntervalJoin {
    /// Instances over inputs with these schemas, hashed by the keys; `needed` says how far watermarks are held back.
    ///
    /// # Errors
    /// If a column does not exist, the types of a pair of keys differ, or rows are not matched within a range of time.
    pub fn factory(
        spec: Arc<JoinSpec>,
        condition: Option<Condition>,
        left: &SchemaRef,
        right: &SchemaRef,
        needed: TimesNeeded,
    ) -> Result<Arc<dyn OperatorFactory>> {
        let (left, right) = (Arc::clone(left), Arc::clone(right));
        let new = move || Self::new(Arc::clone(&spec), condition.as_ref(), &left, &right, needed);
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
    fn new(spec: Arc<JoinSpec>, condition: Option<&Condition>, left: &SchemaRef, right: &SchemaRef, needed: TimesNeeded) -> Result<Self> {
        let Matching::Within { from, to } = spec.matching else {
            return Err(Error::Plan(format!("`{}` does not match rows within a range of time", spec.name)));
        };
        let scale = if spec.nanos(left, right)? { 1000 } else { 1 };
        let fields = spec.key_fields(left, right)?;
        let pairing = Pairing::new(&spec, condition, left, right)?;
        let length = to.saturating_sub(from).max(0).saturating_mul(scale);
        let kind = spec.kind;
        let store = |side: usize, come_out| {
            let shape = pairing.shapes.get(side).cloned().ok_or_else(|| Error::internal("a join has two sides"))?;
            Ok::<_, Error>(Store::new(shape, fields.clone(), length, LEAST * scale, come_out))
        };
        let stores = [store(0, kind.comes_alone(0))?, store(1, kind.comes_alone(1))?];
        Ok(IntervalJoin {
            needed,
            pairing,
            stores,
            times: [EventTime::MIN; 2],
            range: (from, to),
            scale,
            pending: None,
            layered: false,
            spare: Spare::default(),
            spec,
        })
    }
    /// The least and the largest time of the other side's partners less that of a row of this side, as rows tell it.
    fn reach(&self, port: usize) -> (i64, i64) {
        let (from, to) = (self.range.0.saturating_mul(self.scale), self.range.1.saturating_mul(self.scale));
        if port == 0 { (from, to) } else { (to.saturating_neg(), from.saturating_neg()) }
    }
    /// Rows of this side before this time meet no further partner; `None` is all rows.
    fn bound(&self, port: usize) -> Option<i64> {
        let other = self.times.get(1 - port).copied().filter(|t| *t < END_OF_TIME)?;
        Some(other.saturating_mul(self.scale).saturating_sub(self.reach(port).1))
    }
    /// Counts rows that left.
    fn gone(&self, port: usize, gone: Forgotten, out: &mut dyn Output) {
        let used = match self.spec.kind {
            JoinKind::Anti if port == 0 => gone.rows - gone.hits,
            JoinKind::Semi | JoinKind::Anti if port == 1 => gone.rows,
            _ if self.spec.kind.comes_alone(port) => gone.rows,
            _ => gone.hits,
        };
        out.account(Account { used: used as u64, filtered: (gone.rows - used) as u64, held: -(gone.rows as i64), ..Account::default() });
    }
    /// Looks for partners until all are found or the output is full.
    fn pump(&mut self, out: &mut dyn Output) -> Result<Progress> {
        let Some(mut pending) = self.pending.take() else { return Ok(Progress::Done) };
        for _ in 0..CHUNKS {
            let chunk = self.look(&mut pending)?;
            self.met(&mut pending, chunk, out)?;
            if pending.stretches.is_empty() {
                self.settle(pending, out)?;
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
    fn look(&mut self, pending: &mut Pending) -> Result<Chunk> {
        let reach = self.reach(pending.port);
        let mut chunk = Chunk::default();
        let Some(store) = self.stores.get_mut(1 - pending.port) else { return Ok(chunk) };
        let keys = self.pairing.shapes.get(pending.port).map(|s| s.keys(&pending.rows)).unwrap_or_default();
        while let Some(id) = pending.stretches.last().copied() {
            let Some(bucket) = store.bucket(id) else {
                pending.stretches.pop();
                continue;
            };
            let groups = match &mut pending.groups {
                Some(groups) => groups,
                none => {
                    let mut found = Vec::new();
                    bucket.keys.find(&keys, Kept::Some(&pending.with_key), &mut found)?;
                    (pending.at, pending.next) = (0, None);
                    none.insert(found)
                }
            };
            let mut base = None;
            while let (Some(row), Some(group)) = (pending.with_key.get(pending.at), groups.get(pending.at)) {
                let time = pending.times.get(*row as usize).copied().unwrap_or_default();
                let (from, to) = (time.saturating_add(reach.0), time.saturating_add(reach.1));
                let mut next = pending.next.unwrap_or_else(|| bucket.head(*group));
                while next != NONE {
                    let (stored, before) = bucket.row(next);
                    if from <= stored && stored <= to {
                        if chunk.rows.len() >= OUT_ROWS {
                            pending.next = Some(next);
                            return Ok(chunk);
                        }
                        let base = *base.get_or_insert_with(|| chunk.stored.add(bucket.pieces.batches()));
                        chunk.rows.push(*row);
                        chunk.stored.push(base, bucket.pieces.place(next));
                        chunk.places.push((id, next));
                    }
                    next = before;
                }
                pending.next = None;
                pending.at += 1;
            }
            pending.groups = None;
            pending.stretches.pop();
        }
        Ok(chunk)
    }
    /// Emits pairs, once the condition is asked.
    fn met(&mut self, pending: &mut Pending, mut chunk: Chunk, out: &mut dyn Output) -> Result<()> {
        if self.pairing.is_conditional() && !chunk.rows.is_empty() {
            let (here, stored) = (Rows::Of(&pending.rows, &chunk.rows), Rows::Picked(&chunk.stored));
            let sides = if pending.port == 0 { [&here, &stored] } else { [&stored, &here] };
            let place = |pair: usize| {
                let row = chunk.rows.get(pair).copied().unwrap_or_default();
                Origin { row: pending.origin.row + u64::from(row), ..pending.origin }
            };
            let mask = self.pairing.test(sides, chunk.rows.len(), &place)?;
            chunk.stored.keep(&mask);
            let mut bits = mask.iter();
            chunk.rows.retain(|_| bits.next() == Some(true));
            let mut bits = mask.iter();
            chunk.places.retain(|_| bits.next() == Some(true));
        }
        for row in &chunk.rows {
            pending.fates.iter_mut().skip(*row as usize).take(1).for_each(|fate| *fate = MET);
        }
        let (kind, port) = (self.spec.kind, pending.port);
        if let Some(store) = self.stores.get_mut(1 - port) {
            let first: Vec<At> = chunk.places.iter().copied().filter(|at| store.met(*at)).collect();
            // a stored left row has met its first partner
            if kind == JoinKind::Semi && port == 1 && !first.is_empty() {
                let picked = store.pick(&first);
                let batch = self.pairing.batch([&Rows::Picked(&picked), &Rows::Missing], first.len())?;
                out.emit(Morsel::new(batch, pending.origin));
            }
        }
        if kind.pairs() && !chunk.rows.is_empty() {
            let (here, stored) = (Rows::Of(&pending.rows, &chunk.rows), Rows::Picked(&chunk.stored));
            let sides = if port == 0 { [&here, &stored] } else { [&stored, &here] };
            out.emit(Morsel::new(self.pairing.batch(sides, chunk.rows.len())?, pending.origin));
        }
        Ok(())
    }
    fn cut(&mut self, whole: bool) -> Frozen {
        self.layered = true;
        let [left, right] = &mut self.stores;
        let ((left, a), (right, b)) = (left.cut(whole), right.cut(whole));
        layers::layer([left, right], whole, a || b, 0, self.spare.clone())
    }
    /// Keeps the rows of a morsel that may still meet partners; the others leave.
    fn settle(&mut self, pending: Pending, out: &mut dyn Output) -> Result<()> {
        let Pending { port, origin, rows, times, with_key, fates, .. } = pending;
        let is_hit = |row: u32| fates.get(row as usize) == Some(&MET);
        // a left row of a semi or anti join that met a partner needs no other
        let done = |row: u32| port == 0 && !self.spec.kind.pairs() && is_hit(row);
        let bound = self.bound(port);
        let open = |row: u32| bound.is_some_and(|b| times.get(row as usize).is_some_and(|t| *t >= b));
        let kept: Vec<u32> = with_key.iter().copied().filter(|row| open(*row) && !done(*row)).collect();
        let mut next = kept.iter().peekable();
        let leaving: Vec<u32> = (0..rows.num_rows() as u32).filter(|row| next.next_if(|kept| *kept == row).is_none()).collect();
        let met = self.spec.kind == JoinKind::Semi && port == 0;
        let come: Vec<u32> = leaving
            .iter()
            .copied()
            .filter(|row| if met { is_hit(*row) } else { self.spec.kind.comes_alone(port) && !is_hit(*row) })
            .collect();
        if !come.is_empty() {
            let here = Rows::Of(&rows, &come);
            let sides = if port == 0 { [&here, &Rows::Missing] } else { [&Rows::Missing, &here] };
            out.emit(Morsel::new(self.pairing.batch(sides, come.len())?, origin));
        }
        let hit = leaving.iter().filter(|row| is_hit(**row)).count();
        self.gone(port, Forgotten { rows: leaving.len(), hits: hit }, out);
        match self.stores.get_mut(port) {
            Some(store) => store.insert(&rows, &kept, &times, &fates),
            None => Ok(()),
        }
    }
    /// Rows of a side that the other side's time rules out leave.
    fn expire(&mut self, port: usize, out: &mut dyn Output) -> Result<()> {
        let bound = self.bound(port);
        let Some(store) = self.stores.get_mut(port) else { return Ok(()) };
        for rows in store.lonely(bound).chunks(OUT_ROWS) {
            out.account(Account { used: rows.len() as u64, held: -(rows.len() as i64), ..Account::default() });
            let picked = store.pick(rows);
            let alone = Rows::Picked(&picked);
            let sides = if port == 0 { [&alone, &Rows::Missing] } else { [&Rows::Missing, &alone] };
            let batch = self.pairing.batch(sides, rows.len())?;
            out.emit(Morsel::new(batch, Origin { source: self.spec.node, ..Origin::default() }));
        }
        let gone = store.forget(bound);
        self.gone(port, gone, out);
        Ok(())
    }
}

impl Operator for IntervalJoin {
    fn process(&mut self, port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        out.account(Account { held: morsel.rows() as i64, ..Account::default() });
        let reach = self.reach(port);
        let (Some(own), Some(other)) = (self.stores.get(port), self.stores.get(1 - port)) else {
            return Err(Error::internal("a join has two inputs"));
        };
        let rows = own.shape().rows(&morsel.compact()?)?;
        let (times, with_key) = (own.shape().times(&rows)?, own.shape().with_key(&rows));
        let of = || with_key.iter().filter_map(|row| times.get(*row as usize)).copied();
        let span = of().min().zip(of().max());
        let stretches = span.map(|(a, b)| other.over(a.saturating_add(reach.0), b.saturating_add(reach.1))).unwrap_or_default();
        let fates = vec![WAITS; rows.num_rows()];
        let pending = Pending { port, origin: morsel.origin, rows, times, with_key, fates, stretches, groups: None, at: 0, next: None };
        self.pending = Some(pending);
        self.pump(out)
    }
    fn resume(&mut self, out: &mut dyn Output) -> Result<Progress> {
        self.pump(out)
    }
    fn watermark(&mut self, port: usize, time: EventTime, out: &mut dyn Output) -> Result<()> {
        if let Some(t) = self.times.get_mut(port) {
            *t = time.max(*t);
        }
        self.expire(1 - port, out)
    }
    fn hold(&self) -> EventTime {
        let [left, right] = self.times;
        let less = |time: EventTime, by: i64| if time == END_OF_TIME { END_OF_TIME } else { time.saturating_sub(by) };
        let of_left = if self.needed.left { less(right, self.range.1) } else { END_OF_TIME };
        let of_right = if self.needed.right { less(left, self.range.0.saturating_neg()) } else { END_OF_TIME };
        of_left.min(of_right)
    }
    fn finish(&mut self, port: usize, out: &mut dyn Output) -> Result<Progress> {
        self.watermark(port, END_OF_TIME, out)?;
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.stores.iter().map(Store::bytes).sum::<usize>() + self.spare.bytes()
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        Ok(self.cut(true))
    }
    fn snapshot_changes(&mut self, _epoch: u64) -> Result<Frozen> {
        Ok(self.cut(!self.layered))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        self.restore_layers(&[&state.bytes], &|_| true).map(|_| ())
    }
    fn restore_layers(&mut self, layers: &[&[u8]], mine: &dyn Fn(u16) -> bool) -> Result<bool> {
        let [left, right] = &mut self.stores;
        let ([left_rows, right_rows], _) = layers::read(layers, [left.shape(), right.shape()])?;
        let (a, b) = (left.restore(&left_rows, mine)?, right.restore(&right_rows, mine)?);
        // the stretches of another range of time are others
        self.layered = a.1 && b.1;
        Ok(a.0 || b.0)
    }
    fn release(&mut self, group: u16) {
        self.layered = false;
        for store in &mut self.stores {
            // cannot fail on rows that were kept before
            let _ = store.release(group);
        }
    }
}
