//! One key column: its values as codes, and codes as an Arrow array.

use std::sync::Arc;

use arrow_array::builder::{BinaryViewBuilder, StringViewBuilder};
use arrow_array::types::*;
use arrow_array::{AnyDictionaryArray, Array, ArrayRef, BooleanArray, cast::AsArray, make_array};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field};

use super::intern::{Interner, NULL, UNKNOWN, view_in, view_of};
use crate::kernel::hash::float_bits;
use crate::operator::kept::{Kept, as_views, is_text, is_utf8, view_value};
use crate::{Error, Result};

/// How the values of a column become codes.
#[derive(Clone, Debug)]
pub(super) enum Coder {
    /// The value's own bits; this many bytes (16 bytes take two codes).
    Fixed(usize),
    /// The bits of a float of this many bytes, one for `0.0` and `-0.0`, and one for every NaN.
    Float(usize),
    /// One bit.
    Bool,
    /// Numbers of interned values; 0 is null.
    Text(Box<Interner>),
}

/// The codes of the kept rows of one column.
#[derive(Clone, Debug, Default)]
pub(super) struct Codes {
    pub(super) low: Vec<u64>,
    /// Upper halves of 128-bit values, else empty.
    pub(super) high: Vec<u64>,
    /// One entry per row if the column has nulls (text: always empty, null is a code), else empty.
    pub(super) null: Vec<bool>,
}

/// A key column.
#[derive(Clone, Debug)]
pub(super) struct KeyColumn {
    pub(super) data_type: DataType,
    /// The type that values are brought to: the value type of a dictionary, else the declared type.
    base: DataType,
    pub(super) coder: Coder,
    looked: Looked,
}

