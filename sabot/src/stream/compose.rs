//! One pipeline inside another, and functions over streams.
//!
//! The function of a pipeline that returns rows (`pub fn clean(raw: Source<Raw>, limit: i64) -> Clean;`) takes sources or
//! streams. With sources it makes a [`Job`]. With streams it is inlined: its steps are added to their graph, under names that
//! begin with the stream and the pipeline (`cleaned/clean/..`), its sources are those streams, and its open end is the result.
//!
//! ```
//! use sabot::prelude::*;
//!
//! #[derive(Record, Clone, Debug, PartialEq)]
//! struct Trade {
//!     symbol: Str,
//!     qty: i64,
//! }
//!
//! pipeline! {
//!     pub fn clean(raw: Source<Trade>, least: i64) -> Trade;
//!
//!     good = raw -> filter(|t| t.qty >= least);
//!     good -> sink;
//! }
//!
//! pipeline! {
//!     pub fn report(raw: Source<Trade>);
//!
//!     cleaned = clean(raw, 2) -> filter(|t| t.symbol != "TEST");
//!     cleaned -> sink;
//! }
//!
//! # fn main() -> sabot::Result<()> {
//! let trade = |symbol: &str, qty| Trade { symbol: symbol.into(), qty };
//! let raw = vec![trade("ACME", 1), trade("BOLT", 3), trade("TEST", 9)];
//! assert_eq!(clean(raw.clone(), 5).collect::<Trade>()?, [trade("TEST", 9)]);
//! assert_eq!(report(raw).collect::<Trade>()?, [trade("BOLT", 3)]);
//! # Ok(()) }
//! ```

use std::marker::PhantomData;

use crate::connect::SourceSpec;
use crate::plan::{EventColumn, NodeId, Op};
use crate::record::{Record, columns_of};

use super::{
    And, Append, Batches, Bound, Bounded, Decoy, Generator, Graph, Job, Params, Pipe, PipelineEntry, Source, SourceBinding, Stream,
    Unbounded, Unkeyed,
};

/// A value that can be bound to a parameter of type `Source<R, B>`: everything that converts into one.
///
/// Example: [`Records`](super::Records).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not fit a parameter of type `Source<{R}, {B}>`",
    label = "not a source of `{R}` rows",
    note = "bind `parquet(..)`, `csv(..)`, a `Vec<{R}>` or another source"
)]
pub trait IntoSource<R, B> {
    /// How the source is opened.
    fn binding(self) -> SourceBinding;
}
#[diagnostic::do_not_recommend]
impl<R, B, S: Into<Source<R, B>>> IntoSource<R, B> for S {
    fn binding(self) -> SourceBinding {
        self.into().binding
    }
}

/// So that a stream that is given to a pipeline which returns no stream is one mistake: that of what comes back.
#[diagnostic::do_not_recommend]
#[doc(hidden)]
impl<R, B, Q, K, B2, T, C> From<Stream<'_, Q, K, B2, T, C>> for Source<R, B> {
    fn from(_: Stream<'_, Q, K, B2, T, C>) -> Self {
        let open = || {
            Err(crate::Error::usage(
                "a pipeline that returns no rows was given a stream: `pub fn name(..) -> Record;` declares what it returns",
            ))
        };
        Source::bind(SourceBinding::Live(std::sync::Arc::new(open)))
    }
}

/// The stream's rows are those that a pipeline's source declares.
#[diagnostic::on_unimplemented(
    message = "this pipeline takes `{Expected}` rows, but the stream carries `{Self}` rows",
    label = "not a stream of `{Expected}` rows",
    note = "add a `select(|r| row {Expected} {{ .. }})` step to the stream"
)]
pub trait GivenRows<Expected> {}
impl<R> GivenRows<R> for R {}
#[diagnostic::do_not_recommend]
impl<R> GivenRows<Decoy<R>> for R {}

