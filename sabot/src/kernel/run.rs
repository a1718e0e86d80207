//! A run: adjacent row-wise steps as one kernel over morsels.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Schema, SchemaRef};

use super::computed::Computed;
use super::drive::{Driven, Task, drive_base};
use super::info::StepInfo;
use super::lineage::{From, Lineage};
use super::panics::{Panicked, catch};
use super::step::Step;
use super::{Level, Morsel, Origin, Selection};
use crate::record::{Accepted, Arena, Bits, Buffers, Faults, Make, Missing, Record, text_buffers, with_nulls};
use crate::{Error, Result};

/// A compiled run, without its types.
pub trait RunKernel: Send + Sync {
    /// What is known of its steps.
    fn steps(&self) -> &[StepInfo];
    /// Where its columns come from.
    fn lineage(&self) -> &Lineage;
    /// The columns it leaves.
    fn schema(&self) -> SchemaRef;
    /// Runs it over a morsel.
    ///
    /// # Errors
    /// If the morsel's columns do not fit, or user code fails.
    fn run(&self, morsel: &Morsel, request: &Request) -> Result<Ran>;
}

/// How a run is to be made.
#[derive(Clone, Debug)]
pub struct Request {
    /// Predicates and outputs to compute; all with `!0`.
    pub mask: u64,
    /// Names of the output columns to deliver; `None` is all.
    pub outputs: Option<Vec<String>>,
    /// Instructions to use.
    pub level: Level,
    /// Deliver dense rows where that costs no copy of passed-on columns.
    pub dense: bool,
    /// Stable id of the step, for errors.
    pub name: String,
    /// Name of the source, for errors.
    pub source: String,
}

impl Request {
    /// Everything, at the machine's best level.
    pub fn all(name: impl Into<String>) -> Self {
        Request { mask: !0, outputs: None, level: Level::current(), dense: false, name: name.into(), source: String::new() }
    }
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The rows; passed-on columns are the input's own arrays.
    pub morsel: Morsel,
    /// Rows that came in alive.
    pub rows_in: usize,
    /// Rows that a predicate dropped.
    pub filtered: usize,
}

/// A run of steps of one type.
pub struct Run<S: Step> {
    step: S,
    steps: Vec<StepInfo>,
    lineage: Lineage,
    schema: SchemaRef,
    types: Vec<(DataType, bool)>,
    lanes: AtomicBool,
    volatile: bool,
}

impl<S: Step> Run<S> {
    /// The run, with what is known of its steps.
    pub fn new(step: S, steps: Vec<StepInfo>, lineage: Lineage) -> Self {
        let mut types = Vec::new();
        S::Made::types(&mut types);
        let total = S::Made::FIXED && lineage.units.iter().all(|u| u.total && !u.volatile);
        let volatile = lineage.units.iter().any(|u| u.volatile);
        let schema = Arc::new(crate::record::schema_of::<S::Out>());
        Run { step, steps, lineage, schema, types, lanes: AtomicBool::new(total), volatile }
    }

    fn attempt(&self, input: &Input<'_>, request: &Request, lanes: bool, track: bool) -> Result<Outcome, Panicked> {
        let arena = Arena::default();
        let faults = Faults::default();
        let wanted = &input.made;
        let mut column = 0usize;
        let mut write = S::Made::writer(input.rows.next_multiple_of(64), &mut || {
            column += 1;
            wanted.contains(&(column - 1))
        });
        let all = input.mask == !0 && (0..self.types.len()).all(|m| wanted.contains(&m));
        let read = S::In::read(&mut input.accepted.reader());
        let driven = catch(|| {
            let task = Task {
                rows: input.rows,
                alive: input.alive,
                nullable: &input.nullable,
                predicate: &input.predicate,
                hoisted: self.lineage.hoisted && lanes,
                lanes,
                dense: input.dense,
                make: Make::new(input.mask, &arena, track.then_some(&faults)),
                track: track.then_some(&faults),
                buffers: &input.buffers,
            };
            match (request.level, all) {
                // SAFETY: `V3` is only made where the machine was found to have its features.
                #[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
                (Level::V3, true) => unsafe { super::drive::drive_v3::<S, true>(&self.step, read, &task, &mut write) },
                // SAFETY: as above.
                #[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
                (Level::V3, false) => unsafe { super::drive::drive_v3::<S, false>(&self.step, read, &task, &mut write) },
                (_, true) => drive_base::<S, true>(&self.step, read, &task, &mut write),
                (_, false) => drive_base::<S, false>(&self.step, read, &task, &mut write),
            }
        });
        let row = faults.row();
        let driven = match driven {
            Ok(driven) => driven,
            Err(panicked) => return Ok(Outcome::Panicked(panicked, track.then_some(row))),
        };
        if driven.bad {
            return Ok(Outcome::Failed(faults.take().into_iter().next()));
        }
        let rows = if input.dense { driven.count } else { input.rows };
        let buffers = Buffers::new(input.buffers.clone(), arena);
        let mut columns = Vec::new();
        S::Made::finish(write, rows, &buffers, &mut columns);
        Ok(Outcome::Done(driven, columns, lanes))
    }