impl KeyColumn {
    pub(super) fn new(field: &Field) -> Result<Self> {
        let base = match field.data_type() {
            DataType::Dictionary(_, values) => values.as_ref().clone(),
            t => t.clone(),
        };
        let coder = match &base {
            t if is_text(t) => Coder::Text(Box::default()),
            DataType::Boolean => Coder::Bool,
            DataType::Float16 => Coder::Float(2),
            DataType::Float32 => Coder::Float(4),
            DataType::Float64 => Coder::Float(8),
            DataType::Decimal128(..) => Coder::Fixed(16),
            t => match t.primitive_width() {
                Some(w @ (1 | 2 | 4 | 8)) => Coder::Fixed(w),
                _ => return Err(not_a_key(field)),
            },
        };
        Ok(KeyColumn { data_type: field.data_type().clone(), base, coder, looked: Looked::default() })
    }
    /// Bits of the low and the high code.
    pub(super) fn bits(&self) -> (u32, u32) {
        match &self.coder {
            Coder::Fixed(16) => (64, 64),
            Coder::Fixed(w) | Coder::Float(w) => (*w as u32 * 8, 0),
            Coder::Bool => (1, 0),
            Coder::Text(_) => (32, 0),
        }
    }
    /// Forgets all values.
    pub(super) fn clear(&mut self) {
        if let Coder::Text(interner) = &mut self.coder {
            interner.clear();
        }
        self.looked = Looked::default();
    }
    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        if let Coder::Text(interner) = &self.coder { interner.bytes() + self.looked.codes.capacity() * 8 } else { 0 }
    }
    pub(super) fn is_text(&self) -> bool {
        matches!(self.coder, Coder::Text(_))
    }
    /// Collects the codes of the kept rows. Without `INSERT`, unknown text gets [`UNKNOWN`].
    pub(super) fn codes<const INSERT: bool>(&mut self, array: &ArrayRef, kept: Kept<'_>, out: &mut Codes) -> Result<()> {
        out.low.clear();
        out.high.clear();
        out.null.clear();
        if let Coder::Text(interner) = &mut self.coder {
            return text::<INSERT>(interner, &mut self.looked, array, kept, &mut out.low);
        }
        let array = self.base_array(array)?;
        match &self.coder {
            Coder::Bool => {
                let values = array.as_boolean().values();
                kept.each(|_, row| out.low.push(u64::from(values.value(row))));
            }
            Coder::Fixed(width) => {
                let data = array.to_data();
                match width {
                    1 => words::<u8>(&data, kept, &mut out.low, u64::from)?,
                    2 => words::<u16>(&data, kept, &mut out.low, u64::from)?,
                    4 => words::<u32>(&data, kept, &mut out.low, u64::from)?,
                    8 => words::<u64>(&data, kept, &mut out.low, |v| v)?,
                    _ => {
                        words::<u128>(&data, kept, &mut out.low, |v| v as u64)?;
                        words::<u128>(&data, kept, &mut out.high, |v| (v >> 64) as u64)?;
                    }
                }
            }
            Coder::Float(2) => {
                words::<half::f16>(&array.to_data(), kept, &mut out.low, |v| half::f16::from_f64(plain_float(v.to_f64())).to_bits().into())?
            }
            Coder::Float(4) => words::<f32>(&array.to_data(), kept, &mut out.low, |v| (plain_float(v.into()) as f32).to_bits().into())?,
            Coder::Float(_) => words::<f64>(&array.to_data(), kept, &mut out.low, float_bits)?,
            Coder::Text(_) => {}
        }
        if let Some(nulls) = array.nulls().filter(|n| n.null_count() > 0) {
            kept.each(|_, row| out.null.push(nulls.is_null(row)));
            out.low.iter_mut().zip(&out.null).filter(|(_, null)| **null).for_each(|(code, _)| *code = 0);
            out.high.iter_mut().zip(&out.null).filter(|(_, null)| **null).for_each(|(code, _)| *code = 0);
        }
        Ok(())
    }
    fn base_array(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let same = match (array.data_type(), &self.base) {
            (DataType::Timestamp(a, _), DataType::Timestamp(b, _)) => a == b,
            (a, b) => a == b,
        };
        if same { Ok(Arc::clone(array)) } else { Ok(arrow_cast::cast(array, &self.base)?) }
    }
    /// The codes as an array of the declared type.
    pub(super) fn array(&self, codes: &Codes) -> Result<ArrayRef> {
        let rows = codes.low.len();
        let nulls = (!codes.null.is_empty()).then(|| NullBuffer::from_iter(codes.null.iter().map(|n| !n))).filter(|n| n.null_count() > 0);
        let array = match &self.coder {
            Coder::Text(interner) => self.text(interner, &codes.low)?,
            Coder::Bool => {
                Arc::new(BooleanArray::new(BooleanBuffer::collect_bool(rows, |i| codes.low.get(i).is_some_and(|c| *c == 1)), nulls))
            }
            Coder::Fixed(width) | Coder::Float(width) => {
                let low = &codes.low;
                let buffer = match width {
                    1 => Buffer::from_vec(low.iter().map(|c| *c as u8).collect::<Vec<_>>()),
                    2 => Buffer::from_vec(low.iter().map(|c| *c as u16).collect::<Vec<_>>()),
                    4 => Buffer::from_vec(low.iter().map(|c| *c as u32).collect::<Vec<_>>()),
                    8 => Buffer::from_vec(low.clone()),
                    _ => Buffer::from_vec(
                        low.iter().zip(&codes.high).map(|(l, h)| u128::from(*l) | u128::from(*h) << 64).collect::<Vec<_>>(),
                    ),
                };
                make_array(ArrayData::builder(self.base.clone()).len(rows).add_buffer(buffer).nulls(nulls).build()?)
            }
        };
        if *array.data_type() == self.data_type { Ok(array) } else { Ok(arrow_cast::cast(&array, &self.data_type)?) }
    }
    fn text(&self, interner: &Interner, codes: &[u64]) -> Result<ArrayRef> {
        if is_utf8(&self.base) {
            let mut out = StringViewBuilder::with_capacity(codes.len());
            for code in codes {
                interner.value(*code as u32, |v| -> Result<()> {
                    match v {
                        None => out.append_null(),
                        Some(v) => out.append_value(std::str::from_utf8(v).map_err(|_| Error::internal("a text key that is not text"))?),
                    }
                    Ok(())
                })?;
            }
            return Ok(Arc::new(out.finish()));
        }
        let mut out = BinaryViewBuilder::with_capacity(codes.len());
        codes.iter().for_each(|code| interner.value(*code as u32, |v| out.append_option(v)));
        let array: ArrayRef = Arc::new(out.finish());
        // there is no direct cast from views to fixed-size binary
        if matches!(self.base, DataType::FixedSizeBinary(_)) {
            Ok(arrow_cast::cast(&arrow_cast::cast(&array, &DataType::Binary)?, &self.base)?)
        } else {
            Ok(array)
        }
    }
}

fn not_a_key(field: &Field) -> Error {
    Error::Plan(format!(
        "column `{}` of type {} cannot be a key; keys may be numbers, bool, dates, times, decimals, text and binary",
        field.name(),
        field.data_type()
    ))
}

/// A float without the sign of its zero, or of its NaN.
fn plain_float(value: f64) -> f64 {
    f64::from_bits(float_bits(value))
}

fn words<T: ArrowNativeType>(data: &ArrayData, kept: Kept<'_>, out: &mut Vec<u64>, code: impl Fn(T) -> u64) -> Result<()> {
    let buffer = data.buffers().first().ok_or_else(|| Error::internal("a fixed-width column without values"))?;
    let values = ScalarBuffer::<T>::new(buffer.clone(), data.offset(), data.len());
    match kept {
        Kept::Range(from, to) => out.extend(values.get(from..to).unwrap_or(&[]).iter().map(|v| code(*v))),
        Kept::Some(rows) => out.extend(rows.iter().map(|row| values.get(*row as usize).map_or(0, |v| code(*v)))),
    }
    Ok(())
}

/// The codes of the values of a dictionary, as far as they were looked up: batches share dictionaries.
#[derive(Clone, Debug, Default)]
pub(super) struct Looked {
    values: Option<ArrayRef>,
    views: Option<ArrayRef>,
    /// Code + 1; 0 was not looked up.
    codes: Vec<u64>,
    /// Whether a value was unknown, when this many were interned.
    unknown: Option<usize>,
}

