//! A run: adjacent row-wise steps as one kernel over morsels.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use arrow_array::ArrayRef;
use arrow_schema::{DataType, SchemaRef};

use super::computed::Computed;
use super::drive::drive_base;
use super::faults::{self, ErrorPolicy};
use super::info::{Form, StepInfo, Way};
use super::lineage::Lineage;
use super::panics::{Panicked, catch};
use super::plan::{Bound, Pass, Plan};
use super::result::{self, strike_all};
use super::step::Step;
use super::task::{Driven, Task};
use super::{Level, Morsel, Origin, Selection};
use crate::record::{Accepted, Arena, Bits, Buffers, Fallible, Faults, Make, Record, text_buffers};
use crate::{Error, Result};

/// A compiled run, without its types.
pub trait RunKernel: Send + Sync {
    /// What is known of its steps.
    fn steps(&self) -> &[StepInfo];
    /// Where its columns come from.
    fn lineage(&self) -> &Lineage;
    /// How it goes over rows.
    fn form(&self) -> Form;
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
    /// What becomes of rows on which user code returns an error.
    pub errors: ErrorPolicy,
    /// Input columns that dead letters carry.
    pub letters: Vec<String>,
}

impl Request {
    /// Everything, at the machine's best level.
    pub fn all(name: impl Into<String>) -> Self {
        Request {
            mask: !0,
            outputs: None,
            level: Level::current(),
            dense: false,
            name: name.into(),
            source: String::new(),
            errors: ErrorPolicy::Fail,
            letters: Vec::new(),
        }
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
    /// Rows that left because user code returned an error.
    pub failed: usize,
    /// These rows with the reason, under [`ErrorPolicy::DeadLetter`]; `None` if there are none.
    pub letters: Option<Morsel>,
}

/// A run of steps of one type.
pub struct Run<S: Step> {
    step: S,
    steps: Vec<StepInfo>,
    pub(super) lineage: Lineage,
    schema: SchemaRef,
    pub(super) types: Vec<(DataType, bool)>,
    lanes: AtomicBool,
    lead: AtomicBool,
    volatile: bool,
    plan: RwLock<Option<Arc<Plan>>>,
}

impl<S: Step> Run<S> {
    /// The run, with what is known of its steps. `Out` is the record that it leaves, once errors are dealt with.
    pub fn new<Out: Record>(step: S, steps: Vec<StepInfo>, lineage: Lineage) -> Self {
        let mut types = Vec::new();
        S::Made::types(&mut types);
        let total = |u: &super::Unit| u.total && !u.volatile;
        // a predicate behind a function that may fail must not drop the row unseen
        let hides = <S::Fails as Fallible>::MAY && S::MORE;
        let lanes = AtomicBool::new(S::Made::FIXED && lineage.units.iter().all(total) && !hides);
        let volatile = lineage.units.iter().any(|u| u.volatile);
        let lead = AtomicBool::new(!volatile && lineage.units.iter().take(S::LEAD as usize).all(total));
        let schema = Arc::new(crate::record::schema_of::<Out>());
        Run { step, steps, lineage, schema, types, lanes, lead, volatile, plan: RwLock::new(None) }
    }