/// The stream's rows are those that the pipeline returns.
#[diagnostic::on_unimplemented(
    message = "this pipeline returns `{Expected}` rows, but the stream carries `{Self}` rows",
    label = "wrong row type for what the pipeline returns",
    note = "add a `select(|r| row {Expected} {{ .. }})` step before the sink"
)]
pub trait Returns<Expected> {}
impl<R> Returns<R> for R {}
#[diagnostic::do_not_recommend]
impl<R> Returns<Decoy<R>> for R {}

/// A stream with this bound can be given where `B` is declared.
#[diagnostic::on_unimplemented(
    message = "this pipeline needs rows that end (`Source<.., Bounded>`), but the stream may never end",
    label = "may never end",
    note = "declare the outer source as one that ends: `Source<T, Bounded>`"
)]
pub trait EndsAs<B>: Bound {}
impl<B: Bound> EndsAs<Unbounded> for B {}
#[diagnostic::do_not_recommend]
impl EndsAs<Bounded> for Bounded {}

/// What a source of a pipeline is bound to.
#[derive(Clone, Debug)]
pub enum Given {
    /// A source.
    Source(SourceBinding),
    /// A stream of the graph that the pipeline becomes part of.
    Stream(NodeId),
}

/// What can be given to a pipeline that returns rows, where it declares `Source<R, B>`: a source, or a stream. `S` is its
/// [`Side`].
///
/// Implemented type by type, so that a value that does not fit is one error that says why.
///
/// Example: [`Records`](super::Records).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a stream nor a source of `{R}` rows",
    label = "expected a stream or a source of `{R}` rows"
)]
pub trait Input<R, B, S> {
    /// The side and what is given.
    fn give(self) -> (S, Given);
}
macro_rules! sources {
    ($([$($g:ident),*] $t:ty),* $(,)?) => {$(
        impl<R, B: Bound, $($g),*> Input<R, B, Alone<B>> for $t where $t: IntoSource<R, B> {
            fn give(self) -> (Alone<B>, Given) {
                (Alone(PhantomData), Given::Source(self.binding()))
            }
        }
    )*};
}
sources!([R2, B2] Source<R2, B2>, [R2] Vec<R2>, [R2] Generator<R2>, [] Batches, [] SourceSpec);
impl<'g, R, B, Q: GivenRows<R>, K, B2: EndsAs<B>, T> Input<R, B, Inside<'g, B2>> for Stream<'g, Q, K, B2, T, Append> {
    fn give(self) -> (Inside<'g, B2>, Given) {
        (Inside(self.graph(), PhantomData), Given::Stream(self.node()))
    }
}

/// All is given by sources: the pipeline is a job of its own.
#[derive(Debug)]
pub struct Alone<B>(PhantomData<fn() -> B>);
/// Something is given by a stream: the pipeline becomes part of its graph.
#[derive(Debug)]
pub struct Inside<'g, B>(&'g Graph, PhantomData<fn() -> B>);

