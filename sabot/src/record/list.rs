//! List columns.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, ListArray, cast::AsArray};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field};

use super::{Buffers, Env, Lane, Mismatch, NotNull, Value, Window, Writer};

/// A list column's value. Closures see a [`ListRef`].
///
/// ```
/// use sabot::prelude::*;
///
/// #[derive(Record, Clone, Debug, PartialEq)]
/// struct Basket { prices: List<f64> }
/// #[derive(Record, Debug, PartialEq)]
/// struct Total { items: u64, total: f64 }
///
/// pipeline! {
///     /// What baskets cost.
///     pub fn totals(baskets: Source<Basket>);
///     totals = baskets -> select(|b| row Total { items: b.prices.len() as u64, total: b.prices.iter().sum::<f64>() });
///     totals -> sink;
/// }
///
/// # fn main() -> Result<()> {
/// let baskets = vec![Basket { prices: List(vec![1.0, 2.5]) }, Basket { prices: List(vec![]) }];
/// assert_eq!(totals(baskets).collect::<Total>()?, [Total { items: 2, total: 3.5 }, Total { items: 0, total: 0.0 }]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct List<T>(pub Vec<T>);
impl<T> std::ops::Deref for List<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}
impl<T> From<Vec<T>> for List<T> {
    fn from(v: Vec<T>) -> Self {
        List(v)
    }
}
impl<T> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(iter: I) -> Self {
        List(iter.into_iter().collect())
    }
}

/// A borrowed list: a range of the child column, or an owned list.
///
/// Example: [`List`].
pub enum ListRef<'a, T: Value> {
    /// A range of a column.
    Column(T::Read<'a>, usize, usize),
    /// An owned list.
    Slice(&'a [T]),
}
impl<T: Value> Clone for ListRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: Value> Copy for ListRef<'_, T> {}

impl<'a, T: Value> ListRef<'a, T> {
    /// Number of values.
    pub fn len(self) -> usize {
        match self {
            ListRef::Column(_, _, len) => len,
            ListRef::Slice(s) => s.len(),
        }
    }
    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
    /// The value at `index`.
    pub fn get(self, index: usize) -> Option<T::Ref<'a>> {
        match self {
            ListRef::Column(read, start, len) => (index < len).then(|| {
                let row = start + index;
                // SAFETY: the list array's offsets say that `start + len` rows exist in the child column `read`.
                let (window, lane) = unsafe { (Window::new(row, 1), Lane::new(0)) };
                T::lane::<false>(T::chunk(read, window), lane)
            }),
            ListRef::Slice(s) => s.get(index).map(T::borrow),
        }
    }
    /// The values in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = T::Ref<'a>> {
        (0..self.len()).map(move |i| self.get(i).unwrap_or(T::blank()))
    }
}
impl<T: Value> std::fmt::Debug for ListRef<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Typed access to a list column.
pub struct ListRead<'a, T: Value> {
    offsets: &'a [i32],
    child: T::Read<'a>,
}
impl<T: Value> Clone for ListRead<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: Value> Copy for ListRead<'_, T> {}

impl<T: Value> Value for List<T> {
    type Ref<'a> = ListRef<'a, T>;
    type Array = ListArray;
    type Read<'a> = ListRead<'a, T>;
    type Chunk<'a> = (ListRead<'a, T>, Window);
    type Write = ListWrite<T>;
    super::may_fail::never_fails!(Option<Self>);
    const FIXED: bool = false;
    fn data_type() -> DataType {
        DataType::List(Arc::new(Field::new_list_field(T::data_type(), T::NULLABLE)))
    }
    fn accept(array: &ArrayRef) -> Result<ArrayRef, Mismatch> {
        let mismatch = || Mismatch::of(&Self::data_type(), array.as_ref());
        let array = match array.data_type() {
            DataType::List(_) => Arc::clone(array),
            DataType::LargeList(f) | DataType::FixedSizeList(f, _) => {
                arrow_cast::cast(array, &DataType::List(Arc::clone(f))).map_err(|_| mismatch())?
            }
            _ => return Err(mismatch()),
        };
        let list = array.as_list::<i32>();
        let child = T::accept(list.values()).map_err(|_| mismatch())?;
        if !T::NULLABLE && child.logical_null_count() > 0 {
            return Err(Mismatch {
                expected: Self::data_type().to_string(),
                found: format!("{} with nulls inside the list", array.data_type()),
            });
        }
        let field = Arc::new(Field::new_list_field(child.data_type().clone(), true));
        let list = ListArray::try_new(field, list.offsets().clone(), child, list.nulls().cloned()).map_err(|_| mismatch())?;
        Ok(Arc::new(list))
    }
    fn read<'a>(array: Option<&'a ArrayRef>) -> Self::Read<'a> {
        match array.and_then(|a| a.as_list_opt::<i32>()) {
            Some(list) => ListRead { offsets: list.value_offsets(), child: T::read(Some(list.values())) },
            None => ListRead { offsets: &[], child: T::read(None) },
        }
    }
    #[inline(always)]
    fn chunk<'a>(read: Self::Read<'a>, at: Window) -> Self::Chunk<'a> {
        (read, at)
    }
    #[inline(always)]
    fn lane<'a, const VALID: bool>((read, at): Self::Chunk<'a>, lane: Lane) -> Self::Ref<'a> {
        let row = at.base() + lane.index();
        match read.offsets.get(row..row + 2) {
            Some([from, to]) => ListRef::Column(read.child, *from as usize, (*to - *from) as usize),
            _ => ListRef::Slice(&[]),
        }
    }
    fn blank<'a>() -> Self::Ref<'a> {
        ListRef::Slice(&[])
    }
    fn borrow(&self) -> ListRef<'_, T> {
        ListRef::Slice(&self.0)
    }
    fn own(value: ListRef<'_, T>) -> Self {
        value.iter().map(T::own).collect()
    }
}
impl<T: Value> NotNull for List<T> {}

/// Collects a list column.
pub struct ListWrite<T> {
    offsets: Vec<i32>,
    values: Vec<T>,
}
impl<T: Value> Writer<List<T>> for ListWrite<T> {
    fn new(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        ListWrite { offsets, values: Vec::new() }
    }
    fn put(&mut self, at: usize, value: ListRef<'_, T>, _env: &Env<'_>) {
        let start = self.values.len() as i32;
        self.offsets.resize(at + 1, start);
        self.values.extend(value.iter().map(T::own));
        self.offsets.push(self.values.len() as i32);
    }
    fn shift(&mut self, _from: usize, _to: usize) {
        debug_assert!(false, "lists are written in order");
    }
    fn finish(mut self, rows: usize, buffers: &Buffers) -> ArrayRef {
        let end = self.values.len() as i32;
        self.offsets.resize(rows + 1, end);
        let mut child = T::Write::new(self.values.len());
        for (i, v) in self.values.iter().enumerate() {
            child.put(i, v.borrow(), &Env::COPY);
        }
        let _ = buffers;
        let child = child.finish(self.values.len(), &Buffers::default());
        let field = Arc::new(Field::new_list_field(child.data_type().clone(), T::NULLABLE));
        // SAFETY: offsets start at 0, never descend, and end at the number of values.
        let offsets = unsafe { OffsetBuffer::new_unchecked(ScalarBuffer::from(self.offsets)) };
        match ListArray::try_new(field, offsets, child, None) {
            Ok(list) => Arc::new(list),
            Err(_) => arrow_array::new_empty_array(&List::<T>::data_type()),
        }
    }
}
