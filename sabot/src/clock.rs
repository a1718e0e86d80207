//! The system's clock, for what is outside of a simulation.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time of day, since the Unix epoch.
pub(crate) fn time_of_day() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A time in UTC, with the date; `ms` since the Unix epoch.
#[cfg(feature = "cluster")]
pub(crate) fn utc(ms: i64) -> String {
    let time = arrow_array::TimestampMillisecondArray::from(vec![ms]);
    arrow_cast::display::array_value_to_string(&time, 0).map_or_else(|_| ms.to_string(), |text| text.replace('T', " "))
}
