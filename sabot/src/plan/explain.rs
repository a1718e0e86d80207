//! A plan as text: one line per node, runs with their steps.

use std::fmt::Write;

use super::{JoinKind, Node, Op, Plan, SortBy, Span};

/// The plan as an indented listing, sources first.
pub fn explain(plan: &Plan) -> String {
    let mut out = format!("pipeline {}\n", plan.pipeline);
    for (number, node) in plan.nodes.iter().enumerate() {
        let inputs: Vec<String> = node.inputs.iter().map(|i| format!("#{i}")).collect();
        let from = if inputs.is_empty() { String::new() } else { format!(" <- {}", inputs.join(", ")) };
        let _ = writeln!(out, "  #{number} {}{from}: {}", stream_of(node), describe(node));
        if let Op::Run { steps, .. } = &node.op {
            for step in steps {
                for e in &step.exprs {
                    let made = if e.name.is_empty() { step.step.clone() } else { format!("{} {} =", step.step, e.name) };
                    let text = if e.text.is_empty() { "<closure>" } else { &e.text };
                    let tier = if e.pass.is_some() {
                        "passed on"
                    } else if e.total {
                        "lanes"
                    } else {
                        "rows"
                    };
                    let _ = writeln!(out, "       {made} {text}  [{tier}]");
                }
            }
        }
        if matches!(node.op, Op::Source { .. }) {
            let columns: Vec<&str> = node.columns.iter().map(|c| c.name.as_str()).collect();
            let _ = writeln!(out, "       columns {}", columns.join(", "));
            if let Op::Source { filter: Some(filter), .. } = &node.op {
                let _ = writeln!(out, "       may leave out rows unless {filter}");
            }
        }
    }
    out
}

/// `stream/step` of a node's stable id.
fn stream_of(node: &Node) -> &str {
    node.id.split_once('/').map_or(node.id.as_str(), |(_, rest)| rest)
}

/// What a node does, in a few words.
pub(super) fn describe(node: &Node) -> String {
    let bounds = if node.bounded { "bounded" } else { "may be endless" };
    match &node.op {
        Op::Source { name, record, .. } => format!("source {name}: {record} ({bounds})"),
        Op::Run { steps, .. } => format!("run of {}", steps.iter().map(|s| s.step.as_str()).collect::<Vec<_>>().join(", ")),
        Op::KeyBy => format!("key_by({})", node.keys.join(", ")),
        Op::EventTime => format!("event_time({})", node.time.as_ref().map_or("", |t| &t.column)),
        Op::Window(window) => format!("window({})", windows(window)),
        Op::Aggregate { window, functions } => {
            let list: Vec<String> = functions.iter().map(|f| format!("{} = {}({})", f.name, f.function, f.inputs.join(", "))).collect();
            let by = if node.keys.is_empty() { String::new() } else { format!(" by {}", node.keys.join(", ")) };
            let win = window.map_or(String::new(), |w| format!(" per {}", windows(&w)));
            format!("aggregate{by}{win}: {}", list.join(", "))
        }
        Op::Keyed { operator, column, .. } => format!("keyed({operator}) -> {column}"),
        Op::FlatMap { text, .. } => format!("flat_map({text})"),
        Op::Batch { operator, column, .. } => format!("batch({operator}) -> {column}"),
        Op::Join { kind, left, right, .. } => {
            let kind = match kind {
                JoinKind::Inner => "inner",
                JoinKind::Left => "left",
            };
            format!("{kind} join on {} = {}", left.join(", "), right.join(", "))
        }
        Op::Sort { by } => format!("sort by {}", order(by)),
        Op::Top { rows, by } => {
            let per = if node.keys.is_empty() { String::new() } else { format!(" per {}", node.keys.join(", ")) };
            format!("top {rows}{per} by {}", order(by))
        }
        Op::Over { by, functions } => {
            let list: Vec<String> = functions.iter().map(|f| format!("{} = {}({})", f.name, f.function, f.inputs.join(", "))).collect();
            let per = if node.keys.is_empty() { String::new() } else { format!(" {}", node.keys.join(", ")) };
            let by = if by.is_empty() { String::new() } else { format!(" by {}", order(by)) };
            format!("over{per}{by}: {}", list.join(", "))
        }
        Op::Unnest { column } => format!("rows of {column}"),
        Op::Limit { rows } => format!("limit {rows}"),
        Op::Distinct { columns: None } => "distinct".into(),
        Op::Distinct { columns: Some(columns) } => format!("distinct by {}", columns.join(", ")),
        Op::Set { .. } => node.op.step().into(),
        Op::Sample { fraction, seed } => format!("sample {fraction}, seed {seed}"),
        Op::Union => "union".into(),
        Op::Sink { name, .. } => format!("sink {name}"),
    }
}

/// `tumbling 1 h`, `hop 1 h every 15 min`.
fn windows(window: &Span) -> String {
    match window.slide == window.size {
        true => format!("tumbling {}", span(window.size)),
        false => format!("hop {} every {}", span(window.size), span(window.slide)),
    }
}

/// Columns to sort by.
fn order(by: &[SortBy]) -> String {
    let list: Vec<String> = by.iter().map(|b| format!("{}{}", b.column, if b.descending { " desc" } else { "" })).collect();
    list.join(", ")
}

/// A span of microseconds in the largest unit that fits.
fn span(micros: i64) -> String {
    for (unit, name) in [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s"), (1_000, "ms")] {
        if micros != 0 && micros % unit == 0 {
            return format!("{} {name}", micros / unit);
        }
    }
    format!("{micros} us")
}
