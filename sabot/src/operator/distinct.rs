//! The first row of each distinct key: `distinct()` over all columns, `distinct(a, b)` over some.
//!
//! [`PartialDistinct`] runs in the source's stage, so that what repeats often does not travel; it gives up where nearly
//! every row is new, as it only saves work. [`Distinct`], behind a hash exchange by the columns, decides. Nulls are equal,
//! floats compare by value. Nothing but a selection is made of a morsel until rows leave.
//!
//! Which row is first is decided by source order, because rows arrive in it. Over a bounded input, rows leave in the order
//! of key groups (see [`ByGroup`]); over an endless one, as they come. The state is the set of keys seen, and grows with
//! it: over an endless input for ever.

use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::{FieldRef, SchemaRef};
use arrow_select::take::take_record_batch;

use super::by_group::ByGroup;
use super::kept::{RowList, pick, positions};
use super::keys::{in_key_groups, key_groups};
use super::{Account, Frozen, GroupState, Instance, Kept, Keys, Operator, OperatorFactory, Output, Progress, ipc};
use crate::kernel::{Morsel, Origin, Selection};
use crate::{Error, Result};

/// Rows after which the first phase looks whether it pays.
const TRIAL: u64 = 1 << 15;
/// Keys at which the first phase starts anew: what a second-level cache holds of keys and table.
const MAX_KEYS: usize = 1 << 17;
/// Rows that a key group has sent, in a snapshot.
const EMITTED: &str = "sabot.emitted";

/// Columns that tell rows apart.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DistinctSpec {
    /// Stable id of the step, for messages.
    pub name: String,
    /// The columns.
    pub columns: Vec<String>,
}

/// The keys seen, and the room to look rows up.
#[derive(Debug)]
struct Seen {
    keys: Keys,
    at: Vec<usize>,
    fields: Vec<FieldRef>,
    list: RowList,
    groups: Vec<u32>,
    fresh: Vec<u32>,
}

impl Seen {
    fn new(spec: &DistinctSpec, schema: &SchemaRef) -> Result<Self> {
        let at = positions(schema, &spec.columns, &spec.name)?;
        let fields: Vec<FieldRef> = at.iter().filter_map(|i| schema.fields().get(*i)).cloned().collect();
        Ok(Seen { keys: Keys::new(&fields)?, at, fields, list: RowList::default(), groups: Vec::new(), fresh: Vec::new() })
    }
    /// Finds the rows with new keys: their numbers are in `fresh`. Returns the number of rows looked at.
    fn look(&mut self, morsel: &Morsel) -> Result<usize> {
        let kept = self.list.of(morsel);
        let mut next = self.keys.len() as u32;
        self.keys.insert(&pick(&morsel.batch, &self.at)?, kept, &mut self.groups)?;
        self.fresh.clear();
        // groups are numbered in order of appearance
        let (groups, fresh) = (&self.groups, &mut self.fresh);
        kept.each(|i, row| {
            if groups.get(i) == Some(&next) {
                fresh.push(row as u32);
                next += 1;
            }
        });
        Ok(kept.len())
    }
    /// The morsel with the new rows alone, copying nothing.
    fn only_fresh(&self, morsel: Morsel) -> Morsel {
        if self.fresh.len() == morsel.rows() {
            return morsel;
        }
        let mut words = vec![0u64; morsel.batch.num_rows().div_ceil(64)];
        for row in &self.fresh {
            if let Some(word) = words.get_mut(*row as usize / 64) {
                *word |= 1 << (row % 64);
            }
        }
        Morsel { selection: Some(Selection::new(words)), ..morsel }
    }
}

/// Drops rows that repeat an earlier one of the same instance.
#[derive(Debug)]
pub struct PartialDistinct {
    seen: Seen,
    rows: u64,
    last: Origin,
    given_up: bool,
}

