//! Text and bytes: one borrowed type for users, whatever the encoding of the column.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BinaryViewArray, DictionaryArray, StringArray, StringViewArray, cast::AsArray, types::UInt32Type};
use arrow_buffer::{Buffer, ScalarBuffer};
use arrow_schema::DataType;

use super::{Buffers, Env, Lane, Mismatch, Value, Window, Writer};

macro_rules! owned {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $borrowed:ty) => {
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);
        impl Deref for $name {
            type Target = $borrowed;
            fn deref(&self) -> &$borrowed { &self.0 }
        }
        impl Borrow<$borrowed> for $name {
            fn borrow(&self) -> &$borrowed { &self.0 }
        }
        impl AsRef<$borrowed> for $name {
            fn as_ref(&self) -> &$borrowed { &self.0 }
        }
        impl From<&$borrowed> for $name {
            fn from(v: &$borrowed) -> Self { $name(v.into()) }
        }
        impl From<$inner> for $name {
            fn from(v: $inner) -> Self { $name(v) }
        }
        impl PartialEq<$borrowed> for $name {
            fn eq(&self, o: &$borrowed) -> bool { **self == *o }
        }
        impl PartialEq<&$borrowed> for $name {
            fn eq(&self, o: &&$borrowed) -> bool { **self == **o }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Debug::fmt(&self.0, f) }
        }
    };
}
owned!(
    /// A text column's value. Operators and closures see `&str`; read from Utf8, LargeUtf8, Utf8View and dictionaries.
    Str, String, str
);
owned!(
    /// A binary column's value. Operators and closures see `&[u8]`.
    Bytes, Vec<u8>, [u8]
);
impl Str {
    /// The text.
    pub fn as_str(&self) -> &str {
        self
    }
}
impl fmt::Display for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A column of few distinct values, stored once each: `Dict<Str>`. Closures see `&str`.
///
/// ```
/// use sabot::prelude::*;
///
/// let venue: Dict<Str> = "XNYS".into();
/// assert_eq!(venue.as_str(), "XNYS");
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dict<T>(pub T);
impl<T: fmt::Debug> fmt::Debug for Dict<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl<T> Deref for Dict<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}
impl From<&str> for Dict<Str> {
    fn from(v: &str) -> Self {
        Dict(v.into())
    }
}

/// Typed access to a text or binary column in any encoding.
#[derive(Clone, Copy)]
pub enum TextRead<'a> {
    /// 32-bit offsets.
    Small(&'a [i32], &'a [u8]),
    /// 64-bit offsets.
    Large(&'a [i64], &'a [u8]),
    /// Views.
    View(&'a [u128], &'a [Buffer]),
    /// Codes into views.
    Dict(&'a [u32], &'a [u128], &'a [Buffer]),
    /// Fixed width.
    Wide(usize, &'a [u8]),
    /// A pruned column.
    Blank,
}

#[inline(always)]
fn view_bytes<'a>(view: &'a u128, buffers: &'a [Buffer]) -> &'a [u8] {
    let len = *view as u32 as usize;
    if len <= 12 {
        // SAFETY: an inline view stores its bytes in memory after the 4-byte length (little endian), at most 12.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(view).cast::<u8>().add(4), len) }
    } else {
        let (buffer, offset) = ((*view >> 64) as u32 as usize, (*view >> 96) as u32 as usize);
        debug_assert!(buffer < buffers.len());
        // SAFETY: Arrow validated (or this crate wrote) the view: buffer number and range lie within `buffers`.
        unsafe { buffers.get_unchecked(buffer).as_slice().get_unchecked(offset..offset + len) }
    }
}

impl<'a> TextRead<'a> {
    fn of(array: &'a ArrayRef) -> Self {
        match array.data_type() {
            DataType::Utf8 => TextRead::Small(array.as_string::<i32>().value_offsets(), array.as_string::<i32>().value_data()),
            DataType::LargeUtf8 => TextRead::Large(array.as_string::<i64>().value_offsets(), array.as_string::<i64>().value_data()),
            DataType::Utf8View => TextRead::View(array.as_string_view().views(), array.as_string_view().data_buffers()),
            DataType::Binary => TextRead::Small(array.as_binary::<i32>().value_offsets(), array.as_binary::<i32>().value_data()),
            DataType::LargeBinary => TextRead::Large(array.as_binary::<i64>().value_offsets(), array.as_binary::<i64>().value_data()),
            DataType::BinaryView => TextRead::View(array.as_binary_view().views(), array.as_binary_view().data_buffers()),
            DataType::FixedSizeBinary(n) => TextRead::Wide(usize::try_from(*n).unwrap_or(0), array.as_fixed_size_binary().value_data()),
            DataType::Dictionary(_, _) => {
                let d = array.as_dictionary::<UInt32Type>();
                match TextRead::of(d.values()) {
                    TextRead::View(views, buffers) => TextRead::Dict(d.keys().values(), views, buffers),
                    _ => TextRead::Blank,
                }
            }
            _ => TextRead::Blank,
        }
    }
    /// The bytes of a row. `row` is below the column's length: a [`Window`] and a [`Lane`] prove it.
    #[inline(always)]
    fn bytes(self, row: usize) -> &'a [u8] {
        // SAFETY (all arms): `row` lies within the column, so its offsets, view or code exist; Arrow validated that
        // offsets ascend within the data and (non-null) codes lie within the values. Null slots are never read here:
        // `FIXED` is false for text, so kernels read a nullable text column through its validity bits.
        match self {
            TextRead::Small(offsets, data) => unsafe {
                let (from, to) = (*offsets.get_unchecked(row) as usize, *offsets.get_unchecked(row + 1) as usize);
                data.get_unchecked(from..to)
            },
            TextRead::Large(offsets, data) => unsafe {
                let (from, to) = (*offsets.get_unchecked(row) as usize, *offsets.get_unchecked(row + 1) as usize);
                data.get_unchecked(from..to)
            },
            TextRead::View(views, buffers) => view_bytes(unsafe { views.get_unchecked(row) }, buffers),
            TextRead::Dict(codes, views, buffers) => {
                view_bytes(unsafe { views.get_unchecked(*codes.get_unchecked(row) as usize) }, buffers)
            }
            TextRead::Wide(width, data) => unsafe { data.get_unchecked(row * width..(row + 1) * width) },
            TextRead::Blank => &[],
        }
    }
}

