//! What an operator hands in for a checkpoint: the states of key groups, or layers of rows.
//!
//! An operator that keeps its state by key group writes one state for each, and may name those that are unchanged. One that knows which
//! *rows* have changed writes layers: the first holds all rows of the instance, of whatever key group, each later one those that have
//! changed since, and which are gone. What an instance keeps is its layers, one on top of the other. Nothing is sorted by key group
//! when layers are written; whoever restores takes the rows of its own key groups.

use std::sync::{Arc, Mutex};

use crate::sync::lock;
use crate::{Error, Result};

/// A consistent cut of one operator's state, cheap to take; turned into bytes off the processing thread.
pub struct Frozen(Box<dyn FnOnce() -> Result<Delta> + Send>);

/// What a cut holds: the states of key groups, and those that need not be written again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// The state of each key group that has one, but for those that are unchanged.
    pub states: Vec<GroupState>,
    /// Key groups whose state is as it was in the last cut of this instance; only in answer to
    /// [`Operator::snapshot_changes`](super::Operator::snapshot_changes). A key group that is in neither list has no state any more.
    pub unchanged: Vec<u16>,
    /// Instead of both: the rows of all key groups, or those that have changed.
    pub layer: Option<Layer>,
}

/// Rows of all key groups of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// Opaque to everyone but the operator. Of changes, nothing at all if there are none.
    pub bytes: Vec<u8>,
    /// Whether it holds all rows. Else it comes on top of the layers of the last cut of this instance; only in answer to
    /// [`Operator::snapshot_changes`](super::Operator::snapshot_changes).
    pub whole: bool,
    /// How many rows it holds, and how many the state has: when layers hold far more than the state, a whole one is asked for.
    pub rows: LayerRows,
    /// Where the memory of the bytes goes when they are written.
    pub spare: Spare,
}

/// Memory for the bytes of layers, used again and again: to take it from the system anew each time costs more than to fill it.
///
/// ```
/// use sabot::operator::Spare;
///
/// let spare = Spare::default();
/// spare.give(vec![1; 100]);
/// let bytes = spare.take();
/// assert!(bytes.is_empty() && bytes.capacity() >= 100);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Spare(Arc<Mutex<Vec<u8>>>);

impl Spare {
    /// The most bytes that are kept between two checkpoints: what holds more is a whole layer of a large state, which is rare.
    const MOST: usize = 256 << 20;

    /// An empty vector, with the memory that was given last.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *lock(&self.0))
    }
    /// Takes memory back, unless it is far more than was needed.
    pub fn give(&self, mut bytes: Vec<u8>) {
        if bytes.capacity() <= Self::MOST.min(bytes.len().saturating_mul(4)) {
            bytes.clear();
            *lock(&self.0) = bytes;
        }
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        lock(&self.0).capacity()
    }
}

/// Memory says nothing about what a layer holds.
impl PartialEq for Spare {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Spare {}

/// What a layer holds, and what the state was then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LayerRows {
    /// Rows that the layer holds, with those that it says are gone.
    pub written: u64,
    /// Rows of the state.
    pub live: u64,
}

impl std::fmt::Debug for Frozen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Frozen(..)")
    }
}

impl Frozen {
    /// No state.
    pub fn empty() -> Self {
        Frozen(Box::new(|| Ok(Delta::default())))
    }
    /// A cut that `write` turns into bytes, one entry per key group.
    pub fn new(write: impl FnOnce() -> Result<Vec<GroupState>> + Send + 'static) -> Self {
        Frozen(Box::new(|| Ok(Delta { states: write()?, ..Delta::default() })))
    }
    /// A cut of which `write` gives what has changed, and names the rest.
    ///
    /// ```
    /// use sabot::operator::{Delta, Frozen, GroupState};
    ///
    /// let states = vec![GroupState { group: 7, bytes: vec![1] }];
    /// let cut = Frozen::changes(|| Ok(Delta { states, unchanged: vec![3, 9], layer: None }));
    /// assert_eq!(cut.write_changes()?.unchanged, [3, 9]);
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn changes(write: impl FnOnce() -> Result<Delta> + Send + 'static) -> Self {
        Frozen(Box::new(write))
    }
    /// A cut that `write` turns into a layer.
    ///
    /// ```
    /// use sabot::operator::{Frozen, LAYERED, Layer};
    ///
    /// let cut = Frozen::layer(|| Ok(Layer { bytes: vec![1, 2, 3], whole: true, ..Layer::default() }));
    /// assert_eq!(cut.write()?[0].group, LAYERED);
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn layer(write: impl FnOnce() -> Result<Layer> + Send + 'static) -> Self {
        Frozen(Box::new(|| Ok(Delta { layer: Some(write()?), ..Delta::default() })))
    }
    /// The bytes of a whole cut.
    ///
    /// # Errors
    /// If a value cannot be serialised, or the cut is of [changes](Self::changes) and leaves groups out.
    pub fn write(self) -> Result<Vec<GroupState>> {
        let mut delta = (self.0)()?;
        if !delta.unchanged.is_empty() || delta.layer.as_ref().is_some_and(|l| !l.whole) {
            return Err(Error::internal("an operator left what is unchanged out of a whole snapshot"));
        }
        delta.states.extend(delta.layer.map(|l| GroupState { group: LAYERED, bytes: l.bytes }));
        Ok(delta.states)
    }
    /// The bytes of what has changed, and the groups that have not.
    ///
    /// # Errors
    /// If a value cannot be serialised.
    pub fn write_changes(self) -> Result<Delta> {
        (self.0)()
    }
}

/// In place of a key group: what an instance keeps that belongs to none, such as how far time has come. All instances get it, from all
/// of the instances that wrote it, before the states of key groups.
///
/// ```
/// use sabot::kernel::hash::KEY_GROUPS;
/// assert!(sabot::operator::SHARED >= KEY_GROUPS);
/// ```
pub const SHARED: u16 = u16::MAX;

/// In place of a key group: a layer, with rows of all key groups of the instance that wrote it.
///
/// ```
/// use sabot::kernel::hash::KEY_GROUPS;
/// assert!(sabot::operator::LAYERED >= KEY_GROUPS);
/// ```
pub const LAYERED: u16 = u16::MAX - 1;

/// The serialised state of one key group of one operator. Operators without keys use group 0.
///
/// Example: [`Checkpoint`](crate::runtime::Checkpoint).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct GroupState {
    /// The key group, or [`SHARED`], or [`LAYERED`].
    pub group: u16,
    /// Opaque to everyone but the operator (Arrow IPC where the state is columnar).
    #[cfg_attr(feature = "cluster", serde(with = "serde_bytes"))]
    pub bytes: Vec<u8>,
}