impl Looked {
    fn of<const INSERT: bool>(
        &mut self,
        interner: &mut Interner,
        dictionary: &dyn AnyDictionaryArray,
        kept: Kept<'_>,
        out: &mut Vec<u64>,
    ) -> Result<()> {
        let values = dictionary.values();
        if values.is_empty() {
            out.resize(out.len() + kept.len(), u64::from(NULL));
            return Ok(());
        }
        let same = self.values.as_ref().is_some_and(|v| Arc::ptr_eq(v, values)) && self.unknown.is_none_or(|then| then == interner.len());
        if !same {
            self.views = Some(as_views(values)?);
            self.values = Some(Arc::clone(values));
            self.codes.clear();
            self.codes.resize(values.len(), 0);
            self.unknown = None;
        }
        let Some(views) = &self.views else { return Ok(()) };
        let missing = views.nulls();
        let (codes, unknown) = (&mut self.codes, &mut self.unknown);
        let mut code = |key: usize| {
            let Some(slot) = codes.get_mut(key) else { return u64::from(NULL) };
            if *slot == 0 {
                let code = if missing.is_some_and(|n| n.is_null(key)) {
                    NULL
                } else {
                    let bytes = view_value(views, key);
                    interner.code::<INSERT>(view_of(bytes), || bytes)
                };
                if code == UNKNOWN {
                    *unknown = Some(interner.len());
                }
                *slot = 1 + u64::from(code);
            }
            *slot - 1
        };
        let (keys, nulls) = (dictionary.keys(), dictionary.keys().nulls().filter(|n| n.null_count() > 0));
        let null = |row: usize| nulls.is_some_and(|n| n.is_null(row));
        macro_rules! of_keys {
            ($($t:ty),*) => { $(if let Some(keys) = keys.as_primitive_opt::<$t>() {
                let keys = keys.values();
                kept.each(|_, row| out.push(if null(row) { u64::from(NULL) } else { code(keys.get(row).map_or(usize::MAX, |k| *k as usize)) }));
                return Ok(());
            })* };
        }
        of_keys!(Int32Type, Int8Type, Int16Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type);
        Err(Error::internal("a dictionary without integer keys"))
    }
}

fn text<const INSERT: bool>(
    interner: &mut Interner,
    looked: &mut Looked,
    array: &ArrayRef,
    kept: Kept<'_>,
    out: &mut Vec<u64>,
) -> Result<()> {
    if let Some(dictionary) = array.as_any_dictionary_opt() {
        return looked.of::<INSERT>(interner, dictionary, kept, out);
    }
    match array.data_type() {
        DataType::Utf8 => bytes::<INSERT, Utf8Type>(interner, array, kept, out),
        DataType::LargeUtf8 => bytes::<INSERT, LargeUtf8Type>(interner, array, kept, out),
        DataType::Binary => bytes::<INSERT, BinaryType>(interner, array, kept, out),
        DataType::LargeBinary => bytes::<INSERT, LargeBinaryType>(interner, array, kept, out),
        DataType::Utf8View => views::<INSERT, StringViewType>(interner, array, kept, out),
        DataType::BinaryView => views::<INSERT, BinaryViewType>(interner, array, kept, out),
        t if is_text(t) => views::<INSERT, BinaryViewType>(interner, &as_views(array)?, kept, out),
        t => return Err(Error::Plan(format!("a key column of text has type {t}"))),
    }
    Ok(())
}

fn bytes<const INSERT: bool, T: ByteArrayType>(interner: &mut Interner, array: &ArrayRef, kept: Kept<'_>, out: &mut Vec<u64>) {
    let array = array.as_bytes::<T>();
    let (offsets, data) = (array.value_offsets(), array.value_data());
    let range = |row: usize| match (offsets.get(row), offsets.get(row + 1)) {
        (Some(from), Some(to)) => (from.as_usize(), to.as_usize()),
        _ => (0, 0),
    };
    let view = |row| {
        let (from, to) = range(row);
        view_in(data, from, to)
    };
    let bytes = |row| {
        let (from, to) = range(row);
        data.get(from..to).unwrap_or(&[])
    };
    interner.codes::<INSERT>(kept, array.nulls(), view, bytes, out);
}

fn views<const INSERT: bool, T: ByteViewType>(interner: &mut Interner, array: &ArrayRef, kept: Kept<'_>, out: &mut Vec<u64>) {
    let array = array.as_byte_view::<T>();
    let views = array.views();
    let view = |row: usize| views.get(row).copied().unwrap_or_default();
    let bytes = |row: usize| -> &[u8] { array.value(row).as_ref() };
    interner.codes::<INSERT>(kept, array.nulls(), view, bytes, out);
}

/// Whether a code says that the text is unknown, or null where that matches nothing.
pub(super) fn unmatched(code: u64, nulls_match: bool) -> bool {
    (code == u64::from(NULL) && !nulls_match) || code == u64::from(UNKNOWN)
}
