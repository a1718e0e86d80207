//! Hash joins: every probe row (port 0, left) with the build rows (port 1, right) of the same key.
//!
//! The build side is read to its end and indexed: dense group numbers of its keys, and for each group the list of its
//! rows, in order of arrival. The probe side streams past it in its own order; matches of a row come in build order.
//! Nulls never match. Output is gathered a few thousand rows at a time with Arrow's `take`; a probe row with many
//! matches is cut wherever the output is full.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::kept::{RowList, named, no_column, pick, plain, plain_type, positions};
use super::keys::{NO_GROUP, by_key_group, key_groups};
use super::{Account, Frozen, GroupState, Instance, Keys, Operator, OperatorFactory, Output, Progress, ipc};
use crate::kernel::Morsel;
use crate::plan::{JoinKind, MATCHED};
use crate::{Error, Result};

/// Rows of an output batch: enough to amortise `take`, small enough to stay in cache.
const OUT_ROWS: usize = 8192;
/// A join: keys and columns.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct JoinSpec {
    /// Stable id of the step, for messages.
    pub name: String,
    /// Inner or left.
    pub kind: JoinKind,
    /// Key columns of the probe side.
    pub left_on: Vec<String>,
    /// Key columns of the build side, in the same order and of the same types; text may differ in encoding.
    pub right_on: Vec<String>,
    /// Columns of the probe side to keep; named `left.<name>` in the output.
    pub left: Vec<String>,
    /// Columns of the build side to keep; named `right.<name>` in the output. Dictionaries come out plain.
    pub right: Vec<String>,
}

impl JoinSpec {
    /// The columns of the result.
    ///
    /// # Errors
    /// If a column does not exist.
    pub fn output_schema(&self, left: &Schema, right: &Schema) -> Result<SchemaRef> {
        let mut fields = Vec::new();
        for name in &self.left {
            let f = left.field_with_name(name).map_err(|_| no_column(name, &self.name))?;
            fields.push(Field::new(format!("left.{name}"), f.data_type().clone(), f.is_nullable()));
        }
        for name in &self.right {
            let f = right.field_with_name(name).map_err(|_| no_column(name, &self.name))?;
            fields.push(Field::new(format!("right.{name}"), plain_type(f.data_type()), f.is_nullable() || self.kind == JoinKind::Left));
        }
        if self.kind == JoinKind::Left {
            fields.push(Field::new(MATCHED, DataType::Boolean, false));
        }
        Ok(Arc::new(Schema::new(fields)))
    }
}

/// A hash join; see the module's page.
pub struct HashJoin {
    spec: Arc<JoinSpec>,
    schema: SchemaRef,
    /// Build columns that are kept: keys first, then the requested ones.
    build_schema: SchemaRef,
    build: Vec<RecordBatch>,
    index: Option<Index>,
    keys: Keys,
    left_on: Vec<usize>,
    left: Vec<usize>,
    pending: Option<Pending>,
    built: u64,
    /// The last input's end was seen.
    ended: bool,
}

/// The indexed build side.
struct Index {
    columns: Vec<ArrayRef>,
    /// Start of each group in `rows`, and the end of the last.
    starts: Vec<u32>,
    rows: Vec<u32>,
}

impl Index {
    fn matches(&self, group: u32) -> &[u32] {
        let at = group as usize;
        match (self.starts.get(at), self.starts.get(at.wrapping_add(1))) {
            (Some(from), Some(to)) if group != NO_GROUP => self.rows.get(*from as usize..*to as usize).unwrap_or(&[]),
            _ => &[],
        }
    }
}

/// A probe morsel on its way.
struct Pending {
    morsel: Morsel,
    rows: Vec<u32>,
    groups: Vec<u32>,
    /// The next row, and how many of its matches are out.
    at: usize,
    taken: usize,
}

