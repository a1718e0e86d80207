//! Physical operators: RecordBatch in, RecordBatch out. One operator per file.

pub mod aggregate;
mod batch;
mod conform;
mod contract;
mod fault;
mod flat_map;
mod inspect;
mod ipc;
mod join;
mod kept;
mod keyed;
mod keys;
mod limit;
mod physical;
mod sink;
mod sort;
mod source;
#[cfg(test)]
mod tests;
mod user;

pub use batch::BatchOperator;
pub use conform::{Conform, conform};
pub use fault::Failure;
pub use flat_map::FlatMap;
pub use inspect::Inspect;
pub use keyed::{Keyed, KeyedSpec, keyed_schema};
pub use join::{HashJoin, JoinKind, JoinSpec, MATCHED};
pub use limit::Limit;
pub use sort::{MergeSort, PartialSort, SortKey, SortSpec};
pub use kept::Kept;
pub use keys::Keys;
pub use contract::{Account, END_OF_TIME, EventTime, Frozen, GroupState, Operator, Output, Progress};
pub use physical::{BoundSink, Exchange, Input, Instance, OperatorFactory, PhysicalNode, PhysicalPlan, Work};
pub use sink::Sink;
pub use source::{Read, Source, Split, SplitReader};
pub(crate) use user::operator_at;
pub use user::{
    Aggregate, Batch, Emit, KeyCtx, MapOperator, OperatorEntry, OperatorItem, OperatorKind, Tier, Typed, operators,
};
