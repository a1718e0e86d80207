//! A right side that is built once and shared by the threads of a process.
//!
//! [`BuildSide`] is an operator of its own: each instance keeps and indexes the rows of its key groups, and puts them
//! into a [`Shared`] place when its input ends. The join that probes has no rows on its port 1, only its end, which comes after
//! the end of all instances: then the parts are put together, once, and every probing instance reads them. So probe rows
//! stay where they are, in their order, and no row of the right side is kept twice.
//!
//! For jobs without checkpoints: a task that has ended has no part in them, and here its rows live on in others.
//!
//! Cost: each right row moves once between threads and is copied once into the whole. The hash tables of the keys are shared too.

use std::sync::{Arc, Mutex};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;

use super::Condition;
use super::build::Build;
use super::index::Index;
use super::spec::JoinSpec;
use crate::kernel::Morsel;
use crate::kernel::hash::{KEY_GROUPS, instance_of};
use crate::operator::keys::{NO_GROUP, key_groups};
use crate::operator::{Account, Instance, Kept, Keys, Operator, OperatorFactory, Output, Progress};
use crate::{Error, Result};

/// The parts of a right side, and what became of them.
#[derive(Default)]
pub struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    parts: Vec<Option<Part>>,
    whole: Option<Arc<Whole>>,
}

/// What one instance built.
struct Part {
    keys: Keys,
    index: Index,
    rows: Vec<RecordBatch>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

/// An indexed right side: for each part its keys and the number of its first group.
pub(super) struct Whole {
    pub(super) keys: Vec<(Keys, u32)>,
    pub(super) index: Arc<Index>,
}

impl Shared {
    fn put(&self, instance: Instance, done: Part) -> Result<()> {
        let mut state = self.0.lock().map_err(|_| poisoned())?;
        state.parts.resize_with(instance.of, || None);
        if let Some(part) = state.parts.get_mut(instance.index) {
            *part = Some(done);
        }
        Ok(())
    }
    /// The whole; made at the first call, for which `build` tells the columns.
    pub(super) fn whole(&self, build: &Build) -> Result<Arc<Whole>> {
        let mut state = self.0.lock().map_err(|_| poisoned())?;
        if let Some(whole) = &state.whole {
            return Ok(Arc::clone(whole));
        }
        let parts: Option<Vec<_>> = std::mem::take(&mut state.parts).into_iter().collect();
        let parts = parts.filter(|p| !p.is_empty()).ok_or_else(|| Error::internal("a join was probed before its right side was built"))?;
        let whole = Arc::new(whole(parts, build)?);
        state.whole = Some(Arc::clone(&whole));
        Ok(whole)
    }
}

fn poisoned() -> Error {
    Error::internal("a thread that built the right side of a join panicked")
}

/// Puts parts together: rows and groups are numbered on.
fn whole(parts: Vec<Part>, build: &Build) -> Result<Whole> {
    let (mut keys, mut indexes, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    let mut groups = 0u32;
    for part in parts {
        let next = groups.checked_add(part.index.groups() as u32).ok_or_else(|| Error::Plan("a join has more than 2^32 keys".into()))?;
        keys.push((part.keys, std::mem::replace(&mut groups, next)));
        indexes.push(part.index);
        rows.extend(part.rows);
    }
    let mut index = Index::chain(indexes)?;
    index.columns = build.columns(&rows)?;
    let keys = match Keys::chain(&keys) {
        Some(one) => vec![(one, 0)],
        None => keys,
    };
    Ok(Whole { keys, index: Arc::new(index) })
}

/// Keeps and indexes the right side of a join.
pub struct BuildSide {
    spec: Arc<JoinSpec>,
    instance: Instance,
    shared: Arc<Shared>,
    build: Build,
    keys: Keys,
    nanos: bool,
    may_be_single: bool,
    /// What the part holds.
    bytes: usize,
}

impl std::fmt::Debug for BuildSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuildSide").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl BuildSide {
    /// Instances over inputs with these schemas; the join that probes has the same [`Shared`].
    ///
    /// # Errors
    /// As for [`Join::factory`](super::Join::factory).
    pub fn factory(
        spec: Arc<JoinSpec>,
        condition: Option<&Condition>,
        left: &SchemaRef,
        right: &SchemaRef,
        shared: &Arc<Shared>,
    ) -> Result<Arc<dyn OperatorFactory>> {
        let (right, shared) = (Arc::clone(right), Arc::clone(shared));
        let also = condition.map(|c| c.right().to_vec()).unwrap_or_default();
        let nanos = spec.nanos(left, &right)?;
        let may_be_single = spec.may_be_single(condition.is_some());
        let fields = spec.key_fields(left, &right)?;
        Ok(Arc::new(move |instance: Instance| {
            let side = BuildSide {
                instance,
                shared: Arc::clone(&shared),
                build: Build::new(&spec, &also, &right)?,
                keys: Keys::new(&fields)?,
                nanos,
                may_be_single,
                bytes: 0,
                spec: Arc::clone(&spec),
            };
            Ok(Box::new(side) as Box<dyn Operator>)
        }))
    }
}

impl Operator for BuildSide {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        out.account(Account { used: morsel.rows() as u64, ..Account::default() });
        self.build.push(&morsel.compact()?)?;
        Ok(Progress::Done)
    }
    fn finish(&mut self, _port: usize, _out: &mut dyn Output) -> Result<Progress> {
        let index = Index::new(&self.spec, &self.build, &mut self.keys, self.nanos, self.may_be_single)?;
        self.bytes = index.bytes() + self.keys.bytes() + self.build.bytes();
        let keys = std::mem::replace(&mut self.keys, Keys::new(&[])?);
        self.shared.put(self.instance, Part { keys, index, rows: self.build.take() })?;
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.build.bytes() + self.bytes + self.keys.bytes()
    }
}

/// The groups of probe rows in the whole.
pub(super) fn find(tables: &mut [(Keys, u32)], columns: &[ArrayRef], rows: usize, kept: Kept<'_>, out: &mut Vec<u32>) -> Result<()> {
    if let [(only, _)] = tables {
        return only.find(columns, kept, out);
    }
    let parts = tables.len();
    let groups = key_groups(columns, rows)?;
    let mut lists: Vec<(Vec<u32>, Vec<u32>)> = vec![(Vec::new(), Vec::new()); parts];
    kept.each(|i, row| {
        let owner = groups.get(row).map(|g| instance_of(*g, KEY_GROUPS, parts));
        if let Some((places, rows)) = owner.and_then(|o| lists.get_mut(o)) {
            places.push(i as u32);
            rows.push(row as u32);
        }
    });
    out.clear();
    out.resize(kept.len(), NO_GROUP);
    let mut found = Vec::new();
    for ((keys, first), (places, rows)) in tables.iter_mut().zip(&lists) {
        keys.find(columns, Kept::Some(rows), &mut found)?;
        for (place, group) in places.iter().zip(&found) {
            if let Some(slot) = out.get_mut(*place as usize).filter(|_| *group != NO_GROUP) {
                *slot = group + *first;
            }
        }
    }
    Ok(())
}