impl std::fmt::Debug for HashJoin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HashJoin").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl HashJoin {
    /// Instances over inputs with these schemas.
    ///
    /// # Errors
    /// If a column does not exist, or the types of a pair of keys differ.
    pub fn factory(spec: Arc<JoinSpec>, left: &SchemaRef, right: &SchemaRef) -> Result<Arc<dyn OperatorFactory>> {
        let (left, right) = (Arc::clone(left), Arc::clone(right));
        Self::build(Arc::clone(&spec), &left, &right)?;
        Ok(Arc::new(move |_: Instance| Ok(Box::new(Self::build(Arc::clone(&spec), &left, &right)?) as Box<dyn Operator>)))
    }
    fn build(spec: Arc<JoinSpec>, left: &SchemaRef, right: &SchemaRef) -> Result<Self> {
        let left_on = positions(left, &spec.left_on, &spec.name)?;
        let right_on = positions(right, &spec.right_on, &spec.name)?;
        if left_on.is_empty() || left_on.len() != right_on.len() {
            return Err(Error::Plan(format!("`{}` joins {} key columns with {}", spec.name, left_on.len(), right_on.len())));
        }
        let mut fields: Vec<FieldRef> = Vec::new();
        for (l, r) in left_on.iter().zip(&right_on) {
            let (l, r) = (left.field(*l), right.field(*r));
            let (a, b) = (plain_type(l.data_type()), plain_type(r.data_type()));
            let same = a == b
                || (super::kept::is_utf8(&a) && super::kept::is_utf8(&b))
                || matches!((&a, &b), (DataType::Timestamp(x, _), DataType::Timestamp(y, _)) if x == y);
            if !same {
                return Err(Error::Plan(format!(
                    "`{}` joins column `{}` of type {} with `{}` of type {}; make them the same type first",
                    spec.name,
                    l.name(),
                    l.data_type(),
                    r.name(),
                    r.data_type()
                )));
            }
            fields.push(Arc::new(Field::new(r.name(), plain_type(r.data_type()), true)));
        }
        let keys = Keys::new(&fields)?;
        for name in &spec.right {
            let f = right.field_with_name(name).map_err(|_| no_column(name, &spec.name))?;
            fields.push(Arc::new(Field::new(f.name(), plain_type(f.data_type()), true)));
        }
        Ok(HashJoin {
            schema: spec.output_schema(left, right)?,
            build_schema: Arc::new(Schema::new(fields)),
            build: Vec::new(),
            index: None,
            keys,
            left_on,
            left: positions(left, &spec.left, &spec.name)?,
            pending: None,
            built: 0,
            ended: false,
            spec,
        })
    }
    /// Keys and requested columns of a build batch, dictionaries decoded.
    fn keep(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = named(batch, &self.spec.right_on, &self.spec.name)?;
        columns.extend(named(batch, &self.spec.right, &self.spec.name)?);
        let columns = columns.iter().map(plain).collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new(Arc::clone(&self.build_schema), columns)?)
    }
    fn index(&mut self) -> Result<()> {
        let all = arrow_select::concat::concat_batches(&self.build_schema, &self.build)?;
        self.build = vec![all.clone()];
        let on = self.spec.right_on.len();
        let keys = all.columns().get(..on).unwrap_or(&[]);
        let nulls = keys.iter().fold(None, |n: Option<NullBuffer>, k| NullBuffer::union(n.as_ref(), k.logical_nulls().as_ref()));
        let rows = u32::try_from(all.num_rows())
            .map_err(|_| Error::Plan(format!("the right side of `{}` has more than 2^32 rows on one instance", self.spec.name)))?;
        let mut groups = Vec::new();
        self.keys.insert(keys, super::Kept::Range(0, all.num_rows()), &mut groups)?;
        let mut starts = vec![0u32; self.keys.len() + 1];
        let valid = |row: u32| nulls.as_ref().is_none_or(|n| n.is_valid(row as usize));
        for (row, group) in (0..rows).zip(&groups) {
            if valid(row)
                && let Some(count) = starts.get_mut(*group as usize + 1)
            {
                *count += 1;
            }
        }
        let mut sum = 0;
        for s in &mut starts {
            sum += *s;
            *s = sum;
        }
        let mut next = starts.clone();
        let mut lists = vec![0u32; sum as usize];
        for (row, group) in (0..rows).zip(&groups) {
            if valid(row)
                && let Some(at) = next.get_mut(*group as usize)
            {
                if let Some(slot) = lists.get_mut(*at as usize) {
                    *slot = row;
                }
                *at += 1;
            }
        }
        let columns = all.columns().get(on..).unwrap_or(&[]).to_vec();
        self.index = Some(Index { columns, starts, rows: lists });
        Ok(())
    }
    /// Emits matches of the pending morsel until it is used up or the output is full.
    fn pump(&mut self, out: &mut dyn Output) -> Result<Progress> {
        let (Some(index), Some(pending)) = (&self.index, &mut self.pending) else { return Ok(Progress::Done) };
        let mut lefts: Vec<u32> = Vec::new();
        let mut rights: Vec<u32> = Vec::new();
        let mut matched: Vec<bool> = Vec::new();
        let (mut used, mut filtered) = (0u64, 0u64);
        let left_join = self.spec.kind == JoinKind::Left;
        let mut result = Progress::Done;
        loop {
            lefts.clear();
            rights.clear();
            matched.clear();
            while let (Some(row), Some(group)) = (pending.rows.get(pending.at), pending.groups.get(pending.at)) {
                let room = OUT_ROWS.saturating_sub(lefts.len());
                if room == 0 {
                    break;
                }
                let matches = index.matches(*group);
                let rest = matches.get(pending.taken..).unwrap_or(&[]);
                let some = rest.get(..room).unwrap_or(rest);
                lefts.extend(std::iter::repeat_n(*row, some.len()));
                rights.extend_from_slice(some);
                if left_join {
                    matched.extend(std::iter::repeat_n(true, some.len()));
                }
                if some.len() < rest.len() {
                    pending.taken += some.len();
                    break;
                }
                if !matches.is_empty() {
                    used += 1;
                } else if left_join {
                    lefts.push(*row);
                    rights.push(0);
                    matched.push(false);
                    used += 1;
                } else {
                    filtered += 1;
                }
                pending.at += 1;
                pending.taken = 0;
            }
            if !lefts.is_empty() {
                out.emit(Morsel::new(
                    gather(&self.schema, &pending.morsel.batch, &self.left, index, &lefts, &rights, &matched)?,
                    pending.morsel.origin,
                ));
            }
            if pending.at >= pending.rows.len() {
                break;
            }
            if out.full() {
                result = Progress::More;
                break;
            }
        }
        out.account(Account { used, filtered, held: -((used + filtered) as i64), ..Account::default() });
        if result == Progress::Done {
            self.pending = None;
        }
        Ok(result)
    }
}

