//! The drawing in the rustdoc of the generated item: streams and steps as written.

use std::fmt::Write;

use super::model::{Head, Pipeline};
use super::parse::uses;

/// A mermaid block: one node per stream with its steps, one edge per use.
pub(crate) fn mermaid(pipeline: &Pipeline) -> String {
    let mut out = String::from("\n\n```mermaid\nflowchart LR\n");
    for p in pipeline.params.iter().filter(|p| p.source.is_some()) {
        let _ = writeln!(out, "  {0}([\"{0}\"])", p.name);
    }
    for (n, stmt) in pipeline.stmts.iter().enumerate() {
        let called = if let Head::Call(path, _) = &stmt.chain.head { Some(super::meta::text(path)) } else { None };
        let named = stmt.chain.steps.iter().filter_map(|s| s.name.as_ref()).map(ToString::to_string);
        let steps: Vec<String> = called.into_iter().chain(named).collect();
        let (node, title) = match (&stmt.name, &stmt.chain.head) {
            (Some(name), _) => (name.to_string(), name.to_string()),
            (None, Head::Stream(_)) if steps == ["sink"] => (format!("sink{n}"), String::new()),
            _ => (format!("step{n}"), String::new()),
        };
        let text = [title, steps.join(" → ")].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join(": ");
        let _ = writeln!(out, "  {node}[\"{text}\"]");
        if let Some(bad) = stmt.bad() {
            let _ = writeln!(out, "  {bad}[\"{bad}\"]\n  {node} -. failed .-> {bad}");
        }
        let mut names = Vec::new();
        uses(&stmt.chain, &mut names);
        for from in names {
            let _ = writeln!(out, "  {from} --> {node}");
        }
    }
    out.push_str("```\n");
    out
}
