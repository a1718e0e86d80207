//! Event time columns as microseconds.

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};

use super::EventTime;
use crate::record::{Micros, Millis, Nanos, Seconds, to_micros};
use crate::{Error, Result};

/// Event times in microseconds.
pub(crate) fn micros(times: &ArrayRef) -> Result<Vec<EventTime>> {
    if times.null_count() > 0 {
        return Err(Error::Plan(
            "event time is null in some rows; make the field a plain `Timestamp`, and drop such rows at the source".into(),
        ));
    }
    Ok(match times.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            times.as_primitive::<TimestampSecondType>().values().iter().map(|t| to_micros::<Seconds>(*t)).collect()
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            times.as_primitive::<TimestampMillisecondType>().values().iter().map(|t| to_micros::<Millis>(*t)).collect()
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            times.as_primitive::<TimestampMicrosecondType>().values().iter().map(|t| to_micros::<Micros>(*t)).collect()
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            times.as_primitive::<TimestampNanosecondType>().values().iter().map(|t| to_micros::<Nanos>(*t)).collect()
        }
        other => return Err(Error::Plan(format!("event time of type {other}"))),
    })
}

/// Event times in microseconds, or in nanoseconds, plus `offset` microseconds; saturates.
pub(crate) fn ticks(times: &ArrayRef, nanos: bool, offset: i64) -> Result<Vec<i64>> {
    if nanos && times.null_count() == 0 && matches!(times.data_type(), DataType::Timestamp(TimeUnit::Nanosecond, _)) {
        let offset = offset.saturating_mul(1000);
        return Ok(times.as_primitive::<TimestampNanosecondType>().values().iter().map(|t| t.saturating_add(offset)).collect());
    }
    let scale = if nanos { 1000 } else { 1 };
    Ok(micros(times)?.into_iter().map(|t| t.saturating_add(offset).saturating_mul(scale)).collect())
}

/// Whether a column tells time in nanoseconds.
pub(crate) fn in_nanos(t: &DataType) -> bool {
    matches!(t, DataType::Timestamp(TimeUnit::Nanosecond, _))
}
