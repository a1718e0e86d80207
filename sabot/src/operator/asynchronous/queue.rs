//! The rows that an async step has taken and not emitted, and the marks behind them, in the order in which they came.
//!
//! Rows are numbered as they are taken. Cost: a row is found by its number in the logarithm of the number of morsels.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::{DataType, Field, FieldRef, Schema};

use crate::kernel::{Morsel, Origin};
use crate::operator::{Claim, Flight, Frozen, GroupState, Mark, ipc};
use crate::record::Accepted;
use crate::{Error, Result};

/// Where a row stands.
pub(super) enum State<V> {
    /// Not called yet.
    Fresh,
    /// Its call is out, for the `attempt`-th time, until `deadline`.
    Out {
        attempt: u32,
        deadline: Option<Duration>,
        _flight: Option<Flight>,
    },
    /// Will be called again.
    Again {
        attempt: u32,
    },
    Done(V),
    /// All calls failed, for this reason.
    Failed(String),
    Sent,
}

/// The rows of a morsel.
pub(super) struct Piece<V> {
    pub(super) batch: RecordBatch,
    pub(super) accepted: Accepted,
    pub(super) origin: Origin,
    /// Row numbers within the morsel, if rows were dropped.
    numbers: Option<Vec<u32>>,
    /// The number of the first row.
    pub(super) first: u64,
    pub(super) rows: Vec<State<V>>,
    /// Rows of it that were sent.
    pub(super) sent: usize,
    pub(super) bytes: usize,
}

impl<V> Piece<V> {
    /// The number of a row within its morsel.
    pub(super) fn number(&self, row: usize) -> usize {
        self.numbers.as_ref().map_or(row, |n| n.get(row).copied().unwrap_or_default() as usize)
    }
    /// The rows that were not sent, as they came, with their origin and their numbers.
    fn left(&self) -> Result<(RecordBatch, Vec<u32>)> {
        let left: Vec<usize> = self.rows.iter().enumerate().filter(|(_, r)| !matches!(r, State::Sent)).map(|(i, _)| i).collect();
        let numbers = left.iter().map(|i| self.number(*i) as u32).collect();
        Ok((rows_of(&self.batch, &left)?, numbers))
    }
}

/// Some rows of a batch, ascending; a slice if they follow each other.
pub(super) fn rows_of(batch: &RecordBatch, rows: &[usize]) -> Result<RecordBatch> {
    match (rows.first(), rows.last()) {
        (Some(first), Some(last)) if last - first + 1 == rows.len() => Ok(batch.slice(*first, rows.len())),
        _ => {
            let rows: UInt32Array = rows.iter().map(|r| *r as u32).collect();
            Ok(arrow_select::take::take_record_batch(batch, &rows)?)
        }
    }
}

impl<V> State<V> {
    /// Whether no call is to come.
    pub(super) fn ended(&self) -> bool {
        matches!(self, State::Done(_) | State::Failed(_))
    }
}

enum Entry<V> {
    Rows(Piece<V>),
    /// Behind the rows before this number.
    Mark(u64, Mark),
}

pub(super) struct Queue<V> {
    entries: VecDeque<Entry<V>>,
    /// Rows taken so far.
    pub(super) taken: u64,
    pub(super) bytes: usize,
}

/// What is at the front of the queue.
pub(super) enum Front {
    /// A mark, which was taken out: all rows before it have left.
    Mark(Mark),
    /// The piece that begins with this row.
    Piece(u64),
}

impl<V> Queue<V> {
    pub(super) fn new() -> Self {
        Queue { entries: VecDeque::new(), taken: 0, bytes: 0 }
    }
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    /// Appends the rows of a dense batch. Returns how many.
    pub(super) fn push(&mut self, batch: RecordBatch, accepted: Accepted, origin: Origin, numbers: Option<Vec<u32>>) -> usize {
        let count = batch.num_rows();
        if count == 0 {
            return 0;
        }
        let bytes = Morsel::new(batch.clone(), origin).bytes();
        let rows = (0..count).map(|_| State::Fresh).collect();
        self.entries.push_back(Entry::Rows(Piece { batch, accepted, origin, numbers, first: self.taken, rows, sent: 0, bytes }));
        self.taken += count as u64;
        self.bytes += bytes;
        count
    }
    pub(super) fn push_mark(&mut self, mark: Mark) {
        self.entries.push_back(Entry::Mark(self.taken, mark));
    }
    fn index(&self, row: u64) -> Option<usize> {
        let first = |e: &Entry<V>| match e {
            Entry::Rows(p) => p.first,
            Entry::Mark(at, _) => *at,
        };
        self.entries.partition_point(|e| first(e) <= row).checked_sub(1)
    }
    /// The piece that holds a row.
    pub(super) fn piece(&mut self, row: u64) -> Option<&mut Piece<V>> {
        let index = self.index(row)?;
        match self.entries.get_mut(index) {
            Some(Entry::Rows(piece)) if row < piece.first + piece.rows.len() as u64 => Some(piece),
            _ => None,
        }
    }
    /// Where a row stands.
    pub(super) fn row(&mut self, row: u64) -> Option<&mut State<V>> {
        let piece = self.piece(row)?;
        let at = row.checked_sub(piece.first)? as usize;
        piece.rows.get_mut(at)
    }
    /// Drops pieces that were sent from the front. What is in front then.
    pub(super) fn front(&mut self) -> Option<Front> {
        loop {
            match self.entries.front()? {
                Entry::Rows(p) if p.sent < p.rows.len() => return Some(Front::Piece(p.first)),
                Entry::Rows(p) => {
                    self.bytes -= p.bytes;
                    self.entries.pop_front();
                }
                Entry::Mark(_, mark) => {
                    let mark = *mark;
                    self.entries.pop_front();
                    return Some(Front::Mark(mark));
                }
            }
        }
    }

