//! What becomes of rows on which a function of a run returns an error: `on_error(fail | null | skip)`, `dead_letter()`.
//!
//! A run whose functions may return a `Result` carries that in the type of its steps ([`Step::Fails`]) and cannot be
//! sealed: rustc asks for one of these.

use std::marker::PhantomData;
use std::ops::Deref;

use crate::kernel::{Added, ErrorPolicy, Step};
use crate::plan::{EventColumn, Op};
use crate::record::{Col, Column, Fallible, HasColumn, Lane, Never, Reader, Record, Sometimes, Str, There, Value, Window, columns_of};

use super::graph::plan_columns;
use super::{Bound, Part, Pipe, Stream, Unkeyed};

/// The run before a boundary cannot fail, or says what becomes of errors.
///
/// Example: [`OnError`].
#[diagnostic::on_unimplemented(
    message = "a function before this step may return an error: say what becomes of such rows",
    label = "errors of the steps before it are not dealt with",
    note = "put one of these before it: `-> on_error(skip)` drops the row, `-> on_error(null)` makes the value null, `-> on_error(fail)` ends the job, `(good, bad) = .. -> dead_letter();` sends the row to `bad`"
)]
pub trait Handled {}
impl Handled for Never {}

/// The run before `on_error` and `dead_letter` may fail.
#[diagnostic::on_unimplemented(
    message = "nothing can fail here: no function in the steps before this one returns a `Result`",
    label = "no errors to deal with",
    note = "it speaks for the row-wise steps (`with`, `select`, `map`) since the last step that is not row-wise, or the last `on_error`"
)]
pub trait Erring {}
impl Erring for Sometimes {}

/// A value that failed can become null.
#[diagnostic::on_unimplemented(
    message = "`on_error(null)` stands right behind the `with`, `select` or `map` that may fail, whose row has no name of its own",
    label = "the value that failed cannot be null here",
    note = "a later step would see a value that is not there, and the columns of a named row have fixed types: move `-> on_error(null)` up, or make a `row {{ .. }}` first; `skip` and `fail` work anywhere"
)]
pub trait MayBeNull {}
impl MayBeNull for Never {}

/// What `on_error` takes: [`Fail`], [`Null`] or [`Skip`].
///
/// ```
/// use sabot::prelude::*;
/// use sabot::stream::{Graph, Job, Skip};
///
/// #[derive(Record, Clone, Debug, PartialEq)]
/// struct Word { text: Str }
///
/// # fn main() -> Result<()> {
/// let words = ["5", "x", "7"].map(|text| Word { text: text.into() }).to_vec();
/// let graph = Graph::new("numbers");
/// let source = graph.source("words", words);
/// graph.stream("numbers");
/// let numbers = source.filter(|w| w.text.parse::<i64>().map(|n| n > 0)).on_error(Skip);
/// numbers.open_sink("numbers");
/// let rows: Vec<Word> = Job::of(graph).collect()?;
/// assert_eq!(rows.iter().map(|w| w.text.as_str()).collect::<Vec<_>>(), ["5", "7"]);
/// # Ok(()) }
/// ```
pub trait OnError {
    /// The record behind it.
    type Out<S: Step>: Record;
    /// The columns of an async step behind it.
    type Columns<X: Added>: Added;
    /// Whether the run cannot have it.
    type Bars<S: Step>: Fallible;
    /// As a value.
    const POLICY: ErrorPolicy;
}
/// The job ends.
///
/// Example: [`OnError`].
#[derive(Clone, Copy, Debug)]
pub struct Fail;
/// The value that failed is null.
///
/// Example: [`OnError`].
#[derive(Clone, Copy, Debug)]
pub struct Null;
/// The row is dropped, and counted as failed.
///
/// Example: [`OnError`].
#[derive(Clone, Copy, Debug)]
pub struct Skip;
impl OnError for Fail {
    type Out<S: Step> = S::Good<S::In>;
    type Columns<X: Added> = X::Good;
    type Bars<S: Step> = Never;
    const POLICY: ErrorPolicy = ErrorPolicy::Fail;
}
impl OnError for Null {
    type Out<S: Step> = S::Nulled<S::In>;
    type Columns<X: Added> = X::Nulled;
    type Bars<S: Step> = S::Bars;
    const POLICY: ErrorPolicy = ErrorPolicy::Null;
}
impl OnError for Skip {
    type Out<S: Step> = S::Good<S::In>;
    type Columns<X: Added> = X::Good;
    type Bars<S: Step> = Never;
    const POLICY: ErrorPolicy = ErrorPolicy::Skip;
}

