//! One key column: its values as codes, and codes as an Arrow array.

use std::sync::Arc;

use arrow_array::builder::{BinaryViewBuilder, StringViewBuilder};
use arrow_array::{Array, ArrayRef, BooleanArray, cast::AsArray, make_array};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field};

use super::intern::{Interner, NULL, UNKNOWN};
use crate::kernel::hash::float_bits;
use crate::operator::kept::{Kept, as_views, is_text, is_utf8, view_value};
use crate::{Error, Result};

/// How the values of a column become codes.
#[derive(Debug)]
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
#[derive(Debug, Default)]
pub(super) struct Codes {
    pub(super) low: Vec<u64>,
    /// Upper halves of 128-bit values, else empty.
    pub(super) high: Vec<u64>,
    /// One entry per row if the column has nulls (text: always empty, null is a code), else empty.
    pub(super) null: Vec<bool>,
}

/// A key column.
#[derive(Debug)]
pub(super) struct KeyColumn {
    pub(super) data_type: DataType,
    /// The type that values are brought to: the value type of a dictionary, else the declared type.
    base: DataType,
    pub(super) coder: Coder,
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
        Ok(KeyColumn { data_type: field.data_type().clone(), base, coder })
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
    pub(super) fn is_text(&self) -> bool {
        matches!(self.coder, Coder::Text(_))
    }
    /// Collects the codes of the kept rows. Without `INSERT`, unknown text gets [`UNKNOWN`].
    pub(super) fn codes<const INSERT: bool>(&mut self, array: &ArrayRef, kept: Kept<'_>, out: &mut Codes) -> Result<()> {
        out.low.clear();
        out.high.clear();
        out.null.clear();
        if let Coder::Text(interner) = &mut self.coder {
            return text::<INSERT>(interner, array, kept, &mut out.low);
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

fn text<const INSERT: bool>(interner: &mut Interner, array: &ArrayRef, kept: Kept<'_>, out: &mut Vec<u64>) -> Result<()> {
    if let Some(dictionary) = array.as_any_dictionary_opt() {
        let values = as_views(dictionary.values())?;
        if values.is_empty() {
            out.resize(kept.len(), u64::from(NULL));
            return Ok(());
        }
        let (keys, nulls, missing) = (dictionary.normalized_keys(), dictionary.keys().nulls(), values.nulls());
        // code + 1 of each dictionary value that was looked up for this batch
        let mut seen = vec![0u64; values.len()];
        kept.each(|_, row| {
            let key = keys.get(row).copied().unwrap_or_default();
            if nulls.is_some_and(|n| n.is_null(row)) || missing.is_some_and(|n| n.is_null(key)) {
                return out.push(u64::from(NULL));
            }
            let Some(slot) = seen.get_mut(key) else { return };
            if *slot == 0 {
                let bytes = view_value(&values, key);
                *slot = 1 + u64::from(interner.code::<INSERT>(view_of(bytes), || bytes));
            }
            out.push(*slot - 1);
        });
        return Ok(());
    }
    if !is_text(array.data_type()) {
        return Err(Error::Plan(format!("a key column of text has type {}", array.data_type())));
    }
    let array = as_views(array)?;
    let views = match array.data_type() {
        DataType::Utf8View => array.as_string_view().views(),
        _ => array.as_binary_view().views(),
    };
    let nulls = array.nulls().filter(|n| n.null_count() > 0);
    kept.each(|_, row| {
        let code = match views.get(row) {
            Some(view) if nulls.is_none_or(|n| n.is_valid(row)) => interner.code::<INSERT>(*view, || view_value(&array, row)),
            _ => NULL,
        };
        out.push(u64::from(code));
    });
    Ok(())
}

/// The bytes as an Arrow view, without a place for long ones.
fn view_of(bytes: &[u8]) -> u128 {
    let mut view = [0u8; 16];
    let (head, tail) = view.split_at_mut(4);
    head.copy_from_slice(&(bytes.len() as u32).to_le_bytes());
    let inline = if bytes.len() <= 12 { bytes } else { bytes.get(..4).unwrap_or(&[]) };
    tail.iter_mut().zip(inline).for_each(|(to, from)| *to = *from);
    u128::from_le_bytes(view)
}

/// Whether a code says that the text is unknown, or null where that matches nothing.
pub(super) fn unmatched(code: u64, nulls_match: bool) -> bool {
    (code == u64::from(NULL) && !nulls_match) || code == u64::from(UNKNOWN)
}
