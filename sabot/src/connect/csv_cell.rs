//! From the text of CSV cells to a typed column.

use std::sync::Arc;

use arrow_array::builder::{BinaryViewBuilder, BooleanBuilder, PrimitiveBuilder, StringViewBuilder};
use arrow_array::timezone::Tz;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{ArrayRef, new_null_array};
use arrow_cast::parse::{Parser, parse_decimal, string_to_datetime};
use arrow_schema::{DataType, TimeUnit};

use super::types::{convert, is_utc};
use crate::{Error, Result};

/// Whether a CSV cell can hold a value of this type.
pub(crate) fn supported(t: &DataType) -> bool {
    match t {
        DataType::Dictionary(_, value) => supported(value),
        DataType::Interval(_) => false,
        other => !other.is_nested(),
    }
}

/// Parses one column. `cells` gives `None` for a null. A cell that is no `data_type` becomes a null and its row number
/// is added to `bad`.
///
/// # Errors
/// If the type is not [`supported`], or a dictionary has more values than its keys can number.
pub(crate) fn parse<'a>(
    data_type: &DataType,
    cells: impl ExactSizeIterator<Item = Option<&'a [u8]>>,
    bad: &mut Vec<usize>,
) -> Result<ArrayRef> {
    let mut cells = Cells { cells, bad };
    Ok(match data_type {
        DataType::Boolean => cells.booleans(),
        DataType::Int8 => cells.parsed::<Int8Type>(),
        DataType::Int16 => cells.parsed::<Int16Type>(),
        DataType::Int32 => cells.parsed::<Int32Type>(),
        DataType::Int64 => cells.parsed::<Int64Type>(),
        DataType::UInt8 => cells.parsed::<UInt8Type>(),
        DataType::UInt16 => cells.parsed::<UInt16Type>(),
        DataType::UInt32 => cells.parsed::<UInt32Type>(),
        DataType::UInt64 => cells.parsed::<UInt64Type>(),
        DataType::Float16 => {
            let wide = cells.parsed::<Float32Type>();
            arrow_cast::cast(&wide, data_type)?
        }
        DataType::Float32 => cells.parsed::<Float32Type>(),
        DataType::Float64 => cells.parsed::<Float64Type>(),
        DataType::Decimal32(p, s) => cells.decimals::<Decimal32Type>(*p, *s),
        DataType::Decimal64(p, s) => cells.decimals::<Decimal64Type>(*p, *s),
        DataType::Decimal128(p, s) => cells.decimals::<Decimal128Type>(*p, *s),
        DataType::Decimal256(p, s) => cells.decimals::<Decimal256Type>(*p, *s),
        DataType::Date32 => cells.parsed::<Date32Type>(),
        DataType::Date64 => cells.parsed::<Date64Type>(),
        DataType::Time32(TimeUnit::Second) => cells.times::<Time32SecondType>(),
        DataType::Time32(_) => cells.times::<Time32MillisecondType>(),
        DataType::Time64(TimeUnit::Microsecond) => cells.times::<Time64MicrosecondType>(),
        DataType::Time64(_) => cells.times::<Time64NanosecondType>(),
        DataType::Duration(TimeUnit::Second) => cells.parsed::<DurationSecondType>(),
        DataType::Duration(TimeUnit::Millisecond) => cells.parsed::<DurationMillisecondType>(),
        DataType::Duration(TimeUnit::Microsecond) => cells.parsed::<DurationMicrosecondType>(),
        DataType::Duration(TimeUnit::Nanosecond) => cells.parsed::<DurationNanosecondType>(),
        DataType::Timestamp(unit, zone) => {
            let zone = Zone::of(zone.as_deref());
            let parse = |s: &str| zone.parse(s, *unit);
            match unit {
                TimeUnit::Second => cells.primitive::<TimestampSecondType>(data_type, parse),
                TimeUnit::Millisecond => cells.primitive::<TimestampMillisecondType>(data_type, parse),
                TimeUnit::Microsecond => cells.primitive::<TimestampMicrosecondType>(data_type, parse),
                TimeUnit::Nanosecond => cells.primitive::<TimestampNanosecondType>(data_type, parse),
            }
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => convert(&cells.strings(), data_type)?,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => convert(&cells.hex(None), data_type)?,
        DataType::FixedSizeBinary(width) => {
            let bytes = convert(&cells.hex(usize::try_from(*width).ok()), &DataType::Binary)?;
            arrow_cast::cast(&bytes, data_type)?
        }
        DataType::Dictionary(_, value) => {
            let Cells { cells, bad } = cells;
            // The recursion ends at the value type, so it is given the same iterator type.
            let values = parse_boxed(value, Box::new(cells), bad)?;
            convert(&values, data_type)?
        }
        DataType::Null => cells.nulls(),
        other => return Err(Error::usage(format!("a CSV cell cannot hold a value of type {}", super::types::plain(other)))),
    })
}

fn parse_boxed<'a>(
    data_type: &DataType,
    cells: Box<dyn ExactSizeIterator<Item = Option<&'a [u8]>> + '_>,
    bad: &mut Vec<usize>,
) -> Result<ArrayRef> {
    parse(data_type, cells, bad)
}

