//! Physical operators: RecordBatch in, RecordBatch out. One operator per file.

pub mod aggregate;
mod asynchronous;
mod batch;
mod by_group;
mod conform;
mod contract;
mod distinct;
mod fault;
mod flat_map;
mod grace;
mod inspect;
pub(crate) mod instants;
mod ipc;
mod join;
mod kept;
mod keyed;
mod keys;
mod limit;
mod order;
mod over;
mod physical;
mod places;
mod ranked;
mod run;
mod sample;
mod sets;
mod sink;
mod sort;
mod source;
mod spill;
#[cfg(test)]
mod tests;
mod top;
mod two_phase;
mod unnest;
mod user;
mod words;

pub use crate::kernel::{OperatorEntry, OperatorKind, Tier, Typed, operators};
pub use aggregate::{
    Accumulator, AccumulatorFactory, AggregateSpec, EventWindow, Extreme, FinalAggregate, Function, Mean, PartialAggregate, Summand,
};
pub use asynchronous::AsyncOptions;
#[cfg(feature = "async")]
pub use asynchronous::{Async, AsyncItem, AsyncMap, AsyncSpec, Awaited};
pub use batch::BatchOperator;
pub use conform::{Conform, conform};
pub use contract::{
    Account, Beside, END_OF_TIME, EventTime, Flight, Frozen, GroupState, Mark, Operator, Output, Outside, Pause, Pending, Progress,
};
pub use distinct::{Distinct, DistinctSpec, PartialDistinct};
pub use fault::Failure;
pub use flat_map::FlatMap;
pub use grace::Grace;
pub use inspect::Inspect;
#[cfg(any(feature = "kafka", feature = "postgres"))]
pub(crate) use ipc::{pop as pop_batch, push as push_batch};
pub use join::{BuildSide, Condition, Join, JoinSpec, Shared};
pub use kept::Kept;
pub(crate) use kept::schema_with;
pub use keyed::{Keyed, KeyedSpec, keyed_schema};
pub use keys::Keys;
pub use limit::Limit;
pub use over::{Over, OverFunction, OverSpec};
pub use physical::{BoundSink, Exchange, Input, Instance, OperatorFactory, PhysicalNode, PhysicalPlan, SourceTime, Work};
pub use ranked::{Neighbour, Partitions, Ranking, RunningCount, RunningExtreme, RunningMean, RunningSum, WindowFunction};
pub use run::RunOperator;
pub use sample::{Sample, SampleSpec};
pub use sets::{SetOperator, SetSpec};
pub use sink::Sink;
pub use sort::{MergeSort, PartialSort, SortKey, SortSpec, range_sort};
pub use source::{Pace, Read, Source, Split, SplitReader};
pub use spill::{Memory, SpillDir};
pub use top::{PartialTop, Top, TopSpec};
pub use two_phase::{Beginning, Prepared, Preparing, TwoPhase};
pub use unnest::Unnest;
pub use user::{Aggregate, Batch, BatchItem, Emit, Finish, KeyCtx, KeyedItem, MapOperator, OperatorItem, Plain, Stored};
