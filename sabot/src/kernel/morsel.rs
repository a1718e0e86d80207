//! The unit of scheduling: a slice of a batch, the rows of it that are still alive, and where it came from.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray, RecordBatch};
use arrow_buffer::{BooleanBuffer, Buffer};
use arrow_schema::DataType;

use crate::Result;

/// The rows of a batch that are kept: one bit per row, least significant bit first, in words of 64 rows.
///
/// Bits at and beyond the batch's length are zero. Carried beside the batch so that a filter copies nothing; compacted
/// once, at the first boundary that needs dense rows (a sink, an exchange, a sort).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    words: Arc<[u64]>,
    count: usize,
}

impl Selection {
    /// A selection from its words; `count` is computed.
    pub fn new(words: impl Into<Arc<[u64]>>) -> Self {
        let words = words.into();
        let count = words.iter().map(|w| w.count_ones() as usize).sum();
        Selection { words, count }
    }
    /// The words, one bit per row.
    pub fn words(&self) -> &[u64] {
        &self.words
    }
    /// How many rows are kept.
    pub fn count(&self) -> usize {
        self.count
    }
    /// The numbers of the kept rows, ascending.
    pub fn rows(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(w, &bits)| SetBits(bits).map(move |bit| w * 64 + bit))
    }
    /// The selection of `rows` rows from `start` on.
    #[must_use]
    pub fn slice(&self, start: usize, rows: usize) -> Selection {
        if start == 0 && self.words.len() == rows.div_ceil(64) {
            return self.clone();
        }
        let mut words = vec![0u64; rows.div_ceil(64)];
        for row in self.rows().filter_map(|row| row.checked_sub(start)).take_while(|row| *row < rows) {
            if let Some(word) = words.get_mut(row / 64) {
                *word |= 1 << (row % 64);
            }
        }
        Selection::new(words)
    }
    /// The selection as an Arrow mask over `rows` rows.
    pub fn mask(&self, rows: usize) -> BooleanArray {
        let bytes: Vec<u8> = self.words.iter().flat_map(|w| w.to_le_bytes()).collect();
        BooleanArray::new(BooleanBuffer::new(Buffer::from_vec(bytes), 0, rows), None)
    }
}

/// The positions of the set bits of a word, ascending.
#[derive(Clone, Copy, Debug)]
pub struct SetBits(pub u64);

impl Iterator for SetBits {
    type Item = usize;
    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

/// The column of the place of each row in the order before an edge that dealt rows out. `#[derive(Record)]` refuses names that begin
/// with `sabot.`.
pub(crate) const PLACE: &str = "sabot.place";

/// Where the rows of a morsel come from. Results never depend on thread timing because order is decided by this,
/// never by arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Number of the source within the plan.
    pub source: u32,
    /// Partition of the source: an independent order (a file set, a topic partition). Watermarks are per partition.
    pub partition: u32,
    /// Sequence number of the split within the partition; dense from zero. A split is cut the same way whatever
    /// the thread count or morsel size, so float aggregates merge over splits.
    pub split: u64,
    /// Row number of the morsel's first row within the split.
    pub row: u64,
}

impl Origin {
    /// The one of `of` instances that gets all rows of the split where splits are dealt out.
    pub(crate) fn instance(&self, of: usize) -> usize {
        let number = u64::from(self.source).wrapping_add(self.partition.into()).wrapping_add(self.split);
        (number % of.max(1) as u64) as usize
    }
}

/// A batch, the rows of it that are alive, and its origin.
#[derive(Clone, Debug)]
pub struct Morsel {
    /// The columns. Rows outside [`selection`](Self::selection) hold unspecified values and are never shown to a user.
    pub batch: RecordBatch,
    /// The kept rows; `None` keeps all.
    pub selection: Option<Selection>,
    /// Where the rows come from.
    pub origin: Origin,
}

impl Morsel {
    /// A morsel of all rows of `batch`.
    pub fn new(batch: RecordBatch, origin: Origin) -> Self {
        Morsel { batch, selection: None, origin }
    }
    /// The number of kept rows.
    pub fn rows(&self) -> usize {
        self.selection.as_ref().map_or(self.batch.num_rows(), Selection::count)
    }
    /// Bytes held by the columns, as counted against queues and budgets. Shared buffers count for each holder.
    pub fn bytes(&self) -> usize {
        let rows = self.batch.num_rows();
        self.batch.columns().iter().map(|c| slice_bytes(c.as_ref(), rows)).sum()
    }
    /// The kept rows as a dense batch: the selection is applied, columns are copied only if rows were dropped.
    ///
    /// # Errors
    /// If Arrow refuses to filter a column.
    pub fn compact(&self) -> Result<RecordBatch> {
        match &self.selection {
            None => Ok(self.batch.clone()),
            Some(s) if s.count() == self.batch.num_rows() => Ok(self.batch.clone()),
            Some(s) => Ok(arrow_select::filter::filter_record_batch(&self.batch, &s.mask(self.batch.num_rows()))?),
        }
    }
}

fn slice_bytes(array: &dyn Array, rows: usize) -> usize {
    // Arrow counts the views of text, not the text
    let views = match array.data_type() {
        DataType::Utf8View => array.as_string_view().views().iter(),
        DataType::BinaryView => array.as_binary_view().views().iter(),
        _ => [].iter(),
    };
    let text: usize = views.map(|view| *view as u32 as usize).filter(|length| *length > INLINE).sum();
    array.to_data().get_slice_memory_size().unwrap_or(rows * 8) + text
}

/// Text of so many bytes is in its view.
const INLINE: usize = 12;
