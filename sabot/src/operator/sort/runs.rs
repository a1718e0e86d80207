//! Sorted runs in memory, and any range of the order of all their rows, each in time that depends on the range.
//!
//! Idea: every so many rows one is taken as a sample, with its key. The samples in order tell about where the row of a given rank is.
//! A range of ranks is cut out of all runs between two samples that surely enclose it (by binary search, so the ranks of the samples are
//! exact), sorted, and trimmed. So several instances that hold the same runs sort a disjoint range each without a word between
//! them, and a range can be as small as a cache.
//!
//! Equal keys are told apart by run and row: ranges are of equal size whatever the data, and the order is stable.
//!
//! After "Parallel sorting by regular sampling" (Li et al., 1993), with exact ranks instead of splitters.

use std::cmp::Ordering;
use std::ops::Range;

use arrow_array::{Array, ArrayRef, LargeBinaryArray, RecordBatch};

use super::sorter::Word;
use crate::operator::places::{Place, by_head, head, ties};
use crate::operator::words::{WordOf, each_word, word_of};
use crate::{Error, Result};

/// Rows from one sample to the next. With 150 runs of random keys the rank of a sample is known to within about 500 rows, 2% of a
/// range that is sorted at once; one sample costs about as much as sorting a row.
const SAMPLE: usize = 128;

/// The keys of a sorted run.
pub(super) trait Keys: Send + Sized {
    /// A key by itself.
    type Key: Ord + Clone + Send;
    /// Number of rows.
    fn len(&self) -> usize;
    /// The key of a row.
    fn key(&self, row: usize) -> Self::Key;
    /// How the key of a row compares with this one.
    fn compare(&self, row: usize, key: &Self::Key) -> Ordering;
    /// The rows `from[i]..to[i]` of the i-th run in order, stably; no row that lies between them is left out.
    fn sort(runs: &[Self], from: &[u32], to: &[u32], room: &mut Vec<Place>, out: &mut Vec<Place>);
}

/// Keys that are words.
pub(super) struct Words {
    column: ArrayRef,
    descending: bool,
    word: WordOf,
    /// The rows that are not null.
    values: Range<usize>,
}

impl Words {
    /// The keys of a sorted batch.
    pub(super) fn new(batch: &RecordBatch, word: Word) -> Result<Self> {
        let column = batch.columns().get(word.column).ok_or_else(|| Error::internal("a batch lacks a column of its schema"))?;
        let (rows, nulls, descending) = (column.len(), column.null_count(), word.descending);
        let values = if word.nulls_first { nulls..rows } else { 0..rows - nulls };
        let word = word_of(column.as_ref(), descending);
        let word = word.ok_or_else(|| Error::internal("a sort column of another type than its schema has"))?;
        Ok(Words { column: ArrayRef::clone(column), descending, word, values })
    }
}

/// Nulls before the values, values, nulls behind them; and the word.
type WordKey = (u8, u64);

impl Keys for Words {
    type Key = WordKey;
    fn len(&self) -> usize {
        self.column.len()
    }
    fn key(&self, row: usize) -> WordKey {
        match row {
            _ if row < self.values.start => (0, 0),
            _ if row >= self.values.end => (2, 0),
            _ => (1, (self.word)(row)),
        }
    }
    fn compare(&self, row: usize, key: &WordKey) -> Ordering {
        self.key(row).cmp(key)
    }
    fn sort(runs: &[Self], from: &[u32], to: &[u32], room: &mut Vec<Place>, out: &mut Vec<Place>) {
        // of each run the rows that are also in another range
        let parts = |of: &dyn Fn(&Words) -> Range<usize>| {
            let part = |((run, words), (from, to)): ((u32, &Words), (&u32, &u32))| {
                let within = of(words);
                (run, (*from as usize).max(within.start)..(*to as usize).min(within.end))
            };
            let parts = (0u32..).zip(runs).zip(from.iter().zip(to)).map(part).filter(|(_, rows)| !rows.is_empty());
            parts.collect::<Vec<_>>()
        };
        let nulls = |parts: Vec<(u32, Range<usize>)>, out: &mut Vec<Place>| {
            parts.into_iter().for_each(|(run, rows)| out.extend(rows.map(|row| (0, run, row as u32))));
        };
        nulls(parts(&|w| 0..w.values.start), out);
        let (first, mut values) = (out.len(), Vec::new());
        for (run, rows) in parts(&|w| w.values.clone()) {
            let Some(words) = runs.get(run as usize) else { continue };
            values.clear();
            each_word(words.column.slice(rows.start, rows.len()).as_ref(), words.descending, &mut values, |w| w);
            out.extend(values.iter().zip(rows).map(|(word, row)| (*word, run, row as u32)));
        }
        by_head(out.get_mut(first..).unwrap_or_default(), room);
        nulls(parts(&|w| w.values.end..w.len()), out);
    }
}

