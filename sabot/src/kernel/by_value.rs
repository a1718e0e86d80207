//! Once per value: what reads one column only, and that column is a dictionary, is computed over the dictionary's values
//! and mapped by codes. A predicate over text then costs a table look-up per row, and text made from text stays a
//! dictionary.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{AnyDictionaryArray, Array, ArrayRef, DictionaryArray};
use arrow_buffer::ArrowNativeType;
use arrow_schema::DataType;

use super::lineage::Lineage;
use super::morsel::SetBits;
use super::plan::Pass;
use super::task::Driven;
use crate::record::{Bits, LANES, Window};

/// A dictionary must have fewer values than one in so many rows: below, the saved calls do not pay for the mapping.
const ROWS_PER_VALUE: usize = 2;

/// The units that read one column only.
#[derive(Clone, Debug)]
pub(super) struct ByValue {
    /// The input column.
    pub input: usize,
    /// What to compute over its values.
    pub values: Pass,
    /// Computed columns that are mapped.
    pub made: Vec<usize>,
    /// What is left to compute over rows, if all columns so far were mapped.
    pub rest: Pass,
    /// Whether a null in the column drops the row, or makes all mapped columns null.
    pub strict: bool,
    /// Whether there are predicates.
    pub filters: bool,
}

/// Columns that are dictionaries in a batch, and the units that read nothing else.
pub(super) fn candidates(
    lineage: &Lineage,
    types: &[(DataType, bool)],
    lead: usize,
    wanted: &(BTreeSet<usize>, BTreeSet<usize>),
    dictionary: &dyn Fn(usize) -> bool,
) -> Vec<ByValue> {
    let mut out = Vec::new();
    let (mut made_left, mut predicates_left) = wanted.clone();
    // the only input column of each unit, if it is pure
    let mut only: Vec<Option<usize>> = Vec::new();
    for unit in &lineage.units {
        let of_made = |m: &usize| lineage.units.iter().position(|u| u.made == Some(*m)).and_then(|i| only.get(i).copied().flatten());
        let sources: BTreeSet<Option<usize>> =
            unit.needs.inputs.iter().map(|i| Some(*i)).chain(unit.needs.made.iter().map(of_made)).collect();
        let one = sources.first().copied().flatten().filter(|_| sources.len() == 1 && !unit.volatile);
        only.push(one);
    }
    for input in (0..lineage.inputs.len()).filter(|i| dictionary(*i)) {
        let mine: Vec<usize> = (0..only.len()).filter(|u| only.get(*u).copied().flatten() == Some(input)).collect();
        let unit = |u: &usize| lineage.units.get(*u);
        let predicates: BTreeSet<usize> = mine.iter().copied().filter(|u| predicates_left.contains(u)).collect();
        // a value that others need too is computed with them
        let others: BTreeSet<usize> = lineage
            .units
            .iter()
            .enumerate()
            .filter(|(i, u)| !mine.contains(i) && u.made.map_or_else(|| wanted.1.contains(i), |_| true))
            .flat_map(|(_, u)| u.needs.made.iter().copied())
            .collect();
        let made: BTreeSet<usize> =
            mine.iter().filter_map(unit).filter_map(|u| u.made).filter(|m| made_left.contains(m) && !others.contains(m)).collect();
        if made.is_empty() && predicates.is_empty() {
            continue;
        }
        made_left.retain(|m| !made.contains(m));
        predicates_left.retain(|p| !predicates.contains(p));
        let mapped = |u: &usize| predicates.contains(u) || unit(u).and_then(|u| u.made).is_some_and(|m| made.contains(&m));
        out.push(ByValue {
            input,
            values: Pass::new(lineage, types, lead, &made, &predicates),
            rest: Pass::new(lineage, types, lead, &made_left, &predicates_left),
            strict: mine.iter().filter(|u| mapped(u)).filter_map(unit).all(|u| u.needs.null.contains(&input)),
            filters: !predicates.is_empty(),
            made: made.into_iter().collect(),
        });
    }
    out
}

/// A dictionary column with few values.
pub(super) struct Values<'a> {
    dictionary: &'a dyn AnyDictionaryArray,
}

macro_rules! by_key {
    ($array:expr, $f:ident($($arg:expr),*)) => {
        match $array.keys().data_type() {
            DataType::Int8 => $f::<Int8Type>($($arg),*),
            DataType::Int16 => $f::<Int16Type>($($arg),*),
            DataType::Int32 => $f::<Int32Type>($($arg),*),
            DataType::Int64 => $f::<Int64Type>($($arg),*),
            DataType::UInt8 => $f::<UInt8Type>($($arg),*),
            DataType::UInt16 => $f::<UInt16Type>($($arg),*),
            DataType::UInt32 => $f::<UInt32Type>($($arg),*),
            _ => $f::<UInt64Type>($($arg),*),
        }
    };
}

