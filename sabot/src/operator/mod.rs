//! The contracts of sources and sinks of your own ([`Source`], [`Sink`], [`TwoPhase`]), what operators of your own are known as
//! ([`operators`]), and inside, hidden: physical operators, RecordBatch in, RecordBatch out. One operator per file.

#[doc(hidden)]
pub mod aggregate;
mod asynchronous;
mod bad_row;
mod batch;
mod by_group;
mod changelog;
mod conform;
mod contract;
mod cut;
mod disk;
mod distinct;
mod fault;
mod flat_map;
mod grace;
mod inspect;
pub(crate) mod instants;
mod ipc;
mod join;
mod kept;
mod key_ctx;
mod keyed;
mod keys;
mod layers;
mod limit;
mod net_top;
mod numbered;
mod order;
mod over;
mod packed;
mod pass;
mod physical;
mod place;
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
mod weights;
mod words;

// What is hidden is the inside of the engine: operators that steps are lowered to, and what the macros' output refers to.
pub use crate::kernel::{OperatorEntry, OperatorKind, Tier, Typed, operators};
#[doc(hidden)]
pub use aggregate::{
    Accumulator, AccumulatorFactory, AggregateSpec, EventWindow, Extreme, FinalAggregate, Function, Mean, PartialAggregate, Summand,
    UpdatingAggregate,
};
pub use asynchronous::AsyncOptions;
#[cfg(feature = "async")]
#[doc(hidden)]
pub use asynchronous::{Async, AsyncItem, AsyncMap, AsyncSpec, Awaited};
#[doc(hidden)]
pub use bad_row::BadRow;
#[doc(hidden)]
pub use batch::BatchOperator;
#[doc(hidden)]
pub use changelog::Changelog;
#[doc(hidden)]
pub use conform::{Conform, conform};
pub use contract::{Account, END_OF_TIME, EventTime};
#[doc(hidden)]
pub use contract::{Beside, Claim, Flight, Mark, Operator, Output, Outside, Pause, Pending, Progress};
#[doc(hidden)]
pub use cut::{Delta, Frozen, Layer, Spare};
pub use cut::{GroupState, LAYERED, LayerRows, SHARED};
pub use disk::StateDisk;
#[doc(hidden)]
pub use distinct::{Distinct, DistinctSpec, PartialDistinct};
#[doc(hidden)]
pub use fault::Failure;
#[doc(hidden)]
pub use flat_map::FlatMap;
#[doc(hidden)]
pub use grace::Grace;
#[doc(hidden)]
pub use inspect::Inspect;
#[cfg(any(feature = "kafka", feature = "postgres"))]
pub(crate) use ipc::{pop as pop_batch, push as push_batch};
#[doc(hidden)]
pub use join::{AsOfJoin, BuildSide, Condition, IntervalJoin, Join, JoinSpec, Shared, TimesNeeded, UpdatingJoin, WindowJoin};
#[doc(hidden)]
pub use kept::Kept;
pub(crate) use kept::schema_with;
pub use key_ctx::KeyCtx;
#[doc(hidden)]
pub use key_ctx::NoSide;
#[doc(hidden)]
pub use keyed::{Keyed, KeyedSpec, Machine, SideOutput, Ttl, keyed_schema};
pub(crate) use keyed::{TIME, own_schema};
#[doc(hidden)]
pub use keys::Keys;
#[doc(hidden)]
pub use limit::Limit;
#[doc(hidden)]
pub use net_top::NetTop;
#[doc(hidden)]
pub use over::{Over, OverFunction, OverSpec};
#[doc(hidden)]
pub use packed::Piece;
#[doc(hidden)]
pub use pass::Pass;
#[doc(hidden)]
pub use physical::{BoundSink, Exchange, Input, Instance, OperatorFactory, PhysicalNode, PhysicalPlan, SourceTime, Work};
#[doc(hidden)]
pub use place::Places;
pub(crate) use place::{places, without_places};
#[doc(hidden)]
pub use ranked::{Neighbour, Partitions, Ranking, RunningCount, RunningExtreme, RunningMean, RunningSum, WindowFunction};
#[doc(hidden)]
pub use run::RunOperator;
#[doc(hidden)]
pub use sample::{Sample, SampleSpec};
#[doc(hidden)]
pub use sets::{SetOperator, SetSpec};
pub use sink::{Changing, Sink};
#[doc(hidden)]
pub use sort::{InOrder, KeySample, MergeSort, PartialSort, RANGE, RangeBounds, RangeDeal, RangeMerge, SortKey, SortSpec, range_sort};
pub use source::{Pace, Read, Source, Split, SplitReader};
#[doc(hidden)]
pub use spill::{Memory, SpillDir};
#[doc(hidden)]
pub use top::{PartialTop, Top, TopSpec};
pub use two_phase::{Beginning, Prepared, Preparing, TwoPhase};
#[doc(hidden)]
pub use unnest::Unnest;
pub use user::{Aggregate, Batch};
#[doc(hidden)]
pub use user::{BatchItem, Emit, EventTimers, Finish, KeyedItem, KeyedRows, MapOperator, NoTimers, OperatorItem, Plain, Retracts, Stored};
pub use weights::{WEIGHT, weights, without_weights};
#[doc(hidden)]
pub use weights::{weight_field, with_weights};
