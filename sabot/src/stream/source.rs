//! Sources and sinks as values that a caller binds to a pipeline's open ends.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::Result;
use crate::connect::{MemorySource, SinkSpec, SourceSpec};
use crate::record::{Named, Record, to_batch};

use super::{Append, Bounded, Changes, Unbounded};

/// How a source is opened.
///
/// Example: [`JobSpec`](super::JobSpec).
#[derive(Clone)]
pub enum SourceBinding {
    /// By a specification, which can travel to another process.
    Spec(SourceSpec),
    /// By a value of this process.
    Live(Live<dyn crate::operator::Source>),
}
/// How a sink is opened.
///
/// Example: [`JobSpec`](super::JobSpec).
#[derive(Clone)]
pub enum SinkBinding {
    /// By a specification, which can travel to another process.
    Spec(SinkSpec),
    /// By a value of this process.
    Live(Live<dyn crate::operator::Sink>),
}
/// Opens something of this process.
///
/// Example: [`JobSpec`](super::JobSpec).
pub type Live<T> = Arc<dyn Fn() -> Result<Box<T>> + Send + Sync>;

impl std::fmt::Debug for SourceBinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SourceBinding::Spec(spec) => spec.fmt(f),
            SourceBinding::Live(_) => f.write_str("in-process source"),
        }
    }
}
impl std::fmt::Debug for SinkBinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SinkBinding::Spec(spec) => spec.fmt(f),
            SinkBinding::Live(_) => f.write_str("in-process sink"),
        }
    }
}

/// A source of `R` rows. `Source<R>` may be endless; `Source<R, Bounded>` ends, which allows sorts and plain aggregates.
///
/// Made from files (`parquet`, `csv`), rows (`Vec<R>`), batches, or a source of your own
/// ([`Source::custom`]).
/// ```
/// use sabot::prelude::*;
///
/// #[derive(Record, Clone, Debug, PartialEq)]
/// struct Trade { symbol: Str, qty: i64 }
///
/// pipeline! {
///     /// All trades, and those of a file that the pipeline names.
///     pub fn all(trades: Source<Trade, Bounded>, path: String);
///     more = source(csv::<Trade>(&path));
///     all  = trades -> union(more) -> sort(qty);
///     all -> sink;
/// }
///
/// # fn main() -> Result<()> {
/// let path = std::env::temp_dir().join(format!("sabot-source-{}.csv", std::process::id()));
/// std::fs::write(&path, "symbol,qty\nB,7\n").map_err(|e| Error::usage(e.to_string()))?;
/// let name = path.display().to_string();
/// let rows = vec![Trade { symbol: "A".into(), qty: 9 }];
/// let expected = [Trade { symbol: "B".into(), qty: 7 }, Trade { symbol: "A".into(), qty: 9 }];
/// assert_eq!(all(rows.clone(), name.clone()).collect::<Trade>()?, expected);
/// // the same rows as an Arrow batch
/// let batch = sabot::record::to_batch(&rows);
/// assert_eq!(all(Batches(vec![batch]), name).collect::<Trade>()?, expected);
/// std::fs::remove_file(&path).map_err(|e| Error::usage(e.to_string()))?;
/// # Ok(()) }
/// ```
pub struct Source<R, B = Unbounded> {
    pub(crate) binding: SourceBinding,
    kind: PhantomData<fn() -> (R, B)>,
}
impl<R, B> Clone for Source<R, B> {
    fn clone(&self) -> Self {
        Source::bind(self.binding.clone())
    }
}
impl<R, B> std::fmt::Debug for Source<R, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.binding.fmt(f)
    }
}
impl<R, B> Source<R, B> {
    pub(crate) fn bind(binding: SourceBinding) -> Self {
        Source { binding, kind: PhantomData }
    }
}
impl<R: Record> Source<R, Unbounded> {
    /// A source of your own; `open` is called once per job.
    pub fn custom<S: crate::operator::Source + 'static>(open: impl Fn() -> Result<S> + Send + Sync + 'static) -> Self {
        Source::bind(SourceBinding::Live(Arc::new(move || Ok(Box::new(open()?)))))
    }
}
impl<R: Record> Source<R, Bounded> {
    /// A source of your own that ends; `open` is called once per job.
    pub fn custom_bounded<S: crate::operator::Source + 'static>(open: impl Fn() -> Result<S> + Send + Sync + 'static) -> Self {
        Source::bind(SourceBinding::Live(Arc::new(move || Ok(Box::new(open()?)))))
    }
}
impl<R> From<Source<R, Bounded>> for Source<R, Unbounded> {
    fn from(source: Source<R, Bounded>) -> Self {
        Source::bind(source.binding)
    }
}
impl<R: Record, B> From<SourceSpec> for Source<R, B> {
    fn from(spec: SourceSpec) -> Self {
        Source::bind(SourceBinding::Spec(spec))
    }
}
impl<R: Named, B> From<Vec<R>> for Source<R, B> {
    fn from(rows: Vec<R>) -> Self {
        Source::from(Batches(vec![to_batch(&rows)]))
    }
}
/// A value that a pipeline can fix as its source: it knows its rows and whether they end.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source",
    label = "not a source of known rows",
    note = "use `parquet::<Record>(..)`, `csv::<Record>(..)`, a `Vec` of records, or `Source::<Record, Bounded>::from(..)`"
)]
pub trait FixedSource {
    /// Its rows.
    type Row: Record;
    /// Whether they end.
    type Bound: super::Bound;
    /// The source.
    fn fixed(self) -> Source<Self::Row, Self::Bound>;
}
impl<R: Record, B: super::Bound> FixedSource for Source<R, B> {
    type Row = R;
    type Bound = B;
    fn fixed(self) -> Source<R, B> {
        self
    }
}
impl<R: Named> FixedSource for Vec<R> {
    type Row = R;
    type Bound = Bounded;
    fn fixed(self) -> Source<R, Bounded> {
        self.into()
    }
}

