//! Sabot turns plain Rust functions into vectorised Arrow operators and connects them into one dataflow that runs as a
//! batch job or as an endless stream.

// the output of the macros names it so, here too
extern crate self as sabot;

#[cfg(feature = "cli")]
pub mod cli;
mod clock;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod connect;
mod error;
// public for the output of the macros, tests and benchmarks: no program names what is in it
#[doc(hidden)]
pub mod kernel;
pub mod operator;
pub mod plan;
pub mod record;
pub mod runtime;
mod secret;
#[doc(hidden)]
pub mod shuffle;
pub mod stream;
mod sync;
pub mod testing;
mod words;

#[cfg(feature = "cli")]
pub use cli::main;
pub use error::{Error, Result};
/// Makes a struct the named, typed columns of a stream. Example: [`record`]; its rows in a pipeline: [`pipeline`].
pub use sabot_macros::Record;
/// Makes a struct operator state. Example: [`record::State`], and in pipelines [`operator`](macro@operator).
pub use sabot_macros::State;
/// Makes a function, or an `impl` block, an operator of a pipeline.
///
/// ```
/// use sabot::prelude::*;
///
/// #[derive(Record, Clone)]
/// struct Trade { symbol: Str, price: f64, qty: i64 }
///
/// /// A scalar: one value per row.
/// #[operator]
/// fn value(price: f64, qty: i64) -> f64 { price * qty as f64 }
///
/// /// An aggregate: the price per share.
/// #[derive(State, Default)]
/// struct Vwap { value: f64, shares: i64 }
/// #[operator]
/// impl Vwap {
///     fn update(&mut self, price: f64, qty: i64) { self.value += price * qty as f64; self.shares += qty }
///     fn merge(&mut self, other: Self) { self.value += other.value; self.shares += other.shares }
///     fn finish(&self) -> Option<f64> { (self.shares > 0).then(|| self.value / self.shares as f64) }
/// }
///
/// /// State per key: how far from the price before.
/// #[derive(State, Default)]
/// struct Before { price: Option<f64> }
/// #[operator]
/// fn moved(before: &mut Before, price: f64) -> Option<f64> {
///     before.price.replace(price).map(|last| price - last)
/// }
///
/// /// Whole batches.
/// #[operator(batch)]
/// fn half(b: &Batch<Trade>) -> arrow_array::Float64Array { b.price().unary(|p| p / 2.0) }
///
/// pipeline! {
///     /// All of them.
///     pub fn prices(trades: Source<Trade, Bounded>);
///     means = trades -> with(|t| row { value: value(t.price, t.qty) }) -> key_by(symbol)
///                    -> aggregate(|t| row { vwap: Vwap(t.price, t.qty), total: sum(t.value) });
///     moves = trades -> key_by(symbol) -> keyed(|t| row { moved: moved(t.price) }) -> select(|t| row Move { symbol: t.symbol, moved: t.moved });
///     halves = trades -> batch(half) -> filter(|t| t.half? > 6.0);
///     means -> sink;
///     moves -> sink;
///     halves -> sink(to("blackhole:"));
/// }
///
/// #[derive(Record, Debug, PartialEq)]
/// struct Mean { symbol: Str, vwap: Option<f64>, total: f64 }
/// #[derive(Record, Debug, PartialEq)]
/// struct Move { symbol: Str, moved: f64 }
///
/// # fn main() -> Result<()> {
/// assert_eq!(value(2.0, 3), 6.0); // it stays the function that it is
/// let trade = |price, qty| Trade { symbol: "A".into(), price, qty };
/// let ran = sabot::testing::Trial::new().run(prices(vec![trade(10.0, 1), trade(13.0, 2)]))?;
/// assert_eq!(ran.rows::<Mean>("means")?, [Mean { symbol: "A".into(), vwap: Some(12.0), total: 36.0 }]);
/// assert_eq!(ran.rows::<Move>("moves")?, [Move { symbol: "A".into(), moved: 3.0 }]);
/// # Ok(()) }
/// ```
pub use sabot_macros::operator;
/// Makes a function of a dataflow.
///
/// ```
/// use sabot::prelude::*;
///
/// #[derive(Record, Clone)]
/// struct Trade { symbol: Str, price: f64, qty: i64 }
/// #[derive(Record, Debug, PartialEq)]
/// struct Total { symbol: Str, value: f64, trades: u64 }
///
/// pipeline! {
///     /// What was traded in lots of at least `least`, by symbol.
///     pub fn totals(trades: Source<Trade, Bounded>, least: i64);
///
///     large  = trades -> filter(|t| t.qty >= least) -> with(|t| row { value: t.price * t.qty as f64 });
///     totals = large -> key_by(symbol) -> aggregate(|t| row { value: sum(t.value), trades: count() });
///     totals -> sink;
/// }
///
/// # fn main() -> Result<()> {
/// let trade = |qty| Trade { symbol: "A".into(), price: 2.0, qty };
/// let rows: Vec<Total> = totals(vec![trade(1), trade(10), trade(20)], 10).collect()?;
/// assert_eq!(rows, [Total { symbol: "A".into(), value: 60.0, trades: 2 }]);
/// # Ok(()) }
/// ```
pub use sabot_macros::pipeline;

/// What a program with pipelines needs: `use sabot::prelude::*`.
pub mod prelude {
    pub use crate::operator::{BadRow, Batch, KeyCtx};
    pub use crate::record::{
        Bytes, Date, Decimal, Dict, Duration, Largest, Least, List, ListRef, Micros, Millis, Nanos, Record, Reduce, Reducing, Seconds,
        State, Str, Time, TimeExt, Timestamp, Utc,
    };
    #[cfg(feature = "json")]
    pub use crate::stream::jsonl;
    #[cfg(feature = "parquet")]
    pub use crate::stream::parquet;
    pub use crate::stream::{
        Batches, Bounded, Secret, Sink, Source, Unbounded, channel_in, channel_out, csv, csv_with, follow, generate, global, hop,
        on_update, session, to, tumbling,
    };
    pub use crate::{Error, Result};
    pub use sabot_macros::{Record, State, operator, pipeline};
}

/// What the macros' output refers to. Not part of the public API.
#[doc(hidden)]
pub mod __private {
    pub use crate::kernel::{
        Added, Adds, All, Cat, Comparison, Computed, ConstantMeta, ExprMeta, Filter, Made, Makes, OrNull, Select, SimpleMeta, Step,
        StepMeta, Then, With, judged,
    };
    pub use crate::operator::{
        Aggregate, AsyncOptions, Batch, BatchItem, EventTimers, Finish, KeyCtx, KeyedItem, KeyedRows, MapOperator, NoSide, NoTimers,
        OperatorEntry, OperatorItem, OperatorKind, Plain, Retracts, Stored, Tier, Typed,
    };
    #[cfg(feature = "async")]
    pub use crate::operator::{AsyncItem, AsyncMap, Awaited};
    pub use crate::record::*;
    pub use crate::stream::*;
    pub use {arrow_array, arrow_schema, inventory, serde, serde_json};
}
