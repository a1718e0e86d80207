//! Which columns tell the rows of a stream of changes apart: by what a sink that applies changes finds the row that is replaced.

use super::{JoinKind, Lineages, Matching, NodeId, Op, Plan};

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
                let same = |output: &str| lineage.values_of(output).is_some_and(|c| *c.name == *column);
                node.columns.iter().find(|c| same(&c.name)).map(|c| c.name.clone())
            };
            up()?.into_iter().map(renamed).collect()
        }
        Op::Join { kind, matching: Matching::Equal, left, right, .. } => {
            let of = |port: usize| node.inputs.get(port).and_then(|i| find(plan, lineages, *i));
            joined(*kind, [left, right], [of(0), of(1)])
        }
        Op::Sink { .. } | Op::PartitionBy { .. } | Op::Rebalance => up(),
        op if op.is_note() => up(),
        _ => None,
    }?;
    Some(found).filter(|columns| columns.iter().all(|c| node.columns.iter().any(|own| own.name == *c)))
}

/// The same of a join by these keys, whose sides have these columns. Changes of one row must come from one place: its columns have all keys
/// of the join.
fn joined(kind: JoinKind, keys: [&[String]; 2], sides: [Option<Vec<String>>; 2]) -> Option<Vec<String>> {
    let [left_keys, right_keys] = keys;
    let within = |some: &[String], all: &[String]| some.iter().all(|c| all.contains(c));
    let [left, right] = &sides;
    let of = |side: &Option<Vec<String>>, keys: &[String]| side.clone().filter(|columns| within(keys, columns));
    let (of_left, of_right) = (of(left, left_keys), of(right, right_keys));
    if !kind.pairs() {
        return of_left;
    }
    let named = |prefix: &str, columns: Vec<String>| columns.into_iter().map(|c| format!("{prefix}.{c}")).collect::<Vec<String>>();
    // of a key that has one row at most on the other side, a row has one partner
    let single = |side: &Option<Vec<String>>, keys: &[String]| side.as_ref().is_some_and(|columns| within(columns, keys));
    match kind {
        JoinKind::Inner | JoinKind::Left if of_left.is_some() && single(right, right_keys) => of_left.map(|c| named("left", c)),
        JoinKind::Inner | JoinKind::Right if of_right.is_some() && single(left, left_keys) => of_right.map(|c| named("right", c)),
        JoinKind::Inner if of_left.is_some() || of_right.is_some() => {
            let [left, right] = sides;
            Some([named("left", left?), named("right", right?)].concat())
        }
        _ => None,
    }
}