    fn prepare<'a>(&self, accepted: &'a Accepted, morsel: &'a Morsel, request: &Request) -> Input<'a> {
        let wanted = |name: &str| request.outputs.as_ref().is_none_or(|o| o.iter().any(|n| n == name));
        let (mask, inputs, made) = self.lineage.require(&wanted);
        let mask = request.mask & mask;
        let nullable = |i: &usize| self.lineage.inputs.get(*i).is_some_and(|c| c.nullable) && accepted.validity(*i).present();
        let reads: BTreeSet<usize> =
            self.lineage.units.iter().flat_map(|u| u.needs.inputs.iter().copied()).filter(|i| inputs.contains(i)).collect();
        let strict: BTreeSet<usize> = self
            .lineage
            .units
            .iter()
            .filter(|u| u.made.is_none() && mask >> u.bit & 1 == 1)
            .flat_map(|u| u.needs.strict.iter().copied())
            .collect();
        let mut buffers = Vec::new();
        if self.types.iter().any(|(t, _)| matches!(t, DataType::Utf8View | DataType::BinaryView)) {
            reads.iter().filter_map(|i| accepted.get(*i)).for_each(|a| text_buffers(a, &mut buffers));
        }
        let passes = self.lineage.outputs.iter().any(|(n, f)| wanted(n) && matches!(f, From::Input(_)));
        Input {
            accepted,
            rows: accepted.rows(),
            alive: morsel.selection.as_ref().map(Selection::words),
            nullable: reads.iter().filter(|i| nullable(i)).map(|i| accepted.validity(*i)).collect(),
            predicate: strict.iter().filter(|i| nullable(i)).map(|i| accepted.validity(*i)).collect(),
            mask,
            made,
            dense: request.dense && !passes,
            buffers,
        }
    }

