//! Where event time comes from: which column of which source tells the time that a step depends on.
//!
//! Watermarks and lateness are decided at the source, so the event time of a window, or of a keyed step, is followed
//! upstream, through renames, to the source's own column. Sources that no such step depends on tell no time: none of
//! their rows is late.

use std::collections::BTreeMap;

use super::{Lineages, Matching, NodeId, Op, Plan};
use crate::operator::TIME;
use crate::{Error, Result};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// The event-time column of each source that must tell time.
    pub sources: BTreeMap<NodeId, String>,
    /// How late rows of a source may be and still count, because a window behind it takes them, in microseconds.
    pub lateness: BTreeMap<NodeId, i64>,
    /// Steps whose event time is computed on the way, so that no source can tell it, with the column.
    pub computed: BTreeMap<NodeId, String>,
    /// The same of the sides of joins, by port.
    pub computed_sides: BTreeMap<(NodeId, usize), String>,
    /// Of which sides of a join the event time is that of a later step.
    pub needed: BTreeMap<NodeId, [bool; 2]>,
}

/// Finds the sources that must tell time.
///
/// # Errors
/// If two steps take the event time of one source from different columns, or plan and lineages do not belong together.
pub fn times(plan: &Plan, lineages: &Lineages<'_>) -> Result<Times> {
    let mut out = Times::default();
    // how late rows of each source may be, and which step says so
    let mut said: BTreeMap<NodeId, (i64, &str)> = BTreeMap::new();
    for (number, node) in plan.nodes.iter().enumerate() {
        if waits_for_both(plan, number)? {
            for (port, input) in node.inputs.iter().enumerate() {
                if let Some(time) = &plan.node(*input)?.time
                    && !follow(plan, lineages, *input, &time.column, &mut out)?
                {
                    out.computed_sides.insert((number, port), time.column.clone());
                }
            }
        }
        if !matches!(node.op, Op::Aggregate { window: Some(_), .. } | Op::Keyed { .. } | Op::LateRows) {
            continue;
        }
        let Some(input) = node.inputs.first() else { continue };
        if let Some(time) = &plan.node(*input)?.time
            && !follow(plan, lineages, *input, &time.column, &mut out)?
        {
            out.computed.insert(number, time.column.clone());
        }
        if let Some(time) = &plan.node(*input)?.time
            && node.op != Op::LateRows
        {
            let lateness = if let Op::Aggregate { emit, .. } = &node.op { emit.lateness } else { 0 };
            let mut reached = Times::default();
            follow(plan, lineages, *input, &time.column, &mut reached)?;
            for source in reached.sources.into_keys() {
                match said.insert(source, (lateness, node.id.as_str())) {
                    Some((other, by)) if other != lateness => {
                        return Err(two_ways(plan, source, (other, by), (lateness, node.id.as_str()))?);
                    }
                    _ if lateness > 0 => _ = out.lateness.insert(source, lateness),
                    _ => {}
                }
            }
        }
    }
    Ok(out)
}

/// Two steps over one source take rows that are late by different spans. Which rows the stricter one counts would depend on the moment, since
/// it is the source that knows the time of each partition.
fn two_ways(plan: &Plan, source: NodeId, one: (i64, &str), other: (i64, &str)) -> Result<Error> {
    let name = if let Op::Source { name, .. } = &plan.node(source)?.op { name.as_str() } else { "" };
    let ((most, by), (least, other)) = if one.0 > other.0 { (one, other) } else { (other, one) };
    Ok(Error::Usage(format!(
        "`{by}` takes rows of source `{name}` that are up to {} s late, but `{other}` {}; give all steps that go by its time the same `lateness`",
        most as f64 / 1e6,
        if least > 0 { format!("up to {} s", least as f64 / 1e6) } else { "takes none".into() }
    )))
}

/// Whether a step is a join of rows that may not end, and forgets them as time passes.
fn waits_for_both(plan: &Plan, number: NodeId) -> Result<bool> {
    let node = plan.node(number)?;
    let endless = |port: usize| node.inputs.get(port).is_some_and(|i| plan.node(*i).is_ok_and(|n| !n.bounded));
    Ok(match &node.op {
        Op::Join { matching: Matching::Within { .. } | Matching::SameWindow { .. }, .. } => endless(0) || endless(1),
        // with a right side that ends, left rows do not wait
        Op::Join { matching: Matching::AsOf { .. }, .. } => endless(1),
        _ => false,
    })
}

/// Whether a step that depends on event time takes it from this node, or from behind it.
fn serves(plan: &Plan, node: NodeId) -> bool {
    plan.consumers(node).into_iter().any(|(number, _)| match plan.node(number).map(|n| &n.op) {
        Ok(Op::Aggregate { window: Some(_), .. } | Op::Keyed { .. }) => true,
        // joins look at the time of their inputs themselves, and hold it back for those behind them only where these need it
        Ok(Op::Aggregate { .. } | Op::Join { .. } | Op::Sink { .. }) | Err(_) => false,
        Ok(_) => serves(plan, number),
    })
}