/// Arrow batches as a source: `Batches(vec![batch])`. Columns are matched by name.
///
/// Example: [`Source`].
#[derive(Clone, Debug)]
pub struct Batches(pub Vec<arrow_array::RecordBatch>);
impl<R: Record, B> From<Batches> for Source<R, B> {
    fn from(Batches(batches): Batches) -> Self {
        let schema = batches.first().map_or_else(|| Arc::new(crate::record::schema_of::<R>()), |b| b.schema());
        Source::bind(SourceBinding::Live(Arc::new(move || Ok(Box::new(MemorySource::new(Arc::clone(&schema), batches.clone())?)))))
    }
}
/// Parquet files, globs or directories as a source of `R` rows: `parquet::<Flight>("flights.parquet")`.
///
/// Example: [`Source`].
#[cfg(feature = "parquet")]
pub fn parquet<R: Record>(paths: &str) -> Source<R, Bounded> {
    Source::from(SourceSpec::Parquet { paths: vec![paths.to_owned()] })
}
/// JSON lines files, globs or directories as a source of `R` rows: one object per line, whose members are columns.
#[cfg(feature = "json")]
pub fn jsonl<R: Record>(paths: &str) -> Source<R, Bounded> {
    Source::from(SourceSpec::JsonLines { paths: vec![paths.to_owned()], on_bad_line: Default::default() })
}
/// Files that grow and directories that get files, as a source that does not end: `follow("logs/*.jsonl")`, `follow("csv:in/?delimiter=;")`.
/// See [`FollowSource`](crate::connect::FollowSource).
///
/// # Panics
/// If the format is unknown; [`SourceSpec::from_uri`] is the form that returns an error.
#[allow(clippy::panic)]
pub fn follow<R: Record>(files: &str) -> Source<R> {
    match SourceSpec::from_uri(&format!("follow:{files}")) {
        Ok(spec) => Source::from(spec),
        Err(e) => panic!("{e}"),
    }
}
/// A topic of Kafka with a format of one's own, as a source of `R` rows.
#[cfg(feature = "kafka")]
pub fn kafka_with<R: Record>(input: crate::connect::KafkaInput, format: impl crate::connect::Format + 'static) -> Source<R> {
    let format: Arc<dyn crate::connect::Format> = Arc::new(format);
    let schema = Arc::new(crate::record::schema_of::<R>());
    Source::custom(move || crate::connect::KafkaSource::with_format(&input, Arc::clone(&format), "", &schema))
}
/// CSV files, globs or directories as a source of `R` rows, with the default options (header, commas, a bad line fails).
///
/// Example: [`Source`].
pub fn csv<R: Record>(paths: &str) -> Source<R, Bounded> {
    csv_with(paths, crate::connect::CsvOptions::default())
}
/// CSV files with options.
///
/// Example: [`Source`].
pub fn csv_with<R: Record>(paths: &str, options: crate::connect::CsvOptions) -> Source<R, Bounded> {
    Source::from(SourceSpec::Csv { paths: vec![paths.to_owned()], options })
}
/// A file as a sink, by its extension or scheme: `to("out.parquet")`, `to("out.csv")`, `to("out.jsonl")`, `to("out.arrow")`;
/// or a directory of files: `to("out/")` for Parquet, `to("csv:out/")`.
///
/// # Panics
/// If the extension is unknown; [`SinkSpec::from_uri`] is the form that returns an error.
///
/// Example: [`Sink`].
#[allow(clippy::panic)]
pub fn to(uri: &str) -> Sink<AnyRow> {
    match SinkSpec::from_uri(uri) {
        Ok(spec) => Sink::spec(spec),
        Err(e) => panic!("{e}"),
    }
}

/// Any row type: a sink that stores whatever columns it gets.
#[derive(Debug)]
pub enum AnyRow {}

