//! Instants, spans, dates and times of day.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Add, Neg, Sub};

use arrow_schema::TimeUnit;

/// The word of a time of day.
pub(super) type TimeOf = i64;

/// A unit of time.
///
/// Example: [`Timestamp`].
pub trait Unit: Copy + Default + Send + Sync + Ord + std::hash::Hash + fmt::Debug + 'static {
    /// The unit in Arrow's words.
    const ARROW: TimeUnit;
    /// Units per second.
    const PER_SECOND: i64;
    /// `s`, `ms`, `us`, `ns`.
    const SYMBOL: &'static str;
}
macro_rules! units {
    ($($(#[$doc:meta])* $name:ident = $arrow:ident, $per:expr, $sym:expr);* $(;)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name;
        impl Unit for $name {
            const ARROW: TimeUnit = TimeUnit::$arrow;
            const PER_SECOND: i64 = $per;
            const SYMBOL: &'static str = $sym;
        }
    )*};
}
units!(
    /// Seconds.
    Seconds = Second, 1, "s";
    /// Milliseconds.
    Millis = Millisecond, 1_000, "ms";
    /// Microseconds: the unit of event time.
    Micros = Microsecond, 1_000_000, "us";
    /// Nanoseconds.
    Nanos = Nanosecond, 1_000_000_000, "ns";
);

/// The time zone in the type of a timestamp column. Values are instants either way.
///
/// Example: [`Timestamp`].
pub trait Zone: Copy + Default + Send + Sync + Ord + std::hash::Hash + fmt::Debug + 'static {
    /// The zone that is written.
    const NAME: Option<&'static str>;
    /// Whether a column with this zone can be read.
    fn reads(zone: Option<&str>) -> bool;
}
/// A timestamp column without a zone; reads columns in UTC too.
///
/// Example: [`Timestamp`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NoZone;
/// A timestamp column in UTC; reads a column of any zone, and one without a zone.
///
/// Example: [`Timestamp`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utc;
impl Zone for NoZone {
    const NAME: Option<&'static str> = None;
    fn reads(zone: Option<&str>) -> bool {
        zone.is_none_or(|z| matches!(z, "UTC" | "+00:00" | "Etc/UTC"))
    }
}
impl Zone for Utc {
    const NAME: Option<&'static str> = Some("UTC");
    fn reads(_zone: Option<&str>) -> bool {
        true
    }
}

