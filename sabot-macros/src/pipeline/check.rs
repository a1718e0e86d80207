//! What can be told from names alone: undefined, unused, cyclic and repeated streams.

use std::collections::BTreeMap;

use proc_macro2::{Ident, TokenStream};

use super::model::{Head, Pipeline};
use super::parse::uses;
use super::tokens::{error, error_expr};

/// How often each name is used as a stream, by statement order.
pub(crate) fn used(pipeline: &Pipeline) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for stmt in &pipeline.stmts {
        let mut names = Vec::new();
        uses(&stmt.chain, &mut names);
        for n in names {
            *out.entry(n.to_string()).or_insert(0) += 1;
        }
    }
    out
}

/// Errors about names, and for the first stream of each cycle the expression to define it by. Undefined streams are reported where they are used, while expanding.
pub(crate) fn check(pipeline: &Pipeline, used: &BTreeMap<String, usize>) -> (TokenStream, BTreeMap<String, TokenStream>) {
    let mut errors = TokenStream::new();
    let mut cycles = BTreeMap::new();
    let mut cyclic: Vec<String> = Vec::new();
    let mut seen: BTreeMap<String, Ident> =
        pipeline.params.iter().filter(|p| p.source.is_some()).map(|p| (p.name.to_string(), p.name.clone())).collect();
    let edges: BTreeMap<String, Vec<Ident>> = pipeline
        .stmts
        .iter()
        .flat_map(|s| [s.name.as_ref(), s.bad()].into_iter().flatten().map(move |n| (n.to_string(), s)))
        .map(|(n, s)| {
            let mut names = Vec::new();
            uses(&s.chain, &mut names);
            (n, names)
        })
        .collect();
    for stmt in &pipeline.stmts {
        let Some(name) = &stmt.name else { continue };
        let text = name.to_string();
        if seen.contains_key(&text) {
            errors.extend(error(name.span(), &format!("stream `{name}` is defined twice")));
        }
        seen.insert(text.clone(), name.clone());
        if let Some(bad) = stmt.bad() {
            let text = bad.to_string();
            if seen.insert(text.clone(), bad.clone()).is_some() {
                errors.extend(error(bad.span(), &format!("stream `{bad}` is defined twice")));
            }
            if !text.starts_with('_') && !used.contains_key(&text) {
                let has = |word: &str| stmt.chain.steps.iter().any(|s| s.name.as_ref().is_some_and(|n| n == word));
                let late = has("late_rows");
                let keyed = stmt.chain.steps.last().and_then(|s| s.name.as_ref()).is_some_and(|n| n == "keyed");
                let message = if keyed {
                    format!("the rows in `{bad}` are lost: end it with `-> sink(..)`, or name it `_{bad}`")
                } else if late {
                    format!("the rows in `{bad}` are lost: end it with `-> sink(..)`, or leave out `-> late_rows()`, and they are counted")
                } else if has("bad_rows") {
                    format!(
                        "the rows in `{bad}` are lost: end it with `-> sink(..)`, or leave out `-> bad_rows()`, and they end the job, or are counted"
                    )
                } else {
                    format!(
                        "the rows in `{bad}` are lost: end it with `-> sink(..)`, or write `-> on_error(skip)` instead of `-> dead_letter()`"
                    )
                };
                errors.extend(error(bad.span(), &message));
            }
        }
        if let Some(path) = cycle(&text, &edges) {
            if !cyclic.contains(&text) {
                if let Some(first) = edges.get(&text).and_then(|e| e.iter().find(|i| path.get(1).is_some_and(|p| *i == p))) {
                    let shown = path.join(" -> ");
                    let message = format!("streams may only use streams defined above: {shown}");
                    cycles.insert(text.clone(), error_expr(first.span(), &message));
                }
                cyclic.extend(path);
            }
        } else if !text.starts_with('_') && !used.contains_key(&text) && !ends_in_sink(stmt) {
            errors.extend(error(name.span(), &format!("stream `{name}` goes nowhere; end it with `-> sink(..)` or name it `_{name}`")));
        }
    }
    for p in pipeline.params.iter().filter(|p| p.source.is_some()) {
        let text = p.name.to_string();
        if !used.contains_key(&text) && !text.starts_with('_') {
            errors.extend(error(p.name.span(), &format!("source `{text}` is not used")));
        }
    }
    errors.extend(open_ends(pipeline));
    (errors, cycles)
}

/// A pipeline that returns rows has exactly one open end.
fn open_ends(pipeline: &Pipeline) -> TokenStream {
    let Some(record) = &pipeline.output else { return TokenStream::new() };
    let is_open = |s: &&super::model::Stmt| s.chain.steps.last().is_some_and(|l| l.args.as_ref().is_none_or(|a| a.stream().is_empty()));
    let mut open = pipeline.stmts.iter().filter(|s| ends_in_sink(s)).filter(is_open);
    let shown = super::meta::text(&super::tokens::list(record));
    let Some(first) = open.next() else {
        let message = format!("this pipeline returns `{shown}` rows, so one of its streams must be its open end: `clean -> sink;`");
        return error(crate::common::span_of(record), &message);
    };
    let first = match (&first.name, &first.chain.head) {
        (Some(name), _) | (None, Head::Stream(name)) => format!("`{name}`"),
        _ => "another stream".to_owned(),
    };
    open.map(|second| {
        let at = second.chain.steps.last().map_or_else(proc_macro2::Span::call_site, |s| s.span);
        let message = format!("a pipeline that returns rows has one open end, and {first} is it: give this one a place, `-> sink(to(..))`");
        error(at, &message)
    })
    .collect()
}

fn ends_in_sink(stmt: &super::model::Stmt) -> bool {
    stmt.chain.steps.last().and_then(|s| s.name.as_ref()).is_some_and(|n| n == "sink")
}

/// A path from `start` back to itself.
fn cycle(start: &str, edges: &BTreeMap<String, Vec<Ident>>) -> Option<Vec<String>> {
    fn walk(at: &str, start: &str, edges: &BTreeMap<String, Vec<Ident>>, path: &mut Vec<String>) -> bool {
        if path.iter().any(|p| p == at) {
            return false;
        }
        path.push(at.to_owned());
        for next in edges.get(at).into_iter().flatten() {
            if next == start {
                path.push(start.to_owned());
                return true;
            }
            if walk(&next.to_string(), start, edges, path) {
                return true;
            }
        }
        path.pop();
        false
    }
    let mut path = Vec::new();
    walk(start, start, edges, &mut path).then_some(path)
}
