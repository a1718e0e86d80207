//! A plan as a mermaid flowchart.

use std::fmt::Write;

use super::explain::{describe, describe_in};
use super::{Op, Plan};

/// The plan as mermaid source (`flowchart LR`); notes (`key_by`, `window`) label their edges.
///
/// Example: [`plan`](crate::plan).
pub fn mermaid(plan: &Plan) -> String {
    let mut out = String::from("flowchart LR\n");
    for (number, node) in plan.nodes.iter().enumerate() {
        if node.op.is_note() {
            continue;
        }
        let text = describe_in(plan, node).replace('"', "'");
        let (open, close) = match node.op {
            Op::Source { .. } | Op::Sink { .. } => ("([", "])"),
            Op::Run { .. } => ("[[", "]]"),
            _ => ("[", "]"),
        };
        let _ = writeln!(out, "  n{number}{open}\"{text}\"{close}");
        for input in &node.inputs {
            let mut labels = Vec::new();
            let mut at = *input;
            while let Some(up) = plan.nodes.get(at).filter(|n| n.op.is_note()) {
                labels.push(describe(up).replace('"', "'"));
                match up.inputs.first() {
                    Some(next) => at = *next,
                    None => break,
                }
            }
            labels.reverse();
            if node.op == Op::DeadLetter {
                labels.push("failed".into());
            }
            if node.op == Op::LateRows {
                labels.push("late".into());
            }
            if node.op == Op::BadRows {
                labels.push("bad".into());
            }
            let label = if labels.is_empty() { String::new() } else { format!("|\"{}\"|", labels.join("<br>")) };
            let _ = writeln!(out, "  n{at} -->{label} n{number}");
        }
    }
    out
}
