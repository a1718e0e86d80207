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
mod bad_rows;
mod batch;
mod build_id;
mod changes;
mod channel;
mod compose;
mod edges;
mod errors;
mod generate;
mod graph;
mod handle;
mod in_window;
mod job;
mod join;
mod keyed;
mod lateness;
mod lower;
mod lower_async;
mod lower_edges;
mod lower_endless;
mod lower_join;
mod lower_sets;
mod lower_sort;
mod lower_wide;
mod marks;
mod near_join;
mod ordered;
mod pair;
mod params;
mod physical;
mod pipe;
mod registry;
mod running;
mod sets;
mod shares;
mod source;
mod spec;
mod stamped;
mod timed_join;
mod window_join;
mod windows;

pub use crate::secret::Secret;
pub use aggregate::agg;
#[doc(hidden)]
pub use aggregate::{Addable, Agg, AggregatePart, AggregateRow, Between, InputNames, user};
#[cfg(feature = "async")]
pub use asynchronous::Waits;
#[cfg(feature = "async")]
#[doc(hidden)]
pub use asynchronous::{Certain, waited, waited_certain};
#[doc(hidden)]
pub use batch::BecomesColumn;
pub use build_id::build_id;
pub use changes::{Append, Change, Changes, FoldsIn, Stays, Takes, TakesBack, folds};
pub use channel::{RowReceiver, RowSender, Rows as ChannelRows, channel_in, channel_out};
#[doc(hidden)]
pub use compose::{Alone, Beside, EndsAs, Given, GivenRows, Inside, Returns, Side, flow};
pub use compose::{Flow, Input, IntoSource};
#[doc(hidden)]
pub use edges::{NamesInstance, Numbers, numbers};
#[doc(hidden)]
pub use errors::{DeadLetter, DeadLetterCols, DeadLetterRow, Erring, MayBeNull};
pub use errors::{Fail, Handled, Null, OnError, Skip};
pub use generate::{Generator, generate};
pub use graph::Graph;
#[doc(hidden)]
pub use graph::{Built, Code, FixedSinks, MakeOperator, Site, Table};
pub use handle::{Records, Stream, asc, desc, nulls_first};
pub use in_window::{InWindow, InWindowRow, WindowBounds};
pub use job::Job;
#[doc(hidden)]
pub use join::{Decides, Either, EndsFirst, EndsLast, JoinSide, Joined, Kept, LeftSide, NotCut, On, PairCondition, SentBy, Sided, decided};
#[doc(hidden)]
pub use keyed::{HasSideOutput, KeyedBy, KeyedOptions, NoSideOutput, OwnRow, TimeForTimers};
#[doc(hidden)]
pub use lateness::Told;
pub use lateness::Watermark;
pub use marks::{And, Bound, Bounded, Finite, IsKeyed, Keyed, Unbounded, Unkeyed, Windowed, key};
#[doc(hidden)]
pub use marks::{
    Closes, CutsInto, Decoy, Emits, Instant, KeyCols, KeyTypes, KeyValue, RowsFor, SameKey, SameRows, TimeFor, Updated, WindowCols,
    Windowable,
};
pub use near_join::ttl;
pub use ordered::over;
#[doc(hidden)]
pub use ordered::{EndsFor, Gives, OverFn, OverPart, OverRow, PerKey, Reducible, StaysFor, Uncut};
#[doc(hidden)]
pub use pair::{Always, Maybe, Pair, PairRow, PairSide};
pub use params::{ParamEntry, Params};
pub use pipe::Pipe;
#[doc(hidden)]
pub use pipe::{Looks, Part, all_of, named};
#[doc(hidden)]
pub use registry::PipelineItem;
pub use registry::{PipelineEntry, pipeline_named, pipelines};
pub use running::Running;
#[doc(hidden)]
pub use sets::{Comparable, Compared, compared};
#[cfg(feature = "json")]
pub use source::jsonl;
#[cfg(feature = "kafka")]
pub use source::kafka_with;
#[cfg(feature = "parquet")]
pub use source::parquet;
#[doc(hidden)]
pub use source::{AnyRow, FixedSource};
pub use source::{Batches, IntoSink, Live, Sink, SinkBinding, Source, SourceBinding, csv, csv_with, follow, to};
pub use spec::{JobSpec, Settings};
#[doc(hidden)]
pub use stamped::{Stamped, StampedCols, StampedRow, Stamps};
pub use timed_join::AsOf;
#[doc(hidden)]
pub use timed_join::{Ahead, Answers, AtMost, Back, Far, KeyedAlike, SideStays, StaysInTime, TellsTime, TimeRange, TimeSpan, TimedSide};
#[doc(hidden)]
pub use window_join::{JoinedInWindow, WindowSide};
pub use windows::{Closing, Cut, Emission, Global, OnUpdate, Updating, Windows, global, hop, on_update, session, tumbling};

/// A layer of one column: what `keyed`, `map` and `batch` add.
#[doc(hidden)]
pub trait Layer: crate::kernel::Added {
    /// The column's type.
    type V: crate::record::Value;
}