/// The zone in which a time without an offset is understood.
enum Zone {
    /// Times without an offset are in this zone.
    Known(Tz),
    /// A named zone, whose rules this build does not hold: the text must give an offset.
    Named(Option<(Tz, Tz)>),
}

impl Zone {
    fn of(zone: Option<&str>) -> Zone {
        let fixed = |z: &str| z.parse::<Tz>().ok();
        let known = if zone.is_none_or(is_utc) { fixed("+00:00") } else { zone.and_then(fixed) };
        known.map_or_else(|| Zone::Named(fixed("+00:00").zip(fixed("+01:00"))), Zone::Known)
    }

    /// The instant in `unit`s since the epoch. Digits beyond the unit are cut.
    fn parse(&self, text: &str, unit: TimeUnit) -> Option<i64> {
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
            Zone::Known(zone) => read(zone),
            // Read in two zones: only a text with an offset is the same instant in both.
            Zone::Named(zones) => zones.as_ref().and_then(|(a, b)| read(a).filter(|instant| read(b) == Some(*instant))),
        }
    }
}

struct Cells<'b, I> {
    cells: I,
    bad: &'b mut Vec<usize>,
}

impl<'a, I: ExactSizeIterator<Item = Option<&'a [u8]>>> Cells<'_, I> {
    /// Calls `push` with the parsed value of every cell, `None` for nulls and for cells that do not parse.
    fn each<T>(&mut self, parse: impl Fn(&'a [u8]) -> Option<T>, mut push: impl FnMut(Option<T>)) {
        for (row, cell) in self.cells.by_ref().enumerate() {
            let value = cell.map(&parse);
            if matches!(value, Some(None)) {
                self.bad.push(row);
            }
            push(value.flatten());
        }
    }

    fn primitive<T: ArrowPrimitiveType>(&mut self, data_type: &DataType, parse: impl Fn(&str) -> Option<T::Native>) -> ArrayRef {
        let mut out = PrimitiveBuilder::<T>::with_capacity(self.cells.len()).with_data_type(data_type.clone());
        self.each(|cell| parse(text(cell)?), |value| out.append_option(value));
        Arc::new(out.finish())
    }

    fn parsed<T: Parser>(&mut self) -> ArrayRef {
        self.primitive::<T>(&T::DATA_TYPE, T::parse)
    }

    /// Times need a colon: a bare number could mean anything.
    fn times<T: Parser>(&mut self) -> ArrayRef {
        self.primitive::<T>(&T::DATA_TYPE, |s| s.contains(':').then(|| T::parse(s)).flatten())
    }

    /// Decimals with more digits after the point than the type holds are refused rather than cut.
    fn decimals<T: DecimalType>(&mut self, precision: u8, scale: i8) -> ArrayRef {
        let data_type = T::TYPE_CONSTRUCTOR(precision, scale);
        self.primitive::<T>(&data_type, |s| {
            let digits = s.split_once('.').map_or(0, |(_, fraction)| fraction.trim_end_matches('0').len());
            if digits > usize::try_from(scale).unwrap_or(0) && !s.contains(['e', 'E']) {
                return None;
            }
            parse_decimal::<T>(s, precision, scale).ok()
        })
    }

    fn booleans(&mut self) -> ArrayRef {
        let mut out = BooleanBuilder::with_capacity(self.cells.len());
        let is = |s: &str, words: [&str; 4]| words.iter().any(|w| s.eq_ignore_ascii_case(w));
        let parse = |s: &str| match s {
            s if is(s, ["true", "1", "t", "yes"]) => Some(true),
            s if is(s, ["false", "0", "f", "no"]) => Some(false),
            _ => None,
        };
        self.each(|cell| parse(text(cell)?), |value| out.append_option(value));
        Arc::new(out.finish())
    }

    fn strings(&mut self) -> ArrayRef {
        let mut out = StringViewBuilder::with_capacity(self.cells.len());
        self.each(|cell| std::str::from_utf8(cell).ok(), |value| out.append_option(value));
        Arc::new(out.finish())
    }

    /// Bytes are written in hexadecimal.
    fn hex(&mut self, width: Option<usize>) -> ArrayRef {
        let mut out = BinaryViewBuilder::with_capacity(self.cells.len());
        let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let parse = |cell: &[u8]| {
            let cell = cell.trim_ascii();
            let whole = cell.len().is_multiple_of(2) && cell.iter().all(u8::is_ascii_hexdigit) && width.is_none_or(|w| w * 2 == cell.len());
            whole.then(|| cell.chunks(2).map(digits).collect::<Option<Vec<u8>>>()).flatten()
        };
        self.each(parse, |value| out.append_option(value));
        Arc::new(out.finish())
    }

    fn nulls(&mut self) -> ArrayRef {
        let rows = self.cells.len();
        self.each(|_| None::<()>, |_| {});
        new_null_array(&DataType::Null, rows)
    }
}

/// A cell as text without the spaces around it.
fn text(cell: &[u8]) -> Option<&str> {
    std::str::from_utf8(cell).ok().map(str::trim)
}