impl<'a> Values<'a> {
    /// The column, if it has few values and no null among them, and nulls of its own only where that is `strict`.
    pub(super) fn of(array: &'a ArrayRef, strict: bool) -> Option<Self> {
        let dictionary = array.as_any_dictionary_opt()?;
        let values = dictionary.values();
        let few = values.len() * ROWS_PER_VALUE < array.len();
        (few && values.logical_null_count() == 0 && (strict || array.null_count() == 0)).then_some(Values { dictionary })
    }
    /// The values.
    pub(super) fn array(&self) -> &'a ArrayRef {
        self.dictionary.values()
    }
    /// Alive rows with a value.
    fn rows(&self, alive: Option<&[u64]>) -> Vec<u64> {
        let (len, valid) = (self.dictionary.len(), Bits::of(self.dictionary));
        (0..len.div_ceil(LANES))
            .map(|w| {
                // SAFETY: `valid` is the bitmap of `len` rows, of which these are a part.
                let window = unsafe { Window::new(w * LANES, LANES.min(len - w * LANES)) };
                let low = if window.len() == LANES { !0 } else { (1 << window.len()) - 1 };
                low & valid.word(window) & alive.map_or(!0, |a| a.get(w).copied().unwrap_or(0))
            })
            .collect()
    }
    /// The values that alive rows have, one bit each.
    pub(super) fn used(&self, alive: Option<&[u64]>) -> Vec<u64> {
        let mut seen = vec![0u8; self.array().len()];
        by_key!(self.dictionary, mark(self.dictionary, &self.rows(alive), &mut seen));
        seen.chunks(LANES).map(|c| c.iter().enumerate().fold(0, |w, (j, b)| w | u64::from(*b) << j)).collect()
    }
    /// The alive rows whose value is kept.
    pub(super) fn kept(&self, alive: Option<&[u64]>, values: &Driven) -> Vec<u64> {
        let mut keep = vec![0u8; self.array().len()];
        for (w, word) in values.kept.iter().enumerate() {
            SetBits(*word).for_each(|j| keep.iter_mut().skip(w * LANES + j).take(1).for_each(|k| *k = 1));
        }
        let mut rows = self.rows(alive);
        by_key!(self.dictionary, look_up(self.dictionary, &mut rows, &keep));
        rows
    }
    /// A column over the values as a column over the rows.
    pub(super) fn map(&self, values: &ArrayRef) -> crate::Result<ArrayRef> {
        if matches!(values.data_type(), DataType::Utf8View | DataType::BinaryView) {
            return Ok(by_key!(self.dictionary, recode(self.dictionary, values)));
        }
        Ok(arrow_select::take::take(values, self.dictionary.keys(), None)?)
    }
}

fn codes<K: ArrowDictionaryKeyType>(d: &dyn AnyDictionaryArray) -> &[K::Native] {
    d.keys().as_primitive_opt::<K>().map_or(&[], |k| k.values())
}

fn mark<K: ArrowDictionaryKeyType>(d: &dyn AnyDictionaryArray, rows: &[u64], seen: &mut [u8]) {
    for (codes, word) in codes::<K>(d).chunks(LANES).zip(rows) {
        if *word == !0 {
            codes.iter().for_each(|c| seen.iter_mut().skip(c.as_usize()).take(1).for_each(|s| *s = 1));
        } else {
            for code in SetBits(*word).filter_map(|j| codes.get(j)) {
                seen.iter_mut().skip(code.as_usize()).take(1).for_each(|s| *s = 1);
            }
        }
    }
}

fn look_up<K: ArrowDictionaryKeyType>(d: &dyn AnyDictionaryArray, rows: &mut [u64], keep: &[u8]) {
    for (codes, word) in codes::<K>(d).chunks(LANES).zip(rows) {
        // the code of a null is anything
        let kept = codes.iter().enumerate().fold(0u64, |w, (j, c)| w | u64::from(keep.get(c.as_usize()).copied().unwrap_or(0)) << j);
        *word &= kept;
    }
}

fn recode<K: ArrowDictionaryKeyType>(d: &dyn AnyDictionaryArray, values: &ArrayRef) -> ArrayRef {
    debug_assert_eq!(d.values().len(), values.len());
    match d.keys().as_primitive_opt::<K>() {
        // SAFETY: the codes of a valid dictionary, with as many values as that has.
        Some(keys) => Arc::new(unsafe { DictionaryArray::<K>::new_unchecked(keys.clone(), Arc::clone(values)) }),
        None => Arc::clone(values),
    }
}