fn gather(
    schema: &SchemaRef,
    left: &RecordBatch,
    keep: &[usize],
    index: &Index,
    lefts: &[u32],
    rights: &[u32],
    matched: &[bool],
) -> Result<RecordBatch> {
    let mut columns = pick(left, keep)?;
    let whole = lefts.len() == left.num_rows() && lefts.iter().zip(0u32..).all(|(l, i)| *l == i);
    if !whole {
        columns = arrow_select::take::take_arrays(&columns, &UInt32Array::from(lefts.to_vec()), None)?;
    }
    let nulls = (matched.contains(&false)).then(|| NullBuffer::from(matched.to_vec()));
    let rights = UInt32Array::new(rights.to_vec().into(), nulls);
    for column in &index.columns {
        // `take` from an empty array is refused even where every index is null
        columns.push(if column.is_empty() {
            arrow_array::new_null_array(column.data_type(), lefts.len())
        } else {
            arrow_select::take::take(column, &rights, None)?
        });
    }
    if !matched.is_empty() {
        columns.push(Arc::new(BooleanArray::from(matched.to_vec())));
    }
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &RecordBatchOptions::new().with_row_count(Some(lefts.len())))?)
}

impl Operator for HashJoin {
    fn ready(&self, port: usize) -> bool {
        port == 1 || self.index.is_some()
    }
    fn process(&mut self, port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        if port == 1 {
            let batch = self.keep(&morsel.compact()?)?;
            self.built += batch.num_rows() as u64;
            out.account(Account { held: batch.num_rows() as i64, ..Account::default() });
            self.build.push(batch);
            return Ok(Progress::Done);
        }
        if self.index.is_none() {
            return Err(Error::internal("a join got a probe row before its build side ended"));
        }
        let mut list = RowList::default();
        let kept = list.of(&morsel);
        let mut groups = Vec::new();
        self.keys.find(&pick(&morsel.batch, &self.left_on)?, kept, &mut groups)?;
        out.account(Account { held: kept.len() as i64, ..Account::default() });
        let rows = kept.to_vec();
        self.pending = Some(Pending { morsel, rows, groups, at: 0, taken: 0 });
        self.pump(out)
    }
    fn resume(&mut self, out: &mut dyn Output) -> Result<Progress> {
        self.pump(out)
    }
    fn finish(&mut self, port: usize, out: &mut dyn Output) -> Result<Progress> {
        if port == 1 {
            self.index()?;
        } else if !std::mem::replace(&mut self.ended, true) {
            out.account(Account { used: self.built, held: -(self.built as i64), ..Account::default() });
        }
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        let rows: usize = self.build.iter().map(RecordBatch::get_array_memory_size).sum();
        rows + self.keys.bytes() + self.index.as_ref().map_or(0, |i| (i.starts.len() + i.rows.len()) * 4)
    }
    /// The build side, by key group.
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let (batches, schema, on) = (self.build.clone(), Arc::clone(&self.build_schema), self.spec.right_on.len());
        Ok(Frozen::new(move || {
            let all = arrow_select::concat::concat_batches(&schema, &batches)?;
            let (order, ranges) = by_key_group(&key_groups(all.columns().get(..on).unwrap_or(&[]), all.num_rows())?);
            let sorted = arrow_select::take::take_record_batch(&all, &UInt32Array::from(order))?;
            let mut states = Vec::new();
            for (group, range) in ranges {
                let mut bytes = Vec::new();
                ipc::push(&sorted.slice(range.start, range.len()), &mut bytes)?;
                states.push(GroupState { group, bytes });
            }
            Ok(states)
        }))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        let mut bytes = state.bytes.as_slice();
        while let Some(batch) = ipc::pop(&mut bytes)? {
            if batch.schema_ref().fields() != self.build_schema.fields() {
                return Err(Error::Checkpoint(format!("the build side of `{}` was written with other columns", self.spec.name)));
            }
            self.built += batch.num_rows() as u64;
            self.build.push(batch.with_schema(Arc::clone(&self.build_schema))?);
        }
        Ok(())
    }
    fn release(&mut self, group: u16) {
        let on = self.spec.right_on.len();
        let dropped = self.build.iter().map(|batch| {
            let groups = key_groups(batch.columns().get(..on).unwrap_or(&[]), batch.num_rows())?;
            let keep = BooleanArray::from(groups.iter().map(|g| *g != group).collect::<Vec<_>>());
            Ok(arrow_select::filter::filter_record_batch(batch, &keep)?)
        });
        if let Ok(build) = dropped.collect::<Result<Vec<_>>>() {
            self.build = build;
            self.built = self.build.iter().map(|b| b.num_rows() as u64).sum();
            if self.index.is_some() {
                self.keys.clear();
                // the same columns were indexed before
                let _ = self.index();
            }
        }
    }
}
