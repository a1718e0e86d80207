//! Any function over changes: its rows are kept, each with how often it counts, and the function is computed anew from them.
//!
//! Rows are kept per group, sorted by their values (by event time first, for functions that look at it). So what `first`, `last` and
//! `collect` make of rows of equal time goes by value and not by the order in which they came, which changes do not have. Functions that
//! look at one end alone (`min`, `max`, `first`, `last`) are given that row alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, cast::AsArray};
use arrow_row::{RowConverter, SortField};
use arrow_schema::{DataType, Field};

use super::lists::{items_of, list_column, list_type};
use super::{Accumulator, AccumulatorFactory};
use crate::operator::kept::{plain, plain_type};
use crate::operator::{Failure, Kept};
use crate::{Error, Result};

/// Which of the rows that are kept a function needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Needs {
    /// All of them.
    #[default]
    All,
    /// Each value once.
    Distinct,
    /// The first one.
    First,
    /// The last one.
    Last,
}

/// What a function needs of its rows, and how they are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kind {
    /// Which rows.
    pub needs: Needs,
    /// The input by which they are sorted before others.
    pub first_by: usize,
    /// Whether rows in which the first input is null mean nothing.
    pub skips_nulls: bool,
}

/// `inner` over changes, whose inputs have these types.
///
/// # Errors
/// If a type cannot be sorted.
pub(crate) fn bag(inner: Arc<dyn AccumulatorFactory>, kind: Kind, inputs: &[DataType]) -> Result<Arc<dyn AccumulatorFactory>> {
    let types: Vec<DataType> = inputs.iter().map(plain_type).collect();
    Bag::build(&inner, kind, &types)?;
    Ok(Arc::new(BagFactory { inner, kind, types }))
}

struct BagFactory {
    inner: Arc<dyn AccumulatorFactory>,
    kind: Kind,
    types: Vec<DataType>,
}

impl AccumulatorFactory for BagFactory {
    fn create(&self) -> Box<dyn Accumulator> {
        match Bag::build(&self.inner, self.kind, &self.types) {
            Ok(bag) => Box::new(bag),
            // cannot happen: it was built once
            Err(_) => self.inner.create(),
        }
    }
    fn state_fields(&self) -> Vec<Field> {
        let values = self.types.iter().enumerate().map(|(i, t)| Field::new(format!("value{i}"), list_type(t, true), false));
        values.chain([Field::new("times", list_type(&DataType::Int64, false), false)]).collect()
    }
    fn output(&self) -> (DataType, bool) {
        self.inner.output()
    }
    fn inputs(&self) -> usize {
        self.inner.inputs()
    }
    fn describe(&self) -> String {
        self.inner.describe()
    }
}

type Rows = BTreeMap<Box<[u8]>, i64>;

struct Bag {
    inner: Arc<dyn AccumulatorFactory>,
    kind: Kind,
    types: Vec<DataType>,
    converter: RowConverter,
    groups: Vec<Rows>,
    bytes: usize,
}

/// Bytes of an entry beside its key.
const ENTRY: usize = 48;

impl Bag {
    fn build(inner: &Arc<dyn AccumulatorFactory>, kind: Kind, types: &[DataType]) -> Result<Bag> {
        let fields = order(kind, types.len()).filter_map(|at| types.get(at)).map(|t| SortField::new(t.clone())).collect();
        Ok(Bag {
            inner: Arc::clone(inner),
            kind,
            types: types.to_vec(),
            converter: RowConverter::new(fields)?,
            groups: Vec::new(),
            bytes: 0,
        })
    }
    fn add(&mut self, group: u32, row: &[u8], times: i64) {
        let Some(rows) = self.groups.get_mut(group as usize) else { return };
        match rows.get_mut(row) {
            Some(count) => {
                *count += times;
                if *count == 0 {
                    rows.remove(row);
                    self.bytes -= row.len() + ENTRY;
                }
            }
            None if times != 0 => {
                rows.insert(row.into(), times);
                self.bytes += row.len() + ENTRY;
            }
            None => {}
        }
    }
    /// The columns as they are sorted.
    fn sorted(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let missing = || Error::internal("an aggregate lacks an input");
        order(self.kind, self.types.len())
            .map(|at| {
                let (column, want) = (columns.get(at).ok_or_else(missing)?, self.types.get(at).ok_or_else(missing)?);
                let column = plain(column)?;
                if column.data_type() == want { Ok(column) } else { Ok(arrow_cast::cast(&column, want)?) }
            })
            .collect()
    }
    fn take(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef], times: i64) -> Result<(), Failure> {
        let nulls = columns.first().filter(|_| self.kind.skips_nulls).and_then(|c| c.logical_nulls());
        let sorted = self.sorted(columns)?;
        let rows = self.converter.convert_columns(&sorted)?;
        kept.each(|i, row| {
            if nulls.as_ref().is_none_or(|n| n.is_valid(row))
                && let Some(group) = groups.get(i)
            {
                self.add(*group, rows.row(row).data(), times);
            }
        });
        Ok(())
    }
    /// Rows as input columns.
    fn columns<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let parser = self.converter.parser();
        let sorted = self.converter.convert_rows(rows.map(|row| parser.parse(row)))?;
        let places: Vec<usize> = order(self.kind, self.types.len()).collect();
        let mut out: Vec<Option<ArrayRef>> = vec![None; sorted.len()];
        for (column, at) in sorted.into_iter().zip(places) {
            if let Some(slot) = out.get_mut(at) {
                *slot = Some(column);
            }
        }
        out.into_iter().map(|c| c.ok_or_else(|| Error::internal("an aggregate lacks an input"))).collect()
    }
    fn rows_of(&self, group: u32) -> impl DoubleEndedIterator<Item = (&[u8], i64)> {
        self.groups.get(group as usize).into_iter().flatten().map(|(row, times)| (row.as_ref(), *times))
    }
}

