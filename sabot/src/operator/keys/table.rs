//! The groups: packed keys, and the table that finds them.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::FieldRef;

use super::code::{Coder, Codes, KeyColumn, unmatched};
use super::dense::Dense;
use super::intern::{NULL, mix};
use super::slots::Slots;
use crate::operator::kept::Kept;
use crate::{Error, Result};

/// The group of a row that has none.
pub(crate) const NO_GROUP: u32 = u32::MAX;
/// Rows whose hashes are computed, and whose slots are asked for, before they are looked up.
const CHUNK: usize = 512;

/// Where a code lies in the words of a key.
#[derive(Clone, Copy, Debug)]
struct Place {
    word: usize,
    shift: u32,
    bits: u32,
}

impl Place {
    #[inline(always)]
    fn of(self, word: u64) -> u64 {
        let word = word >> self.shift;
        if self.bits == 64 { word } else { word & ((1 << self.bits) - 1) }
    }
}

#[derive(Clone, Debug)]
struct Column {
    coder: KeyColumn,
    nullable: bool,
    low: Place,
    high: Option<Place>,
    null: Option<Place>,
}

/// How groups are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// There is one group, or none yet.
    Nothing,
    /// One text column: the code of a value gives its group.
    Text,
    /// One word.
    Word,
    /// Several words.
    Words,
}

/// Distinct keys, numbered from 0 in order of appearance. A clone shares the memory of the keys until one of the two changes.
#[derive(Clone, Debug)]
pub struct Keys {
    columns: Vec<Column>,
    by: By,
    /// Words per key.
    width: usize,
    /// The keys, `width` words each; none for one text column.
    keys: Arc<Vec<u64>>,
    groups: usize,
    /// The group of null, where it has no bit: of one column that fills its word or is text.
    null: u32,
    dense: Dense,
    /// Tags are keys of one word, or hashes.
    slots: Slots,
    codes: Codes,
    words: Vec<u64>,
    hashes: Vec<u64>,
    hits: Vec<(u32, u32)>,
    lost: Vec<bool>,
}

