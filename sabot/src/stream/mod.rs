//! The builder that `pipeline!` calls, and the job it makes.
//!
//! A [`Graph`] collects nodes; a [`Stream`] is a copyable handle on one of them, whose type says what its rows are, and
//! whether they are keyed, end, and have event time. Row-wise steps grow a [`Pipe`] and become one kernel. A [`Job`] is a
//! finished graph with parameters, sources and sinks.
//!
//! ```
//! use sabot::prelude::*;
//! use sabot::stream::{Graph, Job, desc};
//!
//! #[derive(Record, Clone, Debug)]
//! struct Trade { symbol: Str, price: f64, qty: i64 }
//!
//! # fn main() -> Result<()> {
//! let trades = vec![
//!     Trade { symbol: "ACME".into(), price: 10.0, qty: 50 },
//!     Trade { symbol: "BOLT".into(), price: 99.5, qty: 200 },
//!     Trade { symbol: "COGS".into(), price: 120.0, qty: 100 },
//! ];
//! let graph = Graph::new("large");
//! let source = graph.source("trades", trades);
//! graph.stream("large"); // names what follows
//! let large = source.filter(|t| t.price * t.qty as f64 >= 1000.0).inspect(|t| assert!(t.qty > 50)).stream();
//! large.sort(|t| [desc(t.price)]).limit(1).open_sink("large");
//! let job = Job::of(graph).parallel(2);
//! let rows: Vec<Trade> = job.collect()?;
//! assert_eq!(rows[0].symbol.as_str(), "COGS");
//! # Ok(()) }
//! ```

mod aggregate;
#[cfg(feature = "async")]
mod asynchronous;
mod batch;
mod channel;
mod compose;
mod errors;
mod generate;
mod graph;
mod handle;
mod job;
mod join;
mod lateness;
mod lower;
mod lower_join;
mod lower_sets;
mod lower_sort;
mod lower_wide;
mod marks;
mod ordered;
mod pair;
mod params;
mod physical;
mod pipe;
mod registry;
mod running;
mod sets;
mod source;
mod spec;
mod timed_join;
mod windows;

pub use crate::secret::Secret;
pub use aggregate::{Addable, Agg, AggregatePart, AggregateRow, Between, InputNames, agg, user};
#[cfg(feature = "async")]
pub use asynchronous::{Certain, Waits, waited, waited_certain};
pub use batch::BecomesColumn;
pub use channel::{RowReceiver, RowSender, Rows as ChannelRows, channel_in, channel_out};
pub use compose::{Alone, Beside, EndsAs, Flow, Given, GivenRows, Input, Inside, IntoSource, Returns, Side, flow};
pub use errors::{DeadLetter, DeadLetterCols, DeadLetterRow, Erring, Fail, Handled, MayBeNull, Null, OnError, Skip};
pub use generate::{Generator, generate};
pub use graph::{Built, Code, FixedSinks, Graph, MakeOperator, Site, Table};
pub use handle::{Records, Stream, asc, desc, nulls_first};
pub use job::{Job, build_id};
pub use join::{Decides, EndsFirst, EndsLast, JoinSide, Joined, LeftSide, On, PairCondition, Sided, decided};
pub use lateness::{Told, Watermark};
pub use marks::{
    And, Append, Bound, Bounded, Closes, CutsInto, Decoy, Emits, Finite, HasEventTime, Instant, IsKeyed, KeyCols, KeyTypes, KeyValue,
    Keyed, RowsFor, SameKey, SameRows, Unbounded, Unkeyed, WindowCols, Windowable, Windowed, key,
};
pub use ordered::{OverFn, OverPart, OverRow, PerKey, Reducible, over};
pub use pair::{Always, Maybe, Pair, PairRow, PairSide};
pub use params::{ParamEntry, Params};
pub use pipe::{Looks, Part, Pipe, all_of, named};
pub use registry::{PipelineEntry, PipelineItem, pipeline_named, pipelines};
pub use running::Running;
pub use sets::{Comparable, Compared, compared};
#[cfg(feature = "json")]
pub use source::jsonl;
#[cfg(feature = "kafka")]
pub use source::kafka_with;
#[cfg(feature = "parquet")]
pub use source::parquet;
pub use source::{AnyRow, Batches, FixedSource, IntoSink, Live, Sink, SinkBinding, Source, SourceBinding, csv, csv_with, follow, to};
pub use spec::{JobSpec, Settings};
pub use timed_join::{AsOf, EndsBoth, KeyedAlike, TellsTime, TimeRange, TimeSpan, TimedSide};
pub use windows::{Windows, hop, session, tumbling};

/// A layer of one column: what `keyed`, `map` and `batch` add.
pub trait Layer: crate::kernel::Added {
    /// The column's type.
    type V: crate::record::Value;
}
