//! What a run does for a request, worked out once and kept: which units, columns and null rules, and where a batch of a
//! given schema has its columns. A morsel of a thousand rows should not pay for it again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::by_value::{ByValue, candidates};
use super::lineage::{From, Lineage};
use super::run::Request;

/// The units of one pass over rows, and the columns that they need.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    /// Predicates and outputs to compute.
    pub mask: u64,
    /// Computed columns to write.
    pub made: Vec<bool>,
    /// Input columns that are read.
    pub reads: Vec<bool>,
    /// Nullable ones among them.
    pub nullable: Vec<usize>,
    /// Columns without which predicates drop a row, if nulls are handled by words.
    pub predicate: Vec<usize>,
    /// Columns whose nulls make everything behind all leading predicates null or dropped; behind the first.
    pub common: [Vec<usize>; 2],
    /// Whether text is read.
    pub text: bool,
    /// Whether text is written.
    pub makes_text: bool,
}

impl Pass {
    /// The pass that computes these values and predicates.
    pub(super) fn new(
        lineage: &Lineage,
        types: &[(DataType, bool)],
        lead: usize,
        wanted: &BTreeSet<usize>,
        predicates: &BTreeSet<usize>,
    ) -> Pass {
        let (mut made, mut inputs, mut mask) = (wanted.clone(), BTreeSet::new(), 0u64);
        let mut on = vec![false; lineage.units.len()];
        for (i, unit) in lineage.units.iter().enumerate().rev() {
            if unit.made.map_or_else(|| predicates.contains(&i), |m| made.contains(&m)) {
                mask |= 1 << unit.bit;
                inputs.extend(&unit.needs.inputs);
                made.extend(&unit.needs.made);
                on.iter_mut().skip(i).take(1).for_each(|b| *b = true);
            }
        }
        if on.iter().all(|b| *b) && !on.is_empty() {
            mask = !0;
        }
        let nullable = |i: &usize| lineage.inputs.get(*i).is_some_and(|c| c.nullable);
        let behind = |skip: usize| -> Vec<usize> {
            let mut rest = lineage.units.iter().zip(&on).skip(skip).filter(|(_, on)| **on).map(|(u, _)| &u.needs.null);
            let first = rest.next().cloned().unwrap_or_default();
            rest.fold(first, |all, one| all.intersection(one).copied().collect()).into_iter().filter(nullable).collect()
        };
        let strict =
            lineage.units.iter().zip(&on).filter(|(u, on)| **on && u.made.is_none()).flat_map(|(u, _)| u.needs.strict.iter().copied());
        let strict: BTreeSet<usize> = strict.filter(nullable).collect();
        Pass {
            mask,
            made: (0..types.len()).map(|m| wanted.contains(&m)).collect(),
            reads: (0..lineage.inputs.len()).map(|i| inputs.contains(&i)).collect(),
            nullable: inputs.iter().copied().filter(nullable).collect(),
            predicate: strict.into_iter().collect(),
            common: [behind(lead), behind(lead.min(1))],
            text: inputs.iter().filter_map(|i| lineage.inputs.get(*i)).any(|c| !c.fixed),
            makes_text: types.iter().any(|(t, _)| matches!(t, DataType::Utf8View | DataType::BinaryView)),
        }
    }
}

/// An output column.
#[derive(Clone, Debug)]
pub(super) struct Out {
    pub name: String,
    pub from: From,
    pub nullable: bool,
}

/// A plan for batches of one schema.
#[derive(Debug)]
pub(super) struct Bound {
    schema: SchemaRef,
    /// The batch's column for each input of the run.
    pub places: Vec<Option<usize>>,
    /// The schema of the result, unless a column comes as a dictionary.
    pub result: SchemaRef,
    /// Columns to look at once per dictionary value.
    pub by_value: Vec<ByValue>,
}

/// What a run does for a request.
#[derive(Debug)]
pub(super) struct Plan {
    key: (u64, Option<Vec<String>>, bool),
    /// The outputs, in order.
    pub outputs: Vec<Out>,
    /// Everything row by row.
    pub pass: Pass,
    /// Computed columns and predicates that are wanted.
    pub wanted: (BTreeSet<usize>, BTreeSet<usize>),
    /// Whether outputs are written densely.
    pub dense: bool,
    bound: Mutex<Option<Arc<Bound>>>,
}

impl Plan {
    pub(super) fn new(request: &Request, lineage: &Lineage, schema: &Schema, types: &[(DataType, bool)], lead: usize) -> Plan {
        let wants = |name: &str| request.outputs.as_ref().is_none_or(|o| o.iter().any(|n| n == name));
        let outputs: Vec<Out> = lineage
            .outputs
            .iter()
            .filter(|(name, _)| wants(name))
            .map(|(name, from)| Out {
                name: name.clone(),
                from: from.clone(),
                nullable: schema.field_with_name(name).map_or(true, Field::is_nullable),
            })
            .collect();
        let read: BTreeSet<usize> = outputs.iter().filter_map(|o| if let From::Made(m) = o.from { Some(m) } else { None }).collect();
        // a value that nobody reads may fail, and decides which rows there are
        let made = if request.errors.drops() { (0..types.len()).collect() } else { read };
        let on = |bit: u32| request.mask >> bit & 1 == 1;
        let predicates = lineage.units.iter().enumerate().filter(|(_, u)| u.made.is_none() && on(u.bit)).map(|(i, _)| i).collect();
        let mut pass = Pass::new(lineage, types, lead, &made, &predicates);
        pass.mask &= request.mask;
        Plan {
            key: (request.mask, request.outputs.clone(), request.dense),
            dense: request.dense && !outputs.iter().any(|o| matches!(o.from, From::Input(_))),
            outputs,
            pass,
            wanted: (made, predicates),
            bound: Mutex::new(None),
        }
    }

    pub(super) fn fits(&self, request: &Request) -> bool {
        self.key.0 == request.mask && self.key.2 == request.dense && self.key.1 == request.outputs
    }

    /// The plan for this batch's schema; batches of one source share theirs.
    pub(super) fn bind(&self, batch: &RecordBatch, lineage: &Lineage, types: &[(DataType, bool)], lead: usize) -> Arc<Bound> {
        let mut slot = self.bound.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(bound) = slot.as_ref()
            && Arc::ptr_eq(&bound.schema, batch.schema_ref())
        {
            return Arc::clone(bound);
        }
        let schema = batch.schema();
        let places: Vec<Option<usize>> = (0..lineage.inputs.len())
            .map(|i| {
                let (column, later) = (lineage.inputs.get(i)?, lineage.inputs.get(i + 1..).unwrap_or(&[]));
                if later.iter().any(|l| l.name == column.name) { None } else { schema.index_of(&column.name).ok() }
            })
            .collect();
        let fields: Vec<Field> = self
            .outputs
            .iter()
            .filter_map(|o| {
                let data_type = match &o.from {
                    From::Input(i) => places.get(*i).copied().flatten().map(|p| schema.field(p).data_type().clone()),
                    From::Made(m) => types.get(*m).map(|(t, _)| t.clone()),
                };
                data_type.map(|t| Field::new(&o.name, t, o.nullable))
            })
            .collect();
        let dictionary = |i: usize| {
            let place = places.get(i).copied().flatten();
            place.is_some_and(|p| matches!(schema.field(p).data_type(), DataType::Dictionary(_, _)))
        };
        let by_value = candidates(lineage, types, lead, &self.wanted, &dictionary);
        let bound = Arc::new(Bound { places, result: Arc::new(Schema::new(fields)), by_value, schema });
        *slot = Some(Arc::clone(&bound));
        bound
    }
}