/// Where a pipeline runs, by what it is given.
pub trait Side {
    /// What its function returns if its rows are `R`.
    type Out<R: Record>;
    /// Makes that.
    fn call<R: Record>(
        self,
        entry: &PipelineEntry,
        params: Params,
        given: Vec<(&'static str, Given)>,
        build: impl FnOnce(&Graph),
    ) -> Self::Out<R>;
}
impl<B: Bound> Side for Alone<B> {
    type Out<R: Record> = Job;
    fn call<R: Record>(self, entry: &PipelineEntry, params: Params, given: Vec<(&'static str, Given)>, build: impl FnOnce(&Graph)) -> Job {
        let job = Job::new(entry, params, build);
        given.into_iter().fold(job, |job, (name, given)| match given {
            Given::Source(binding) => job.bind_source(name, binding),
            Given::Stream(_) => job,
        })
    }
}
impl<'g, B: Bound> Side for Inside<'g, B> {
    type Out<R: Record> = Stream<'g, R, Unkeyed, B, R::Time, Append>;
    fn call<R: Record>(
        self,
        entry: &PipelineEntry,
        _: Params,
        given: Vec<(&'static str, Given)>,
        build: impl FnOnce(&Graph),
    ) -> Self::Out<R> {
        let graph = self.0;
        // where a pipeline uses itself the job will not start; until then any stream will do
        let any = given.iter().find_map(|(_, g)| if let Given::Stream(node) = g { Some(*node) } else { None }).unwrap_or(0);
        if !graph.enter(entry, given) {
            return Stream::new(graph, any);
        }
        build(graph);
        let Some(out) = graph.leave() else {
            graph.problem(format!("pipeline `{}` returns no rows: it has no open end", entry.name));
            return Stream::new(graph, any);
        };
        timed::<R, B>(graph, out)
    }
}

/// The rows with the event time that their record declares.
fn timed<R: Record, B: Bound>(graph: &Graph, out: NodeId) -> Stream<'_, R, Unkeyed, B, R::Time, Append> {
    let declared = columns_of::<R>().into_iter().find(|c| c.event_time);
    let declared = declared.map(|c| EventColumn { column: c.name.to_string(), offset: 0 });
    match graph.node(out) {
        Some(node) if node.time != declared => {
            let stream: Stream<'_, R, Unkeyed, B, R::Time, Append> = Stream::new(graph, out);
            stream.push(Op::EventTime, node.columns, Vec::new(), declared)
        }
        _ => Stream::new(graph, out),
    }
}

/// Two things that are given to one pipeline; `Both` is the side of both: the rows end if both do.
pub trait Beside<S, Both>: Sized {
    /// Both.
    fn beside(self, other: S) -> Both;
}
impl<A: And<B>, B> Beside<Alone<B>, Alone<A::Out>> for Alone<A> {
    fn beside(self, _: Alone<B>) -> Alone<A::Out> {
        Alone(PhantomData)
    }
}
impl<'g, A: And<B>, B> Beside<Inside<'g, B>, Inside<'g, A::Out>> for Alone<A> {
    fn beside(self, other: Inside<'g, B>) -> Inside<'g, A::Out> {
        Inside(other.0, PhantomData)
    }
}
impl<'g, A: And<B>, B> Beside<Alone<B>, Inside<'g, A::Out>> for Inside<'g, A> {
    fn beside(self, _: Alone<B>) -> Inside<'g, A::Out> {
        Inside(self.0, PhantomData)
    }
}
impl<'g, A: And<B>, B> Beside<Inside<'g, B>, Inside<'g, A::Out>> for Inside<'g, A> {
    fn beside(self, other: Inside<'g, B>) -> Inside<'g, A::Out> {
        if !std::ptr::eq(self.0, other.0) {
            self.0.problem("the streams that are given to a pipeline belong to two graphs; join streams of one graph only".into());
        }
        Inside(self.0, PhantomData)
    }
}

/// What a call at the head of a chain may return: a stream, or one with an unfinished run.
///
/// Example: [`Records`](super::Records).
#[diagnostic::on_unimplemented(
    message = "a stream begins with a call that returns a stream, but this is `{Self}`",
    label = "not a stream",
    note = "give another pipeline a stream: `clean(raw, 10)`; it declares what it returns: `pub fn clean(raw: Source<Raw>, limit: i64) -> Clean;`. A source is written `source(..)`"
)]
pub trait Flow<S> {
    /// Finishes it.
    fn flow(self) -> S;
}
impl<'g, R, K, B, T, C> Flow<Stream<'g, R, K, B, T, C>> for Stream<'g, R, K, B, T, C> {
    fn flow(self) -> Self {
        self
    }
}
impl<'g, S: crate::kernel::Step, K, B, T, C> Flow<Stream<'g, S::Good<S::In>, K, B, T, C>> for Pipe<'g, S, K, B, T, C>
where
    S::Fails: super::Handled,
{
    fn flow(self) -> Stream<'g, S::Good<S::In>, K, B, T, C> {
        self.stream()
    }
}
/// The stream that a call at the head of a chain returns; used by generated code.
#[doc(hidden)]
pub fn flow<F: Flow<S>, S>(call: F) -> S {
    call.flow()
}
