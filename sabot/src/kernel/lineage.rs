//! Where each column of a run comes from: an input column passed on, or a value computed by a step.

use std::collections::{BTreeMap, BTreeSet};

use super::info::{StepInfo, StepKind};
use crate::record::Column;

/// The origin of a column inside or after a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// The input column at this position of the input record's columns.
    Input(usize),
    /// The value with this number among the run's computed values.
    Made(usize),
}

impl From {
    fn input(&self) -> Option<usize> {
        if let From::Input(column) = self { Some(*column) } else { None }
    }
}

/// For a passed-on input column what the code that reads it later looks at besides: `r?.model` asks whether there is an `r`.
type Beside = BTreeMap<usize, BTreeSet<usize>>;

/// What a predicate or a computed value depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Input columns.
    pub inputs: BTreeSet<usize>,
    /// Computed values.
    pub made: BTreeSet<usize>,
    /// Input columns whose nulls make this null or dropped, if nulls are handled by words.
    pub strict: BTreeSet<usize>,
    /// Input columns of any type whose nulls make this null or dropped.
    pub null: BTreeSet<usize>,
}

/// A predicate or computed value of a run.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Its bit in the run's mask (saturating at 63).
    pub bit: u32,
    /// Number among the computed values; `None` for a predicate.
    pub made: Option<usize>,
    /// Number of its step in the run.
    pub step: usize,
    /// What it depends on.
    pub needs: Needs,
    /// May be called on any lane.
    pub total: bool,
    /// Not a function of its arguments.
    pub volatile: bool,
}

/// The lineage of a whole run.
#[derive(Clone, Debug)]
pub struct Lineage {
    /// Columns of the input record.
    pub inputs: Vec<Column>,
    /// Predicates and computed values, in order.
    pub units: Vec<Unit>,
    /// Output columns: name and origin.
    pub outputs: Vec<(String, From)>,
    /// Computed values that are plain copies of an input column, as a named row has them.
    pub copies: BTreeMap<usize, usize>,
    /// Whether every use of a nullable input column can be handled by validity words.
    pub hoisted: bool,
}

/// Steps with the number of values each computes (a named record computes all of its columns, in its own order).
pub struct StepShape {
    /// What is known of it.
    pub info: StepInfo,
    /// Names of the columns that its code computes, in the order of its values.
    pub made: Vec<String>,
    /// Mask bits it takes.
    pub bits: u32,
    /// Names of the columns of the record it leaves.
    pub columns: Vec<String>,
}

impl Lineage {
    /// Resolves names step by step.
    pub fn new(inputs: Vec<Column>, steps: &[StepShape]) -> Self {
        let mut scope: Vec<(String, From)> = inputs.iter().enumerate().map(|(i, c)| (c.ident.to_owned(), From::Input(i))).collect();
        let mut units: Vec<Unit> = Vec::new();
        let (mut bit, mut made, mut hoisted) = (0u32, 0usize, true);
        let mut beside = Beside::new();
        let mut copies = BTreeMap::new();
        for (number, step) in steps.iter().enumerate() {
            let mut added = Vec::new();
            match step.info.kind {
                StepKind::Filter => {
                    if let Some(e) = step.info.exprs.first() {
                        let needs = needs(e, &scope, &inputs, &units, &beside, &mut hoisted);
                        units.push(Unit { bit: bit.min(63), made: None, step: number, needs, total: e.total, volatile: e.volatile });
                    }
                }
                StepKind::With | StepKind::Select => {
                    for (k, name) in step.made.iter().enumerate() {
                        let expr = step.info.exprs.iter().find(|e| e.name == *name);
                        let (needs, total, volatile) = match expr {
                            Some(e) => (needs(e, &scope, &inputs, &units, &beside, &mut hoisted), e.total, e.volatile),
                            None => {
                                hoisted = false;
                                (all(&scope, &beside), false, true)
                            }
                        };
                        let copied = expr.and_then(|e| e.copies()).and_then(|c| scope.iter().rev().find(|(n, _)| n == c));
                        if let Some(input) = copied.and_then(|(_, from)| values_of(&copies, from)) {
                            copies.insert(made + k, input);
                        }
                        let own_bit = if step.bits == 0 { 63 } else { (bit + k as u32).min(63) };
                        units.push(Unit { bit: own_bit, made: Some(made + k), step: number, needs, total, volatile });
                        added.push((name.clone(), From::Made(made + k)));
                    }
                    for e in &step.info.exprs {
                        if let Some(pass) = &e.pass
                            && !step.made.contains(&e.name)
                            && let Some((_, from)) = scope.iter().rev().find(|(n, _)| n == pass)
                        {
                            if let From::Input(column) = from {
                                let others = e.reads.iter().flatten().filter(|r| *r != pass);
                                let input = |r: &String| scope.iter().rev().find(|(n, _)| n == r).and_then(|(_, from)| from.input());
                                let others: Vec<usize> = others.filter_map(input).collect();
                                beside.entry(*column).or_default().extend(others);
                            }
                            added.push((e.name.clone(), from.clone()));
                        }
                    }
                    made += step.made.len();
                    if step.info.kind == StepKind::Select {
                        scope.clear();
                    }
                    scope.retain(|(n, _)| !added.iter().any(|(a, _)| a == n));
                    scope.append(&mut added);
                }
            }
            bit += step.bits;
        }
        // column names of the output: fields keep their Rust names inside a run, renames show outside
        let rename = |ident: &str, from: &From| match from {
            From::Input(i) => inputs.get(*i).filter(|c| c.ident == ident).map_or(ident.to_owned(), |c| c.name.to_string()),
            From::Made(_) => ident.to_owned(),
        };
        let order = steps.last().map(|s| s.columns.clone()).unwrap_or_default();
        let mut outputs: Vec<(String, From)> = scope.iter().map(|(n, f)| (rename(n, f), f.clone())).collect();
        outputs.sort_by_key(|(n, _)| order.iter().position(|o| o == n).unwrap_or(usize::MAX));
        Lineage { inputs, units, outputs, copies, hoisted }
    }