    /// The number behind the rows of the first piece of which some are to be sent.
    pub(super) fn first_end(&self) -> u64 {
        let end = |e: &Entry<V>| match e {
            Entry::Rows(p) if p.sent < p.rows.len() => Some(p.first + p.rows.len() as u64),
            _ => None,
        };
        self.entries.iter().find_map(end).unwrap_or(0)
    }

    /// Drops all rows. Returns how many were not sent, and the marks.
    pub(super) fn clear(&mut self) -> (usize, Vec<Mark>) {
        let (mut rows, mut marks) = (0, Vec::new());
        for entry in self.entries.drain(..) {
            match entry {
                Entry::Rows(p) => rows += p.rows.len() - p.sent,
                Entry::Mark(_, mark) => marks.push(mark),
            }
        }
        self.bytes = 0;
        (rows, marks)
    }

    /// The rows that were not sent, and the ends of splits between them. Event time is told again by the sources.
    pub(super) fn cut(&self) -> Result<Frozen> {
        let mut items = Vec::new();
        for entry in &self.entries {
            match entry {
                Entry::Rows(p) => items.push((Some(p.left()?), p.origin)),
                Entry::Mark(_, Mark::SplitEnd(origin)) => items.push((None, *origin)),
                Entry::Mark(..) => {}
            }
        }
        Ok(Frozen::new(move || {
            let mut bytes = Vec::new();
            for (rows, origin) in items {
                match rows {
                    Some((batch, _)) if batch.num_rows() == 0 => {}
                    Some((batch, numbers)) => {
                        let numbers = numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
                        ipc::push_with(&batch, origin, [(NUMBERS.to_owned(), numbers)], &mut bytes)?;
                    }
                    None => ipc::push_with(&RecordBatch::new_empty(Schema::empty().into()), origin, [], &mut bytes)?,
                }
            }
            Ok(if bytes.is_empty() { Vec::new() } else { vec![GroupState { group: 0, bytes }] })
        }))
    }
    /// Takes in what is claimed of what [`cut`](Self::cut) wrote, before any row. Ends of splits stand behind all rows, since those of one split may come
    /// from several instances. Returns the number of rows.
    pub(super) fn load(
        &mut self,
        state: &GroupState,
        claim: &dyn Claim,
        accept: impl Fn(&RecordBatch) -> Result<Accepted>,
    ) -> Result<usize> {
        let mut bytes = state.bytes.as_slice();
        let mut ends = self.ends();
        let mut count = 0;
        while let Some(batch) = ipc::pop(&mut bytes)? {
            let origin = ipc::origin_of(&batch)?;
            let Some(numbers) = ipc::tag(&batch, NUMBERS) else {
                let known = |o: &Origin| (o.source, o.partition, o.split) == (origin.source, origin.partition, origin.split);
                if claim.end(origin) && !ends.iter().any(known) {
                    ends.push(origin);
                }
                continue;
            };
            let numbers: UInt32Array = numbers.split(' ').map_while(|n| n.parse::<u32>().ok()).collect();
            if numbers.len() != batch.num_rows() {
                return Err(Error::Checkpoint("rows in flight without their numbers".into()));
            }
            let Some(mine) = claim.rows(Morsel::new(numbered(&batch, numbers)?, origin))? else { continue };
            let (batch, numbers) = without_numbers(&mine.compact()?)?;
            let accepted = accept(&batch)?;
            count += self.push(batch, accepted, origin, Some(numbers));
        }
        ends.into_iter().for_each(|origin| self.push_mark(Mark::SplitEnd(origin)));
        Ok(count)
    }
    /// Takes the marks at the end out.
    fn ends(&mut self) -> Vec<Origin> {
        let mut ends = Vec::new();
        while let Some(Entry::Mark(_, Mark::SplitEnd(origin))) = self.entries.back() {
            ends.push(*origin);
            self.entries.pop_back();
        }
        ends.reverse();
        ends
    }
}

/// Claims all that was in flight.
pub(super) struct Whole;

impl Claim for Whole {
    fn rows(&self, rows: Morsel) -> Result<Option<Morsel>> {
        Ok(Some(rows))
    }
    fn end(&self, _split: Origin) -> bool {
        true
    }
}

const NUMBERS: &str = "sabot.rows";

/// The batch without what was written beside it, with the numbers of its rows as another column.
fn numbered(batch: &RecordBatch, numbers: UInt32Array) -> Result<RecordBatch> {
    let field = Arc::new(Field::new(NUMBERS, DataType::UInt32, false));
    let fields: Vec<FieldRef> = batch.schema_ref().fields().iter().cloned().chain([field]).collect();
    let column: ArrayRef = Arc::new(numbers);
    let columns = batch.columns().iter().cloned().chain([column]).collect();
    Ok(RecordBatch::try_new(Schema::new(fields).into(), columns)?)
}
/// The batch as it was, and the numbers.
fn without_numbers(batch: &RecordBatch) -> Result<(RecordBatch, Vec<u32>)> {
    let numbers = batch.column_by_name(NUMBERS).and_then(|c| c.as_primitive_opt::<UInt32Type>());
    let numbers = numbers.map(|n| n.values().to_vec()).ok_or_else(|| Error::internal("rows in flight lost their numbers"))?;
    let others: Vec<usize> =
        batch.schema_ref().fields().iter().enumerate().filter(|(_, f)| f.name() != NUMBERS).map(|(at, _)| at).collect();
    Ok((batch.project(&others)?, numbers))
}