/// The inputs in the order by which rows are sorted.
fn order(kind: Kind, inputs: usize) -> impl Iterator<Item = usize> {
    std::iter::once(kind.first_by).chain((0..inputs).filter(move |i| *i != kind.first_by)).take(inputs)
}

impl Accumulator for Bag {
    fn resize(&mut self, groups: usize) {
        self.groups.resize_with(groups, Rows::new);
        if groups == 0 {
            self.bytes = 0;
        }
    }
    fn update(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        self.take(groups, kept, columns, 1)
    }
    fn retract(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        self.take(groups, kept, columns, -1)
    }
    fn empty(&mut self, groups: &[u32]) {
        for g in groups {
            if let Some(rows) = self.groups.get_mut(*g as usize) {
                self.bytes -= rows.keys().map(|row| row.len() + ENTRY).sum::<usize>();
                rows.clear();
            }
        }
    }
    fn merge(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let (times, of) = items_of(columns, self.types.len(), groups, kept)?;
        let values = (0..self.types.len()).map(|at| Ok(items_of(columns, at, groups, kept)?.0)).collect::<Result<Vec<_>>>()?;
        let sorted = self.sorted(&values)?;
        let rows = self.converter.convert_columns(&sorted)?;
        for (i, (group, times)) in of.iter().zip(times.as_primitive::<Int64Type>().values()).enumerate() {
            self.add(*group, rows.row(i).data(), *times);
        }
        Ok(())
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let lengths: Vec<usize> = groups.iter().map(|g| self.rows_of(*g).count()).collect();
        let values = self.columns(groups.iter().flat_map(|g| self.rows_of(*g)).map(|(row, _)| row))?;
        let times: Int64Array = groups.iter().flat_map(|g| self.rows_of(*g)).map(|(_, times)| times).collect::<Vec<i64>>().into();
        let values = values.into_iter().map(|v| list_column(v, true, lengths.clone())).collect::<Result<Vec<_>>>()?;
        Ok(values.into_iter().chain([list_column(Arc::new(times), false, lengths.clone())?]).collect())
    }
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef, Failure> {
        let (mut rows, mut of): (Vec<&[u8]>, Vec<u32>) = (Vec::new(), Vec::new());
        for (number, group) in groups.iter().enumerate() {
            let mut left = self.rows_of(*group).filter(|(_, times)| *times > 0);
            let mut give = |row, times: i64| {
                rows.extend(std::iter::repeat_n(row, times as usize));
                of.resize(rows.len(), number as u32);
            };
            match self.kind.needs {
                Needs::All => left.for_each(|(row, times)| give(row, times)),
                Needs::Distinct => left.for_each(|(row, _)| give(row, 1)),
                Needs::First => left.next().into_iter().for_each(|(row, _)| give(row, 1)),
                Needs::Last => left.next_back().into_iter().for_each(|(row, _)| give(row, 1)),
            }
        }
        let columns = self.columns(rows.iter().copied())?;
        let mut inner = self.inner.create();
        inner.resize(groups.len());
        inner.update(&of, Kept::Range(0, of.len()), &columns)?;
        inner.finish(&(0..groups.len() as u32).collect::<Vec<u32>>())
    }
    fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Rows>() + self.bytes
    }
}