/// A sink, and the record that it stores ([`AnyRow`] takes all); of kind `Changes` if it also takes rows back.
/// ```
/// use sabot::prelude::*;
///
/// #[derive(Record, Clone, Debug, PartialEq)]
/// struct Trade { symbol: Str, qty: i64 }
///
/// pipeline! {
///     /// A file that the pipeline names, checked to hold trades.
///     pub fn kept(trades: Source<Trade>, path: String);
///     trades -> filter(|t| t.qty > 1) -> sink(to(&path).of::<Trade>());
/// }
///
/// # fn main() -> Result<()> {
/// let path = std::env::temp_dir().join(format!("sabot-sink-{}.jsonl", std::process::id()));
/// kept(vec![Trade { symbol: "A".into(), qty: 1 }, Trade { symbol: "B".into(), qty: 2 }], path.display().to_string()).run()?;
/// let text = std::fs::read_to_string(&path).map_err(|e| Error::usage(e.to_string()))?;
/// assert_eq!(text.trim(), r#"{"symbol":"B","qty":2}"#);
/// std::fs::remove_file(&path).map_err(|e| Error::usage(e.to_string()))?;
/// # Ok(()) }
/// ```
pub struct Sink<R = AnyRow, C = Append> {
    pub(crate) binding: SinkBinding,
    kind: PhantomData<fn() -> (R, C)>,
}
impl<R, C> std::fmt::Debug for Sink<R, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.binding.fmt(f)
    }
}
impl Sink<AnyRow> {
    /// The sink of a specification.
    pub fn spec(spec: SinkSpec) -> Self {
        Sink { binding: SinkBinding::Spec(spec), kind: PhantomData }
    }
    /// A sink of your own; `open` is called once per job.
    pub fn custom<S: crate::operator::Sink + 'static>(open: impl Fn() -> Result<S> + Send + Sync + 'static) -> Self {
        Sink { binding: SinkBinding::Live(Arc::new(move || Ok(Box::new(open()?)))), kind: PhantomData }
    }
}
impl<C> Sink<AnyRow, C> {
    pub(super) fn bound(binding: SinkBinding) -> Self {
        Sink { binding, kind: PhantomData }
    }
    /// The same sink, for rows of `R` only: checked by the compiler.
    pub fn of<R: Record>(self) -> Sink<R, C> {
        Sink { binding: self.binding, kind: PhantomData }
    }
}
impl<R> Sink<R, Append> {
    /// The same sink for a stream of changes: what it stores are the rows that count. A file gets them when the job ends, so a job that never
    /// ends is refused when it starts; a table of Postgres and a topic of Kafka follow the changes.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone)]
    /// struct Sale { shop: Str, amount: i64 }
    ///
    /// pipeline! {
    ///     /// What each shop has sold, in a file.
    ///     pub fn totals(sales: Source<Sale>, path: String);
    ///     sales -> key_by(shop) -> window(global(on_update)) -> aggregate(|s| row { total: sum(s.amount) }) -> sink(to(&path).folded());
    /// }
    ///
    /// # fn main() -> Result<()> {
    /// let path = std::env::temp_dir().join(format!("sabot-folded-{}.jsonl", std::process::id()));
    /// let sale = |amount| Sale { shop: "A".into(), amount };
    /// totals(vec![sale(5), sale(2)], path.display().to_string()).options(|o| o.morsel_rows = 1).run()?;
    /// let text = std::fs::read_to_string(&path).map_err(|e| Error::usage(e.to_string()))?;
    /// assert_eq!(text.trim(), r#"{"shop":"A","total":7}"#);
    /// std::fs::remove_file(&path).map_err(|e| Error::usage(e.to_string()))?;
    /// # Ok(()) }
    /// ```
    pub fn folded(self) -> Sink<R, Changes> {
        Sink { binding: self.binding, kind: PhantomData }
    }
}
impl Sink<AnyRow, Changes> {
    /// A sink of your own that takes rows back ([`Sink::changes`](crate::operator::Sink::changes)); `open` is called once per job.
    pub fn upserting<S: crate::operator::Sink + 'static>(open: impl Fn() -> Result<S> + Send + Sync + 'static) -> Self {
        Sink { binding: SinkBinding::Live(Arc::new(move || Ok(Box::new(open()?)))), kind: PhantomData }
    }
}
/// A value that a `sink(..)` step of a stream of `R` rows takes.
///
/// Example: [`Sink`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a sink",
    label = "not a sink",
    note = "use `to(\"file.parquet\")`, or `Sink::custom(..)` for a sink of your own"
)]
pub trait IntoSink<R> {
    /// The sink.
    fn into_sink(self) -> SinkBinding;
}
impl<R, C> IntoSink<R> for Sink<AnyRow, C> {
    fn into_sink(self) -> SinkBinding {
        self.binding
    }
}
impl<R: super::RowsFor<Q>, Q: Record, C> IntoSink<R> for Sink<Q, C> {
    fn into_sink(self) -> SinkBinding {
        self.binding
    }
}
impl<R> IntoSink<R> for SinkSpec {
    fn into_sink(self) -> SinkBinding {
        SinkBinding::Spec(self)
    }
}
