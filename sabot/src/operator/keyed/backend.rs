//! Where the states of keys are.

use arrow_array::LargeBinaryArray;
use arrow_array::builder::LargeBinaryBuilder;

use super::on_disk::OnDisk;
use crate::Result;
use crate::record::State;

/// States as bytes, once this is called: beside the step, if that takes long.
pub(super) type Encoded = Box<dyn FnOnce() -> Result<LargeBinaryArray> + Send>;

/// A state for each key, by the key's number. What a key is, and when it lives, is known elsewhere.
pub(super) trait Backend<S>: Send {
    /// There are keys of these key groups now; those that are new have the default.
    fn reach(&mut self, groups: &[u16]);
    /// The state of a key, which is about to change; `None` if there is no such key.
    fn get(&mut self, number: u32) -> Result<Option<&mut S>>;
    /// The state of a key is the default again.
    fn reset(&mut self, number: u32);
    /// Keeps these keys, under new numbers in this order, which is ascending.
    fn keep(&mut self, kept: &[u32]) -> Result<()>;
    /// The states of these keys as they are now. Offsets are of 64 bits: a key group may hold more than 2 GiB.
    fn encoded(&self, numbers: &[u32]) -> Result<Encoded>;
    /// Bytes held in memory.
    fn bytes(&self) -> usize;
}

/// All states in memory.
#[derive(Debug, Default)]
pub(super) struct InMemory<S>(Vec<S>);

impl<S: State> Backend<S> for InMemory<S> {
    fn reach(&mut self, groups: &[u16]) {
        self.0.resize_with(groups.len(), S::default);
    }
    #[inline]
    fn get(&mut self, number: u32) -> Result<Option<&mut S>> {
        Ok(self.0.get_mut(number as usize))
    }
    fn reset(&mut self, number: u32) {
        if let Some(state) = self.0.get_mut(number as usize) {
            *state = S::default();
        }
    }
    fn keep(&mut self, kept: &[u32]) -> Result<()> {
        let mut states = Vec::with_capacity(kept.len());
        for number in kept {
            states.extend(self.0.get_mut(*number as usize).map(std::mem::take));
        }
        self.0 = states;
        Ok(())
    }
    fn encoded(&self, numbers: &[u32]) -> Result<Encoded> {
        let mut states = LargeBinaryBuilder::with_capacity(numbers.len(), numbers.len() * 16);
        let mut bytes = Vec::new();
        for state in numbers.iter().filter_map(|n| self.0.get(*n as usize)) {
            bytes.clear();
            state.encode(&mut bytes);
            states.append_value(&bytes);
        }
        let states = states.finish();
        Ok(Box::new(move || Ok(states)))
    }
    fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<S>()
    }
}

/// One or the other, decided when a step is made. The rows of a step call `get`, so it is no virtual call.
pub(super) enum Place<S> {
    Memory(InMemory<S>),
    Disk(Box<OnDisk<S>>),
}

impl<S: State> Place<S> {
    fn any(&self) -> &dyn Backend<S> {
        match self {
            Place::Memory(states) => states,
            Place::Disk(states) => states.as_ref(),
        }
    }
    fn any_mut(&mut self) -> &mut dyn Backend<S> {
        match self {
            Place::Memory(states) => states,
            Place::Disk(states) => states.as_mut(),
        }
    }
}

impl<S: State> Backend<S> for Place<S> {
    fn reach(&mut self, groups: &[u16]) {
        self.any_mut().reach(groups);
    }
    #[inline]
    fn get(&mut self, number: u32) -> Result<Option<&mut S>> {
        match self {
            Place::Memory(states) => states.get(number),
            Place::Disk(states) => states.get(number),
        }
    }
    fn reset(&mut self, number: u32) {
        self.any_mut().reset(number);
    }
    fn keep(&mut self, kept: &[u32]) -> Result<()> {
        self.any_mut().keep(kept)
    }
    fn encoded(&self, numbers: &[u32]) -> Result<Encoded> {
        self.any().encoded(numbers)
    }
    fn bytes(&self) -> usize {
        self.any().bytes()
    }
}
