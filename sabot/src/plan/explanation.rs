//! A plan explained: what runs, how, and why so; as data, and as text.

use std::fmt;

use serde::Serialize;

use super::{NodeId, Plan};

/// What is known of a job before it runs.
///
/// Example: [`plan`](crate::plan).
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The pipeline's name.
    pub pipeline: String,
    /// The optimised plan.
    pub plan: Plan,
    /// Its nodes, explained.
    pub steps: Vec<ExplainedStep>,
    /// The operators that run, with their exchanges; or why they cannot.
    pub physical: Result<Vec<PhysicalStep>, String>,
    /// What is promised of the order of rows, per sink.
    pub order: Vec<(String, String)>,
}

/// A node of the plan.
///
/// Example: [`plan`](crate::plan).
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedStep {
    /// Its number.
    pub number: NodeId,
    /// `stream/step` of its stable id.
    pub name: String,
    /// Where its rows come from.
    pub inputs: Vec<NodeId>,
    /// What it does.
    pub what: String,
    /// Its predicates and columns, if it is a run.
    pub exprs: Vec<ExplainedExpr>,
    /// How it does it.
    pub how: Vec<String>,
}

/// A predicate or a column of a run.
///
/// Example: [`plan`](crate::plan).
#[derive(Clone, Debug, Serialize)]
pub struct ExplainedExpr {
    /// The step as written.
    pub step: String,
    /// The column it makes; none for a predicate.
    pub column: Option<String>,
    /// The expression as written.
    pub text: String,
    /// Columns that it reads; `None` reads all.
    pub reads: Option<Vec<String>>,
    /// `passed on`, `lanes` or `rows`.
    pub tier: &'static str,
    /// Why it does not run on lanes.
    pub why: Vec<String>,
}

/// An operator that runs.
///
/// Example: [`plan`](crate::plan).
#[derive(Clone, Debug, Serialize)]
pub struct PhysicalStep {
    /// Its name: that of the step, with its phase.
    pub name: String,
    /// Where its rows come from, how they travel, and whether they are put in source order.
    pub inputs: Vec<(String, String)>,
    /// Run once, not by every thread.
    pub single: bool,
    /// What it keeps.
    pub state: Option<&'static str>,
    /// Rows that it delivers at most, if known.
    pub rows: Option<u64>,
    /// What was decided, and why.
    pub notes: Vec<String>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pipeline {}", self.pipeline)?;
        for step in &self.steps {
            let inputs: Vec<String> = step.inputs.iter().map(|i| format!("#{i}")).collect();
            let from = if inputs.is_empty() { String::new() } else { format!(" <- {}", inputs.join(", ")) };
            writeln!(f, "  #{} {}{from}: {}", step.number, step.name, step.what)?;
            step.exprs.iter().try_for_each(|e| writeln!(f, "       {e}"))?;
            step.how.iter().try_for_each(|how| writeln!(f, "       {how}"))?;
        }
        match &self.physical {
            Err(why) => writeln!(f, "it cannot run like this: {why}")?,
            Ok(physical) => {
                writeln!(f, "runs as")?;
                physical.iter().try_for_each(|p| write!(f, "{p}"))?;
            }
        }
        self.order.iter().try_for_each(|(sink, order)| writeln!(f, "rows of {sink}: {order}"))
    }
}

impl fmt::Display for ExplainedExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = self.column.as_ref().map_or(String::new(), |c| format!(" {c} ="));
        let text = if self.text.is_empty() { "<closure>" } else { &self.text };
        let reads = match &self.reads {
            _ if self.tier == "passed on" => String::new(),
            None => "; reads all columns".to_owned(),
            Some(reads) if reads.is_empty() => "; reads nothing".to_owned(),
            Some(reads) => format!("; reads {}", reads.join(", ")),
        };
        let why = if self.why.is_empty() { String::new() } else { format!(": {}", self.why.join(", ")) };
        write!(f, "{}{made} {text}  [{}{why}{reads}]", self.step, self.tier)
    }
}

impl fmt::Display for PhysicalStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inputs: Vec<String> = self.inputs.iter().map(|(from, how)| format!("{how} from {from}")).collect();
        let mut facts = inputs;
        facts.push(if self.single { "once".into() } else { "per thread".into() });
        facts.extend(self.state.map(|s| format!("keeps {s}")));
        facts.extend(self.rows.map(|r| format!("at most {r} rows")));
        writeln!(f, "  {}: {}", self.name, facts.join("; "))?;
        self.notes.iter().try_for_each(|note| writeln!(f, "       {note}"))
    }
}
