//! The operator of every join.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};

use super::build::Build;
use super::condition::{Bound, Condition};
use super::find::Finder;
use super::index::Index;
use super::pairs::{CHUNKS, Candidates, Gather, OUT_ROWS, Pending};
use super::semi::Semi;
use super::shared::{Shared, find};
use super::spec::JoinSpec;
use super::state;
use crate::kernel::{Morsel, Origin};
use crate::operator::by_group::ByGroup;
use crate::operator::kept::{RowList, pick, positions};
use crate::operator::keys::key_groups;
use crate::operator::weights::WEIGHT;
use crate::operator::{Account, Frozen, GroupState, Instance, Keys, Mark, Operator, OperatorFactory, Output, Progress, instants};
use crate::plan::JoinKind;
use crate::{Error, Result};

/// A join; see the module's page.
pub struct Join {
    spec: Arc<JoinSpec>,
    /// The build side, unless it is [shared](Shared).
    build: Build,
    shared: Option<Arc<Shared>>,
    /// The keys of the build side, or of each of its parts with the number of its first group.
    keys: Vec<(Keys, u32)>,
    found: Option<(Arc<Index>, Finder)>,
    condition: Option<Bound>,
    left_on: Vec<usize>,
    left_time: Option<usize>,
    /// Times of both sides are compared in nanoseconds.
    nanos: bool,
    gather: Gather,
    work: Work,
    /// Rows on their way out, if they come by key group.
    by_group: Option<ByGroup>,
    /// The key group of each row of the probe morsel.
    groups: Vec<u16>,
    /// The last input's end was seen.
    ended: bool,
}

/// What is under way.
enum Work {
    Nothing,
    Pairs(Pending),
    Semi(Semi),
    /// Build rows without a partner, by key group: those to come, and how many of the last group are out.
    Alone(Vec<(u16, Vec<u32>)>, usize),
}

