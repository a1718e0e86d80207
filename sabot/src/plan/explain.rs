//! What the steps of a plan do, how, and why so.

use super::{Direction, Emit, ExplainedExpr, ExplainedStep, Explanation, Matching, Node, NodeId, Op, Plan, SortBy, Span, When};
use crate::kernel::{ErrorPolicy, Expr, Form, StepInfo, Way};

/// Explains a plan, apart from what is decided when it is lowered.
///
/// Example: [`plan`](crate::plan).
pub fn explain(plan: &Plan) -> Explanation {
    let steps = plan.nodes.iter().enumerate().map(|(number, node)| step(plan, number, node)).collect();
    let sinks = plan.nodes.iter().enumerate().filter_map(|(number, node)| match &node.op {
        Op::Sink { name, .. } => Some((name.clone(), promised(plan, number))),
        _ => None,
    });
    Explanation { pipeline: plan.pipeline.clone(), steps, physical: Ok(Vec::new()), order: sinks.collect(), plan: plan.clone() }
}

fn step(plan: &Plan, number: NodeId, node: &Node) -> ExplainedStep {
    let mut how = Vec::new();
    let mut exprs = Vec::new();
    match &node.op {
        Op::Run { steps, form, .. } => {
            exprs = steps.iter().flat_map(|s| s.exprs.iter().map(|e| expr(s, e))).collect();
            how.extend(way(steps, form));
        }
        Op::Source { filter, .. } => {
            let columns: Vec<&str> = node.columns.iter().map(|c| c.name.as_str()).collect();
            how.push(format!("columns {}", columns.join(", ")));
            how.extend(filter.iter().map(|filter| format!("may leave out rows unless {filter}")));
        }
        _ => {}
    }
    if node.changes {
        how.push("rows carry a weight: what changes is taken back and sent anew".into());
    }
    let inputs = node.inputs.clone();
    ExplainedStep { number, name: stream_of(node).to_owned(), inputs, what: describe_in(plan, node), exprs, how }
}

fn expr(step: &StepInfo, e: &Expr) -> ExplainedExpr {
    let tier = if e.pass.is_some() {
        "passed on"
    } else if e.total {
        "lanes"
    } else {
        "rows"
    };
    ExplainedExpr {
        step: step.step.clone(),
        column: Some(e.name.clone()).filter(|n| !n.is_empty()),
        text: e.text.clone(),
        reads: e.reads.clone(),
        tier,
        why: if tier == "rows" { e.doubts.iter().map(ToString::to_string).collect() } else { Vec::new() },
    }
}

/// How a run goes over rows, and why not faster.
fn way(steps: &[StepInfo], form: &Form) -> Vec<String> {
    let computed = || steps.iter().flat_map(|s| &s.exprs).filter(|e| e.pass.is_none());
    let mut why: Vec<String> = computed().flat_map(|e| &e.doubts).map(ToString::to_string).collect();
    why.extend(form.wide.iter().map(|name| match name.as_str() {
        "" => "a column in between has no fixed width".to_owned(),
        name => format!("`{name}` has no fixed width"),
    }));
    why.sort();
    why.dedup();
    let why = if why.is_empty() { String::new() } else { format!(", because {}", why.join(", ")) };
    let way = match form.way {
        _ if computed().next().is_none() => "passes its columns on, at no cost".to_owned(),
        Way::Lanes => "one pass over 64 lanes, without a branch".to_owned(),
        Way::TwoPasses(1) => format!("two passes: the first predicate over 64 lanes, the rest on the rows it keeps{why}"),
        Way::TwoPasses(n) => format!("two passes: the first {n} predicates over 64 lanes, the rest on the rows they keep{why}"),
        Way::Rows => format!("row by row{why}"),
    };
    let hoisted = (!form.hoisted.is_empty()).then(|| format!("nulls of {} by validity words", form.hoisted.join(", ")));
    [Some(way), hoisted].into_iter().flatten().collect()
}

