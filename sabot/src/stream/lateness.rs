//! How a source tells time, and its rows that come too late: `watermark(..)`, `late_rows()`.

use crate::plan::Op;
use crate::record::{Duration, HasTime, Micros, NoTime, Record};

use super::{Bound, Stream, Unkeyed};

/// Rows that tell time.
#[diagnostic::on_unimplemented(
    message = "`watermark` and `late_rows` need event time, but this stream has none",
    label = "no event time",
    note = "mark the timestamp with `#[event_time]` in the record, or add an `event_time(column)` step after the source"
)]
pub trait Told {}
impl Told for HasTime {}

/// How the rows of an endless source tell time: what the `watermark` step takes.
///
/// Example: [`Stream::watermark`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermark {
    disorder: Option<Duration<Micros>>,
    max_step: Option<Duration<Micros>>,
}

impl Watermark {
    /// How far a row may lag behind rows of its partition that came before it; one that lags further is late. Five seconds unless
    /// said. What is bound to the source may know better (`generate(..).disorder(..)`).
    pub fn disorder(self, span: Duration<Micros>) -> Self {
        Watermark { disorder: Some(span), ..self }
    }
    /// How far one row moves the watermark at most, so that a single row with a time far in the future does not make all rows
    /// behind it late. Unlimited unless said. The first row of a partition sets the watermark, whatever its time is.
    pub fn max_step(self, span: Duration<Micros>) -> Self {
        Watermark { max_step: Some(span), ..self }
    }
    /// What is wrong with it.
    fn problem(self) -> Option<String> {
        match self {
            Watermark { disorder: Some(span), .. } if span.value() < 0 => Some(format!("rows cannot lag by a negative span, {span}")),
            Watermark { max_step: Some(span), .. } if span.value() <= 0 => {
                Some(format!("a row must be able to move time: `max_step` is positive, not {span}"))
            }
            _ => None,
        }
    }
}

impl<'g, R: Record, K, B: Bound, T, C> Stream<'g, R, K, B, T, C> {
    /// Says, right behind a source, how its rows tell time: `watermark(disorder = 10.sec())`,
    /// `watermark(disorder = 10.sec(), max_step = 1.hour())`. A source that ends needs none: all of its rows count.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone, Debug)]
    /// struct Reading { sensor: i64, value: f64, #[event_time] at: Timestamp<Micros> }
    ///
    /// pipeline! {
    ///     /// The highest value per minute; rows may come a minute late.
    ///     pub fn peaks(readings: Source<Reading>);
    ///     peaks = readings -> watermark(disorder = 1.minute(), max_step = 1.hour())
    ///                      -> key_by(sensor) -> window(tumbling(1.minute())) -> aggregate(|r| row { most: max(r.value) });
    ///     peaks -> sink;
    /// }
    ///
    /// /// A peak.
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Peak { sensor: i64, most: f64 }
    ///
    /// let reading = |s: i64, value| Reading { sensor: 1, value, at: Timestamp::new(s * 1_000_000) };
    /// let peaks: Vec<Peak> = peaks(vec![reading(1, 2.0), reading(6, 9.0)]).collect()?;
    /// assert_eq!(peaks, [Peak { sensor: 1, most: 9.0 }]);
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn watermark(self, watermark: Watermark) -> Self
    where
        T: Told,
    {
        if let Some(problem) = watermark.problem() {
            self.graph().problem(format!("`{}`: {problem}", self.graph().current()));
        }
        self.behind_source("watermark", "where time is told");
        let micros = |span: Option<Duration<Micros>>| span.map(|s| s.value());
        self.same_rows(Op::Watermark { disorder: micros(watermark.disorder), max_step: micros(watermark.max_step) })
    }
    /// The rows, and those that come too late for the source's time, as a stream of their own:
    /// `(on_time, late) = readings -> late_rows();`. Without it late rows are dropped and counted.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone, Debug)]
    /// struct Reading { sensor: i64, value: f64, #[event_time] at: Timestamp<Micros> }
    ///
    /// pipeline! {
    ///     /// The highest value per minute, and the readings that no minute has.
    ///     pub fn peaks(readings: Source<Reading>);
    ///     (on_time, late) = readings -> late_rows();
    ///     peaks = on_time -> key_by(sensor) -> window(tumbling(1.minute())) -> aggregate(|r| row { most: max(r.value) });
    ///     peaks -> sink;
    ///     late -> sink;
    /// }
    ///
    /// // rows that end are never late
    /// let rows = vec![Reading { sensor: 1, value: 2.0, at: Timestamp::new(60_000_000) }, Reading { sensor: 1, value: 3.0, at: Timestamp::new(0) }];
    /// let ran = sabot::testing::Trial::new().run(peaks(rows))?;
    /// assert_eq!(ran.rows::<Reading>("late")?.len(), 0);
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn late_rows(self) -> (Self, Stream<'g, R, Unkeyed, B, NoTime, C>)
    where
        T: Told,
    {
        self.behind_source("late_rows", "where rows are found to be late");
        (self, self.push(Op::LateRows, self.columns(), Vec::new(), None))
    }
    /// Notes that a step does not stand behind a source.
    pub(super) fn behind_source(&self, step: &str, why: &str) {
        let source = self.graph().over_source(self.node());
        if !source {
            self.graph().problem(format!("`{}`: `{step}` stands right behind a source, {why}", self.graph().current()));
        }
    }
}