fn accept(array: &ArrayRef, text: bool, want: &DataType) -> Result<ArrayRef, Mismatch> {
    let view = if text { DataType::Utf8View } else { DataType::BinaryView };
    let known = |t: &DataType| {
        if text {
            matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
        } else {
            matches!(t, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
        }
    };
    let mismatch = || Mismatch::of(want, array.as_ref());
    match array.data_type() {
        t if known(t) => Ok(Arc::clone(array)),
        DataType::Dictionary(_, values) if known(values) => {
            let any = array.as_any_dictionary_opt().ok_or_else(mismatch)?;
            if any.values().null_count() > 0 {
                // nulls among the values: flatten, so that the validity of a row is in the row
                return arrow_cast::cast(array, &view).map_err(|_| mismatch());
            }
            let canonical = DataType::Dictionary(Box::new(DataType::UInt32), Box::new(view));
            if *array.data_type() == canonical {
                Ok(Arc::clone(array))
            } else {
                arrow_cast::cast(array, &canonical).map_err(|_| mismatch())
            }
        }
        _ => Err(mismatch()),
    }
}

macro_rules! text_value {
    ($t:ty, $borrowed:ty, $array:ty, $text:expr, $data_type:expr, $write:ty, $from:expr) => {
        impl Value for $t {
            type Ref<'a> = &'a $borrowed;
            type Array = $array;
            type Read<'a> = TextRead<'a>;
            type Chunk<'a> = (TextRead<'a>, Window);
            type Write = $write;
            $crate::record::may_fail::never_fails!(Option<Self>);
            const FIXED: bool = false;
            fn data_type() -> DataType {
                $data_type
            }
            fn accept(array: &ArrayRef) -> Result<ArrayRef, Mismatch> {
                accept(array, $text, &Self::data_type())
            }
            fn read<'a>(array: Option<&'a ArrayRef>) -> Self::Read<'a> {
                array.map_or(TextRead::Blank, TextRead::of)
            }
            #[inline(always)]
            fn chunk<'a>(read: Self::Read<'a>, at: Window) -> Self::Chunk<'a> {
                (read, at)
            }
            #[inline(always)]
            fn lane<'a, const VALID: bool>(chunk: Self::Chunk<'a>, lane: Lane) -> Self::Ref<'a> {
                if !lane.text() {
                    return Self::blank();
                }
                let bytes = chunk.0.bytes(chunk.1.base() + lane.index());
                ($from)(bytes)
            }
            #[inline(always)]
            fn blank<'a>() -> Self::Ref<'a> {
                Default::default()
            }
            fn borrow(&self) -> &$borrowed {
                self
            }
            fn own(value: &$borrowed) -> Self {
                value.into()
            }
        }
    };
}
// SAFETY: the bytes come from a text column, which Arrow validated to be UTF-8.
text_value!(Str, str, StringViewArray, true, DataType::Utf8View, ViewWrite<str>, |b| unsafe { std::str::from_utf8_unchecked(b) });
text_value!(Bytes, [u8], BinaryViewArray, false, DataType::BinaryView, ViewWrite<[u8]>, |b| b);
text_value!(
    Dict<Str>,
    str,
    DictionaryArray<UInt32Type>,
    true,
    DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8)),
    DictWrite,
    // SAFETY: as for `Str`.
    |b| unsafe { std::str::from_utf8_unchecked(b) }
);

/// Up to 12 bytes as a number, first byte lowest: two loads that may overlap, instead of a loop.
#[inline]
fn short(bytes: &[u8]) -> u128 {
    let shift = |part: usize| 8 * (bytes.len() - part);
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        return u128::from(u64::from_le_bytes(*first)) | u128::from(u64::from_le_bytes(*last)) << shift(8);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return u128::from(u32::from_le_bytes(*first)) | u128::from(u32::from_le_bytes(*last)) << shift(4);
    }
    let middle = bytes.len() / 2;
    match (bytes.first(), bytes.get(middle), bytes.last()) {
        (Some(first), Some(mid), Some(last)) => u128::from(*first) | u128::from(*mid) << (8 * middle) | u128::from(*last) << shift(1),
        _ => 0,
    }
}