/// The rows that left by `dead_letter`.
pub(super) type Letters<'g, R, B, C> = Stream<'g, DeadLetter<R>, Unkeyed, B, <R as Record>::Time, C>;

impl<'g, R: Record, K, B: Bound, T, C> Stream<'g, R, K, B, T, C> {
    /// Says what becomes of rows on which a function of the run before it returns an error: `on_error(skip)`.
    #[allow(clippy::type_complexity)]
    pub fn on_error<S: Step<Out = R>, P: OnError>(self, part: Part<S>, _policy: P) -> Stream<'g, P::Out<S>, K, B, T, C>
    where
        S::Fails: Erring,
        P::Bars<S>: MayBeNull,
    {
        self.close(part, P::POLICY)
    }
    /// Sends rows on which a function of the run before it returns an error to a stream of their own:
    /// `(good, bad) = .. -> dead_letter();`.
    #[allow(clippy::type_complexity)]
    pub fn dead_letter<S: Step<Out = R>>(self, part: Part<S>) -> (Stream<'g, S::Good<S::In>, K, B, T, C>, Letters<'g, S::In, B, C>)
    where
        S::Fails: Erring,
    {
        let good = self.close(part, ErrorPolicy::DeadLetter);
        (good, good.letters::<S::In>())
    }
    /// The rows that failed in the step that this stream leaves; `In` is the record that entered it.
    pub(super) fn letters<In: Record>(self) -> Letters<'g, In, B, C> {
        let columns = columns_of::<DeadLetter<In>>();
        let time = columns.iter().find(|c| c.event_time).map(|c| EventColumn { column: c.name.to_string(), offset: 0 });
        self.push(Op::DeadLetter, plan_columns(&columns), Vec::new(), time)
    }
}

impl<'g, S: Step, K, B: Bound, T, C> Pipe<'g, S, K, B, T, C> {
    /// Finishes the run and says what becomes of rows on which one of its functions returns an error: [`Fail`], [`Null`]
    /// or [`Skip`].
    #[allow(clippy::type_complexity)]
    pub fn on_error<P: OnError>(self, policy: P) -> Stream<'g, P::Out<S>, K, B, T, C>
    where
        S::Fails: Erring,
        P::Bars<S>: MayBeNull,
    {
        let (stream, part) = self.split();
        stream.on_error(part, policy)
    }
    /// Finishes the run: good rows, and those on which one of its functions returned an error, as they entered it.
    #[allow(clippy::type_complexity)]
    pub fn dead_letter(self) -> (Stream<'g, S::Good<S::In>, K, B, T, C>, Letters<'g, S::In, B, C>)
    where
        S::Fails: Erring,
    {
        let (stream, part) = self.split();
        stream.dead_letter(part)
    }
}

/// A row that failed, as it entered the run, with the reason and the place.
#[derive(Debug)]
pub struct DeadLetter<R>(PhantomData<fn() -> R>);

/// The row of a [`DeadLetter`]: derefs to the row that failed.
pub struct DeadLetterRow<'a, R: Record> {
    /// What the function said.
    pub error: &'a str,
    /// The function.
    pub operator: &'a str,
    /// Name of the source that the row stems from.
    pub source: &'a str,
    /// Partition of the source.
    pub partition: u32,
    /// Split of the partition.
    pub split: u64,
    /// Row number within the split.
    pub row: u64,
    base: R::Row<'a>,
}
impl<R: Record> Clone for DeadLetterRow<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R: Record> Copy for DeadLetterRow<'_, R> {}
impl<'a, R: Record> Deref for DeadLetterRow<'a, R> {
    type Target = R::Row<'a>;
    #[inline(always)]
    fn deref(&self) -> &R::Row<'a> {
        &self.base
    }
}