impl std::fmt::Debug for Join {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Join").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl Join {
    /// Instances over inputs with these schemas.
    ///
    /// # Errors
    /// If a column does not exist, or the types of a pair of keys differ.
    pub fn factory(
        spec: Arc<JoinSpec>,
        condition: Option<Condition>,
        left: &SchemaRef,
        right: &SchemaRef,
        shared: Option<Arc<Shared>>,
    ) -> Result<Arc<dyn OperatorFactory>> {
        let (left, right) = (Arc::clone(left), Arc::clone(right));
        let new = move || Self::new(Arc::clone(&spec), condition.as_ref(), &left, &right, shared.clone());
        new()?;
        Ok(Arc::new(move |_: Instance| Ok(Box::new(new()?) as Box<dyn Operator>)))
    }
    pub(super) fn new(
        spec: Arc<JoinSpec>,
        condition: Option<&Condition>,
        left: &SchemaRef,
        right: &Schema,
        shared: Option<Arc<Shared>>,
    ) -> Result<Self> {
        let build = Build::new(&spec, condition.map_or(&[], Condition::right), right)?;
        let nanos = spec.nanos(left, right)?;
        let left_time = match &spec.times {
            Some((l, _)) => positions(left, std::slice::from_ref(&l.column), &spec.name)?.first().copied(),
            None => None,
        };
        let schema = spec.output_schema(left, right)?;
        let mut left_out = if spec.kind.pairs() { positions(left, &spec.left, &spec.name)? } else { Vec::new() };
        let weight = left.column_with_name(WEIGHT).filter(|_| spec.kind.pairs());
        if weight.is_some() && spec.kind.keeps_right() {
            return Err(Error::Plan(format!("`{}` cannot take back a right row that has found a partner", spec.name)));
        }
        left_out.extend(weight.map(|(at, _)| at));
        let gather =
            Gather { kind: spec.kind, schema: Arc::clone(&schema), left: left_out, weighed: weight.is_some(), right: build.out.clone() };
        Ok(Join {
            keys: vec![(Keys::new(&spec.key_fields(left, right)?)?, 0)],
            shared,
            condition: condition.map(|c| c.bind(left, &build, right)).transpose()?,
            left_on: positions(left, &spec.left_on, &spec.name)?,
            left_time,
            nanos,
            build,
            found: None,
            gather,
            work: Work::Nothing,
            by_group: spec.by_group.then(|| ByGroup::new(spec.node, &schema)),
            groups: Vec::new(),
            ended: false,
            spec,
        })
    }
    fn index(&mut self) -> Result<()> {
        let index = if let Some(shared) = &self.shared {
            let whole = shared.whole(&self.build)?;
            self.keys.clone_from(&whole.keys);
            Arc::clone(&whole.index)
        } else {
            let (keys, _) = self.keys.first_mut().ok_or_else(|| Error::internal("a join without keys"))?;
            let columns = self.build.all()?.columns().to_vec();
            let single = self.spec.may_be_single(self.condition.is_some());
            let mut index = Index::new(&self.spec, &self.build, keys, self.nanos, single)?;
            index.columns = columns;
            Arc::new(index)
        };
        let finder = Finder::new(self.spec.matching, self.nanos, &index);
        self.found = Some((index, finder));
        Ok(())
    }
    /// Finds the candidates of a probe morsel.
    fn probe(&mut self, morsel: Morsel) -> Result<Pending> {
        let Some((index, finder)) = &mut self.found else {
            return Err(Error::internal("a join got a probe row before its build side ended"));
        };
        let mut list = RowList::default();
        let kept = list.of(&morsel);
        let mut groups = Vec::new();
        let keys = pick(&morsel.batch, &self.left_on)?;
        if self.by_group.is_some() {
            self.groups = key_groups(&keys, morsel.batch.num_rows())?;
        }
        find(&mut self.keys, &keys, morsel.batch.num_rows(), kept, &mut groups)?;
        let rows = kept.to_vec();
        let mut times = Vec::new();
        if let (Some(column), Some((event, _))) = (self.left_time.and_then(|i| morsel.batch.columns().get(i)), &self.spec.times) {
            let kept_only = super::condition::take(std::slice::from_ref(column), &rows)?;
            for column in &kept_only {
                times = instants::ticks(column, self.nanos, event.offset)?;
            }
        }
        let candidates = if index.single { Candidates::One(groups) } else { Candidates::Lists(finder.ranges(index, &groups, &times)) };
        let mut pending = Pending { morsel, rows, candidates, at: 0, taken: 0, hit: false, missed: 0 };
        if self.spec.kind.pairs() && !self.spec.kind.keeps_left() {
            pending.drop_misses();
        }
        Ok(pending)
    }
    fn pump(&mut self, out: &mut dyn Output) -> Result<Progress> {
        match std::mem::replace(&mut self.work, Work::Nothing) {
            Work::Nothing => Ok(Progress::Done),
            Work::Pairs(pending) => self.pairs(pending, out),
            Work::Semi(semi) => self.semi(semi, out),
            Work::Alone(groups, sent) => self.alone(groups, sent, out),
        }
    }
    /// Emits pairs until the morsel is used up or the output is full.
    fn pairs(&mut self, mut pending: Pending, out: &mut dyn Output) -> Result<Progress> {
        let Some((index, _)) = &self.found else { return Ok(Progress::Done) };
        let keep = self.spec.kind.keeps_left();
        let (mut used, mut filtered, mut chunks) = (0, std::mem::take(&mut pending.missed), 0);
        while !pending.over() && (chunks == 0 || !out.full()) && (self.condition.is_none() || chunks < CHUNKS) {
            chunks += 1;
            let pairs = match &self.condition {
                None => pending.next(index, keep),
                Some(condition) => pending.next_if(index, condition, keep)?,
            };
            used += pairs.used;
            filtered += pairs.filtered;
            if !pairs.lefts.is_empty() {
                if self.spec.kind.keeps_right() {
                    self.build.found(pairs.found());
                }
                let groups = self.by_group.as_ref().map(|_| groups_of(&self.groups, &pairs.lefts));
                let batch = self.gather.pairs(&pending.morsel.batch, index, pairs)?;
                match (&mut self.by_group, groups) {
                    (Some(by_group), Some(groups)) => put_by(by_group, batch, &groups, out)?,
                    _ => out.emit(Morsel::new(batch, pending.morsel.origin)),
                }
            }
        }
        out.account(Account { used, filtered, held: -((used + filtered) as i64), ..Account::default() });
        if pending.over() {
            return Ok(Progress::Done);
        }
        self.work = Work::Pairs(pending);
        Ok(Progress::More)
    }
    fn semi(&mut self, mut semi: Semi, out: &mut dyn Output) -> Result<Progress> {
        let Some((index, _)) = &self.found else { return Ok(Progress::Done) };
        if !semi.look(index, self.condition.as_ref())? {
            self.work = Work::Semi(semi);
            return Ok(Progress::More);
        }
        let (morsel, rows) = semi.finish(self.spec.kind == JoinKind::Semi);
        let used = morsel.rows() as u64;
        out.account(Account { used, filtered: rows - used, held: -(rows as i64), ..Account::default() });
        match &mut self.by_group {
            Some(by_group) => put_by(by_group, morsel.compact()?, &groups_of(&self.groups, &RowList::default().of(&morsel).to_vec()), out)?,
            None => out.emit(morsel),
        }
        Ok(Progress::Done)
    }
    /// Emits build rows without a partner until none is left or the output is full. The last group comes first.
    fn alone(&mut self, mut groups: Vec<(u16, Vec<u32>)>, mut sent: usize, out: &mut dyn Output) -> Result<Progress> {
        let Some((index, _)) = &self.found else { return Ok(Progress::Done) };
        while let Some((group, rows)) = groups.last() {
            let rest = rows.get(sent..).unwrap_or(&[]);
            let some = rest.get(..OUT_ROWS).unwrap_or(rest);
            let batch = self.gather.alone(index, some)?;
            if let Some(by_group) = &mut self.by_group {
                by_group.put(batch, &vec![*group; some.len()])?;
                by_group.send(out)?;
            } else {
                let origin = Origin { source: self.spec.node, partition: 0, split: u64::from(*group), row: sent as u64 };
                out.emit(Morsel::new(batch, origin));
            }
            // they need not come out again after a restart
            self.build.found(some.iter().copied());
            sent += some.len();
            if sent >= rows.len() {
                groups.pop();
                sent = 0;
            }
            if out.full() && !groups.is_empty() {
                self.work = Work::Alone(groups, sent);
                return Ok(Progress::More);
            }
        }
        Ok(Progress::Done)
    }
}

