//! Dates and times in CSV cells.

use arrow_array::timezone::Tz;
use arrow_cast::parse::string_to_datetime;
use arrow_schema::TimeUnit;

use super::csv_number::{eight, natural, power};
use super::types::is_utc;

const COLON: u64 = b':' as u64;
const DASH: u64 = b'-' as u64;

/// The zone in which a time without an offset is understood.
pub(crate) enum Zone {
    Utc(Tz),
    /// Times without an offset are in this zone.
    Known(Tz),
    /// A named zone, whose rules this build does not hold: the text must give an offset.
    Named(Option<(Tz, Tz)>),
}

impl Zone {
    pub(crate) fn of(zone: Option<&str>) -> Zone {
        let fixed = |z: &str| z.parse::<Tz>().ok();
        let known = if zone.is_none_or(is_utc) { fixed("+00:00").map(Zone::Utc) } else { zone.and_then(fixed).map(Zone::Known) };
        known.unwrap_or_else(|| Zone::Named(fixed("+00:00").zip(fixed("+01:00"))))
    }

    /// The instant in `unit`s since the epoch, if the cell has the usual form; see [`csv_number`](super::csv_number).
    #[inline]
    pub(crate) fn usual(&self, cell: &[u8], unit: TimeUnit) -> Option<i64> {
        if !matches!(self, Zone::Utc(_)) {
            return None;
        }
        let (date, rest) = cell.split_at_checked(10)?;
        let ([b'T' | b' ', clock @ ..], rest) = rest.split_first_chunk::<9>()? else { return None };
        // hh:mm:ss
        let clock = u64::from_le_bytes(*clock);
        if clock >> 16 & 0xFF != COLON || clock >> 40 & 0xFF != COLON {
            return None;
        }
        let clock = eight(0x3030 | (clock & 0xFFFF) << 16 | (clock >> 24 & 0xFFFF) << 32 | clock >> 48 << 48)?;
        let (hour, minute, second) = (clock / 10_000, clock / 100 % 100, clock % 100);
        let rest = rest.strip_suffix(b"Z").unwrap_or(rest);
        let nanos = match rest {
            [] => 0,
            [b'.', digits @ ..] if digits.len() <= 9 => natural(digits)? * power(9 - digits.len())?,
            _ => return None,
        };
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let seconds = i64::from(days(date)?) * 86_400 + (hour * 3600 + minute * 60 + second) as i64;
        let per_second = per_second(unit);
        seconds.checked_mul(per_second)?.checked_add(nanos as i64 / (1_000_000_000 / per_second))
    }

    /// The instant in `unit`s since the epoch. Digits beyond the unit are cut.
    pub(crate) fn parse(&self, text: &str, unit: TimeUnit) -> Option<i64> {
        let read = |zone: &Tz| {
            let instant = string_to_datetime(zone, text).ok()?;
            match unit {
                TimeUnit::Second => Some(instant.timestamp()),
                TimeUnit::Millisecond => Some(instant.timestamp_millis()),
                TimeUnit::Microsecond => Some(instant.timestamp_micros()),
                TimeUnit::Nanosecond => instant.timestamp_nanos_opt(),
            }
        };
        match self {
            Zone::Utc(zone) | Zone::Known(zone) => read(zone),
            // Read in two zones: only a text with an offset is the same instant in both.
            Zone::Named(zones) => zones.as_ref().and_then(|(a, b)| read(a).filter(|instant| read(b) == Some(*instant))),
        }
    }
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Days since the epoch of a date of the form `2013-01-31`, by H. Hinnant's `days_from_civil`.
#[inline]
pub(crate) fn days(date: &[u8]) -> Option<i32> {
    let (start, [d1, d2]) = date.split_first_chunk::<8>()? else { return None };
    // yyyy-mm-
    let start = u64::from_le_bytes(*start);
    if start >> 32 & 0xFF != DASH || start >> 56 != DASH {
        return None;
    }
    let number = eight(start & 0xFFFF_FFFF | (start >> 40 & 0xFFFF) << 32 | u64::from(*d1) << 48 | u64::from(*d2) << 56)? as i32;
    let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i32::from(leap),
        _ => return None,
    };
    if day < 1 || day > last {
        return None;
    }
    // Years that begin in March, in eras of 400.
    let year = year - i32::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}