/// Keys in row format.
pub(super) struct Bytes(pub(super) LargeBinaryArray);

impl Keys for Bytes {
    type Key = Box<[u8]>;
    fn len(&self) -> usize {
        self.0.len()
    }
    fn key(&self, row: usize) -> Box<[u8]> {
        self.0.value(row).into()
    }
    fn compare(&self, row: usize, key: &Box<[u8]>) -> Ordering {
        self.0.value(row).cmp(key)
    }
    fn sort(runs: &[Self], from: &[u32], to: &[u32], room: &mut Vec<Place>, out: &mut Vec<Place>) {
        let parts = || (0u32..).zip(runs).zip(from.iter().zip(to)).filter(|(_, (from, to))| from < to);
        let least = parts().map(|((_, keys), (from, _))| keys.0.value(*from as usize)).min().unwrap_or_default();
        let most = parts().map(|((_, keys), (_, to))| keys.0.value(*to as usize - 1)).max().unwrap_or_default();
        // whatever the first and the last key share, those between them do
        let shared = least.iter().zip(most).take_while(|(a, b)| a == b).count();
        let mut longer = false;
        for ((run, keys), (from, to)) in parts() {
            for row in *from..*to {
                let key = keys.0.value(row as usize).get(shared..).unwrap_or_default();
                longer |= key.len() > 8;
                out.push((head(key), run, row));
            }
        }
        by_head(out, room);
        if longer {
            ties(out, |p| runs.get(p.1 as usize).map(|keys| keys.0.value(p.2 as usize)));
        }
    }
}

/// A row with its key, and which one it is among rows of equal keys.
type Sample<K> = (<K as Keys>::Key, u32, u32);

/// Sorted runs.
pub(super) struct Runs<K: Keys> {
    runs: Vec<K>,
    rows: usize,
    /// Ascending.
    samples: Vec<Sample<K>>,
    /// Memory for the next range.
    room: Vec<Place>,
    places: Vec<Place>,
}

/// The row of each run with which something begins, and how many rows come before that.
struct Cut {
    at: Vec<u32>,
    rank: usize,
}

impl<K: Keys> Runs<K> {
    /// These runs; of equal keys the earlier run's comes first.
    pub(super) fn new(runs: Vec<K>) -> Self {
        let (mut samples, mut next, mut rows) = (Vec::new(), SAMPLE / 2, 0);
        for (number, run) in (0u32..).zip(&runs) {
            while next < rows + run.len() {
                samples.push((run.key(next - rows), number, (next - rows) as u32));
                next += SAMPLE;
            }
            rows += run.len();
        }
        samples.sort_unstable();
        Runs { runs, rows, samples, room: Vec::new(), places: Vec::new() }
    }
    /// Rows of all runs.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }
    /// The rows of these ranks, in order: run and row are the last two numbers of a place. They must exist.
    pub(super) fn range(&mut self, from: usize, to: usize) -> &[Place] {
        let (first, last) = (self.before(from), self.behind(to));
        let (mut room, mut places) = (std::mem::take(&mut self.room), std::mem::take(&mut self.places));
        places.clear();
        K::sort(&self.runs, &first.at, &last.at, &mut room, &mut places);
        (self.room, self.places) = (room, places);
        self.places.get(from - first.rank..to - first.rank).unwrap_or_default()
    }
    /// How many samples the rank of a sample may be off, at first: about twice what is to be expected.
    fn margin(&self) -> usize {
        2 + self.runs.len().isqrt() / 2
    }
    /// A cut before the row of this rank, or there.
    fn before(&self, rank: usize) -> Cut {
        let mut margin = self.margin();
        while let Some(sample) = (rank / SAMPLE).checked_sub(margin).and_then(|at| self.samples.get(at)) {
            let cut = self.cut(sample);
            if cut.rank <= rank {
                return cut;
            }
            margin *= 2;
        }
        Cut { at: vec![0; self.runs.len()], rank: 0 }
    }
    /// A cut behind the row before this rank, or there.
    fn behind(&self, rank: usize) -> Cut {
        let mut margin = self.margin();
        while let Some(sample) = self.samples.get(rank / SAMPLE + margin) {
            let cut = self.cut(sample);
            if cut.rank >= rank {
                return cut;
            }
            margin *= 2;
        }
        Cut { at: self.runs.iter().map(|r| r.len() as u32).collect(), rank: self.rows }
    }
    /// Cuts all runs where a sample is.
    fn cut(&self, (key, run, row): &Sample<K>) -> Cut {
        let below = |(number, keys): (u32, &K)| match number.cmp(run) {
            Ordering::Equal => *row,
            // equal rows of earlier runs come before the sample
            Ordering::Less => first(keys.len(), |at| keys.compare(at, key).is_le()),
            Ordering::Greater => first(keys.len(), |at| keys.compare(at, key).is_lt()),
        };
        let at: Vec<u32> = (0u32..).zip(&self.runs).map(below).collect();
        let rank = at.iter().map(|n| *n as usize).sum();
        Cut { at, rank }
    }
}

