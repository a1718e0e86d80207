//! Whether a condition holds in some, or in all rows.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_schema::{DataType, Field};

use super::accumulator::short;
use super::{Accumulator, AccumulatorFactory, Extreme, Kind, Needs, OverChanges};

/// A column type that [`any`] and [`all`] take: `bool` and `Option<bool>`.
#[diagnostic::on_unimplemented(
    message = "`any` and `all` take a condition, not values of type `{Self}`",
    label = "not a bool",
    note = "compare: `any(t.delay? > 60)`; a null is neither true nor false, and skipped"
)]
pub trait Truth: Extreme {}
impl Truth for bool {}
impl Truth for Option<bool> {}

/// Whether a condition holds in some row. Nulls are skipped; without a value it is null.
pub fn any<V: Truth>() -> Arc<dyn AccumulatorFactory> {
    Arc::new(TruthFactory::<V, true>(PhantomData))
}
/// Whether a condition holds in every row. Nulls are skipped; without a value it is null.
pub fn all<V: Truth>() -> Arc<dyn AccumulatorFactory> {
    Arc::new(TruthFactory::<V, false>(PhantomData))
}

/// `any` is the greatest of the truth values, `all` the least.
struct TruthFactory<V, const ANY: bool>(PhantomData<fn() -> V>);

impl<V: Truth, const ANY: bool> AccumulatorFactory for TruthFactory<V, ANY> {
    fn create(&self) -> Box<dyn Accumulator> {
        V::accumulator::<ANY>()
    }
    fn state_fields(&self) -> Vec<Field> {
        vec![Field::new(if ANY { "any" } else { "all" }, DataType::Boolean, true)]
    }
    fn output(&self) -> (DataType, bool) {
        (DataType::Boolean, V::NULLABLE)
    }
    fn inputs(&self) -> usize {
        1
    }
    fn describe(&self) -> String {
        format!("{}({})", if ANY { "any" } else { "all" }, short::<V>())
    }
    fn over_changes(&self) -> OverChanges {
        OverChanges::Kept(Kind { needs: Needs::Distinct, ..Kind::default() })
    }
}
