//! Which columns tell the rows of a stream of changes apart: by what a sink that applies changes finds the row that is replaced.

use super::{Lineages, NodeId, Op, Plan};
use crate::kernel::ColumnFrom;

/// The columns of which no two rows that count have the same values, as the plan names them at this node; none if that is not known.
pub fn identity(plan: &Plan, lineages: &Lineages<'_>, at: NodeId) -> Vec<String> {
    find(plan, lineages, at).unwrap_or_default()
}

fn find(plan: &Plan, lineages: &Lineages<'_>, at: NodeId) -> Option<Vec<String>> {
    let node = plan.node(at).ok()?;
    let up = || find(plan, lineages, *node.inputs.first()?);
    let found = match &node.op {
        Op::Aggregate { window, .. } => {
            let bounds = window.map(|_| "window_start".to_owned());
            Some(node.keys.iter().cloned().chain(bounds).collect())
        }
        Op::Top { rows: 1, .. } => Some(node.keys.clone()).filter(|k| !k.is_empty()),
        Op::Distinct { columns: Some(columns) } => Some(columns.clone()),
        Op::Distinct { columns: None } => Some(node.columns.iter().map(|c| c.name.clone()).collect()),
        Op::Unnest { .. } => up(),
        Op::Run { .. } => {
            let lineage = lineages(&node.id)?;
            let renamed = |column: String| {
                let from =
                    |from: &ColumnFrom| matches!(from, ColumnFrom::Input(i) if lineage.inputs.get(*i).is_some_and(|c| *c.name == *column));
                lineage
                    .outputs
                    .iter()
                    .find(|(name, f)| from(f) && node.columns.iter().any(|c| c.name == *name))
                    .map(|(name, _)| name.clone())
            };
            up()?.into_iter().map(renamed).collect()
        }
        Op::Sink { .. } => up(),
        op if op.is_note() => up(),
        _ => None,
    }?;
    Some(found).filter(|columns| columns.iter().all(|c| node.columns.iter().any(|own| own.name == *c)))
}
