//! What a step looks like to a checkpoint: enough to tell whether another plan's step of the same name may take over its state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::kernel::hash::hash_bytes;
use crate::operator::{Exchange, PhysicalNode, PhysicalPlan, Split, Work};
use crate::{Error, Result};

/// A step of the plan that a checkpoint was taken of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepShape {
    /// Stable id.
    pub name: String,
    /// `source`, `operator` or `sink`.
    pub kind: String,
    /// The columns that its input is hashed by, with their types: what its state belongs to.
    pub keys: Vec<String>,
    /// The steps that it reads, in the order of its inputs, with the columns that they deliver.
    pub inputs: Vec<(String, Vec<String>)>,
    /// Whether its rows end.
    pub bounded: bool,
    /// Of a source that ends: a hash of what it reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
}

/// A hash of the splits of a source.
fn input_of(splits: &[Split]) -> Result<String> {
    let all = splits.iter().map(|s| (s.partition, s.sequence, s.rows, &s.spec)).collect::<Vec<_>>();
    let text = serde_json::to_vec(&all).map_err(|e| Error::internal(e.to_string()))?;
    Ok(format!("{:016x}", hash_bytes(&text)))
}

/// The shapes of all steps, in the plan's order; with the splits of its sources.
pub(super) fn shapes(plan: &PhysicalPlan, splits: &BTreeMap<usize, Vec<Split>>) -> Result<Vec<StepShape>> {
    let columns = |node: usize| -> Vec<String> {
        let fields = plan.nodes.get(node).map(|n| n.schema.fields().clone()).unwrap_or_default();
        fields.iter().map(|f| format!("{}: {}{}", f.name(), f.data_type(), if f.is_nullable() { "?" } else { "" })).collect()
    };
    let shape = |(number, node): (usize, &PhysicalNode)| -> Result<StepShape> {
        Ok(StepShape {
            name: node.name.clone(),
            kind: match node.work {
                Work::Source(_) => "source",
                Work::Operator(_) => "operator",
                Work::Sink => "sink",
            }
            .to_owned(),
            keys: node
                .inputs
                .iter()
                .find_map(|i| if let Exchange::Hash(keys) = &i.exchange { Some((i.from, keys)) } else { None })
                .map_or_else(Vec::new, |(from, keys)| {
                    let schema = plan.nodes.get(from).map(|n| &n.schema);
                    let of = |k: &String| {
                        schema.and_then(|s| s.field_with_name(k).ok()).map_or_else(|| k.clone(), |f| format!("{k}: {}", f.data_type()))
                    };
                    keys.iter().map(of).collect()
                }),
            inputs: node
                .inputs
                .iter()
                .map(|i| (plan.nodes.get(i.from).map(|n| n.name.clone()).unwrap_or_default(), columns(i.from)))
                .collect(),
            bounded: node.bounded,
            input: splits.get(&number).filter(|_| node.bounded).map(|s| input_of(s)).transpose()?,
        })
    };
    plan.nodes.iter().enumerate().map(shape).collect()
}