impl PartialDistinct {
    /// Instances over rows of this schema.
    ///
    /// # Errors
    /// If a column does not exist or cannot be compared.
    pub fn factory(spec: Arc<DistinctSpec>, schema: &SchemaRef) -> Result<Arc<dyn OperatorFactory>> {
        let schema = Arc::clone(schema);
        Seen::new(&spec, &schema)?;
        Ok(Arc::new(move |_: Instance| {
            let seen = Seen::new(&spec, &schema)?;
            Ok(Box::new(PartialDistinct { seen, rows: 0, last: Origin::default(), given_up: false }) as Box<dyn Operator>)
        }))
    }
    fn forget(&mut self) {
        self.seen.keys.clear();
        self.rows = 0;
    }
}

impl Operator for PartialDistinct {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let rows = morsel.rows();
        if self.given_up {
            out.account(Account { used: rows as u64, ..Account::default() });
            out.emit(morsel);
            return Ok(Progress::Done);
        }
        // a row may only be dropped for an earlier one
        if morsel.origin < self.last || self.seen.keys.len() > MAX_KEYS {
            self.forget();
        }
        self.last = morsel.origin;
        self.rows += self.seen.look(&morsel)? as u64;
        let fresh = self.seen.fresh.len();
        out.account(Account { used: fresh as u64, filtered: (rows - fresh) as u64, ..Account::default() });
        if fresh > 0 {
            out.emit(self.seen.only_fresh(morsel));
        }
        if self.rows >= TRIAL && self.seen.keys.len() as u64 > self.rows / 2 {
            self.given_up = true;
            self.forget();
        }
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.seen.keys.bytes()
    }
}

/// Lets the first row of each key through.
#[derive(Debug)]
pub struct Distinct {
    spec: Arc<DistinctSpec>,
    seen: Seen,
    /// Over a bounded input.
    out: Option<ByGroup>,
}

impl Distinct {
    /// Instances for plan node `node` over rows of this schema, hashed by the columns, in source order if `bounded`.
    ///
    /// # Errors
    /// If a column does not exist or cannot be compared.
    pub fn factory(spec: Arc<DistinctSpec>, schema: &SchemaRef, bounded: bool, node: u32) -> Result<Arc<dyn OperatorFactory>> {
        let schema = Arc::clone(schema);
        Seen::new(&spec, &schema)?;
        Ok(Arc::new(move |_: Instance| {
            let (seen, out) = (Seen::new(&spec, &schema)?, bounded.then(|| ByGroup::new(node, &schema)));
            Ok(Box::new(Distinct { spec: Arc::clone(&spec), seen, out }) as Box<dyn Operator>)
        }))
    }
}

impl Operator for Distinct {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let rows = self.seen.look(&morsel)?;
        let fresh = self.seen.fresh.len();
        out.account(Account { filtered: (rows - fresh) as u64, ..Account::default() });
        if fresh == 0 {
            return Ok(Progress::Done);
        }
        match &mut self.out {
            Some(by_group) => {
                let batch = take_rows(&morsel.batch, &self.seen.fresh)?;
                let groups = key_groups(&pick(&batch, &self.seen.at)?, fresh)?;
                by_group.add(batch, &groups, out)?;
            }
            None => {
                out.account(Account { used: fresh as u64, ..Account::default() });
                out.emit(self.seen.only_fresh(morsel));
            }
        }
        Ok(Progress::Done)
    }
    fn finish(&mut self, _port: usize, out: &mut dyn Output) -> Result<Progress> {
        if let Some(by_group) = &mut self.out {
            by_group.flush(out)?;
        }
        self.seen.keys.clear();
        Ok(Progress::Done)
    }
    fn held_bytes(&self) -> usize {
        self.seen.keys.bytes() + self.out.as_ref().map_or(0, ByGroup::bytes)
    }
    fn snapshot(&mut self, _epoch: u64) -> Result<Frozen> {
        let keys = keys_of(&self.seen.keys, &self.seen.fields)?;
        Ok(write(keys, self.out.clone()))
    }
    fn restore(&mut self, state: &GroupState) -> Result<()> {
        let (keys, _) = read(state, 0, &self.spec.name, self.out.as_mut())?;
        self.seen.keys.insert(keys.columns(), Kept::Range(0, keys.num_rows()), &mut self.seen.groups)
    }
    fn release(&mut self, group: u16) {
        let Ok(all) = keys_of(&self.seen.keys, &self.seen.fields) else { return };
        let Ok(of) = key_groups(all.columns(), all.num_rows()) else { return };
        let live: Vec<u32> = of.iter().zip(0..).filter(|(g, _)| **g != group).map(|(_, row)| row).collect();
        self.seen.keys.clear();
        // neither can fail on what came from the same table
        let _ = self.seen.keys.insert(all.columns(), Kept::Some(&live), &mut self.seen.groups);
        if let Some(out) = &mut self.out {
            out.release(group);
        }
    }
}

