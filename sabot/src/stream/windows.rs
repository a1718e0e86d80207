//! How event time is cut.

use crate::plan::Span;
use crate::record::{Duration, Micros};

/// Windows of event time: what [`tumbling`], [`hop`] and [`session`] make, and the `window` step takes.
///
/// Example: [`hop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Aligned { size: Duration<Micros>, slide: Duration<Micros> },
    Session { gap: Duration<Micros> },
}

/// Windows of this length that follow one another, `[k * size, (k + 1) * size)`: `tumbling(1.day())`.
///
/// A size that is not positive is refused when the job starts; `pipeline!` refuses a constant one at compile time.
///
/// Example: [`hop`].
pub fn tumbling(size: Duration<Micros>) -> Windows {
    Windows(Kind::Aligned { size, slide: size })
}

/// Windows of length `size`, of which one begins every `slide`: `[k * slide, k * slide + size)`. A row is in `size / slide`
/// of them: `hop(1.hour(), 15.minute())` is the last hour, every quarter of an hour.
///
/// Rows are aggregated once, per pane (the greatest common divisor of size and slide), and panes put together into
/// windows. A slide or size that is not positive, and a slide larger than the size, between whose windows rows would
/// be lost, is refused when the job starts; `pipeline!` refuses constant ones at compile time.
///
/// ```
/// use sabot::prelude::*;
///
/// #[derive(Record, Clone, Debug)]
/// struct Reading { sensor: i64, value: f64, #[event_time] at: Timestamp<Micros> }
///
/// pipeline! {
///     /// The highest value of the last ten seconds, every five.
///     pub fn peaks(readings: Source<Reading>);
///     peaks = readings -> key_by(sensor) -> window(hop(10.sec(), 5.sec())) -> aggregate(|r| row { most: max(r.value) });
///     peaks -> sink;
/// }
///
/// /// A peak.
/// #[derive(Record, Clone, Debug, PartialEq)]
/// struct Peak { sensor: i64, window_start: Timestamp<Micros>, window_end: Timestamp<Micros>, most: f64 }
///
/// fn main() -> sabot::Result<()> {
///     let reading = |s: i64, value| Reading { sensor: 1, value, at: Timestamp::new(s * 1_000_000) };
///     let peaks: Vec<Peak> = peaks(vec![reading(1, 2.0), reading(6, 9.0), reading(12, 4.0)]).collect()?;
///     let most: Vec<(i64, f64)> = peaks.iter().map(|p| (p.window_start.value() / 1_000_000, p.most)).collect();
///     assert_eq!(most, [(-5, 2.0), (0, 9.0), (5, 9.0), (10, 4.0)]);
///     Ok(())
/// }
/// ```
pub fn hop(size: Duration<Micros>, slide: Duration<Micros>) -> Windows {
    Windows(Kind::Aligned { size, slide })
}

/// A window per key that grows while rows of the key come within `gap` of it: it begins with its first row and ends `gap`
/// after its last one, `[first, last + gap)`. A row exactly `gap` after the last one begins the next session.
///
/// A session is over when the watermark reaches its end. Rows are aggregated once, per pane of the length of the gap, and
/// panes put together into sessions. A gap that is not positive is refused when the job starts; `pipeline!` refuses a
/// constant one at compile time.
///
/// ```
/// use sabot::prelude::*;
///
/// #[derive(Record, Clone, Debug)]
/// struct Click { user: i64, page: Str, #[event_time] at: Timestamp<Micros> }
///
/// pipeline! {
///     /// What a user looked at before a pause of half an hour.
///     pub fn visits(clicks: Source<Click>);
///     visits = clicks -> key_by(user) -> window(session(30.minute())) -> aggregate(|c| row { pages: count(), landed: first(c.page) });
///     visits -> sink;
/// }
///
/// /// A visit.
/// #[derive(Record, Clone, Debug, PartialEq)]
/// struct Visit { user: i64, window_start: Timestamp<Micros>, window_end: Timestamp<Micros>, pages: u64, landed: Str }
///
/// fn main() -> sabot::Result<()> {
///     let minute = |m: i64| Timestamp::new(m * 60_000_000);
///     let click = |m, page: &str| Click { user: 1, page: page.into(), at: minute(m) };
///     let visits: Vec<Visit> = visits(vec![click(0, "home"), click(45, "news"), click(20, "shop"), click(80, "home")]).collect()?;
///     assert_eq!(visits, [
///         Visit { user: 1, window_start: minute(0), window_end: minute(75), pages: 3, landed: "home".into() },
///         Visit { user: 1, window_start: minute(80), window_end: minute(110), pages: 1, landed: "home".into() },
///     ]);
///     Ok(())
/// }
/// ```
pub fn session(gap: Duration<Micros>) -> Windows {
    Windows(Kind::Session { gap })
}

impl Windows {
    /// As the plan has them.
    pub(super) fn span(self) -> Span {
        match self.0 {
            Kind::Aligned { size, slide } => Span::Aligned { size: size.value(), slide: slide.value() },
            Kind::Session { gap } => Span::Session { gap: gap.value() },
        }
    }
    /// Why there are no such windows, if there are none.
    pub(super) fn problem(self) -> Option<String> {
        let (size, slide) = match self.0 {
            Kind::Aligned { size, slide } => (size, slide),
            Kind::Session { gap } => return (gap.value() <= 0).then(|| format!("a session needs a positive gap, not {gap}")),
        };
        if size.value() <= 0 {
            Some(format!("a window needs a positive size, not {size}"))
        } else if slide.value() <= 0 {
            Some(format!("windows need a positive slide, not {slide}"))
        } else if slide > size {
            Some(format!("a slide of {slide} is larger than the window of {size}: the rows between two windows would be lost"))
        } else {
            None
        }
    }
}
