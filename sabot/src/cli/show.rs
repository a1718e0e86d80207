//! `explain`, `graph`, `ops`, `pipelines`.

use std::fmt::Write as _;

use clap::ArgMatches;
use serde_json::json;

use super::{bind, print, say};
use crate::operator::{OperatorEntry, operators as all_operators};
use crate::stream::{Job, Params, PipelineEntry, pipeline_named, pipelines as all_pipelines};
use crate::{Error, Result};

/// The pipeline that a subcommand names, with its options.
pub(super) fn chosen(matches: &ArgMatches) -> Result<(&'static PipelineEntry, &ArgMatches)> {
    let (name, sub) = matches.subcommand().ok_or_else(|| Error::usage("which pipeline?"))?;
    Ok((pipeline_named(name)?, sub))
}

/// A job to look at: parameters that were not given get placeholders, if the pipeline can be built with them.
fn sketch(pipeline: &PipelineEntry, matches: &ArgMatches) -> Result<Job> {
    let (mut params, missing): (Params, _) = bind::params(pipeline, matches)?;
    let mut shown = Vec::new();
    for p in pipeline.params.iter().filter(|p| missing.contains(&p.name)) {
        let Some(value) = p.placeholder() else { return Err(bind::missing(pipeline, &missing)) };
        shown.push(format!("{} = {}", p.name, if p.is_secret() { "***".into() } else { value.to_string() }));
        params.set(p.name, value);
    }
    match bind::job(pipeline, params) {
        Ok(job) => {
            if !shown.is_empty() {
                say(&format!("note: with placeholders for parameters that were not given: {}", shown.join(", ")));
            }
            Ok(job)
        }
        Err(_) if !missing.is_empty() => Err(bind::missing(pipeline, &missing)),
        Err(e) => Err(e),
    }
}

/// Prints a plan.
pub(super) fn explain(matches: &ArgMatches) -> Result<i32> {
    let (pipeline, sub) = chosen(matches)?;
    let job = sketch(pipeline, sub)?;
    let job = bind::some_sources(job, pipeline, sub)?;
    let explanation = job.explanation()?;
    if sub.get_flag("json") { pretty(&explanation) } else { print(&explanation.to_string()) }
}

/// Prints a plan as mermaid source or as a drawing.
pub(super) fn graph(matches: &ArgMatches) -> Result<i32> {
    let (pipeline, sub) = chosen(matches)?;
    let job = sketch(pipeline, sub)?;
    if sub.get_one::<String>("format").is_some_and(|f| f == "svg") { print(&job.svg()?) } else { print(&job.mermaid()?) }
}

fn pretty(value: &impl serde::Serialize) -> Result<i32> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::internal(format!("cannot be written as JSON: {e}")))?;
    print(&(text + "\n"))
}

/// `name(a: f64, b: i64) -> f64`.
fn signature(o: &OperatorEntry) -> String {
    let inputs: Vec<String> = o.inputs.iter().map(|i| format!("{}: {}", i.name, i.rust_type)).collect();
    format!("{}({}) -> {}", o.name, inputs.join(", "), o.output.rust_type)
}

/// Lists the operators.
pub(super) fn operators(as_json: bool) -> Result<i32> {
    let all = all_operators()?;
    if as_json {
        return pretty(&all);
    }
    let mut out = String::new();
    for o in all {
        let word = |v: serde_json::Result<serde_json::Value>| v.ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
        let (kind, tier) = (word(serde_json::to_value(o.kind)), word(serde_json::to_value(o.tier)));
        let _ = writeln!(out, "{}\n    {kind}, runs in {tier}; {}:{}", signature(o), o.file, o.line);
        if let Some(line) = o.doc.lines().next().filter(|l| !l.is_empty()) {
            let _ = writeln!(out, "    {line}");
        }
    }
    if out.is_empty() {
        out.push_str("this program has no operators\n");
    }
    print(&out)
}

/// Lists the pipelines.
pub(super) fn pipelines(as_json: bool) -> Result<i32> {
    let all = all_pipelines()?;
    if as_json {
        let list: Vec<_> = all
            .iter()
            .map(|p| {
                json!({
                    "name": p.name, "module": p.module, "doc": p.doc, "file": p.file, "line": p.line,
                    "params": p.params.iter().map(|q| json!({"name": q.name, "type": q.type_name, "secret": q.is_secret()})).collect::<Vec<_>>(),
                    "sources": p.sources.iter().map(|(n, r, ends)| json!({"name": n, "record": r, "must_end": ends})).collect::<Vec<_>>(),
                    "returns": p.output,
                })
            })
            .collect();
        return pretty(&list);
    }
    let mut out = String::new();
    for p in &all {
        let sources = p.sources.iter().map(|(n, r, ends)| format!("{n}: Source<{r}{}>", if *ends { ", Bounded" } else { "" }));
        let params = p.params.iter().map(|q| format!("{}: {}", q.name, q.type_name));
        let returned = p.output.map(|r| format!(" -> {r}")).unwrap_or_default();
        let _ = writeln!(out, "{}({}){returned}", p.name, sources.chain(params).collect::<Vec<_>>().join(", "));
        for line in p.doc.lines().filter(|l| !l.is_empty()) {
            let _ = writeln!(out, "    {line}");
        }
    }
    if out.is_empty() {
        out.push_str("this program has no pipelines\n");
    }
    print(&out)
}
