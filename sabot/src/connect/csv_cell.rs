//! From the text of CSV cells to a typed column.

use std::sync::Arc;

use arrow_array::builder::{BinaryViewBuilder, BooleanBuilder, PrimitiveBuilder, StringViewBuilder};
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{ArrayRef, ArrowNativeTypeOp, new_null_array};
use arrow_buffer::ArrowNativeType;
use arrow_cast::parse::{Parser, parse_decimal};
use arrow_schema::{DataType, TimeUnit};

use super::csv_column::{Cell, Column};
use super::csv_time::Zone;
use super::types::convert;
use super::{csv_number, csv_time};
use crate::{Error, Result};

/// Bytes that a view holds itself.
const INLINE: usize = 12;

/// Whether a CSV cell can hold a value of this type.
pub(crate) fn supported(t: &DataType) -> bool {
    match t {
        DataType::Dictionary(_, value) => supported(value),
        DataType::Interval(_) => false,
        other => !other.is_nested(),
    }
}

/// Parses one column. A cell that is no `data_type` becomes a null and its row number is added to `bad`.
///
/// # Errors
/// If the type is not [`supported`], or a dictionary has more values than its keys can number.
pub(crate) fn parse(data_type: &DataType, column: &Column<'_>, bad: &mut Vec<usize>) -> Result<ArrayRef> {
    let mut cells = Cells { column, bad };
    Ok(match data_type {
        DataType::Boolean => cells.booleans(),
        DataType::Int8 => cells.integers::<Int8Type>(),
        DataType::Int16 => cells.integers::<Int16Type>(),
        DataType::Int32 => cells.integers::<Int32Type>(),
        DataType::Int64 => cells.integers::<Int64Type>(),
        DataType::UInt8 => cells.integers::<UInt8Type>(),
        DataType::UInt16 => cells.integers::<UInt16Type>(),
        DataType::UInt32 => cells.integers::<UInt32Type>(),
        DataType::UInt64 => cells.integers::<UInt64Type>(),
        DataType::Float16 => {
            let wide = cells.primitive::<Float32Type>(&DataType::Float32, csv_number::single, Float32Type::parse);
            arrow_cast::cast(&wide, data_type)?
        }
        DataType::Float32 => cells.primitive::<Float32Type>(&DataType::Float32, csv_number::single, Float32Type::parse),
        DataType::Float64 => cells.primitive::<Float64Type>(data_type, csv_number::double, Float64Type::parse),
        DataType::Decimal32(p, s) => cells.decimals::<Decimal32Type>(*p, *s),
        DataType::Decimal64(p, s) => cells.decimals::<Decimal64Type>(*p, *s),
        DataType::Decimal128(p, s) => cells.decimals::<Decimal128Type>(*p, *s),
        DataType::Decimal256(p, s) => cells.decimals::<Decimal256Type>(*p, *s),
        DataType::Date32 => cells.primitive::<Date32Type>(data_type, csv_time::days, Date32Type::parse),
        DataType::Date64 => cells.primitive::<Date64Type>(data_type, none, Date64Type::parse),
        DataType::Time32(TimeUnit::Second) => cells.times::<Time32SecondType>(),
        DataType::Time32(_) => cells.times::<Time32MillisecondType>(),
        DataType::Time64(TimeUnit::Microsecond) => cells.times::<Time64MicrosecondType>(),
        DataType::Time64(_) => cells.times::<Time64NanosecondType>(),
        DataType::Duration(TimeUnit::Second) => cells.integers::<DurationSecondType>(),
        DataType::Duration(TimeUnit::Millisecond) => cells.integers::<DurationMillisecondType>(),
        DataType::Duration(TimeUnit::Microsecond) => cells.integers::<DurationMicrosecondType>(),
        DataType::Duration(TimeUnit::Nanosecond) => cells.integers::<DurationNanosecondType>(),
        DataType::Timestamp(unit, zone) => {
            let zone = Zone::of(zone.as_deref());
            let usual = |cell: &[u8]| zone.usual(cell, *unit);
            let parse = |s: &str| zone.parse(s, *unit);
            match unit {
                TimeUnit::Second => cells.primitive::<TimestampSecondType>(data_type, usual, parse),
                TimeUnit::Millisecond => cells.primitive::<TimestampMillisecondType>(data_type, usual, parse),
                TimeUnit::Microsecond => cells.primitive::<TimestampMicrosecondType>(data_type, usual, parse),
                TimeUnit::Nanosecond => cells.primitive::<TimestampNanosecondType>(data_type, usual, parse),
            }
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => convert(&cells.strings(), data_type)?,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => convert(&cells.hex(None), data_type)?,
        DataType::FixedSizeBinary(width) => {
            let bytes = convert(&cells.hex(usize::try_from(*width).ok()), &DataType::Binary)?;
            arrow_cast::cast(&bytes, data_type)?
        }
        DataType::Dictionary(_, value) => convert(&parse(value, column, cells.bad)?, data_type)?,
        DataType::Null => cells.nulls(),
        other => return Err(Error::usage(format!("a CSV cell cannot hold a value of type {}", super::types::plain(other)))),
    })
}

/// No usual form.
fn none<T>(_: &[u8]) -> Option<T> {
    None
}

struct Cells<'b> {
    column: &'b Column<'b>,
    bad: &'b mut Vec<usize>,
}