/// What is promised of the order of a step's rows.
fn promised(plan: &Plan, mut at: NodeId) -> String {
    while let Ok(node) = plan.node(at) {
        match &node.op {
            Op::Source { name, .. } => return format!("in the order of source {name}"),
            Op::Sort { by } => return format!("sorted by {}", order(by)),
            Op::Top { by, .. } if node.keys.is_empty() => return format!("sorted by {}", order(by)),
            Op::Keyed { .. } => return "in order per key".to_owned(),
            Op::Sink { .. } | Op::Run { .. } | Op::FlatMap { .. } | Op::Batch { .. } | Op::Limit { .. } => {}
            Op::Unnest { .. } | Op::Sample { .. } | Op::DeadLetter | Op::LateRows | Op::BadRows | Op::Changelog { .. } => {}
            Op::Side => return "in order per key".to_owned(),
            _ if node.changes => return "changes, as they come".to_owned(),
            Op::Async { options, .. } if options.ordered => {}
            Op::Async { .. } => return "as calls end (async)".to_owned(),
            op if op.is_edge() && !node.bounded => return format!("as rows come ({})", op.step()),
            op if op.is_note() || op.is_edge() => {}
            op => return format!("in any order ({})", op.step()),
        }
        match node.inputs.first() {
            Some(up) => at = *up,
            None => break,
        }
    }
    "in any order".to_owned()
}

/// `stream/step` of a node's stable id.
pub(super) fn stream_of(node: &Node) -> &str {
    node.id.split_once('/').map_or(node.id.as_str(), |(_, rest)| rest)
}

/// What a node does, in a few words; what an aggregate takes as the user wrote it.
pub(super) fn describe_in(plan: &Plan, node: &Node) -> String {
    let mut text = describe(node);
    let up = node.inputs.first().and_then(|i| plan.work(*i).ok()).and_then(|i| plan.nodes.get(i));
    if let Some(Op::Run { steps, .. }) = up.map(|n| &n.op) {
        // the last first: `__in1` is a part of `__in10`
        for e in steps.iter().rev().filter(|s| s.step == "inputs").flat_map(|s| s.exprs.iter().rev()) {
            text = text.replace(&e.name, &e.text);
        }
    }
    text
}

/// What becomes of errors.
fn policy(errors: ErrorPolicy) -> &'static str {
    match errors {
        ErrorPolicy::Fail => "",
        ErrorPolicy::Null => "; errors are null",
        ErrorPolicy::Skip => "; rows with errors are dropped",
        ErrorPolicy::DeadLetter => "; rows with errors are dead letters",
    }
}