    fn deliver(
        &self,
        input: &Input<'_>,
        morsel: &Morsel,
        request: &Request,
        driven: Driven,
        mut columns: Vec<Option<ArrayRef>>,
        hoisted: bool,
    ) -> Result<Ran> {
        let rows = if input.dense { driven.count } else { input.rows };
        let rows_in = morsel.rows();
        if hoisted {
            for unit in &self.lineage.units {
                if let Some(slot) = unit.made.and_then(|m| columns.get_mut(m))
                    && let Some(array) = slot
                {
                    let strict: Vec<Bits<'_>> =
                        unit.needs.strict.iter().map(|i| input.accepted.validity(*i)).filter(|b| b.present()).collect();
                    if !strict.is_empty() {
                        *array = strike(array, &strict, &driven.kept, input.dense, input.rows, rows);
                    }
                }
            }
        }
        let mut arrays = Vec::with_capacity(self.lineage.outputs.len());
        let mut fields = Vec::with_capacity(self.lineage.outputs.len());
        for (name, from) in &self.lineage.outputs {
            if request.outputs.as_ref().is_some_and(|o| !o.contains(name)) {
                continue;
            }
            let array = match from {
                From::Input(i) => self.lineage.inputs.get(*i).and_then(|c| morsel.batch.column_by_name(&c.name)).cloned(),
                From::Made(m) => columns.get(*m).cloned().flatten(),
            };
            if let Some(array) = array {
                let nullable = self.schema.field_with_name(name).map_or(true, |f| f.is_nullable());
                fields.push(arrow_schema::Field::new(name, array.data_type().clone(), nullable));
                arrays.push(array);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?;
        let filtered = rows_in - driven.count;
        let selection = if input.dense || driven.count == input.rows { None } else { Some(Selection::new(driven.kept)) };
        Ok(Ran { morsel: Morsel { batch, selection, origin: morsel.origin }, rows_in, filtered })
    }
}

/// Everything about a morsel that an attempt needs.
struct Input<'a> {
    accepted: &'a Accepted,
    rows: usize,
    alive: Option<&'a [u64]>,
    nullable: Vec<Bits<'a>>,
    predicate: Vec<Bits<'a>>,
    mask: u64,
    made: BTreeSet<usize>,
    dense: bool,
    buffers: Vec<arrow_buffer::Buffer>,
}

enum Outcome {
    Done(Driven, Vec<Option<ArrayRef>>, bool),
    Failed(Option<crate::record::Fault>),
    Panicked(Panicked, Option<usize>),
}

impl<S: Step> RunKernel for Run<S> {
    fn steps(&self) -> &[StepInfo] {
        &self.steps
    }
    fn lineage(&self) -> &Lineage {
        &self.lineage
    }
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn run(&self, morsel: &Morsel, request: &Request) -> Result<Ran> {
        let accepted = Accepted::match_columns(&self.lineage.inputs, &morsel.batch, Missing::Blank, S::In::NAME, &request.name)?;
        let input = self.prepare(&accepted, morsel, request);
        let lanes = self.lanes.load(Ordering::Relaxed);
        let broken = |p: Panicked| Error::internal(p.to_string());
        // A volatile function must not run twice on a row, so its row is tracked from the start; anything else runs at
        // full speed and is repeated, tracked, on the rows it may see, only if it failed or panicked.
        let mut outcome = self.attempt(&input, request, lanes, self.volatile).map_err(broken)?;
        if !matches!(outcome, Outcome::Done(..)) && !self.volatile {
            outcome = self.attempt(&input, request, false, true).map_err(broken)?;
            if lanes && matches!(outcome, Outcome::Done(..)) {
                // it only fails on rows that it never asked to see: not total after all
                self.lanes.store(false, Ordering::Relaxed);
            }
        }
        match outcome {
            Outcome::Done(driven, columns, lanes) => self.deliver(&input, morsel, request, driven, columns, self.lineage.hoisted && lanes),
            Outcome::Failed(fault) => {
                let (row, what) = fault.map_or((None, "failed".to_owned()), |f| (Some(f.row), format!("failed: {}", f.message)));
                Err(Error::Operator { operator: self.who(request, None), what, row: place(request, morsel.origin, row) })
            }
            Outcome::Panicked(p, row) => Err(Error::Operator {
                operator: self.who(request, p.operator),
                what: p.to_string(),
                row: place(request, morsel.origin, row),
            }),
        }
    }
}

impl<S: Step> Run<S> {
    /// The step's stable id and the operator that is to blame, or those that it calls.
    fn who(&self, request: &Request, operator: Option<&str>) -> String {
        if let Some(name) = operator {
            return format!("{name}` in step `{}", request.name);
        }
        let calls: BTreeSet<&str> = self.steps.iter().flat_map(|s| &s.exprs).flat_map(|e| e.calls.iter().map(String::as_str)).collect();
        if calls.is_empty() {
            request.name.clone()
        } else {
            format!("{}` in step `{}", calls.into_iter().collect::<Vec<_>>().join(", "), request.name)
        }
    }
}

fn place(request: &Request, origin: Origin, row: Option<usize>) -> String {
    let source = if request.source.is_empty() { format!("source {}", origin.source) } else { format!("`{}`", request.source) };
    match row {
        Some(row) => format!("row {} of split {} of {source}", origin.row + row as u64, origin.split),
        None => format!("a row after row {} of split {} of {source}", origin.row, origin.split),
    }
}

/// Adds the nulls of strictly used columns to a computed column.
fn strike(array: &ArrayRef, strict: &[Bits<'_>], kept: &[u64], dense: bool, rows_in: usize, rows_out: usize) -> ArrayRef {
    let mut words = Vec::with_capacity(rows_out.div_ceil(64) + 1);
    let (mut pending, mut filled) = (0u128, 0u32);
    for (i, keep) in kept.iter().enumerate() {
        let len = 64.min(rows_in - i * 64);
        // SAFETY: `i * 64 + len <= rows_in`, the length of the columns behind `strict`.
        let window = unsafe { crate::record::Window::new(i * 64, len) };
        let valid = strict.iter().fold(!0u64, |w, b| w & b.word(window));
        if dense {
            pending |= u128::from(extract(valid, *keep)) << filled;
            filled += keep.count_ones();
            if filled >= 64 {
                words.push(pending as u64);
                pending >>= 64;
                filled -= 64;
            }
        } else {
            words.push(valid);
        }
    }
    if dense && filled > 0 {
        words.push(pending as u64);
    }
    let bits = arrow_buffer::BooleanBuffer::new(arrow_buffer::Buffer::from_vec(words), 0, rows_out);
    let nulls = NullBuffer::union(array.nulls(), Some(&NullBuffer::new(bits)));
    match nulls {
        Some(nulls) => with_nulls(array, nulls),
        None => Arc::clone(array),
    }
}

/// Gathers the bits of `word` at the set bits of `mask` (PEXT).
fn extract(word: u64, mask: u64) -> u64 {
    if mask == !0 {
        return word;
    }
    super::SetBits(mask).enumerate().fold(0, |out, (to, from)| out | (word >> from & 1) << to)
}
