//! A right side that is built once and shared by the threads of a process.
//!
//! [`BuildSide`] is an operator of its own: each instance keeps and indexes the rows of its key groups, and puts them
//! into a [`Shared`] place when its input ends. The join that probes has no rows on its port 1, only its end, which comes after
//! the end of all instances: then the parts are put together, once, and every probing instance reads them. So probe rows
//! stay where they are, in their order, and no row of the right side is kept twice.
//!
//! For jobs without checkpoints: a task that has ended has no part in them, and here its rows live on in others.
//!
//! Cost: each right row moves once between threads and is copied once into the whole; each probing instance copies the hash
//! tables of the keys (not the rows), since looking up needs room of its own.

use std::sync::{Arc, Mutex};

use arrow_array::ArrayRef;
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
    parts: Vec<Option<(Keys, Index)>>,
    whole: Option<Arc<Whole>>,
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
    fn put(&self, instance: Instance, keys: Keys, index: Index) -> Result<()> {
        let mut state = self.0.lock().map_err(|_| poisoned())?;
        state.parts.resize_with(instance.of, || None);
        if let Some(part) = state.parts.get_mut(instance.index) {
            *part = Some((keys, index));
        }
        Ok(())
    }
    /// The whole; made at the first call.
    pub(super) fn whole(&self) -> Result<Arc<Whole>> {
        let mut state = self.0.lock().map_err(|_| poisoned())?;
        if let Some(whole) = &state.whole {
            return Ok(Arc::clone(whole));
        }
        let parts: Option<Vec<_>> = std::mem::take(&mut state.parts).into_iter().collect();
        let parts = parts.filter(|p| !p.is_empty()).ok_or_else(|| Error::internal("a join was probed before its right side was built"))?;
        let whole = Arc::new(whole(parts)?);
        state.whole = Some(Arc::clone(&whole));
        Ok(whole)
    }
}

fn poisoned() -> Error {
    Error::internal("a thread that built the right side of a join panicked")
}

/// Puts parts together: rows and groups are numbered on.
fn whole(mut parts: Vec<(Keys, Index)>) -> Result<Whole> {
    if parts.len() == 1
        && let Some((keys, index)) = parts.pop()
    {
        return Ok(Whole { keys: vec![(keys, 0)], index: Arc::new(index) });
    }
    let mut keys = Vec::with_capacity(parts.len());
    let mut indexes = Vec::with_capacity(parts.len());
    let mut groups = 0u32;
    for (part, index) in parts {
        let next = groups.checked_add(index.groups() as u32).ok_or_else(|| Error::Plan("a join has more than 2^32 keys".into()))?;
        keys.push((part, std::mem::replace(&mut groups, next)));
        indexes.push(index);
    }
    Ok(Whole { keys, index: Arc::new(Index::chain(indexes)?) })
}

/// Keeps and indexes the right side of a join.
pub struct BuildSide {
    spec: Arc<JoinSpec>,
    instance: Instance,
    shared: Arc<Shared>,
    build: Build,
    keys: Keys,
    nanos: bool,
    /// What the index holds beside the rows.
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
        let fields = spec.key_fields(left, &right)?;
        Ok(Arc::new(move |instance: Instance| {
            let side = BuildSide {
                instance,
                shared: Arc::clone(&shared),
                build: Build::new(&spec, &also, &right)?,
                keys: Keys::new(&fields)?,
                nanos,
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
        let index = Index::new(&self.spec, &mut self.build, &mut self.keys, self.nanos)?;
        self.bytes = index.bytes() + self.keys.bytes();
        let empty = Keys::new(&[])?;
        self.shared.put(self.instance, std::mem::replace(&mut self.keys, empty), index)?;
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