    fn plan(&self, request: &Request) -> Arc<Plan> {
        let kept = self.plan.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(plan) = kept.filter(|p| p.fits(request)) {
            return plan;
        }
        let plan = Arc::new(Plan::new(request, &self.lineage, &self.schema, &self.types, S::LEAD as usize));
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&plan));
        plan
    }

    pub(super) fn attempt(&self, input: &Input<'_>, track: bool) -> Result<Outcome, Panicked> {
        let pass = input.pass;
        let lanes = !track && self.lanes.load(Ordering::Relaxed);
        let lead = !track && self.lead.load(Ordering::Relaxed);
        let (arena, faults) = (Arena::default(), Faults::default());
        let mut wanted = pass.made.iter();
        let mut write = S::Made::writer(input.rows, &mut || wanted.next().copied().unwrap_or(false));
        let bits = |of: &[usize]| -> Vec<Bits<'_>> { of.iter().map(|i| input.accepted.validity(*i)).filter(|b| b.present()).collect() };
        let (nullable, predicate) = (bits(&pass.nullable), bits(&pass.predicate));
        let [behind_all, behind_first] = &pass.common;
        let common = if track { Vec::new() } else { bits(if lead { behind_all } else { behind_first }) };
        let mut buffers = Vec::new();
        if pass.makes_text {
            input.accepted.arrays().for_each(|a| text_buffers(a, &mut buffers));
        }
        let hoisted = self.lineage.hoisted && lanes;
        let read = S::In::read(&mut input.accepted.reader());
        let driven = catch(|| {
            let task = Task {
                rows: input.rows,
                alive: input.alive,
                nullable: &nullable,
                predicate: &predicate,
                common: &common,
                hoisted,
                lanes,
                lead,
                text: pass.text,
                dense: input.dense,
                // on lanes, errors of rows that nobody sees are none
                make: Make::new(pass.mask, &arena, (track || !lanes).then_some(&faults)),
                track: track.then_some(&faults),
                drops: track && input.errors.drops(),
                buffers: &buffers,
            };
            match (input.level, pass.mask == !0) {
                // SAFETY: `V3` is only made where the machine was found to have its features.
                #[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
                (Level::V3, true) => unsafe { super::drive::drive_v3::<S, true>(&self.step, read, &task, &mut write) },
                // SAFETY: as above.
                #[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
                (Level::V3, false) => unsafe { super::drive::drive_v3::<S, false>(&self.step, read, &task, &mut write) },
                // SAFETY: `V4` is only made where the machine was found to have its features.
                #[cfg(all(target_arch = "x86_64", not(debug_assertions), feature = "avx512"))]
                (Level::V4, true) => unsafe { super::drive::drive_v4::<S, true>(&self.step, read, &task, &mut write) },
                // SAFETY: as above.
                #[cfg(all(target_arch = "x86_64", not(debug_assertions), feature = "avx512"))]
                (Level::V4, false) => unsafe { super::drive::drive_v4::<S, false>(&self.step, read, &task, &mut write) },
                (_, true) => drive_base::<S, true>(&self.step, read, &task, &mut write),
                (_, false) => drive_base::<S, false>(&self.step, read, &task, &mut write),
            }
        });
        let driven = match driven {
            Ok(driven) => driven,
            Err(panicked) => return Ok(Outcome::Panicked(panicked, track.then_some(faults.row()))),
        };
        let faults = faults.take();
        if (driven.bad || !faults.is_empty()) && (!track || input.errors == ErrorPolicy::Fail) {
            return Ok(Outcome::Failed(faults.into_iter().next()));
        }
        let rows = if input.dense { driven.count } else { input.rows };
        let mut columns = Vec::with_capacity(self.types.len());
        S::Made::finish(write, rows, &Buffers::new(buffers, arena), &mut columns);
        if hoisted {
            strike_all(&self.lineage, input.accepted, &driven.kept, input.dense, rows, &mut columns);
        }
        Ok(Outcome::Done(driven, columns, faults))
    }

    /// A pass over rows: at full speed, and once more, row by row, on the rows it may see only, if that failed.
    pub(super) fn execute(&self, input: &Input<'_>) -> Result<Outcome, Panicked> {
        // A volatile function must not run twice on a row, so its row is tracked from the start.
        let first = self.attempt(input, self.volatile)?;
        if self.volatile || matches!(first, Outcome::Done(..)) {
            return Ok(first);
        }
        let second = self.attempt(input, true)?;
        if matches!(second, Outcome::Done(..)) {
            // it only fails on rows that it never asked to see: not total after all
            self.lanes.store(false, Ordering::Relaxed);
            self.lead.store(false, Ordering::Relaxed);
        }
        Ok(second)
    }

    pub(super) fn accept(&self, pass: &Pass, bound: &Bound, morsel: &Morsel, request: &Request) -> Result<Accepted> {
        let places = pass.reads.iter().zip(&bound.places).map(|(read, place)| place.filter(|_| *read));
        Accepted::at(&self.lineage.inputs, &morsel.batch, places, S::In::NAME, &request.name)
    }
}

/// Everything about rows that an attempt needs.
pub(super) struct Input<'a> {
    pub(super) pass: &'a Pass,
    pub(super) accepted: &'a Accepted,
    pub(super) rows: usize,
    pub(super) alive: Option<&'a [u64]>,
    pub(super) dense: bool,
    pub(super) level: Level,
    pub(super) errors: ErrorPolicy,
}

