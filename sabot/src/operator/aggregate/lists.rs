//! Lists of values, one per group, in one arena.

use arrow_array::{Array, ArrayRef, LargeListArray, UInt64Array, cast::AsArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field};
use std::sync::Arc;

use crate::operator::Kept;
use crate::{Error, Result};

/// No piece.
const NONE: u32 = u32::MAX;
/// Room of a list's first piece; each further one is twice as long as the one before.
const FIRST_ROOM: u32 = 2;
/// Room of a list's longest pieces: beyond, doubling would only waste memory.
const MOST_ROOM: u32 = 4096;

/// Growing lists, one per group.
///
/// A list is a chain of pieces of one arena. Pieces double in length, so that short lists are small and long ones are
/// read in long runs; the last piece of the arena grows in place, so that the list of a single group is one piece.
///
/// Cost: an append is a compare and a store; there is no allocation per group or row.
#[derive(Debug)]
pub(super) struct Lists<T> {
    values: Vec<T>,
    pieces: Vec<Piece>,
    lists: Vec<Ends>,
}

#[derive(Debug)]
struct Piece {
    start: usize,
    len: u32,
    room: u32,
    next: u32,
}

#[derive(Clone, Debug)]
struct Ends {
    first: u32,
    last: u32,
}

impl<T: Copy + Default> Lists<T> {
    pub(super) fn new() -> Self {
        Lists { values: Vec::new(), pieces: Vec::new(), lists: Vec::new() }
    }
    /// Makes room for this many groups: new lists are empty. `resize(0)` forgets all.
    pub(super) fn resize(&mut self, groups: usize) {
        self.lists.resize(groups, Ends { first: NONE, last: NONE });
        if groups == 0 {
            self.values.clear();
            self.pieces.clear();
        }
    }
    #[inline(always)]
    pub(super) fn push(&mut self, group: usize, value: T) {
        let Some(ends) = self.lists.get(group) else { return };
        if let Some(piece) = self.pieces.get_mut(ends.last as usize) {
            let end = piece.start + piece.len as usize;
            if piece.len < piece.room {
                if let Some(slot) = self.values.get_mut(end) {
                    *slot = value;
                }
                piece.len += 1;
                return;
            }
            if end == self.values.len() && piece.room < NONE {
                self.values.push(value);
                piece.len += 1;
                piece.room += 1;
                return;
            }
        }
        self.grow(group, value);
    }
    #[cold]
    fn grow(&mut self, group: usize, value: T) {
        let (number, start) = (self.pieces.len() as u32, self.values.len());
        let Some(ends) = self.lists.get_mut(group) else { return };
        let mut room = FIRST_ROOM;
        if let Some(before) = self.pieces.get_mut(ends.last as usize) {
            before.next = number;
            room = before.room.clamp(FIRST_ROOM, MOST_ROOM / 2) * 2;
        } else {
            ends.first = number;
        }
        ends.last = number;
        self.values.push(value);
        self.values.resize(start + room as usize, T::default());
        self.pieces.push(Piece { start, len: 1, room, next: NONE });
    }
    /// The values of a group in the order in which they came, in runs.
    pub(super) fn of(&self, group: u32) -> impl Iterator<Item = &[T]> {
        let mut next = self.lists.get(group as usize).map_or(NONE, |e| e.first);
        std::iter::from_fn(move || {
            let piece = self.pieces.get(next as usize)?;
            next = piece.next;
            Some(self.values.get(piece.start..piece.start + piece.len as usize).unwrap_or(&[]))
        })
    }
    /// The values of these groups one after the other, and the number of values of each.
    pub(super) fn flat(&self, groups: &[u32]) -> (Vec<T>, Vec<usize>) {
        let mut out = Vec::new();
        let mut lengths = Vec::with_capacity(groups.len());
        for group in groups {
            let start = out.len();
            self.of(*group).for_each(|run| out.extend_from_slice(run));
            lengths.push(out.len() - start);
        }
        (out, lengths)
    }
    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<T>() + self.pieces.capacity() * size_of::<Piece>() + self.lists.capacity() * size_of::<Ends>()
    }
}

/// The type of a state column that holds a list per group.
pub(super) fn list_type(item: &DataType, nullable: bool) -> DataType {
    DataType::LargeList(Arc::new(Field::new_list_field(item.clone(), nullable)))
}

/// A state column of lists.
pub(super) fn list_column(items: ArrayRef, nullable: bool, lengths: Vec<usize>) -> Result<ArrayRef> {
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), nullable));
    Ok(Arc::new(LargeListArray::try_new(field, OffsetBuffer::from_lengths(lengths), items, None)?))
}

/// The items of the kept lists of a state column, one after the other, and the group of each.
pub(super) fn items_of(columns: &[ArrayRef], at: usize, groups: &[u32], kept: Kept<'_>) -> Result<(ArrayRef, Vec<u32>)> {
    let list = columns
        .get(at)
        .and_then(|c| c.as_list_opt::<i64>())
        .ok_or_else(|| Error::internal("the columns of a partial aggregate do not fit its function"))?;
    let offsets = list.value_offsets();
    let range = |row: usize| match offsets.get(row..row + 2) {
        Some([from, to]) => *from as usize..*to as usize,
        _ => 0..0,
    };
    let mut of = Vec::new();
    kept.each(|i, row| {
        let group = groups.get(i).copied().unwrap_or_default();
        of.resize(of.len() + range(row).len(), group);
    });
    let values = list.values();
    let items = match kept {
        Kept::Range(from, to) if from < to => values.slice(range(from).start, of.len()),
        _ => {
            let mut rows: Vec<u64> = Vec::with_capacity(of.len());
            kept.each(|_, row| rows.extend(range(row).map(|r| r as u64)));
            arrow_select::take::take(values, &UInt64Array::from(rows), None)?
        }
    };
    Ok((items, of))
}