/// These rows as a dense batch.
pub(super) fn take_rows(batch: &RecordBatch, rows: &[u32]) -> Result<RecordBatch> {
    if rows.len() == batch.num_rows() { Ok(batch.clone()) } else { Ok(take_record_batch(batch, &UInt32Array::from(rows.to_vec()))?) }
}

/// All keys of a table.
pub(super) fn keys_of(keys: &Keys, fields: &[FieldRef]) -> Result<RecordBatch> {
    let all: Vec<u32> = (0..keys.len() as u32).collect();
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(all.len()));
    Ok(RecordBatch::try_new_with_options(Arc::new(arrow_schema::Schema::new(fields.to_vec())), keys.columns(&all)?, &options)?)
}

/// A cut by key group: what is known of its keys (key columns first), and the rows that wait.
pub(super) fn write(keys: RecordBatch, out: Option<ByGroup>) -> Frozen {
    write_with(keys, 0, out)
}

/// As [`write`], with this many columns behind those of the key.
pub(super) fn write_with(keys: RecordBatch, more: usize, out: Option<ByGroup>) -> Frozen {
    Frozen::new(move || {
        let columns = keys.columns();
        let key_columns = columns.get(..columns.len().saturating_sub(more)).unwrap_or(&[]);
        let mut states = Vec::new();
        for (group, known) in in_key_groups(&keys, key_columns)? {
            let emitted = out.as_ref().and_then(|o| o.emitted().get(usize::from(group))).copied().unwrap_or_default();
            let tags = [(EMITTED.to_owned(), emitted.to_string())];
            let mut bytes = Vec::new();
            ipc::push(&ipc::tagged(&known, tags)?, &mut bytes)?;
            if let Some(out) = &out {
                ipc::push(&out.waiting(group)?, &mut bytes)?;
            }
            states.push(GroupState { group, bytes });
        }
        Ok(states)
    })
}

/// Reads what [`write_with`] wrote: the keys, and the `more` columns behind them; rows that wait go to `out`.
pub(super) fn read(
    state: &GroupState,
    more: usize,
    step: &str,
    out: Option<&mut ByGroup>,
) -> Result<(RecordBatch, Vec<arrow_array::ArrayRef>)> {
    let broken = || Error::Checkpoint(format!("the state of `{step}` is cut short"));
    let mut bytes = state.bytes.as_slice();
    let all = ipc::pop(&mut bytes)?.ok_or_else(broken)?;
    let emitted = ipc::tag(&all, EMITTED).and_then(|t| t.parse().ok()).ok_or_else(broken)?;
    if let Some(out) = out {
        let waiting = ipc::pop(&mut bytes)?.ok_or_else(broken)?;
        let groups = vec![state.group; waiting.num_rows()];
        out.put(waiting, &groups)?;
        out.set_emitted(state.group, emitted);
    }
    let keys = all.num_columns().checked_sub(more).ok_or_else(broken)?;
    let rest = all.columns().get(keys..).unwrap_or(&[]).to_vec();
    let at: Vec<usize> = (0..keys).collect();
    Ok((all.project(&at)?, rest))
}