/// How an attempt ended.
pub(super) enum Outcome {
    /// Kept rows, computed columns, and what went wrong with single rows, unless that ends the job.
    Done(Driven, Vec<Option<ArrayRef>>, Vec<crate::record::Fault>),
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
    fn form(&self) -> Form {
        let way = match (self.lanes.load(Ordering::Relaxed), self.lead.load(Ordering::Relaxed)) {
            (true, _) => Way::Lanes,
            (false, true) if S::LEAD > 0 => Way::TwoPasses(S::LEAD),
            _ => Way::Rows,
        };
        let shown = |made: usize| self.lineage.outputs.iter().find(|(_, from)| *from == super::ColumnFrom::Made(made));
        let wide = self.types.iter().enumerate().filter(|(_, (t, _))| !t.is_primitive() && *t != DataType::Boolean);
        let hoisted = way == Way::Lanes && self.lineage.hoisted;
        let nullable: BTreeSet<usize> =
            self.lineage.units.iter().flat_map(|u| u.needs.strict.iter().copied()).filter(|_| hoisted).collect();
        Form {
            way,
            wide: wide.map(|(made, _)| shown(made).map(|(name, _)| name.clone()).unwrap_or_default()).collect(),
            hoisted: nullable.iter().filter_map(|i| self.lineage.inputs.get(*i)).map(|c| c.name.to_string()).collect(),
        }
    }
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn run(&self, morsel: &Morsel, request: &Request) -> Result<Ran> {
        let plan = self.plan(request);
        let bound = plan.bind(&morsel.batch, &self.lineage, &self.types, S::LEAD as usize);
        let mut done = None;
        // what is volatile must not run again to find the row
        let once = self.volatile && request.errors != ErrorPolicy::Fail;
        if !bound.by_value.is_empty() && !once {
            done = self.by_value(&plan, &bound, morsel, request)?;
        }
        let (driven, mut columns, faults) = match done {
            Some((driven, columns)) => (driven, columns, Vec::new()),
            None => {
                let accepted = self.accept(&plan.pass, &bound, morsel, request)?;
                let (rows, alive) = (accepted.rows(), morsel.selection.as_ref().map(Selection::words));
                let input = Input {
                    pass: &plan.pass,
                    accepted: &accepted,
                    rows,
                    alive,
                    dense: plan.dense,
                    level: request.level,
                    errors: request.errors,
                };
                match self.execute(&input).map_err(|p| Error::internal(p.to_string()))? {
                    Outcome::Done(driven, columns, faults) => (driven, columns, faults),
                    Outcome::Failed(Some(f)) => {
                        let operator = faults::who(&self.steps, request, &f);
                        let row = place(request, morsel.origin, Some(f.row));
                        return Err(Error::Operator { operator, what: format!("failed: {}", f.message), row });
                    }
                    Outcome::Failed(None) => return Err(Error::internal(format!("`{}` failed without saying where", request.name))),
                    Outcome::Panicked(p, row) => {
                        let (operator, row) = (self.who(request, p.operator), place(request, morsel.origin, row));
                        return Err(Error::Operator { operator, what: p.to_string(), row });
                    }
                }
            }
        };
        if request.errors == ErrorPolicy::Null && !faults.is_empty() {
            let place = |row: usize| if plan.dense { rank(&driven.kept, row) } else { row };
            faults::nulls(&self.steps, &self.lineage, &faults, &mut columns, &place)?;
        }
        let (rows_in, rows) = (morsel.rows(), morsel.batch.num_rows());
        let batch = result::batch(&plan, &bound, &morsel.batch, &columns, if plan.dense { driven.count } else { rows })?;
        let dropped = if request.errors.drops() { faults::rows(&faults).len() } else { 0 };
        let filtered = rows_in - driven.count - dropped;
        let letters = if dropped > 0 && request.errors == ErrorPolicy::DeadLetter {
            Some(Morsel::new(faults::letters(&self.steps, request, morsel, &faults)?, morsel.origin))
        } else {
            None
        };
        let selection = if plan.dense || driven.count == rows { None } else { Some(Selection::new(driven.kept)) };
        Ok(Ran { morsel: Morsel { batch, selection, origin: morsel.origin }, rows_in, filtered, failed: dropped, letters })
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

/// How many bits are set before `row`.
fn rank(words: &[u64], row: usize) -> usize {
    let whole = words.iter().take(row / 64).map(|w| w.count_ones() as usize).sum::<usize>();
    whole + words.get(row / 64).map_or(0, |w| (w & ((1 << (row % 64)) - 1)).count_ones() as usize)
}

fn place(request: &Request, origin: Origin, row: Option<usize>) -> String {
    let source = if request.source.is_empty() { format!("source {}", origin.source) } else { format!("`{}`", request.source) };
    match row {
        Some(row) => format!("row {} of split {} of {source}", origin.row + row as u64, origin.split),
        None => format!("a row after row {} of split {} of {source}", origin.row, origin.split),
    }
}
