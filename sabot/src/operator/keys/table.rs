//! The groups: packed keys, and the table that finds them.

use arrow_array::ArrayRef;
use arrow_schema::FieldRef;
use hashbrown::HashTable;

use super::code::{Codes, KeyColumn, unmatched};
use super::intern::mix;
use crate::operator::kept::Kept;
use crate::{Error, Result};

/// The group of a row that has none.
pub(crate) const NO_GROUP: u32 = u32::MAX;
/// Rows whose hashes are computed before they are looked up.
const CHUNK: usize = 1024;
/// Code spaces of at most this many bits are looked up by index.
const DIRECT_BITS: u32 = 16;

/// Where a code lies in the words of a key.
#[derive(Clone, Copy, Debug)]
struct Place {
    word: usize,
    shift: u32,
    bits: u32,
}

impl Place {
    #[inline(always)]
    fn take(self, key: &[u64]) -> u64 {
        let word = key.get(self.word).copied().unwrap_or_default() >> self.shift;
        if self.bits == 64 { word } else { word & ((1 << self.bits) - 1) }
    }
}

#[derive(Debug)]
struct Column {
    coder: KeyColumn,
    low: Place,
    high: Option<Place>,
    null: Option<Place>,
}

/// Distinct keys, numbered from 0 in order of appearance.
#[derive(Debug)]
pub struct Keys {
    columns: Vec<Column>,
    /// Words per key.
    width: usize,
    /// A code is an index into `direct`.
    small: bool,
    /// The keys, `width` words each.
    keys: Vec<u64>,
    groups: usize,
    /// Group + 1 by code.
    direct: Vec<u32>,
    /// The key's word, or the hash of its words; and the group.
    table: HashTable<(u64, u32)>,
    codes: Codes,
    words: Vec<u64>,
    hashes: Vec<u64>,
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
            let low = place(low);
            let high = (high > 0).then(|| place(high));
            let null = (field.is_nullable() && !coder.is_text()).then(|| place(1));
            columns.push(Column { coder, low, high, null });
        }
        let text = matches!(columns.as_slice(), [only] if only.coder.is_text());
        let small = text || (used.len() == 1 && used.iter().all(|u| *u <= DIRECT_BITS));
        Ok(Keys {
            columns,
            width: used.len(),
            small,
            keys: Vec::new(),
            groups: 0,
            direct: Vec::new(),
            table: HashTable::new(),
            codes: Codes::default(),
            words: Vec::new(),
            hashes: Vec::new(),
            lost: Vec::new(),
        })
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
        self.keys.clear();
        self.groups = 0;
        self.direct.clear();
        self.table.clear();
        for column in &mut self.columns {
            if let super::code::Coder::Text(interner) = &mut column.coder.coder {
                interner.clear();
            }
        }
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let text: usize = self.columns.iter().map(|c| if let super::code::Coder::Text(i) = &c.coder.coder { i.bytes() } else { 0 }).sum();
        self.keys.capacity() * 8 + self.direct.capacity() * 4 + self.table.allocation_size() + text
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
        if self.columns.is_empty() {
            self.groups |= usize::from(INSERT && rows > 0);
            out.resize(rows, if self.groups > 0 { 0 } else { NO_GROUP });
            return Ok(());
        }
        self.pack::<INSERT>(arrays, kept, nulls_match)?;
        out.reserve(rows);
        if self.small {
            self.probe_direct::<INSERT>(out);
        } else if self.width == 1 {
            self.probe_word::<INSERT>(out);
        } else {
            self.probe_words::<INSERT>(out);
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
                if !nulls_match || column.null.is_none() {
                    self.lost.iter_mut().zip(&self.codes.null).for_each(|(l, n)| *l |= n);
                }
            } else if column.null.is_none() && self.codes.null.iter().any(|n| *n) {
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
    fn probe_direct<const INSERT: bool>(&mut self, out: &mut Vec<u32>) {
        for word in &self.words {
            let at = *word as usize;
            match self.direct.get(at) {
                Some(group) if *group > 0 => out.push(group - 1),
                _ if !INSERT => out.push(NO_GROUP),
                _ => {
                    if at >= self.direct.len() {
                        self.direct.resize((at + 1).next_power_of_two(), 0);
                    }
                    self.keys.push(*word);
                    self.groups += 1;
                    if let Some(slot) = self.direct.get_mut(at) {
                        *slot = self.groups as u32;
                    }
                    out.push(self.groups as u32 - 1);
                }
            }
        }
    }
    fn probe_word<const INSERT: bool>(&mut self, out: &mut Vec<u32>) {
        for words in self.words.chunks(CHUNK) {
            self.hashes.clear();
            self.hashes.extend(words.iter().map(|w| mix(*w, 0)));
            for (word, hash) in words.iter().zip(&self.hashes) {
                match self.table.find(*hash, |(w, _)| w == word) {
                    Some((_, group)) => out.push(*group),
                    None if INSERT => {
                        let group = self.groups as u32;
                        self.table.insert_unique(*hash, (*word, group), |(w, _)| mix(*w, 0));
                        self.keys.push(*word);
                        self.groups += 1;
                        out.push(group);
                    }
                    None => out.push(NO_GROUP),
                }
            }
        }
    }
    fn probe_words<const INSERT: bool>(&mut self, out: &mut Vec<u32>) {
        let width = self.width;
        for words in self.words.chunks(CHUNK * width) {
            self.hashes.clear();
            self.hashes.extend(words.chunks_exact(width).map(|key| key.iter().fold(0, |h, w| mix(*w, h))));
            for (key, hash) in words.chunks_exact(width).zip(&self.hashes) {
                let keys = &self.keys;
                let same =
                    |(h, group): &(u64, u32)| h == hash && keys.get(*group as usize * width..).and_then(|k| k.get(..width)) == Some(key);
                match self.table.find(*hash, same) {
                    Some((_, group)) => out.push(*group),
                    None if INSERT => {
                        let group = self.groups as u32;
                        self.table.insert_unique(*hash, (*hash, group), |(h, _)| *h);
                        self.keys.extend_from_slice(key);
                        self.groups += 1;
                        out.push(group);
                    }
                    None => out.push(NO_GROUP),
                }
            }
        }
    }
    /// The keys of these groups as columns of the declared types.
    ///
    /// # Errors
    /// If Arrow refuses an array: a bug.
    pub fn columns(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let key = |group: u32| self.keys.get(group as usize * self.width..).and_then(|k| k.get(..self.width)).unwrap_or(&[]);
        let mut out = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let mut codes = Codes { low: groups.iter().map(|g| column.low.take(key(*g))).collect(), ..Codes::default() };
            if let Some(high) = column.high {
                codes.high = groups.iter().map(|g| high.take(key(*g))).collect();
            }
            if let Some(null) = column.null {
                codes.null = groups.iter().map(|g| null.take(key(*g)) == 1).collect();
            }
            out.push(column.coder.array(&codes)?);
        }
        Ok(out)
    }
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