macro_rules! newtype {
    ($(#[$doc:meta])* $name:ident<$($p:ident: $b:ident $(= $d:ty)?),*>) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name<$($p: $b $(= $d)?),*>(i64, PhantomData<($($p,)*)>);
        impl<$($p: $b),*> $name<$($p),*> {
            /// From its number of units.
            #[inline(always)]
            pub const fn new(units: i64) -> Self { Self(units, PhantomData) }
            /// The number of units.
            #[inline(always)]
            pub const fn value(self) -> i64 { self.0 }
        }
        impl<$($p: $b),*> From<i64> for $name<$($p),*> {
            fn from(units: i64) -> Self { Self::new(units) }
        }
    };
}
newtype!(
    /// An instant: units since the Unix epoch.
    Timestamp<U: Unit, Z: Zone = NoZone>
);
newtype!(
    /// A span of time.
    Duration<U: Unit>
);
newtype!(
    /// A time of day: units since midnight.
    Time<U: Unit>
);
/// A day: days since 1970-01-01.
///
/// ```
/// use sabot::prelude::*;
///
/// let noon = Timestamp::<Micros>::new(0) + 1.day() + 12.hour();
/// assert_eq!((noon.date(), noon.hour(), noon.date().to_string()), (Date(1), 12, "1970-01-02".to_owned()));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(pub i32);

impl<U: Unit, Z: Zone> Timestamp<U, Z> {
    /// The instant in microseconds, the unit of event time; saturates.
    #[inline]
    pub fn micros(self) -> i64 {
        to_micros::<U>(self.0)
    }
    /// The start of the interval of length `size` that contains this instant.
    #[inline]
    pub fn floor(self, size: Duration<U>) -> Self {
        if size.0 <= 0 { self } else { Self::new(self.0 - self.0.rem_euclid(size.0)) }
    }
    /// The UTC day of this instant.
    #[inline]
    pub fn date(self) -> Date {
        Date(self.0.div_euclid(86_400 * U::PER_SECOND) as i32)
    }
    /// The UTC hour of the day, 0 to 23.
    #[inline]
    pub fn hour(self) -> i64 {
        self.0.div_euclid(3600 * U::PER_SECOND).rem_euclid(24)
    }
}
pub(crate) fn to_micros<U: Unit>(value: i64) -> i64 {
    if U::PER_SECOND > Micros::PER_SECOND {
        value.div_euclid(U::PER_SECOND / Micros::PER_SECOND)
    } else {
        value.saturating_mul(Micros::PER_SECOND / U::PER_SECOND)
    }
}

impl<U: Unit, Z: Zone> Sub for Timestamp<U, Z> {
    type Output = Duration<U>;
    #[inline(always)]
    fn sub(self, o: Self) -> Duration<U> {
        Duration::new(self.0.wrapping_sub(o.0))
    }
}
impl<U: Unit, Z: Zone> Add<Duration<U>> for Timestamp<U, Z> {
    type Output = Self;
    #[inline(always)]
    fn add(self, d: Duration<U>) -> Self {
        Self::new(self.0.wrapping_add(d.0))
    }
}
impl<U: Unit, Z: Zone> Sub<Duration<U>> for Timestamp<U, Z> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, d: Duration<U>) -> Self {
        Self::new(self.0.wrapping_sub(d.0))
    }
}
impl<U: Unit> Add for Duration<U> {
    type Output = Self;
    #[inline(always)]
    fn add(self, o: Self) -> Self {
        Self::new(self.0.wrapping_add(o.0))
    }
}
impl<U: Unit> Sub for Duration<U> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, o: Self) -> Self {
        Self::new(self.0.wrapping_sub(o.0))
    }
}
impl<U: Unit> Neg for Duration<U> {
    type Output = Self;
    fn neg(self) -> Self {
        Self::new(self.0.wrapping_neg())
    }
}
impl<U: Unit> fmt::Debug for Duration<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0, U::SYMBOL)
    }
}
impl<U: Unit> fmt::Display for Duration<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
impl<U: Unit, Z: Zone> fmt::Debug for Timestamp<U, Z> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = 86_400 * U::PER_SECOND;
        write!(f, "{:?}T{:?}", Date(self.0.div_euclid(day) as i32), Time::<U>::new(self.0.rem_euclid(day)))
    }
}
impl<U: Unit, Z: Zone> fmt::Display for Timestamp<U, Z> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
impl<U: Unit> fmt::Debug for Time<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0.div_euclid(U::PER_SECOND);
        write!(f, "{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)?;
        let rest = self.0.rem_euclid(U::PER_SECOND);
        if rest == 0 {
            return Ok(());
        }
        let digits = U::PER_SECOND.ilog10() as usize;
        write!(f, ".{rest:0digits$}")
    }
}
impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (y, m, d) = civil(i64::from(self.0));
        write!(f, "{y:04}-{m:02}-{d:02}")
    }
}
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Year, month and day of a day number (H. Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

/// Spans of time from plain numbers: `5.sec()`, `1.day()`. In microseconds, the unit of event time.
///
/// ```
/// use sabot::prelude::*;
///
/// assert_eq!(1.hour() - 30.minute(), 1_800.sec());
/// assert_eq!(2.day().value(), 48 * 60 * 60 * 1_000_000);
/// ```
pub trait TimeExt: Copy {
    /// This many milliseconds.
    fn ms(self) -> Duration<Micros>;
    /// This many seconds.
    fn sec(self) -> Duration<Micros>;
    /// This many minutes. Not `min`, which would make `a.min(b)` ambiguous wherever the trait is in scope.
    fn minute(self) -> Duration<Micros>;
    /// This many hours.
    fn hour(self) -> Duration<Micros>;
    /// This many days of 24 hours.
    fn day(self) -> Duration<Micros>;
}
impl TimeExt for i64 {
    fn ms(self) -> Duration<Micros> {
        Duration::new(self * 1_000)
    }
    fn sec(self) -> Duration<Micros> {
        Duration::new(self * 1_000_000)
    }
    fn minute(self) -> Duration<Micros> {
        (self * 60).sec()
    }
    fn hour(self) -> Duration<Micros> {
        (self * 3600).sec()
    }
    fn day(self) -> Duration<Micros> {
        (self * 86_400).sec()
    }
}

/// Types that a record's `#[event_time]` may have.
///
/// Example: [`record`](crate::record).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the event time",
    label = "not a timestamp",
    note = "mark a field of type `Timestamp<Seconds>`, `Timestamp<Millis>`, `Timestamp<Micros>` or `Timestamp<Nanos>`; an `Option` of it must be resolved first"
)]
pub trait TimeColumn: Copy {
    /// The instant in microseconds since the Unix epoch; saturates.
    fn event_time(self) -> i64;
}
impl<U: Unit, Z: Zone> TimeColumn for Timestamp<U, Z> {
    fn event_time(self) -> i64 {
        self.micros()
    }
}
