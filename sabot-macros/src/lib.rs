//! The macros of Sabot.
//!
//! Each macro is a folder of four stages: `parse` turns tokens into a plain `model` and never gives up early, `check`
//! adds what syntax alone can tell is wrong, `expand` writes the output. Errors are `compile_error!`s beside the
//! expansion, never instead of it, so that one mistake is one message and an editor keeps working.
//!
//! Tokens of the user's keep their spans and appear once; ours have `Span::mixed_site`.

#![allow(clippy::indexing_slicing)]

#[macro_use]
mod common;
mod operator;
mod pipeline;
mod record;
mod state;

use proc_macro::TokenStream;

/// Makes a struct a record: the named, typed columns of a stream.
///
/// ```ignore
/// #[derive(Record)]
/// pub struct Trade {
///     pub symbol: Str,
///     pub price: f64,
///     pub note: Option<Str>,           // nullable
///     #[record(rename = "venueId")]    // the column's name in files
///     pub venue: Dict<Str>,
///     #[event_time]
///     pub ts: Timestamp<Micros>,
/// }
/// ```
///
/// Options: `#[event_time]` on one timestamp field, `#[record(rename = "..")]` on fields,
/// `#[record(rename_all = "camelCase")]` on the struct, and `#[record(schema = "schemas/trade.json")]`, which compares the
/// record with an Arrow schema in a file (`{"fields": [{"name": "price", "type": "Float64", "nullable": false}]}`, relative
/// to the package) while compiling.
///
/// Generated beside it, with its visibility: `TradeRow<'a>`, what closures see; `TradeCols`, what `key_by` sees;
/// `TradeBatch`, a trait with one accessor per column for `Batch<Trade>`.
#[proc_macro_derive(Record, attributes(record, event_time))]
pub fn derive_record(item: TokenStream) -> TokenStream {
    record::derive(item.into()).into()
}

/// Makes a struct operator state: it survives a restart, and may gain fields.
///
/// The struct also needs `Default`: the state of a new key, and the value of fields that were added since.
#[proc_macro_derive(State)]
pub fn derive_state(item: TokenStream) -> TokenStream {
    state::derive(item.into()).into()
}

/// Makes a function, or an `impl` block with `update`, `merge` and `finish`, an operator.
///
/// The item stays what it is: callable, testable, documented. Beside a function `f` there is a type `f`, with which
/// pipelines refer to it.
///
/// | item | operator |
/// |---|---|
/// | `fn f(price: f64, qty: i64) -> f64` | scalar: one value per row |
/// | `fn f(..) -> bool` | predicate |
/// | `fn f(..) -> impl Iterator<Item = T>` | flat_map |
/// | `fn f(state: &mut S, ..) -> Option<T>` | keyed: state per key |
/// | `impl T { fn update(&mut self, ..) fn merge(&mut self, other: Self) fn finish(&self) -> V }` | aggregate |
/// | `#[operator(batch)] fn f(b: &Batch<R>) -> Float64Array` | whole batches |
/// | `async fn f(ip: &str) -> Result<Str, E>` | async: many calls at once (Sabot's feature `async`) |
///
/// Options: `total` (never panics, whatever the arguments), `volatile` (differs for equal arguments), `batch`,
/// `name = ".."` (the stable name), `T = [i32, i64]` (the instances of a generic function); of an `async fn`:
/// `max_in_flight = 64`, `timeout = "2s"`, `unordered`, `retry = 3`, `retry_wait = "100ms"`.
#[proc_macro_attribute]
pub fn operator(options: TokenStream, item: TokenStream) -> TokenStream {
    operator::attribute(options.into(), item.into()).into()
}

/// A dataflow graph: sources, steps, sinks.
///
/// ```ignore
/// pipeline! {
///     /// Average drag per carrier and day.
///     pub fn daily_drag(flights: Source<Flight>, minimum_miles: i64);
///
///     long  = flights -> filter(|f| f.distance >= minimum_miles)
///                     -> with(|f| row { drag: drag(f.dep_delay?, f.distance) });
///     daily = long    -> key_by(carrier) -> window(tumbling(1.day()))
///                     -> aggregate(|f| row { drag: mean(f.drag), flights: count() });
///     daily -> sink;
/// }
/// ```
///
/// A pipeline that declares a record, `pub fn clean(raw: Source<Raw>) -> Clean;`, has one open end with such rows, and can be
/// used inside another: `cleaned = clean(raw) -> filter(..);`.
///
/// Generated: a function of that name, which takes sources and parameters and returns a `Job` (given streams, one that declares a
/// record returns a stream); a type of that name, which
/// registers the pipeline for the command line and for other processes. See `docs/language.md`.
#[proc_macro]
pub fn pipeline(input: TokenStream) -> TokenStream {
    pipeline::pipeline(input.into()).into()
}
