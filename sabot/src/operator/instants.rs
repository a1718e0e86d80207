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