/// The first number below `len` for which `below` is false; it is true for all before.
fn first(len: usize, below: impl Fn(usize) -> bool) -> u32 {
    let (mut from, mut to) = (0, len);
    while from < to {
        let middle = from.midpoint(to);
        if below(middle) { from = middle + 1 } else { to = middle }
    }
    from as u32
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, StringArray};
    use arrow_schema::{DataType, Field, Schema, SchemaRef};

    use super::super::sorter::{SortKey, SortSpec, Sorter};
    use super::*;

    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    /// Ranges of these runs, of a few sizes, are those of the stably sorted whole.
    fn check<K: Keys>(runs: Vec<K>, expected: &[(u32, u32)]) {
        let mut runs = Runs::new(runs);
        assert_eq!(runs.rows(), expected.len());
        for size in [1, 77, 1000, 4096, usize::MAX] {
            if size == 1 && expected.len() > 600 {
                continue;
            }
            let mut from = 0;
            while from < expected.len() {
                let to = expected.len().min(from.saturating_add(size));
                let got: Vec<(u32, u32)> = runs.range(from, to).iter().map(|p| (p.1, p.2)).collect();
                assert!(got == expected[from..to], "{from}..{to} of {}", expected.len());
                from = to;
            }
        }
    }

    fn batch(schema: &SchemaRef, state: &mut u64, rows: usize, values: u64, nulls: u64) -> RecordBatch {
        let value = |state: &mut u64| match random(state) % values {
            v if values > 1000 && v % 97 == 0 => [i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX - 1][v as usize % 4],
            v => v as i64 - 500,
        };
        let numbers: Vec<Option<i64>> = (0..rows).map(|_| (random(state) % 100 >= nulls).then(|| value(state))).collect();
        let names: Vec<String> = (0..rows).map(|_| format!("a name that begins like the others {}", random(state) % values)).collect();
        RecordBatch::try_new(Arc::clone(schema), vec![Arc::new(Int64Array::from(numbers)), Arc::new(StringArray::from(names))]).unwrap()
    }

    fn keys(sorter: &Sorter, run: &RecordBatch) -> LargeBinaryArray {
        let ordered = sorter.order(std::slice::from_ref(run)).unwrap();
        ordered.keys(&ordered.places)
    }

    #[test]
    fn any_range_is_that_of_the_whole() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("s", DataType::Utf8, false)]));
        let mut state = 11;
        let shapes: [&[usize]; 6] = [&[], &[1], &[500, 3, 80], &[5000, 1, 129, 128, 2000], &[7; 300], &[3000; 4]];
        for sizes in shapes {
            for (values, nulls) in [(1, 0), (7, 30), (1_000_000, 0), (1_000_000, 20), (10, 100)] {
                for (ascending, nulls_first) in [(true, true), (true, false), (false, true), (false, false)] {
                    for columns in [&["n"][..], &["s"], &["n", "s"]] {
                        let by = columns.iter().map(|c| SortKey { column: (*c).into(), ascending, nulls_first }).collect();
                        let sorter = Sorter::new(Arc::new(SortSpec { name: "p/s".into(), by }), &schema).unwrap();
                        let mut runs = Vec::new();
                        for rows in sizes {
                            let run = batch(&schema, &mut state, *rows, values, nulls);
                            let places = sorter.order(std::slice::from_ref(&run)).unwrap().places;
                            runs.push(sorter.gather(&[run], &places).unwrap());
                        }
                        // the model: all keys in row format, sorted stably
                        let rows: Vec<_> = runs.iter().map(|r| sorter.rows(r).unwrap()).collect();
                        let mut expected: Vec<(u32, u32)> =
                            (0u32..).zip(&runs).flat_map(|(n, r)| (0..r.num_rows() as u32).map(move |i| (n, i))).collect();
                        expected.sort_by_key(|(n, i)| rows[*n as usize].row(*i as usize));
                        match sorter.word() {
                            Some(word) => check(runs.iter().map(|r| Words::new(r, word).unwrap()).collect(), &expected),
                            None => check(runs.iter().map(|r| Bytes(keys(&sorter, r))).collect(), &expected),
                        }
                    }
                }
            }
        }
    }
}
