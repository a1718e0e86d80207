//! User code with state per key: functions, and types with timers.
//!
//! Without event time, rows are processed as they arrive: the runtime delivers source order per partition. With event
//! time they are buffered until the watermark has passed them, then processed by key group, in it by event time, then
//! source, partition, split and row: what a key sees, and the order of the output within a key group (the `split` of its
//! origin), does not depend on threads, morsels, or when watermarks came.

mod backend;
mod buffer;
mod changed;
mod core;
mod function;
mod lives;
mod machine;
mod on_disk;
mod saved;
mod state;
mod timers;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

pub use self::core::SideOutput;
pub(crate) use self::core::{TIME, own_schema};
pub use self::function::Keyed;
pub use self::lives::Ttl;
pub use self::machine::Machine;
use super::kept::schema_with;
use super::{Failure, Kept};
use crate::Error;
use crate::kernel::Origin;

/// Where a keyed operator finds keys and time, and puts its result.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KeyedSpec {
    /// Stable id of the step, for messages.
    pub name: String,
    /// Key columns.
    pub keys: Vec<String>,
    /// The event-time column, a timestamp; `None` processes rows as they arrive.
    pub event_time: Option<String>,
    /// Added to event time, in microseconds: a window's result carries its end - 1.
    pub offset: i64,
    /// The column of the result.
    pub output: String,
    /// Number of the plan node: the source of the output's origin, with event time.
    pub node: u32,
    /// How long state lives that nothing touches; for ever if `None`.
    pub ttl: Option<Ttl>,
}

/// The columns of the result of a [`Keyed`] whose values have this type.
pub fn keyed_schema(spec: &KeyedSpec, data_type: DataType, nullable: bool, input: &Schema) -> SchemaRef {
    schema_with(input, Field::new(&spec.output, data_type, nullable))
}

/// All rows of a batch.
fn every(rows: usize) -> Kept<'static> {
    Kept::Range(0, rows)
}

/// A failure on a row of a batch, as the job's error; `place` is where that row stems from.
fn placed(failure: Failure, step: &str, place: impl Fn(usize) -> (Origin, usize)) -> Error {
    let (origin, row) = match &failure {
        Failure::Row { row: Some(row), .. } => place(*row),
        _ => (Origin::default(), 0),
    };
    // the row of the batch becomes the row of its split
    let failure = match failure {
        Failure::Row { what, operator, .. } => Failure::Row { row: Some(row), what, operator },
        other => other,
    };
    failure.at(step, Some(origin))
}
