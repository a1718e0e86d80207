//! Windows of event time.

use arrow_array::{Array, ArrayRef, types::*};
use arrow_array::{PrimitiveArray, cast::AsArray};
use arrow_schema::{DataType, Field, TimeUnit};

use crate::operator::EventTime;
use crate::plan::Span;
use crate::{Error, Result};

/// Windows of event time: of fixed size, aligned to the Unix epoch, or sessions.
///
/// Rows are aggregated per *pane*: the longest span of which every window is made (Li, Maier, Tufte, Papadimos and Tucker,
/// "No pane, no gain", 2005). A tumbling window is one pane. Rows of a key in a pane of the length of a session's gap belong to
/// one session, so sessions are made of panes too.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EventWindow {
    /// The event-time column: a timestamp without nulls.
    pub column: String,
    /// Its windows.
    pub span: Span,
    /// Added to the column's value, in microseconds: a window's result carries its end - 1.
    pub offset: i64,
}

/// A window in the unit of its event-time column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    per_second: i64,
    /// Whether windows are sessions: then size, slide and pane are the gap.
    pub(super) session: bool,
    /// Size of a window in units.
    pub(super) size: i64,
    /// From window to window, in units.
    pub(super) slide: i64,
    /// Size of a pane in units.
    pane: i64,
    /// Added to event time, in units (rounded down).
    offset: i64,
}

impl EventWindow {
    /// The window in the unit of its column.
    pub(super) fn units(&self, column: &Field) -> Result<Units> {
        let per_second = per_second(column.data_type())
            .ok_or_else(|| Error::Plan(format!("a window needs a timestamp, but column `{}` is {}", self.column, column.data_type())))?;
        let (size, slide, session) = match self.span {
            Span::Aligned { size, slide } => (size, slide, false),
            Span::Session { gap } => (gap, gap, true),
        };
        if size <= 0 || slide <= 0 || slide > size {
            return Err(Error::Usage(format!("there is no window of {size} us every {slide} us")));
        }
        let units = |micros: i64| {
            let units = i128::from(micros) * i128::from(per_second);
            i64::try_from(units / 1_000_000).ok().filter(|u| *u > 0 && units % 1_000_000 == 0).ok_or_else(|| {
                Error::Usage(format!("a window of {micros} us does not fit the unit of column `{}` ({})", self.column, column.data_type()))
            })
        };
        let (size, slide) = (units(size)?, units(slide)?);
        Ok(Units { per_second, session, size, slide, pane: common(size, slide), offset: offset(self.offset, per_second) })
    }
}

/// The greatest common divisor.
fn common(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { common(b, a % b) }
}

/// How many units of a timestamp type are a second.
pub(super) fn per_second(data_type: &DataType) -> Option<i64> {
    match data_type {
        DataType::Timestamp(TimeUnit::Second, _) => Some(1),
        DataType::Timestamp(TimeUnit::Millisecond, _) => Some(1_000),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Some(1_000_000),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Some(1_000_000_000),
        _ => None,
    }
}

/// Microseconds in units, rounded down.
pub(super) fn offset(micros: i64, per_second: i64) -> i64 {
    let units = (i128::from(micros) * i128::from(per_second)).div_euclid(1_000_000);
    i64::try_from(units).unwrap_or(0)
}

