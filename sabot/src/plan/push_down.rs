//! Pass: tell sources which rows nobody wants.
//!
//! Where every reader of a source begins with filters that the macro could read, the source is told the condition that a row
//! must meet to be kept by any of them. It may then leave out what certainly does not meet it (row groups and pages of
//! Parquet, by their statistics). The filters stay: a source that leaves nothing out is right too.
//!
//! A predicate counts only if nothing before it could fail, panic or have an effect on a row that is left out.

use std::collections::{BTreeSet, VecDeque};

use super::prune::Lineages;
use super::{NodeId, Op, Plan};
use crate::Result;
use crate::kernel::{Predicate, StepInfo, StepKind, returns_result};

/// Sets the filter of each source; returns how many have one.
///
/// # Errors
/// If the plan and the lineages do not belong together.
pub fn push_down(plan: &mut Plan, lineages: &Lineages<'_>) -> Result<usize> {
    let mut found = Vec::new();
    for (number, node) in plan.nodes.iter().enumerate() {
        if matches!(node.op, Op::Source { .. })
            && let Some(predicate) = wanted(plan, number, lineages)?
        {
            found.push((number, predicate));
        }
    }
    let count = found.len();
    for (number, predicate) in found {
        if let Some(Op::Source { filter, .. }) = plan.nodes.get_mut(number).map(|n| &mut n.op) {
            *filter = Some(predicate);
        }
    }
    Ok(count)
}

/// What a row of this source must meet to be wanted by any reader.
fn wanted(plan: &Plan, source: NodeId, lineages: &Lineages<'_>) -> Result<Option<Predicate>> {
    let mut any = Vec::new();
    let mut readers = VecDeque::from(plan.consumers(source));
    while let Some((reader, _)) = readers.pop_front() {
        let node = plan.node(reader)?;
        // which instance looks at a row does not matter to its filters
        if node.op.is_edge() {
            let behind = plan.consumers(reader);
            if behind.is_empty() {
                return Ok(None);
            }
            readers.extend(behind);
            continue;
        }
        let Op::Run { steps, .. } = &node.op else { return Ok(None) };
        let Some(lineage) = lineages(&node.id) else { return Ok(None) };
        let rename = |ident: &str| lineage.inputs.iter().find(|c| c.ident == ident).map(|c| c.name.to_string());
        any.push(leading(steps).resolve(&rename, &|_| None));
    }
    Ok(if any.is_empty() { None } else { Predicate::Or(any).simplified() })
}

/// What the first steps of a run demand of its input, as far as it can be told.
fn leading(steps: &[StepInfo]) -> Predicate {
    let mut all = Vec::new();
    let mut made = BTreeSet::new();
    for step in steps {
        for e in &step.exprs {
            // `simple` is there only for filters
            let predicate = e.simple.clone().unwrap_or(Predicate::Unknown);
            let safe = e.pass.is_some() || (e.total && !e.volatile && !returns_result(&e.calls));
            let predicate = if safe { predicate } else { predicate.before_unknown() };
            let same = |ident: &str| (!made.contains(ident)).then(|| ident.to_owned());
            all.push(predicate.resolve(&same, &|_| None));
            if !safe {
                return Predicate::And(all);
            }
        }
        match step.kind {
            StepKind::Filter => {}
            StepKind::With => made.extend(step.exprs.iter().map(|e| e.name.clone())),
            StepKind::Select => break,
        }
    }
    Predicate::And(all)
}