/// The columns of a [`DeadLetter`].
pub struct DeadLetterCols<R: Record> {
    /// What the function said.
    pub error: Col<Str>,
    /// The function.
    pub operator: Col<Str>,
    /// Name of the source.
    pub source: Col<Str>,
    /// Partition of the source.
    pub partition: Col<u32>,
    /// Split of the partition.
    pub split: Col<u64>,
    /// Row number within the split.
    pub row: Col<u64>,
    base: R::Cols,
}
impl<R: Record> Deref for DeadLetterCols<R> {
    type Target = R::Cols;
    fn deref(&self) -> &R::Cols {
        &self.base
    }
}

type Own<'a> = (<Str as Value>::Read<'a>, <Str as Value>::Read<'a>, <Str as Value>::Read<'a>);
type Place<'a> = (<u32 as Value>::Read<'a>, <u64 as Value>::Read<'a>, <u64 as Value>::Read<'a>);
type OwnChunk<'a> = (<Str as Value>::Chunk<'a>, <Str as Value>::Chunk<'a>, <Str as Value>::Chunk<'a>);
type PlaceChunk<'a> = (<u32 as Value>::Chunk<'a>, <u64 as Value>::Chunk<'a>, <u64 as Value>::Chunk<'a>);

impl<R: Record> Record for DeadLetter<R> {
    type Row<'a> = DeadLetterRow<'a, R>;
    type Cols = DeadLetterCols<R>;
    type Time = R::Time;
    type Read<'a> = (R::Read<'a>, Own<'a>, Place<'a>);
    type Chunk<'a> = (R::Chunk<'a>, OwnChunk<'a>, PlaceChunk<'a>);
    const NAME: &'static str = "a dead letter";
    fn cols() -> Self::Cols {
        DeadLetterCols {
            error: Col::new("error"),
            operator: Col::new("operator"),
            source: Col::new("source"),
            partition: Col::new("partition"),
            split: Col::new("split"),
            row: Col::new("row"),
            base: R::cols(),
        }
    }
    fn columns(out: &mut Vec<Column>) {
        R::columns(out);
        out.extend(["error", "operator", "source"].map(|name| Column::of::<Str>(name, name)));
        out.push(Column::of::<u32>("partition", "partition"));
        out.extend(["split", "row"].map(|name| Column::of::<u64>(name, name)));
    }
    fn read<'a>(from: &mut Reader<'a>) -> Self::Read<'a> {
        let base = R::read(from);
        let own = (from.next::<Str>(), from.next::<Str>(), from.next::<Str>());
        (base, own, (from.next::<u32>(), from.next::<u64>(), from.next::<u64>()))
    }
    #[inline(always)]
    fn chunk<'a>((base, own, place): Self::Read<'a>, at: Window) -> Self::Chunk<'a> {
        let own = (Str::chunk(own.0, at), Str::chunk(own.1, at), Str::chunk(own.2, at));
        (R::chunk(base, at), own, (u32::chunk(place.0, at), u64::chunk(place.1, at), u64::chunk(place.2, at)))
    }
    #[inline(always)]
    fn row<'a, const VALID: bool>((base, own, place): Self::Chunk<'a>, lane: Lane) -> Self::Row<'a> {
        DeadLetterRow {
            error: Str::lane::<VALID>(own.0, lane),
            operator: Str::lane::<VALID>(own.1, lane),
            source: Str::lane::<VALID>(own.2, lane),
            partition: u32::lane::<VALID>(place.0, lane),
            split: u64::lane::<VALID>(place.1, lane),
            row: u64::lane::<VALID>(place.2, lane),
            base: R::row::<VALID>(base, lane),
        }
    }
}
impl<N, W, R: HasColumn<N, W>> HasColumn<N, There<W>> for DeadLetter<R> {
    type V = R::V;
    fn get<'a>(row: &Self::Row<'a>) -> <R::V as Value>::Ref<'a> {
        R::get(&row.base)
    }
}