/// What a node does, in a few words.
pub(super) fn describe(node: &Node) -> String {
    let bounds = if node.bounded { "bounded" } else { "may be endless" };
    match &node.op {
        Op::Source { name, record, .. } => format!("source {name}: {record} ({bounds})"),
        Op::Run { steps, errors, .. } => {
            format!("run of {}{}", steps.iter().map(|s| s.step.as_str()).collect::<Vec<_>>().join(", "), policy(*errors))
        }
        Op::DeadLetter => "dead letters".into(),
        Op::KeyBy if node.keys.is_empty() => "without a key".into(),
        Op::KeyBy => format!("key_by({})", node.keys.join(", ")),
        Op::EventTime => format!("event_time({})", node.time.as_ref().map_or("", |t| &t.column)),
        Op::Window(window) => format!("window({window})"),
        Op::Emit { emit, global } => format!("window({}{})", if *global { "global, " } else { "" }, sending(*emit)),
        Op::Changelog { column } => format!("changelog -> {column}"),
        Op::Watermark { disorder, max_step } => {
            let of = |name: &str, value: &Option<i64>| value.map(|v| format!("{name} {}", span(v)));
            let list: Vec<String> = [of("disorder", disorder), of("max_step", max_step)].into_iter().flatten().collect();
            format!("watermark({})", list.join(", "))
        }
        Op::LateRows => "late rows".into(),
        Op::BadRows => "lines and messages that are no rows".into(),
        Op::Aggregate { window, functions, emit } => {
            let list: Vec<String> = functions.iter().map(|f| format!("{} = {}({})", f.name, f.function, f.inputs.join(", "))).collect();
            let by = if node.keys.is_empty() { String::new() } else { format!(" by {}", node.keys.join(", ")) };
            let win = window.map_or(String::new(), |w| format!(" per {w}"));
            let sent = if emit.is_default() { String::new() } else { format!(" {}", sending(*emit)) };
            format!("aggregate{by}{win}{sent}: {}", list.join(", "))
        }
        Op::Keyed { operator, column, clock, ttl, .. } => {
            let mut text = format!("keyed({operator}) -> {column}");
            text.extend(ttl.map(|t| format!("; state expires after {}{}", span(t.micros), if t.clock { " by the clock" } else { "" })));
            if *clock && ttl.is_none_or(|t| !t.clock) {
                text.push_str("; timers by the clock");
            }
            text
        }
        Op::Side => "second output".into(),
        Op::FlatMap { text, .. } => format!("flat_map({text})"),
        Op::Batch { operator, column, .. } => format!("batch({operator}) -> {column}"),
        Op::Async { operator, column, options, errors, .. } => format!("async {operator} -> {column}: {options}{}", policy(*errors)),
        Op::Join { matching, left, right, on, emit, .. } => {
            let mut text = node.op.step().to_owned();
            if !emit.is_default() {
                text.push_str(&format!(" {}", sending(*emit)));
            }
            match matching {
                Matching::Equal => {}
                Matching::AsOf { direction, tolerance } => {
                    text.push_str(match direction {
                        Direction::Backward => " backward",
                        Direction::Forward => " forward",
                        Direction::Nearest => " nearest",
                    });
                    text.extend(tolerance.map(|t| format!(" within {}", span(t))));
                }
                Matching::Within { from, to } => text.push_str(&format!(" within {}..={}", span(*from), span(*to))),
                Matching::SameWindow { window } => text.push_str(&format!(" per {window}")),
            }
            if !left.is_empty() {
                text.push_str(&format!(" on {} = {}", left.join(", "), right.join(", ")));
            }
            let conditions = on.iter().flat_map(|s| &s.exprs).map(|e| if e.text.is_empty() { "<closure>" } else { &e.text });
            text.extend(conditions.map(|c| format!(" if {c}")));
            text
        }
        Op::Sort { by } => format!("sort by {}", order(by)),
        Op::Top { rows, by, emit } => {
            let per = if node.keys.is_empty() { String::new() } else { format!(" per {}", node.keys.join(", ")) };
            let sent = if emit.is_default() { String::new() } else { format!(" {}", sending(*emit)) };
            format!("top {rows}{per}{sent} by {}", order(by))
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
        Op::PartitionBy { column } => format!("partition_by({column})"),
        Op::Rebalance => "rebalance".into(),
        Op::Sink { name, .. } => format!("sink {name}"),
    }
}

/// `tumbling 1 h`, `hop 1 h every 15 min`, `session 30 min`.
impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Span::Aligned { size, slide } if size == slide => write!(f, "tumbling {}", span(*size)),
            Span::Aligned { size, slide } => write!(f, "hop {} every {}", span(*size), span(*slide)),
            Span::Session { gap } => write!(f, "session {}", span(*gap)),
        }
    }
}

/// `on update`, `on close, rows up to 1 min late`.
fn sending(emit: Emit) -> String {
    let when = match emit.when {
        When::OnClose => "on close".to_owned(),
        When::OnUpdate => "on update".to_owned(),
        When::Every(micros) => format!("every {}", span(micros)),
    };
    if emit.lateness > 0 { format!("{when}, rows up to {} late", span(emit.lateness)) } else { when }
}

/// Columns to sort by.
fn order(by: &[SortBy]) -> String {
    let list: Vec<String> = by.iter().map(|b| format!("{}{}", b.column, if b.descending { " desc" } else { "" })).collect();
    list.join(", ")
}

/// A span of microseconds in the largest unit that fits.
pub(crate) fn span(micros: i64) -> String {
    for (unit, name) in [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s"), (1_000, "ms")] {
        if micros != 0 && micros % unit == 0 {
            return format!("{} {name}", micros / unit);
        }
    }
    format!("{micros} us")
}