impl Keys {
    /// A table for keys of these columns. No column: all rows are one group.
    ///
    /// # Errors
    /// If a type cannot be a key.
    pub fn new(fields: &[FieldRef]) -> Result<Self> {
        let mut used: Vec<u32> = Vec::new();
        let mut place = |bits: u32| {
            let word = used.iter().position(|u| u + bits <= 64).unwrap_or(used.len());
            if word == used.len() {
                used.push(0);
            }
            let shift = used.get(word).copied().unwrap_or_default();
            used.iter_mut().skip(word).take(1).for_each(|u| *u += bits);
            Place { word, shift, bits }
        };
        let mut columns = Vec::with_capacity(fields.len());
        for field in fields {
            let coder = KeyColumn::new(field)?;
            let (low, high) = coder.bits();
            let alone = fields.len() == 1 && high == 0;
            let low = place(low);
            let high = (high > 0).then(|| place(high));
            let null = (field.is_nullable() && !coder.is_text() && !alone).then(|| place(1));
            columns.push(Column { nullable: field.is_nullable(), coder, low, high, null });
        }
        let by = match (columns.as_slice(), used.len()) {
            (_, 0) => By::Nothing,
            ([only], _) if only.coder.is_text() => By::Text,
            (_, 1) => By::Word,
            _ => By::Words,
        };
        Ok(Keys {
            columns,
            by,
            width: used.len(),
            keys: Arc::default(),
            groups: 0,
            null: NO_GROUP,
            dense: Dense::default(),
            slots: Slots::default(),
            codes: Codes::default(),
            words: Vec::new(),
            hashes: Vec::new(),
            hits: Vec::new(),
            lost: Vec::new(),
        })
    }
    /// Looks at the keys that will be inserted, of this many rows: those of a dense range of integers will be found by index from the first
    /// one on.
    ///
    /// # Errors
    /// If a column is missing or has another type.
    pub(crate) fn foresee(&mut self, batches: impl Iterator<Item = Vec<ArrayRef>>, rows: usize) -> Result<()> {
        let ([column], By::Word) = (self.columns.as_mut_slice(), self.by) else { return Ok(()) };
        let (mut low, mut high) = (i64::MAX, i64::MIN);
        for arrays in batches {
            let array = arrays.first().ok_or_else(|| Error::internal("a batch lacks a key column"))?;
            column.coder.codes::<true>(array, Kept::Range(0, array.len()), &mut self.codes)?;
            for code in &self.codes.low {
                (low, high) = (low.min(*code as i64), high.max(*code as i64));
            }
        }
        if low <= high && self.dense.open(low, high, rows) {
            Arc::make_mut(&mut self.keys).reserve(rows);
        }
        Ok(())
    }
    /// Tables of disjoint keys as one, if they are dense together; for each the number of its first group. Only for finding.
    pub(crate) fn chain(parts: &[(Keys, u32)]) -> Option<Keys> {
        let (first, rest) = parts.split_first()?;
        if rest.is_empty() {
            return Some(first.0.clone());
        }
        let plain = |k: &Keys| k.by == By::Word && k.columns.len() == 1 && k.null == NO_GROUP;
        if !parts.iter().all(|(k, _)| plain(k)) {
            return None;
        }
        let dense = Dense::chain(parts.iter().map(|(k, first)| (&k.dense, k.keys.as_slice(), *first)))?;
        let groups = parts.iter().map(|(k, _)| k.groups).sum();
        Some(Keys { dense, groups, keys: Arc::default(), slots: Slots::default(), ..first.0.clone() })
    }
    /// Number of groups.
    pub fn len(&self) -> usize {
        self.groups
    }
    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.groups == 0
    }
    /// Forgets all groups and keeps the memory.
    pub fn clear(&mut self) {
        Arc::make_mut(&mut self.keys).clear();
        self.groups = 0;
        self.null = NO_GROUP;
        self.dense.clear();
        self.slots.clear();
        self.columns.iter_mut().for_each(|c| c.coder.clear());
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let text: usize = self.columns.iter().map(|c| c.coder.bytes()).sum();
        self.keys.capacity() * 8 + self.dense.bytes() + self.slots.bytes() + text
    }
    /// The groups of the kept rows; keys that are new become groups.
    ///
    /// # Errors
    /// If a column is missing or has another type, or there are more than 2^32 - 2 groups.
    pub fn insert(&mut self, columns: &[ArrayRef], kept: Kept<'_>, out: &mut Vec<u32>) -> Result<()> {
        self.look::<true>(columns, kept, out, true)?;
        if self.groups >= NO_GROUP as usize { Err(Error::internal("more than 2^32 groups")) } else { Ok(()) }
    }
    /// The groups of the kept rows; `NO_GROUP` for unknown keys and for keys with a null, which match nothing.
    ///
    /// # Errors
    /// If a column is missing or has another type.
    pub fn find(&mut self, columns: &[ArrayRef], kept: Kept<'_>, out: &mut Vec<u32>) -> Result<()> {
        self.look::<false>(columns, kept, out, false)
    }
    /// As [`find`](Self::find), but nulls are equal, as in a set.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub fn find_same(&mut self, columns: &[ArrayRef], kept: Kept<'_>, out: &mut Vec<u32>) -> Result<()> {
        self.look::<false>(columns, kept, out, true)
    }

    fn look<const INSERT: bool>(&mut self, arrays: &[ArrayRef], kept: Kept<'_>, out: &mut Vec<u32>, nulls_match: bool) -> Result<()> {
        out.clear();
        let rows = kept.len();
        if arrays.len() < self.columns.len() {
            return Err(Error::internal("a batch lacks a key column"));
        }
        if self.by == By::Nothing {
            self.groups |= usize::from(INSERT && rows > 0);
            out.resize(rows, if self.groups > 0 { 0 } else { NO_GROUP });
            return Ok(());
        }
        self.pack::<INSERT>(arrays, kept, nulls_match)?;
        out.reserve(rows);
        match self.by {
            By::Text => self.text_groups::<INSERT>(out),
            By::Words => self.probe_words::<INSERT>(out),
            By::Nothing | By::Word => self.probe_word::<INSERT>(out),
        }
        if !INSERT {
            out.iter_mut().zip(&self.lost).filter(|(_, lost)| **lost).for_each(|(g, _)| *g = NO_GROUP);
        }
        Ok(())
    }
    /// Packs the codes of the kept rows into `words`.
    fn pack<const INSERT: bool>(&mut self, arrays: &[ArrayRef], kept: Kept<'_>, nulls_match: bool) -> Result<()> {
        let (width, rows) = (self.width, kept.len());
        self.lost.clear();
        if !INSERT {
            self.lost.resize(rows, false);
        }
        self.words.clear();
        let single = self.columns.len() == 1;
        if !(single && width == 1) {
            self.words.resize(rows * width, 0);
        }
        for (column, array) in self.columns.iter_mut().zip(arrays) {
            column.coder.codes::<INSERT>(array, kept, &mut self.codes)?;
            if !INSERT {
                if column.coder.is_text() {
                    self.lost.iter_mut().zip(&self.codes.low).for_each(|(l, c)| *l |= unmatched(*c, nulls_match));
                }
                // without a place for it, a null is no value of the table
                if !nulls_match || (column.null.is_none() && !(single && width == 1)) {
                    self.lost.iter_mut().zip(&self.codes.null).for_each(|(l, n)| *l |= n);
                }
            } else if !column.nullable && self.codes.null.iter().any(|n| *n) {
                return Err(Error::Plan("a key column that is declared without nulls has one".into()));
            }
            if self.words.is_empty() {
                std::mem::swap(&mut self.words, &mut self.codes.low);
            } else {
                put(&mut self.words, width, column.low, self.codes.low.iter().copied());
            }
            if let Some(high) = column.high {
                put(&mut self.words, width, high, self.codes.high.iter().copied());
            }
            if let Some(null) = column.null {
                put(&mut self.words, width, null, self.codes.null.iter().map(|n| u64::from(*n)));
            }
        }
        Ok(())
    }
    /// The groups of one text column: values are numbered from 1 in order of appearance, as groups are from 0; a group of
    /// null shifts those after it.
    fn text_groups<const INSERT: bool>(&mut self, out: &mut Vec<u32>) {
        let null = u64::from(NULL);
        if INSERT {
            if self.null == NO_GROUP
                && let Some(first) = self.words.iter().position(|code| *code == null)
            {
                // values that came before
                let old = self.groups as u64;
                self.null = self.words.iter().take(first).fold(old, |most, code| most.max(*code)) as u32;
            }
            self.groups = self.values() + usize::from(self.null != NO_GROUP);
        }
        let at = u64::from(self.null);
        out.extend(self.words.iter().map(|code| if *code == null { at as u32 } else { (*code - u64::from(*code <= at)) as u32 }));
    }
    /// Number of values of one text column.
    fn values(&self) -> usize {
        match self.columns.first().map(|c| &c.coder.coder) {
            Some(Coder::Text(interner)) => interner.len(),
            _ => 0,
        }
    }
    fn probe_word<const INSERT: bool>(&mut self, out: &mut Vec<u32>) {
        let words = std::mem::take(&mut self.words);
        // nulls that have no bit; where they are to be found they are lost anyway
        let alone = self.columns.len() == 1 && self.columns.iter().all(|c| c.null.is_none());
        let nulls = if alone { std::mem::take(&mut self.codes.null) } else { Vec::new() };
        let mut done = 0;
        for words in words.chunks(CHUNK) {
            let nulls = nulls.get(done..done + words.len()).unwrap_or(&[]);
            done += words.len();
            let mut missing = nulls.contains(&true);
            let mut words = words;
            if INSERT && !missing {
                let taken = self.dense.insert(words, Arc::make_mut(&mut self.keys), out);
                self.groups = self.keys.len();
                words = words.get(taken..).unwrap_or(&[]);
                if words.is_empty() {
                    continue;
                }
            }
            let from = out.len();
            if self.dense.is_empty() {
                out.resize(from + words.len(), NO_GROUP);
                missing = true;
            } else if !INSERT && self.dense.is_sparse() {
                missing |= self.dense.find_all(words, &mut self.hits, out);
            } else {
                // no group + 1 is 0, and no group is all ones
                out.extend(words.iter().map(|word| {
                    let group = self.dense.get(*word);
                    missing |= group == 0;
                    group.wrapping_sub(1)
                }));
            }
            // what is not in the range is nowhere else
            let lost = !INSERT && self.slots.is_empty() && !nulls.contains(&true);
            if missing && !lost {
                let groups = out.get_mut(from..).unwrap_or(&mut []);
                self.hash(words, groups);
                if INSERT { self.insert_missing(words, nulls, groups) } else { self.find_missing(words, nulls, groups) }
            }
        }
        self.words = words;
        if alone {
            self.codes.null = nulls;
        }
    }
    /// The hashes of these keys, of which those without a group will be looked up.
    fn hash(&mut self, words: &[u64], groups: &[u32]) {
        self.hashes.clear();
        self.hashes.extend(words.iter().map(|word| mix(*word, 0)));
        if self.slots.is_large() {
            for (hash, _) in self.hashes.iter().zip(groups).filter(|(_, group)| **group == NO_GROUP) {
                self.slots.prefetch(*hash);
            }
        }
    }
    /// Groups of keys that are outside of the dense range.
    fn find_missing(&mut self, words: &[u64], nulls: &[bool], groups: &mut [u32]) {
        for (i, ((group, word), hash)) in groups.iter_mut().zip(words).zip(&self.hashes).enumerate() {
            if nulls.get(i) == Some(&true) {
                *group = self.null;
            } else if *group == NO_GROUP {
                *group = self.slots.find(*hash, *word, |_| true).unwrap_or(NO_GROUP);
            }
        }
    }
    /// Groups of keys that are outside of the dense range, or new.
    fn insert_missing(&mut self, words: &[u64], nulls: &[bool], groups: &mut [u32]) {
        let (keys, mut slots, mut dense) = (Arc::make_mut(&mut self.keys), self.slots.writer(), self.dense.writer());
        for (i, ((group, word), hash)) in groups.iter_mut().zip(words).zip(&self.hashes).enumerate() {
            if nulls.get(i) == Some(&true) {
                if self.null == NO_GROUP {
                    self.null = keys.len() as u32;
                    keys.push(0);
                }
                *group = self.null;
            } else if *group == NO_GROUP {
                // it may be new in this chunk, and its second row
                let known = dense.get(*word);
                *group = if known > 0 {
                    known - 1
                } else if let Some(known) = slots.find(*hash, *word, |_| true) {
                    known
                } else {
                    let group = keys.len() as u32;
                    keys.push(*word);
                    if !dense.set(*word, group, keys, self.null) {
                        slots.insert(*hash, *word, group, |word| mix(word, 0));
                    }
                    group
                };
            }
        }
        self.groups = keys.len();
    }
    fn probe_words<const INSERT: bool>(&mut self, out: &mut Vec<u32>) {
        let width = self.width;
        for words in self.words.chunks(CHUNK * width) {
            self.hashes.clear();
            self.hashes.extend(words.chunks_exact(width).map(|key| key.iter().fold(0, |h, w| mix(*w, h))));
            if self.slots.is_large() {
                self.hashes.iter().for_each(|hash| self.slots.prefetch(*hash));
            }
            let rows = words.chunks_exact(width).zip(&self.hashes);
            if !INSERT {
                let keys = &self.keys;
                out.extend(rows.map(|(key, hash)| self.slots.find(*hash, *hash, |group| is_at(keys, group, key)).unwrap_or(NO_GROUP)));
                continue;
            }
            let (keys, mut slots) = (Arc::make_mut(&mut self.keys), self.slots.writer());
            // rows that follow one another often have one key, such as a window
            let mut before: (&[u64], u32) = (&[], NO_GROUP);
            for (key, hash) in rows {
                if before.1 == NO_GROUP || !equal(before.0, key) {
                    let group = slots.find(*hash, *hash, |group| is_at(keys, group, key)).unwrap_or_else(|| {
                        let group = self.groups as u32;
                        slots.insert(*hash, *hash, group, |hash| hash);
                        keys.extend_from_slice(key);
                        self.groups += 1;
                        group
                    });
                    before = (key, group);
                }
                out.push(before.1);
            }
        }
    }
    /// The keys of these groups as columns of the declared types.
    ///
    /// # Errors
    /// If Arrow refuses an array: a bug.
    pub fn columns(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        self.first_columns(groups, self.columns.len())
    }
    /// As [`columns`](Self::columns), but of only so many.
    ///
    /// # Errors
    /// As for [`columns`](Self::columns).
    pub(crate) fn first_columns(&self, groups: &[u32], count: usize) -> Result<Vec<ArrayRef>> {
        if self.by == By::Text {
            let code = |group: &u32| u64::from(if *group == self.null { NULL } else { group + u32::from(*group < self.null) });
            let codes = Codes { low: groups.iter().map(code).collect(), ..Codes::default() };
            return self.columns.iter().take(count).map(|column| column.coder.array(&codes)).collect();
        }
        let word = |group: u32, at: Place| at.of(self.keys.get(group as usize * self.width + at.word).copied().unwrap_or_default());
        let mut out = Vec::with_capacity(count);
        for column in self.columns.iter().take(count) {
            let mut codes = Codes { low: groups.iter().map(|g| word(*g, column.low)).collect(), ..Codes::default() };
            if let Some(high) = column.high {
                codes.high = groups.iter().map(|g| word(*g, high)).collect();
            }
            if let Some(null) = column.null {
                codes.null = groups.iter().map(|g| word(*g, null) == 1).collect();
            } else if self.null != NO_GROUP {
                codes.null = groups.iter().map(|g| *g == self.null).collect();
            }
            out.push(column.coder.array(&codes)?);
        }
        Ok(out)
    }
}

/// Whether the key of a group is this one.
#[inline(always)]
fn is_at(keys: &[u64], group: u32, key: &[u64]) -> bool {
    let from = group as usize * key.len();
    keys.get(from..from + key.len()).is_some_and(|known| equal(known, key))
}

/// Whether two keys of as many words are equal: they are too short for a call.
#[inline(always)]
fn equal(a: &[u64], b: &[u64]) -> bool {
    a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

fn put(words: &mut [u64], width: usize, place: Place, codes: impl Iterator<Item = u64>) {
    if width == 1 {
        words.iter_mut().zip(codes).for_each(|(w, c)| *w |= c << place.shift);
        return;
    }
    for (key, code) in words.chunks_exact_mut(width).zip(codes) {
        if let Some(word) = key.get_mut(place.word) {
            *word |= code << place.shift;
        }
    }
}
