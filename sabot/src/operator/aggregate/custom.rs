//! User aggregates.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::{Array, ArrayRef, cast::AsArray};
use arrow_schema::{DataType, Field, FieldRef};

use super::{Accumulator, AccumulatorFactory, OverChanges};
use crate::operator::fault::guarded;
use crate::operator::kept::for_rows;
use crate::operator::{Aggregate, Failure, Kept};
use crate::record::{Args, Buffers, Env, State, StateSchema, Value, Values, Writer};
use crate::{Error, Result};

/// The metadata entry of a state column that holds the fields of the state struct as they were written.
const FIELDS: &str = "sabot.state";

/// The user aggregate `A`. A row in which an argument is null that must not be is skipped.
pub fn user<A: Aggregate>() -> Arc<dyn AccumulatorFactory> {
    Arc::new(UserFactory::<A>(PhantomData))
}

struct UserFactory<A>(PhantomData<fn() -> A>);

impl<A: Aggregate> AccumulatorFactory for UserFactory<A> {
    fn create(&self) -> Box<dyn Accumulator> {
        Box::new(UserAccumulator::<A> { states: Vec::new() })
    }
    fn state_fields(&self) -> Vec<Field> {
        let fields = serde_json::to_string(&A::schema()).unwrap_or_default();
        vec![Field::new("state", DataType::Binary, false).with_metadata([(FIELDS.to_owned(), fields)].into())]
    }
    fn output(&self) -> (DataType, bool) {
        (<A::Out as Value>::data_type(), <A::Out as Value>::NULLABLE)
    }
    fn inputs(&self) -> usize {
        A::Args::LEN
    }
    fn describe(&self) -> String {
        A::ENTRY.name.to_owned()
    }
    fn over_changes(&self) -> OverChanges {
        if A::RETRACTS { OverChanges::Own(user::<A>()) } else { OverChanges::Never }
    }
}

/// The states of a user aggregate, one per group.
///
/// Cost: one call per row; a partial state travels as the bytes that [`State::encode`] writes.
#[derive(Debug)]
pub struct UserAccumulator<A> {
    states: Vec<A>,
}

impl<A: Aggregate> UserAccumulator<A> {
    fn take(
        &mut self,
        groups: &[u32],
        kept: Kept<'_>,
        columns: &[ArrayRef],
        decode: impl Fn(&mut &[u8]) -> Result<A>,
    ) -> Result<(), Failure> {
        let column = columns
            .first()
            .and_then(|c| c.as_binary_opt::<i32>())
            .ok_or_else(|| Error::internal("a partial user aggregate without its bytes"))?;
        let at = Cell::new(0);
        guarded(&at, || {
            for_rows(groups, kept, None, |group, row| {
                at.set(row);
                let mut bytes = column.value(row);
                let other = decode(&mut bytes)?;
                if let Some(state) = self.states.get_mut(group) {
                    state.merge(other);
                }
                Ok(())
            })
        })
    }
}

impl<A: Aggregate> Accumulator for UserAccumulator<A> {
    fn resize(&mut self, groups: usize) {
        self.states.resize_with(groups, A::default);
    }
    fn update(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let accepted = A::Args::accept(columns)?;
        let rows = accepted.first().map_or(usize::MAX, |c| c.len());
        let args = Args::<A::Args>::new(&accepted, rows)?;
        let at = Cell::new(0);
        guarded(&at, || {
            for_rows(groups, kept, None, |group, row| {
                if let (Some(values), Some(state)) = (args.get(row), self.states.get_mut(group)) {
                    at.set(row);
                    state.update(values);
                }
                Ok(())
            })
        })
    }
    fn retract(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let accepted = A::Args::accept(columns)?;
        let rows = accepted.first().map_or(usize::MAX, |c| c.len());
        let args = Args::<A::Args>::new(&accepted, rows)?;
        let at = Cell::new(0);
        guarded(&at, || {
            for_rows(groups, kept, None, |group, row| {
                if let (Some(values), Some(state)) = (args.get(row), self.states.get_mut(group)) {
                    at.set(row);
                    state.retract(values);
                }
                Ok(())
            })
        })
    }
    fn empty(&mut self, groups: &[u32]) {
        for g in groups {
            if let Some(state) = self.states.get_mut(*g as usize) {
                *state = A::default();
            }
        }
    }
    fn merge(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        self.take(groups, kept, columns, A::decode)
    }
    fn restore(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef], written: &[FieldRef]) -> Result<(), Failure> {
        let fields = written.first().and_then(|f| f.metadata().get(FIELDS));
        let fields: StateSchema = match fields {
            Some(text) => serde_json::from_str(text)
                .map_err(|e| Error::Checkpoint(format!("the fields of aggregate `{}` are unreadable: {e}", A::ENTRY.name)))?,
            None => {
                return Err(Error::Checkpoint(format!("the state of aggregate `{}` was written by another function", A::ENTRY.name)).into());
            }
        };
        if fields == A::schema() {
            return self.merge(groups, kept, columns);
        }
        self.take(groups, kept, columns, |bytes| A::decode_from(bytes, &fields))
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut out = BinaryBuilder::with_capacity(groups.len(), groups.len() * 16);
        let mut bytes = Vec::new();
        for group in groups {
            bytes.clear();
            if let Some(state) = self.states.get(*group as usize) {
                State::encode(state, &mut bytes);
            }
            out.append_value(&bytes);
        }
        Ok(vec![Arc::new(out.finish())])
    }
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef, Failure> {
        let at = Cell::new(0);
        guarded(&at, || {
            let mut out = <A::Out as Value>::Write::new(groups.len());
            for (i, group) in groups.iter().enumerate() {
                at.set(i);
                let value = self.states.get(*group as usize).map(A::finish).unwrap_or_else(|| A::default().finish());
                out.put(i, value.borrow(), &Env::COPY);
            }
            Ok(out.finish(groups.len(), &Buffers::default()))
        })
    }
    fn bytes(&self) -> usize {
        self.states.capacity() * size_of::<A>()
    }
}
