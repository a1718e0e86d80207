//! Arrow types in plain words, and which of them are the same data in another encoding.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, make_array};
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field, TimeUnit};

use crate::Result;

/// A type as a reader of an error message knows it: `i64`, `string`, `timestamp[us, UTC]`.
pub(crate) fn plain(data_type: &DataType) -> String {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Date64, Decimal32, Decimal64, Decimal128, Decimal256, Dictionary, Duration, FixedSizeBinary,
        FixedSizeList, Float16, Float32, Float64, Int8, Int16, Int32, Int64, LargeBinary, LargeList, LargeUtf8, List, Null, Struct, Time32,
        Time64, Timestamp, UInt8, UInt16, UInt32, UInt64, Utf8, Utf8View,
    };
    match data_type {
        Null => "null".into(),
        Boolean => "bool".into(),
        Int8 => "i8".into(),
        Int16 => "i16".into(),
        Int32 => "i32".into(),
        Int64 => "i64".into(),
        UInt8 => "u8".into(),
        UInt16 => "u16".into(),
        UInt32 => "u32".into(),
        UInt64 => "u64".into(),
        Float16 => "f16".into(),
        Float32 => "f32".into(),
        Float64 => "f64".into(),
        Utf8 | LargeUtf8 | Utf8View => "string".into(),
        Binary | LargeBinary | BinaryView => "binary".into(),
        FixedSizeBinary(n) => format!("binary[{n}]"),
        Date32 => "date".into(),
        Date64 => "date[ms]".into(),
        Time32(u) | Time64(u) => format!("time[{}]", unit(*u)),
        Duration(u) => format!("duration[{}]", unit(*u)),
        Timestamp(u, None) => format!("timestamp[{}]", unit(*u)),
        Timestamp(u, Some(zone)) => format!("timestamp[{}, {zone}]", unit(*u)),
        Decimal32(p, s) | Decimal64(p, s) | Decimal128(p, s) => format!("decimal({p}, {s})"),
        Decimal256(p, s) => format!("decimal256({p}, {s})"),
        Dictionary(key, value) => format!("dictionary<{}, {}>", plain(key), plain(value)),
        List(f) | LargeList(f) => format!("list<{}>", plain(f.data_type())),
        FixedSizeList(f, n) => format!("list<{}; {n}>", plain(f.data_type())),
        Struct(fields) => {
            let fields: Vec<String> = fields.iter().map(|f| format!("{}: {}", f.name(), plain(f.data_type()))).collect();
            format!("struct<{}>", fields.join(", "))
        }
        other => other.to_string(),
    }
}

fn unit(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "s",
        TimeUnit::Millisecond => "ms",
        TimeUnit::Microsecond => "us",
        TimeUnit::Nanosecond => "ns",
    }
}

/// A type in plain words, with `or null` if the column may hold nulls.
pub(crate) fn plain_field(field: &Field) -> String {
    let name = plain(field.data_type());
    if field.is_nullable() { format!("{name} or null") } else { name }
}

pub(crate) fn is_string(t: &DataType) -> bool {
    matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

pub(crate) fn is_binary(t: &DataType) -> bool {
    matches!(t, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// Whether a time zone is another spelling of UTC.
pub(crate) fn is_utc(zone: &str) -> bool {
    matches!(zone, "UTC" | "+00:00" | "Etc/UTC" | "Z")
}

/// Whether `found` holds the same values as `expected`, in whatever encoding: see [`convert`].
pub(crate) fn compatible(expected: &DataType, found: &DataType) -> bool {
    use DataType::{Dictionary, FixedSizeList, LargeList, List, Struct, Timestamp};
    match (expected, found) {
        (e, f) if e == f => true,
        (e, f) if is_string(e) && is_string(f) || is_binary(e) && is_binary(f) => true,
        (Dictionary(_, e), Dictionary(_, f)) => compatible(e, f),
        (Dictionary(_, value), other) | (other, Dictionary(_, value)) => compatible(value, other),
        (Timestamp(e, ez), Timestamp(f, fz)) => e == f && ez.as_deref().is_none_or(is_utc) && fz.as_deref().is_none_or(is_utc),
        (List(e) | LargeList(e), List(f) | LargeList(f)) => compatible(e.data_type(), f.data_type()),
        (FixedSizeList(e, n), FixedSizeList(f, m)) => n == m && compatible(e.data_type(), f.data_type()),
        (Struct(e), Struct(f)) => {
            e.len() == f.len() && e.iter().zip(f).all(|(e, f)| e.name() == f.name() && compatible(e.data_type(), f.data_type()))
        }
        _ => false,
    }
}

/// Re-encodes a column as a [`compatible`] type. No value changes; a column of the same type is returned as it is.
///
/// # Errors
/// If the values do not fit (more distinct values than the dictionary's key type can number).
pub(crate) fn convert(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    if let (DataType::Timestamp(_, _), DataType::Timestamp(_, _)) = (array.data_type(), to) {
        return Ok(make_array(array.to_data().into_builder().data_type(to.clone()).build()?));
    }
    let options = arrow_cast::CastOptions { safe: false, ..Default::default() };
    Ok(arrow_cast::cast_with_options(array, to, &options)?)
}

/// A type with every time zone given as an offset, as text writers need it: named zones become UTC, the same instants.
pub(crate) fn offset_zones(t: &DataType) -> DataType {
    map_leaves(t, &|leaf| match leaf {
        DataType::Timestamp(unit, Some(zone)) if !zone.starts_with(['+', '-']) => DataType::Timestamp(*unit, Some("+00:00".into())),
        other => other.clone(),
    })
}

/// A type without dictionaries: their value types instead.
pub(crate) fn without_dictionaries(t: &DataType) -> DataType {
    map_leaves(t, &|leaf| match leaf {
        DataType::Dictionary(_, value) => value.as_ref().clone(),
        other => other.clone(),
    })
}

/// The type with other types at its leaves.
pub(crate) fn map_leaves(t: &DataType, leaf: &dyn Fn(&DataType) -> DataType) -> DataType {
    let child = |f: &Arc<Field>| Arc::new(f.as_ref().clone().with_data_type(map_leaves(f.data_type(), leaf)));
    match t {
        DataType::List(f) => DataType::List(child(f)),
        DataType::LargeList(f) => DataType::LargeList(child(f)),
        DataType::FixedSizeList(f, n) => DataType::FixedSizeList(child(f), *n),
        DataType::Map(f, sorted) => DataType::Map(child(f), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(child).collect()),
        other => leaf(other),
    }
}

/// Gives a column another label of the same physical layout ([`offset_zones`]), children included.
pub(crate) fn relabel(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    Ok(make_array(relabel_data(array.to_data(), to)?))
}

fn relabel_data(data: ArrayData, to: &DataType) -> Result<ArrayData> {
    let types: Vec<DataType> = match to {
        DataType::List(f) | DataType::LargeList(f) | DataType::FixedSizeList(f, _) | DataType::Map(f, _) => vec![f.data_type().clone()],
        DataType::Struct(fields) => fields.iter().map(|f| f.data_type().clone()).collect(),
        _ => data.child_data().iter().map(|c| c.data_type().clone()).collect(),
    };
    let children = data.child_data().iter().cloned().zip(&types).map(|(c, t)| relabel_data(c, t)).collect::<Result<Vec<_>>>()?;
    Ok(data.into_builder().data_type(to.clone()).child_data(children).build()?)
}

/// Whether values of this type are text: strings, and dictionaries of strings.
pub(crate) fn is_text(t: &DataType) -> bool {
    match t {
        DataType::Dictionary(_, value) => is_string(value),
        other => is_string(other),
    }
}
