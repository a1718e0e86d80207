//! Whether what becomes of a step's rows depends on their order.

use arrow_schema::DataType;

use super::{Matching, Node, NodeId, Op, Plan};

/// Whether a step behind `from` makes other values of the same rows in another order: a keyed step, a sample, or an aggregate whose function
/// is not the same in any order, like a sum of floats. The order of a sink's rows does not count.
pub fn order_matters(plan: &Plan, from: NodeId) -> bool {
    plan.consumers(from).into_iter().any(|(number, _)| {
        let Ok(node) = plan.node(number) else { return false };
        let here = match &node.op {
            Op::Keyed { .. } | Op::Sample { .. } => true,
            Op::Aggregate { functions, .. } => functions.iter().any(|f| !same_in_any_order(node, &f.function, &f.name)),
            _ => false,
        };
        here || order_matters(plan, number)
    })
}

/// Whether a step behind `from` tells in which order its rows come: as for [`order_matters`], and because it takes the first of
/// several rows, or leaves equal ones as they were. What follows a step with an order of its own does not count.
pub fn order_shows(plan: &Plan, from: NodeId) -> bool {
    plan.consumers(from).into_iter().any(|(number, _)| {
        let Ok(node) = plan.node(number) else { return false };
        match &node.op {
            Op::Keyed { .. } | Op::Sample { .. } | Op::Limit { .. } | Op::Sort { .. } | Op::Top { .. } | Op::Over { .. } => true,
            Op::Distinct { .. } | Op::Set { .. } => true,
            Op::Join { matching, .. } if *matching != Matching::Equal => true,
            Op::Aggregate { functions, .. } => functions.iter().any(|f| !same_in_any_order(node, &f.function, &f.name)),
            Op::Sink { .. } => false,
            _ => order_shows(plan, number),
        }
    })
}

/// Whether a step behind `from` makes something of each split of its rows, that is not the same wherever splits are cut: an aggregate whose
/// function adds up in another order then, or a function of the user's over batches.
pub fn blocks_show(plan: &Plan, from: NodeId) -> bool {
    plan.consumers(from).into_iter().any(|(number, _)| {
        let Ok(node) = plan.node(number) else { return false };
        match &node.op {
            Op::Aggregate { functions, .. } => functions.iter().any(|f| !same_in_any_order(node, &f.function, &f.name)),
            Op::Batch { .. } => true,
            Op::Sink { .. } => false,
            _ => blocks_show(plan, number),
        }
    })
}

fn same_in_any_order(node: &Node, function: &str, column: &str) -> bool {
    match function {
        "count" | "min" | "max" | "any" | "all" | "count_distinct" => true,
        "sum" => {
            let float = |d: &DataType| matches!(d, DataType::Float16 | DataType::Float32 | DataType::Float64);
            // a column that was pruned is not made
            node.columns.iter().find(|c| c.name == column).is_none_or(|c| !float(&c.data_type))
        }
        _ => false,
    }
}