    /// The input column of which an output column has the values, passed on or copied.
    pub fn values_of(&self, output: &str) -> Option<&Column> {
        let (_, from) = self.outputs.iter().find(|(name, _)| name == output)?;
        self.inputs.get(values_of(&self.copies, from)?)
    }

    /// The mask bits and input columns that are needed for these outputs (all predicates included).
    pub fn require(&self, wanted: &dyn Fn(&str) -> bool) -> (u64, BTreeSet<usize>, BTreeSet<usize>) {
        let mut inputs = BTreeSet::new();
        let mut made = BTreeSet::new();
        for (name, from) in &self.outputs {
            if wanted(name) {
                match from {
                    From::Input(i) => drop(inputs.insert(*i)),
                    From::Made(m) => drop(made.insert(*m)),
                }
            }
        }
        let mut mask = 0u64;
        for unit in self.units.iter().rev() {
            if unit.made.is_none_or(|m| made.contains(&m)) {
                mask |= 1 << unit.bit;
                inputs.extend(&unit.needs.inputs);
                made.extend(&unit.needs.made);
            }
        }
        if self.units.iter().all(|u| mask >> u.bit & 1 == 1) {
            mask = !0;
        }
        (mask, inputs, made)
    }
}

fn values_of(copies: &BTreeMap<usize, usize>, from: &From) -> Option<usize> {
    match from {
        From::Input(input) => Some(*input),
        From::Made(made) => copies.get(made).copied(),
    }
}

fn all(scope: &[(String, From)], beside: &Beside) -> Needs {
    let mut needs = Needs::default();
    for (_, from) in scope {
        match from {
            From::Input(i) => {
                needs.inputs.insert(*i);
                needs.inputs.extend(beside.get(i).into_iter().flatten());
            }
            From::Made(m) => drop(needs.made.insert(*m)),
        }
    }
    needs
}

fn needs(e: &super::info::Expr, scope: &[(String, From)], inputs: &[Column], units: &[Unit], beside: &Beside, hoisted: &mut bool) -> Needs {
    let Some(reads) = &e.reads else {
        *hoisted = false;
        return all(scope, beside);
    };
    let mut out = Needs::default();
    for name in reads {
        let strict = e.hoist && e.strict.contains(name);
        match scope.iter().rev().find(|(n, _)| n == name).map(|(_, f)| f) {
            Some(From::Input(i)) => {
                out.inputs.insert(*i);
                out.inputs.extend(beside.get(i).into_iter().flatten());
                let column = inputs.get(*i);
                if strict {
                    out.null.insert(*i);
                }
                if column.is_some_and(|c| c.nullable) {
                    if strict && column.is_some_and(|c| c.fixed) {
                        out.strict.insert(*i);
                    } else {
                        *hoisted = false;
                    }
                }
            }
            Some(From::Made(m)) => {
                out.made.insert(*m);
                if let Some(unit) = units.iter().find(|u| u.made == Some(*m)) {
                    if !unit.needs.strict.is_empty() && !strict {
                        *hoisted = false;
                    }
                    if strict {
                        out.strict.extend(&unit.needs.strict);
                        out.null.extend(&unit.needs.null);
                    }
                }
            }
            None => {}
        }
    }
    out
}
