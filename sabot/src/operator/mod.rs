//! Physical operators: RecordBatch in, RecordBatch out. One operator per file.

mod contract;
mod physical;
mod sink;
mod source;
mod user;

pub use contract::{Account, END_OF_TIME, EventTime, Frozen, GroupState, Operator, Output, Progress};
pub use physical::{BoundSink, Exchange, Input, Instance, OperatorFactory, PhysicalNode, PhysicalPlan, Work};
pub use sink::Sink;
pub use source::{Read, Source, Split, SplitReader};
pub(crate) use user::operator_at;
pub use user::{
    Aggregate, Batch, Emit, KeyCtx, MapOperator, OperatorEntry, OperatorItem, OperatorKind, Tier, Typed, operators,
};
