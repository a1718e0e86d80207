//! The physical plan of a job that does not run: what `explain` shows of exchanges, phases and state.
//!
//! It is lowered like a job that runs, so what is shown is what would run. Sources that are not bound, or not to files, are
//! not opened: how many rows they have is not known.

use std::sync::Arc;

use arrow_schema::SchemaRef;

use crate::operator::{Exchange, Input, Source, Split, SplitReader};
use crate::plan::{NodeId, Op, PhysicalStep, Plan};
use crate::{Error, Result};

use super::lower::{How, Lowered, OpenSource, lower};
use super::{Settings, Table};

/// A source that is not opened.
pub(super) struct Assumed {
    pub(super) schema: SchemaRef,
    pub(super) bounded: bool,
}

impl Source for Assumed {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn project(&mut self, _: &[String]) -> Result<()> {
        Ok(())
    }
    fn bounded(&self) -> bool {
        self.bounded
    }
    fn splits(&self) -> Result<Vec<Split>> {
        Ok(vec![Split { partition: 0, sequence: 0, rows: None, bytes: None, spec: serde_json::Value::Null }])
    }
    fn open(&self, _: &Split, _: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        Err(Error::internal("a source that stands for another cannot be read"))
    }
    fn describe(&self) -> String {
        "a source that is not bound".into()
    }
}

/// What would run.
pub(super) fn physical(plan: &Plan, table: &Table, settings: &Settings, how: &How, open: &mut OpenSource<'_>) -> Result<Vec<PhysicalStep>> {
    let lowered = lower(plan, table, settings, how, open)?;
    let short = |name: &str| name.split_once('/').map_or(name, |(_, rest)| rest).to_owned();
    let mut out = Vec::new();
    for (at, node) in lowered.plan.nodes.iter().enumerate() {
        // the columns of a sink are brought into order by an operator of their own, which decides nothing
        if node.name.ends_with(".conform") {
            continue;
        }
        let inputs = node.inputs.iter().filter_map(|input| {
            let mut from = lowered.plan.nodes.get(input.from)?;
            if from.name.ends_with(".conform") {
                from = from.inputs.first().and_then(|i| lowered.plan.nodes.get(i.from))?;
            }
            Some((short(&from.name), travels(&input.exchange, input.ordered)))
        });
        let (id, phase) = match (node.name.strip_suffix(".partial"), node.name.strip_suffix(".build")) {
            _ if super::lower_edges::restores(&node.name) => (node.name.as_str(), Some("rows that were dealt out, in their order again")),
            (Some(id), _) => (id, Some("first of two phases: each thread for itself")),
            (_, Some(id)) => (id, Some("the table of right rows that all threads share")),
            _ => (node.name.as_str(), None),
        };
        let step = plan.nodes.iter().position(|n| n.id == id);
        let op = step.and_then(|n| plan.nodes.get(n)).map(|n| &n.op);
        let mut notes: Vec<String> = phase.iter().map(|p| (*p).to_owned()).collect();
        if let Some(kept) = lowered.keeps.get(&at) {
            notes.push(kept.clone());
        } else if let (Some(Op::Join { .. }), Some(number), None) = (op, step, phase) {
            notes.push(joined(plan, &lowered, settings, number, node.inputs.get(1)));
        }
        if let Some(time) = &node.time {
            let lag = time.disorder as f64 / 1e6;
            let step = time.max_step.map_or(String::new(), |s| format!("; a row moves time by {} s at most", s as f64 / 1e6));
            notes.push(format!("tells time by `{}`; a row more than {lag} s behind the rows before it is late{step}", time.column));
        }
        out.push(PhysicalStep {
            name: short(&node.name),
            inputs: inputs.collect(),
            single: node.single,
            state: match lowered.keeps.contains_key(&at) {
                true => Some("the rows of both sides that may still have partners"),
                false => node.stateful.then(|| state(op, phase.is_some())),
            },
            rows: lowered.rows.get(&at).copied(),
            notes,
        });
    }
    Ok(out)
}

fn travels(exchange: &Exchange, ordered: bool) -> String {
    let way = match exchange {
        Exchange::Forward => "forward".to_owned(),
        Exchange::Hash(keys) => format!("hash({})", keys.join(", ")),
        Exchange::Gather => "gather".to_owned(),
        Exchange::Broadcast => "broadcast".to_owned(),
        Exchange::Rebalance => "rebalance".to_owned(),
        Exchange::Splits => "by split".to_owned(),
        Exchange::Range(column) => format!("range({column})"),
        Exchange::Custom(column) => format!("custom({column})"),
        Exchange::Turns => "rebalance".to_owned(),
    };
    if ordered { format!("{way} in source order") } else { way }
}

/// Why a join sends its right side where it does.
fn joined(plan: &Plan, lowered: &Lowered, settings: &Settings, number: NodeId, build: Option<&Input>) -> String {
    let right = plan.nodes.get(number).and_then(|n| n.inputs.get(1)).and_then(|i| plan.work(*i).ok());
    let rows = right.and_then(|i| lowered.at.get(&i)).and_then(|at| lowered.rows.get(at));
    let (limit, known) = (settings.broadcast_rows, rows.map_or("is not known".to_owned(), |r| format!("is at most {r}")));
    let keeps = matches!(plan.nodes.get(number).map(|n| &n.op), Some(Op::Join { kind, .. }) if kind.keeps_right());
    let built = build.and_then(|b| lowered.plan.nodes.get(b.from)).filter(|n| n.name.ends_with(".build"));
    if let Some(built) = built {
        return if built.single {
            format!("left rows stay where they are; one thread builds the table: the number of right rows {known}")
        } else {
            format!("left rows stay where they are; all threads build the table: the number of right rows {known}, more than {limit}")
        };
    }
    match build.map(|b| &b.exchange) {
        Some(Exchange::Hash(_)) if keeps => "hash join: right rows without a partner come out, so each is at one thread alone".to_owned(),
        Some(Exchange::Gather) => format!("join at one thread: there is no key, and the number of right rows {known}, more than {limit}"),
        Some(Exchange::Broadcast) => format!("broadcast join: the number of right rows {known}, up to {limit} are sent to every thread"),
        _ => format!("hash join: the number of right rows {known}, more than {limit} are not sent to every thread"),
    }
}

/// What an operator keeps between rows.
fn state(op: Option<&Op>, partial: bool) -> &'static str {
    match (op, partial) {
        (Some(Op::Aggregate { .. }), true) => "accumulators per group of a split",
        (Some(Op::Aggregate { .. }), false) => "accumulators per group",
        (Some(Op::Keyed { .. }), _) => "the operator's state per key",
        (Some(Op::Async { .. }), _) => "rows in flight",
        (Some(Op::Join { .. }), _) => "the right rows by key",
        (Some(Op::Sort { .. }), true) => "the rows of a split",
        (Some(Op::Sort { .. }), false) => "all rows",
        (Some(Op::Limit { .. }), _) => "a count",
        (Some(Op::Top { .. }), _) => "the first rows",
        (Some(Op::Over { .. }), _) => "the rows of each key",
        (Some(Op::Distinct { .. } | Op::Set { .. }), _) => "distinct rows",
        _ => "state",
    }
}