/// Puts rows by, and sends them if they are enough.
fn put_by(by_group: &mut ByGroup, batch: RecordBatch, groups: &[u16], out: &mut dyn Output) -> Result<()> {
    by_group.put(batch, groups)?;
    if by_group.enough() { by_group.send(out) } else { Ok(()) }
}
fn groups_of(all: &[u16], rows: &[u32]) -> Vec<u16> {
    rows.iter().map(|row| all.get(*row as usize).copied().unwrap_or_default()).collect()
}

impl Operator for Join {
    fn ready(&self, port: usize) -> bool {
        port == 1 || self.found.is_some()
    }
    fn process(&mut self, port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        out.account(Account { held: morsel.rows() as i64, ..Account::default() });
        if port == 1 {
            self.build.push(&morsel.compact()?)?;
            return Ok(Progress::Done);
        }
        let pending = self.probe(morsel)?;
        self.work = if self.spec.kind.pairs() { Work::Pairs(pending) } else { Work::Semi(Semi::new(pending)) };
        self.pump(out)
    }
    fn resume(&mut self, out: &mut dyn Output) -> Result<Progress> {
        self.pump(out)
    }
    fn finish(&mut self, port: usize, out: &mut dyn Output) -> Result<Progress> {
        if port == 1 {
            self.index()?;
            return Ok(Progress::Done);
        }
        if std::mem::replace(&mut self.ended, true) {
            return Ok(Progress::Done);
        }
        let rows = self.build.rows as u64;
        out.account(Account { used: rows, held: -(rows as i64), ..Account::default() });
        if let Some(by_group) = &mut self.by_group {
            by_group.send(out)?;
        }
        if self.spec.kind.keeps_right() {
            let mut groups = self.build.unseen()?;
            groups.reverse();
            // by key group, there are earlier rows of all groups
            if let (Some((group, _)), None) = (groups.last(), &self.by_group) {
                out.pass(Mark::Ascending(Origin { source: self.spec.node, partition: 0, split: u64::from(*group), row: 0 }));
            }
            self.work = Work::Alone(groups, 0);
        }
        self.pump(out)
    }
    fn held_bytes(&self) -> usize {
        let keys: usize = self.keys.iter().map(|(k, _)| k.bytes()).sum();
        let index = |index: &Index| if self.shared.is_some() { 0 } else { index.bytes() };
        let waiting = self.by_group.as_ref().map_or(0, ByGroup::bytes);
        self.build.bytes() + keys + waiting + self.found.as_ref().map_or(0, |(i, finder)| index(i) + finder.bytes())
    }
    /// The build side, by key group, and rows on their way out. The runtime cuts between two morsels, so no probe row is held.
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let build = self.build.snapshot();
        Ok(match &self.by_group {
            Some(by_group) => state::write(build, by_group.clone()),
            None => build,
        })
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        match &mut self.by_group {
            Some(by_group) => match state::read(state, by_group)? {
                Some(build) => self.build.restore(&build),
                None => Ok(()),
            },
            None => self.build.restore(state),
        }
    }
    fn release(&mut self, group: u16) {
        if let Some(by_group) = &mut self.by_group {
            by_group.release(group);
        }
        if self.build.release(group).is_ok() && self.found.is_some() {
            // the same columns were indexed before
            let _ = self.index();
        }
    }
}