impl Units {
    /// The event time at which the window that starts at `start` (units) ends.
    pub(super) fn end(self, start: i64) -> EventTime {
        let end = i128::from(start) + i128::from(self.size);
        self.micros(end)
    }
    /// Whether a window is one pane.
    pub(super) fn tumbling(self) -> bool {
        self.pane == self.size && !self.session
    }
    /// The end (units) of a session whose last row is at `last` (units).
    pub(super) fn session_end(self, last: i64) -> i64 {
        last.saturating_add(self.size)
    }
    /// Whether no row before `end` (units) comes after the watermark `until`.
    pub(super) fn over(self, end: i64, until: EventTime) -> bool {
        let micros = -(-i128::from(end) * 1_000_000).div_euclid(i128::from(self.per_second));
        micros.min(i128::from(EventTime::MAX)) <= i128::from(until)
    }
    /// `end` (units) as event time, rounded down.
    pub(super) fn at(self, end: i64) -> EventTime {
        self.micros(i128::from(end))
    }
    /// The event time at which the pane that starts at `start` (units) ends.
    pub(super) fn pane_end(self, start: i64) -> EventTime {
        self.micros(i128::from(start) + i128::from(self.pane))
    }
    /// Microseconds after the end of a window after which its results are where they go: a part of those to the next end, and no more than a second.
    pub(super) fn pause(self) -> EventTime {
        (self.micros(i128::from(self.slide)) / 4).min(1_000_000)
    }
    /// The latest start of a pane that ends by `until`: to be compared with many.
    pub(super) fn last_pane(self, until: EventTime) -> i64 {
        if until == EventTime::MAX {
            return i64::MAX;
        }
        // the last unit that is rounded down to `until` or less
        let end = -(-(i128::from(until) + 1) * i128::from(self.per_second)).div_euclid(1_000_000) - 1;
        i64::try_from(end - i128::from(self.pane)).unwrap_or(if until < 0 { i64::MIN } else { i64::MAX })
    }
    /// The starts of the windows that hold the pane at `pane`.
    pub(super) fn windows_of(self, pane: i64, mut window: impl FnMut(i64)) {
        let mut start = pane.saturating_sub(pane.rem_euclid(self.slide));
        while start > pane.saturating_sub(self.size) {
            window(start);
            start = start.saturating_sub(self.slide);
        }
    }
    /// The start of the first window that holds the pane at `pane`, and that does not end by `after`.
    pub(super) fn first_window(self, pane: i64, after: EventTime) -> i64 {
        let after = (i128::from(after) * i128::from(self.per_second)).div_euclid(1_000_000);
        let before = i128::from(pane).max(after) - i128::from(self.size);
        let slide = i128::from(self.slide);
        i64::try_from(before.div_euclid(slide) * slide + slide).unwrap_or(pane)
    }
    /// A window's start as the value of this many rows of the event time's type.
    pub(super) fn column(self, starts: Vec<i64>, data_type: &DataType) -> Result<ArrayRef> {
        Ok(arrow_cast::cast(&PrimitiveArray::<Int64Type>::from(starts), data_type)?)
    }
    fn micros(self, units: i128) -> EventTime {
        let micros = (units * 1_000_000).div_euclid(i128::from(self.per_second));
        i64::try_from(micros).unwrap_or(if micros > 0 { EventTime::MAX } else { EventTime::MIN })
    }
    /// The start of each row's pane, as a column of the event time's type.
    pub(super) fn starts(self, times: &ArrayRef) -> Result<ArrayRef> {
        if times.null_count() > 0 {
            return Err(Error::Plan(
                "event time is null in some rows; make the field a plain `Timestamp`, and drop such rows at the source".into(),
            ));
        }
        // rows that follow one another mostly are in one pane, and a division takes longer than all else
        let (mut start, mut next) = (0, 0);
        let floor = |t: i64| {
            let t = t.saturating_add(self.offset);
            if t < start || t >= next {
                start = t.saturating_sub(t.rem_euclid(self.pane));
                next = start.saturating_add(self.pane);
            }
            start
        };
        fn map<T: ArrowPrimitiveType<Native = i64>>(times: &ArrayRef, floor: impl FnMut(i64) -> i64) -> ArrayRef {
            let starts = PrimitiveArray::<T>::from_iter_values(times.as_primitive::<T>().values().iter().copied().map(floor));
            std::sync::Arc::new(starts.with_data_type(times.data_type().clone()))
        }
        Ok(match times.data_type() {
            DataType::Timestamp(TimeUnit::Second, _) => map::<TimestampSecondType>(times, floor),
            DataType::Timestamp(TimeUnit::Millisecond, _) => map::<TimestampMillisecondType>(times, floor),
            DataType::Timestamp(TimeUnit::Microsecond, _) => map::<TimestampMicrosecondType>(times, floor),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => map::<TimestampNanosecondType>(times, floor),
            other => return Err(Error::Plan(format!("event time of type {other}"))),
        })
    }
    /// The ends of windows given by their starts.
    pub(super) fn ends(self, starts: &ArrayRef) -> Result<ArrayRef> {
        let words: Vec<i64> = words(starts)?.iter().map(|s| s.saturating_add(self.size)).collect();
        self.column(words, starts.data_type())
    }
}

/// The 64-bit words of a timestamp column.
pub(super) fn words(times: &ArrayRef) -> Result<arrow_buffer::ScalarBuffer<i64>> {
    let data = times.to_data();
    let buffer = data.buffers().first().ok_or_else(|| Error::internal("a timestamp column without values"))?;
    Ok(arrow_buffer::ScalarBuffer::new(buffer.clone(), data.offset(), data.len()))
}
