//! What a store of states is.

use std::ops::Range;

use crate::Result;

/// Where a state is: its key group, then its slot, both big-endian, so that a key group is one range.
pub(crate) type Key = [u8; 10];

/// The key of a slot of a key group.
pub(crate) fn key(group: u16, slot: u64) -> Key {
    let mut key = [0; 10];
    let bytes = group.to_be_bytes().into_iter().chain(slot.to_be_bytes());
    key.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    key
}

/// A state to be written: a part of the bytes that are given with it.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    pub(crate) key: Key,
    pub(crate) bytes: Range<usize>,
}

/// The states of one instance of a step, as bytes.
pub(crate) trait Store: Send {
    /// Calls `f` with the state, if there is one. Returns whether there is.
    fn get(&self, key: &Key, f: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<bool>;
    /// Writes states, and removes others. No key is named twice.
    fn write(&self, put: &[Put], bytes: &[u8], remove: &[Key]) -> Result<()>;
    /// All states as they are now, whatever is written later.
    fn view(&self) -> Result<Box<dyn View>>;
}

/// A store as it was at a time.
pub(crate) trait View: Send {
    /// Calls `f` with slot and state of each that a key group has, in ascending order of slots.
    fn scan(&self, group: u16, f: &mut dyn FnMut(u64, &[u8])) -> Result<()>;
}

/// A place for stores.
pub(crate) trait Opens: Send + Sync {
    /// A new store of one of so many instances of a step.
    fn store(&self, step: &str, instances: usize) -> Result<Box<dyn Store>>;
}