impl<'b> Cells<'b> {
    /// Calls `push` with the parsed value of every cell, `None` for nulls and for cells that do not parse.
    #[inline]
    fn each<T>(&mut self, parse: impl Fn(Cell<'b>) -> Option<T>, mut push: impl FnMut(Option<T>)) {
        for (row, cell) in self.column.cells().enumerate() {
            let value = cell.map(&parse);
            if matches!(value, Some(None)) {
                self.bad.push(row);
            }
            push(value.flatten());
        }
    }

    /// A column of numbers: `usual` reads most cells from their bytes, `parse` those that it declines, as text without the spaces around it.
    fn primitive<T: ArrowPrimitiveType>(
        &mut self,
        data_type: &DataType,
        usual: impl Fn(&[u8]) -> Option<T::Native>,
        parse: impl Fn(&str) -> Option<T::Native>,
    ) -> ArrayRef {
        let mut out = PrimitiveBuilder::<T>::with_capacity(self.column.len()).with_data_type(data_type.clone());
        self.each(|cell| usual(cell.bytes()).or_else(|| parse(cell.text()?.trim())), |value| out.append_option(value));
        Arc::new(out.finish())
    }

    fn integers<T: Parser>(&mut self) -> ArrayRef
    where
        T::Native: TryFrom<i64>,
    {
        self.primitive::<T>(&T::DATA_TYPE, |cell| T::Native::try_from(csv_number::integer(cell)?).ok(), T::parse)
    }

    /// Times need a colon: a bare number could mean anything.
    fn times<T: Parser>(&mut self) -> ArrayRef {
        self.primitive::<T>(&T::DATA_TYPE, none, |s| s.contains(':').then(|| T::parse(s)).flatten())
    }

    /// Decimals with more digits after the point than the type holds are refused rather than cut.
    fn decimals<T: DecimalType>(&mut self, precision: u8, scale: i8) -> ArrayRef {
        let data_type = T::TYPE_CONSTRUCTOR(precision, scale);
        let places = usize::try_from(scale).unwrap_or(0);
        let most = csv_number::power(usize::from(precision)).unwrap_or(u64::MAX);
        let usual = |cell: &[u8]| {
            let p = csv_number::point(cell).filter(|_| scale >= 0)?;
            let digits = p.digits.checked_mul(csv_number::power(places.checked_sub(p.after)?)?).filter(|d| *d < most)?;
            let value = T::Native::from_usize(usize::try_from(digits).ok()?)?;
            Some(if p.negative { value.neg_wrapping() } else { value })
        };
        self.primitive::<T>(&data_type, usual, |s| {
            let digits = s.split_once('.').map_or(0, |(_, fraction)| fraction.trim_end_matches('0').len());
            if digits > places && !s.contains(['e', 'E']) {
                return None;
            }
            parse_decimal::<T>(s, precision, scale).ok()
        })
    }

    fn booleans(&mut self) -> ArrayRef {
        let mut out = BooleanBuilder::with_capacity(self.column.len());
        let is = |s: &str, words: [&str; 4]| words.iter().any(|w| s.eq_ignore_ascii_case(w));
        let parse = |s: &str| match s {
            s if is(s, ["true", "1", "t", "yes"]) => Some(true),
            s if is(s, ["false", "0", "f", "no"]) => Some(false),
            _ => None,
        };
        self.each(|cell| parse(cell.text()?.trim()), |value| out.append_option(value));
        Arc::new(out.finish())
    }

    /// Texts that do not fit into a view stay where they were read.
    fn strings(&mut self) -> ArrayRef {
        let mut out = StringViewBuilder::with_capacity(self.column.len());
        let (whole, mut block) = (self.column.text(), None);
        self.each(
            |cell| Some((cell.text()?, cell.place())),
            |value| match value {
                Some((text, Some((start, len)))) if text.len() > INLINE => {
                    let block = *block.get_or_insert_with(|| out.append_block(whole.clone()));
                    if out.try_append_view(block, start, len).is_err() {
                        out.append_value(text);
                    }
                }
                Some((text, _)) => out.append_value(text),
                None => out.append_null(),
            },
        );
        Arc::new(out.finish())
    }

    /// Bytes are written in hexadecimal.
    fn hex(&mut self, width: Option<usize>) -> ArrayRef {
        let mut out = BinaryViewBuilder::with_capacity(self.column.len());
        let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let parse = |cell: Cell<'_>| {
            let cell = cell.bytes().trim_ascii();
            let whole = cell.len().is_multiple_of(2) && cell.iter().all(u8::is_ascii_hexdigit) && width.is_none_or(|w| w * 2 == cell.len());
            whole.then(|| cell.chunks(2).map(digits).collect::<Option<Vec<u8>>>()).flatten()
        };
        self.each(parse, |value| out.append_option(value));
        Arc::new(out.finish())
    }

    fn nulls(&mut self) -> ArrayRef {
        let rows = self.column.len();
        self.each(|_| None::<()>, |_| {});
        new_null_array(&DataType::Null, rows)
    }
}