/// Collects text or bytes as views: inline up to 12 bytes, else pointing to where the bytes already are.
pub struct ViewWrite<B: ?Sized> {
    views: Vec<u128>,
    own: Vec<u8>,
    hint: usize,
    kind: PhantomData<fn() -> Box<B>>,
}
impl<B: ?Sized> ViewWrite<B> {
    #[inline]
    fn put_bytes(&mut self, at: usize, bytes: &[u8], env: &Env<'_>) {
        let len = bytes.len();
        let view = if len <= 12 {
            len as u128 | short(bytes) << 32
        } else {
            let (buffer, offset) = match env.locate(bytes, &mut self.hint) {
                Some(place) => place,
                None => {
                    let offset = self.own.len() as u32;
                    self.own.extend_from_slice(bytes);
                    (env.own_buffer(), offset)
                }
            };
            let prefix = bytes.first_chunk::<4>().map_or(0, |p| u32::from_le_bytes(*p));
            len as u128 | u128::from(prefix) << 32 | u128::from(buffer) << 64 | u128::from(offset) << 96
        };
        if let Some(slot) = self.views.get_mut(at) {
            *slot = view;
        }
    }
    fn fresh(rows: usize) -> Self {
        ViewWrite { views: vec![0; rows], own: Vec::new(), hint: 0, kind: PhantomData }
    }
    fn move_row(&mut self, from: usize, to: usize) {
        if let Some(v) = self.views.get(from).copied()
            && let Some(slot) = self.views.get_mut(to)
        {
            *slot = v;
        }
    }
    fn parts(mut self, rows: usize, buffers: &Buffers) -> (ScalarBuffer<u128>, Arc<[Buffer]>) {
        self.views.truncate(rows);
        (self.views.into(), buffers.with_own(self.own).into())
    }
}
impl Writer<Str> for ViewWrite<str> {
    fn new(rows: usize) -> Self {
        Self::fresh(rows)
    }
    #[inline]
    fn put(&mut self, at: usize, value: &str, env: &Env<'_>) {
        self.put_bytes(at, value.as_bytes(), env);
    }
    fn shift(&mut self, from: usize, to: usize) {
        self.move_row(from, to);
    }
    fn finish(self, rows: usize, buffers: &Buffers) -> ArrayRef {
        let (views, all) = self.parts(rows, buffers);
        // SAFETY: `put_bytes` wrote each view from a `str`: inline, or with a buffer number and range that `Env::locate`
        // or the own buffer gave; `Buffers` lists the buffers in the order of these numbers.
        Arc::new(unsafe { StringViewArray::new_unchecked(views, all, None) })
    }
}
impl Writer<Bytes> for ViewWrite<[u8]> {
    fn new(rows: usize) -> Self {
        Self::fresh(rows)
    }
    #[inline]
    fn put(&mut self, at: usize, value: &[u8], env: &Env<'_>) {
        self.put_bytes(at, value, env);
    }
    fn shift(&mut self, from: usize, to: usize) {
        self.move_row(from, to);
    }
    fn finish(self, rows: usize, buffers: &Buffers) -> ArrayRef {
        let (views, all) = self.parts(rows, buffers);
        // SAFETY: as for text.
        Arc::new(unsafe { BinaryViewArray::new_unchecked(views, all, None) })
    }
}

/// Collects a dictionary column.
#[derive(Debug, Default)]
pub struct DictWrite {
    codes: Vec<u32>,
    values: Vec<String>,
    index: std::collections::HashMap<String, u32>,
}
impl Writer<Dict<Str>> for DictWrite {
    fn new(rows: usize) -> Self {
        DictWrite { codes: vec![0; rows], ..Default::default() }
    }
    fn put(&mut self, at: usize, value: &str, _env: &Env<'_>) {
        let code = match self.index.get(value) {
            Some(code) => *code,
            None => {
                let code = self.values.len() as u32;
                self.values.push(value.to_owned());
                self.index.insert(value.to_owned(), code);
                code
            }
        };
        if let Some(slot) = self.codes.get_mut(at) {
            *slot = code;
        }
    }
    fn shift(&mut self, from: usize, to: usize) {
        if let Some(v) = self.codes.get(from).copied()
            && let Some(slot) = self.codes.get_mut(to)
        {
            *slot = v;
        }
    }
    fn finish(mut self, rows: usize, _buffers: &Buffers) -> ArrayRef {
        self.codes.truncate(rows);
        if self.values.is_empty() {
            self.values.push(String::new());
        }
        let values = Arc::new(StringArray::from_iter_values(&self.values));
        // SAFETY: every code is the number of a value that was pushed, or 0, and there is a value 0.
        Arc::new(unsafe { DictionaryArray::<UInt32Type>::new_unchecked(self.codes.into(), values) })
    }
}
