//! The contract of aggregate functions: the states of all groups, a batch at a time.

use std::any::type_name;
use std::sync::Arc;

use arrow_array::{ArrayRef, ArrowPrimitiveType, PrimitiveArray, cast::AsArray};
use arrow_schema::{DataType, Field, FieldRef};

use super::bag::Kind;
use crate::operator::{Failure, Kept, Piece};
use crate::record::{Fixed, Mismatch, Value};
use crate::{Error, Result};

/// The states of one aggregate function for all groups.
///
/// Groups are numbered from 0; every group number given is below the number of the last [`resize`](Self::resize).
pub trait Accumulator: Send {
    /// Makes room for this many groups: new ones are empty. `resize(0)` forgets all.
    fn resize(&mut self, groups: usize);
    /// Takes rows in, in order: the i-th kept row of `columns` belongs to `groups[i]`.
    ///
    /// # Errors
    /// If a column has another type, a sum overflows, or user code fails.
    fn update(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure>;
    /// Takes rows back that [`update`](Self::update) took, or is about to take. Only where [`AccumulatorFactory::over_changes`] made the
    /// accumulator.
    ///
    /// # Errors
    /// As for [`update`](Self::update).
    fn retract(&mut self, _groups: &[u32], _kept: Kept<'_>, _columns: &[ArrayRef]) -> Result<(), Failure> {
        Err(Error::internal("an aggregate function that cannot take rows back was asked to").into())
    }
    /// Makes these groups as new: all of their rows were taken back.
    fn empty(&mut self, _groups: &[u32]) {}
    /// Takes partial states in, in order: columns as [`state`](Self::state) made them.
    ///
    /// # Errors
    /// As for [`update`](Self::update).
    fn merge(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure>;
    /// As [`merge`](Self::merge), for columns of a snapshot that another version of the program may have written.
    ///
    /// # Errors
    /// If the state was written by an incompatible function.
    fn restore(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef], _written: &[FieldRef]) -> Result<(), Failure> {
        self.merge(groups, kept, columns)
    }
    /// The partial states of these groups, one row per group, as the columns of [`AccumulatorFactory::state_fields`].
    ///
    /// # Errors
    /// If Arrow refuses an array: a bug.
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>>;
    /// Appends the columns of [`state`](Self::state) to rows that are packed.
    ///
    /// # Errors
    /// As for [`state`](Self::state).
    #[doc(hidden)]
    fn pack(&self, groups: &[u32], piece: &mut Piece<'_>) -> Result<()> {
        self.state(groups)?.iter().try_for_each(|column| piece.column(column))
    }
    /// The results of these groups, one row per group.
    ///
    /// # Errors
    /// If user code panics.
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef, Failure>;
    /// Bytes held.
    fn bytes(&self) -> usize;
}

/// Makes the accumulators of one aggregate function.
pub trait AccumulatorFactory: Send + Sync {
    /// An accumulator without groups.
    fn create(&self) -> Box<dyn Accumulator>;
    /// The columns of a partial state; names are unique within the function.
    fn state_fields(&self) -> Vec<Field>;
    /// Type and nullability of the result. A function that has no value over no rows, and says that it is never null, ends
    /// the job when it is asked for one (only an aggregate without keys is).
    fn output(&self) -> (DataType, bool);
    /// Number of input columns.
    fn inputs(&self) -> usize;
    /// For `explain`: `sum(i64)`.
    fn describe(&self) -> String;
    /// How the function is computed where rows are taken back: by keeping them, unless it knows better.
    fn over_changes(&self) -> OverChanges {
        OverChanges::Kept(Kind::default())
    }
}

/// How a function is computed where rows are taken back.
pub enum OverChanges {
    /// By an accumulator that can [`retract`](Accumulator::retract).
    Own(Arc<dyn AccumulatorFactory>),
    /// Anew, from rows that are kept.
    Kept(Kind),
    /// Not at all: a user's aggregate without `retract`.
    Never,
}

/// A type's name without its path: `i64`, `Option<f64>`.
pub(super) fn short<T>() -> String {
    let mut out = String::new();
    let mut word = String::new();
    for c in type_name::<T>().chars() {
        match c {
            ':' => word.clear(),
            c if c.is_alphanumeric() || c == '_' => word.push(c),
            c => {
                out.push_str(&word);
                word.clear();
                out.push(c);
            }
        }
    }
    out + &word
}

/// The only input column, in an encoding that `V` reads.
pub(super) fn input<V: Value>(columns: &[ArrayRef]) -> Result<ArrayRef, Mismatch> {
    match columns.first() {
        Some(column) => V::accept(column),
        None => Err(Mismatch { expected: V::data_type().to_string(), found: "(no such column)".into() }),
    }
}

/// The words of an accepted fixed-width column.
pub(super) fn primitive<T: Fixed>(array: &ArrayRef) -> Result<&PrimitiveArray<T::Arrow>> {
    array
        .as_primitive_opt::<T::Arrow>()
        .ok_or_else(|| Error::Plan(format!("a column of type {} is read as {}", array.data_type(), T::arrow_type())))
}

/// A state column of this Arrow type.
pub(super) fn state<A: ArrowPrimitiveType>(columns: &[ArrayRef], at: usize) -> Result<&PrimitiveArray<A>> {
    columns
        .get(at)
        .and_then(|c| c.as_primitive_opt::<A>())
        .ok_or_else(|| Error::Plan("the columns of a partial aggregate do not fit its function".into()))
}

/// The values of these groups.
pub(super) fn gather<T: Copy + Default>(values: &[T], groups: &[u32]) -> Vec<T> {
    groups.iter().map(|g| values.get(*g as usize).copied().unwrap_or_default()).collect()
}