/// Whether sources tell the time that is in a column of a node, of those that must tell time, and drop all rows behind it.
pub fn told(plan: &Plan, lineages: &Lineages<'_>, node: NodeId, column: &str, times: &Times) -> bool {
    let mut found = Times::default();
    let told = serves(plan, node) && matches!(follow(plan, lineages, node, column, &mut found), Ok(true));
    told && found
        .sources
        .iter()
        .all(|(source, column)| times.sources.get(source) == Some(column) && times.lateness.get(source).is_none_or(|l| *l == 0))
}

impl Plan {
    /// What `watermark` steps say of a source: how disordered its rows are, and how far one moves time at most.
    ///
    /// # Errors
    /// If they say different things.
    pub fn watermark(&self, source: NodeId) -> Result<(Option<i64>, Option<i64>)> {
        let (mut said, mut by) = ((None, None), None);
        for node in &self.nodes {
            let (Op::Watermark { disorder, max_step }, Some(input)) = (&node.op, node.inputs.first()) else { continue };
            if self.work(*input)? != source {
                continue;
            }
            match by {
                Some(other) if said != (*disorder, *max_step) => {
                    return Err(Error::Usage(format!(
                        "`{other}` and `{}` tell the time of one source in two ways: write `watermark(..)` once, and go on with its stream",
                        node.id
                    )));
                }
                _ => (said, by) = ((*disorder, *max_step), Some(&node.id)),
            }
        }
        Ok(said)
    }
}

/// Follows a column upstream; false if it is computed on the way.
fn follow(plan: &Plan, lineages: &Lineages<'_>, at: NodeId, column: &str, out: &mut Times) -> Result<bool> {
    let node = plan.node(at)?;
    let mut ways: Vec<(NodeId, String)> = Vec::new();
    match &node.op {
        Op::Source { name, .. } => {
            let known = out.sources.entry(at).or_insert_with(|| column.to_owned());
            if known != column {
                return Err(Error::Usage(format!(
                    "source `{name}` would tell its time by two columns, `{known}` and `{column}`; a source has one event time: read it twice, as two sources"
                )));
            }
        }
        Op::Run { .. } => {
            let lineage = lineages(&node.id).ok_or_else(|| Error::Plan(format!("there is no kernel `{}`", node.id)))?;
            let Some(input) = lineage.values_of(column) else { return Ok(false) };
            ways.extend(node.inputs.iter().map(|n| (*n, input.name.to_string())));
        }
        Op::LateRows => {
            return Err(Error::Usage(format!(
                "`{}`: late rows are behind the time that a window waits for, so they have no event time; store them, or aggregate them in a job of their own",
                node.id
            )));
        }
        // the row as it entered the run
        Op::DeadLetter => {
            let run = plan.node(*node.inputs.first().ok_or_else(|| Error::Plan(format!("`{}` has no input", node.id)))?)?;
            ways.extend(run.inputs.iter().map(|n| (*n, column.to_owned())));
        }
        // rows of its own carry the time of its input, which was followed already
        Op::Keyed { own: true, .. } | Op::Side => return Ok(column == TIME),
        Op::Keyed { column: made, .. }
        | Op::Batch { column: made, .. }
        | Op::Async { column: made, .. }
        | Op::Changelog { column: made }
            if made == column =>
        {
            return Ok(false);
        }
        // the bounds of a window: its own event time was followed already
        Op::Aggregate { window: Some(_), .. } => {}
        Op::Aggregate { window: None, .. } | Op::FlatMap { .. } => return Ok(false),
        // left rows as they are
        // the bounds of a window; the event times of both sides were followed already
        Op::Join { matching: Matching::SameWindow { .. }, .. } if column == "window_end" => {}
        Op::Join { matching: Matching::SameWindow { .. }, .. } if column == "window_start" => {
            out.needed.insert(at, [true; 2]);
        }
        Op::Join { kind, .. } if !kind.pairs() => {
            out.needed.entry(at).or_default()[0] = true;
            ways.extend(node.inputs.first().map(|n| (*n, column.to_owned())));
        }
        Op::Join { .. } => {
            let needed = out.needed.entry(at).or_default();
            for ((side, input), needed) in ["left.", "right."].iter().zip(&node.inputs).zip(needed) {
                *needed |= column.starts_with(side);
                ways.extend(column.strip_prefix(side).map(|c| (*input, c.to_owned())));
            }
        }
        _ => ways.extend(node.inputs.iter().map(|n| (*n, column.to_owned()))),
    }
    let mut all = true;
    for (input, column) in ways {
        all &= follow(plan, lineages, input, &column, out)?;
    }
    Ok(all)
}
