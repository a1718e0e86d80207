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
pub use user::{
    Aggregate, Batch, BatchItem, Emit, Finish, KeyCtx, KeyedItem, MapOperator, OperatorEntry, OperatorItem, OperatorKind, Plain, Row1, Stored, Tier, Typed, Values, operators,
};
