//! The cases in Sabot: operators, pipelines, and the kernels of their runs.

use std::sync::Arc;

use arrow_array::RecordBatch;
use sabot::kernel::{Level, Morsel, Origin, Ran, Request, RunKernel};
use sabot::prelude::*;
use sabot::stream::{Code, Graph, Params, pipeline_named};

use crate::data::{Row, fail};

#[operator]
pub fn mul3(p: f64, q: i64, f: f64) -> f64 {
    p * q as f64 * f
}
#[operator]
pub fn keep(p: f64, q: i64) -> bool {
    p > 10.0 && q > 50
}
#[operator]
pub fn notional(p: f64, q: i64) -> f64 {
    p * q as f64
}
#[operator]
pub fn fee(n: f64) -> f64 {
    n * 0.001 + 0.35
}
#[operator]
pub fn tax(n: f64, f: f64) -> f64 {
    n * f + 1.0
}
#[operator]
pub fn drag(d: i64, m: i64) -> f64 {
    d as f64 * 100.0 / m as f64
}
#[operator]
pub fn idiv(a: i64, b: i64) -> i64 {
    a / b
}
#[operator]
pub fn checked(p: f64, q: i64) -> Result<f64, &'static str> {
    if q < 0 { Err("negative") } else { Ok(p * q as f64) }
}
#[operator]
pub fn is_get(s: &str) -> bool {
    s.starts_with("GET ")
}
#[operator]
pub fn path(s: &str) -> &str {
    s.split_once(' ').map_or(s, |(_, path)| path)
}
#[operator]
pub fn upper(s: &str) -> String {
    s.to_ascii_uppercase()
}

pipeline! {
    /// A map of three arguments.
    pub fn map3(rows: Source<Row>);
    out = rows -> select(|t| row { x: mul3(t.p, t.q, t.f) });
    out -> sink;
}
pipeline! {
    /// A predicate.
    pub fn predicate(rows: Source<Row>);
    out = rows -> filter(|t| keep(t.p, t.q));
    out -> sink;
}
pipeline! {
    /// A predicate, a filter, two maps.
    pub fn chain(rows: Source<Row>);
    out = rows -> filter(|t| keep(t.p, t.q)) -> with(|t| row { n: notional(t.p, t.q) }) -> select(|t| row { x: fee(t.n) });
    out -> sink;
}
pipeline! {
    /// `?` that is a matter of validity words.
    pub fn question(rows: Source<Row>);
    out = rows -> select(|t| row { x: drag(t.d?, t.m) });
    out -> sink;
}
pipeline! {
    /// `?` that is not always reached.
    pub fn question_if(rows: Source<Row>);
    out = rows -> select(|t| row { x: if t.m > 500 { drag(t.d?, t.m) } else { 0.0 } });
    out -> sink;
}
pipeline! {
    /// Integer division, which may trap.
    pub fn trap(rows: Source<Row>);
    out = rows -> select(|t| row { x: idiv(t.q, t.m) });
    out -> sink;
}
pipeline! {
    /// Integer division behind `?`.
    pub fn trap_question(rows: Source<Row>);
    out = rows -> select(|t| row { x: idiv(t.d?, t.m) });
    out -> sink;
}
pipeline! {
    /// A fallible operator; no row fails.
    pub fn result(rows: Source<Row>);
    out = rows -> select(|t| row { x: checked(t.p, t.q) }) -> on_error(fail);
    out -> sink;
}
pipeline! {
    /// A predicate over text.
    pub fn text_predicate(rows: Source<Row>);
    out = rows -> filter(|t| is_get(t.s));
    out -> sink;
}
pipeline! {
    /// Text borrowed from the input.
    pub fn borrowed(rows: Source<Row>);
    out = rows -> select(|t| row { x: path(t.s) });
    out -> sink;
}
pipeline! {
    /// Text made anew.
    pub fn owned(rows: Source<Row>);
    out = rows -> select(|t| row { x: upper(t.s) });
    out -> sink;
}
pipeline! {
    /// Two columns, one from the other.
    pub fn dependent(rows: Source<Row>);
    out = rows -> with(|t| row { n: notional(t.p, t.q) }) -> with(|t| row { x: tax(t.n, t.f) });
    out -> sink;
}

/// The kernel of a pipeline's run, and what to ask of it.
pub struct Ours {
    kernel: Arc<dyn RunKernel>,
    request: Request,
    morsel: Morsel,
}

impl Ours {
    /// The only run of a pipeline, over a batch, delivering these columns.
    pub fn new(pipeline: &str, batch: &RecordBatch, outputs: &[&str]) -> Self {
        let graph = Graph::new(pipeline);
        let built = pipeline_named(pipeline).and_then(|p| (p.build)(&Params::new(), &graph));
        if let Err(e) = built {
            fail(&e.to_string());
        }
        let kernel = graph.finish().table.into_values().find_map(|code| match code {
            Code::Run(kernel) => Some(kernel),
            _ => None,
        });
        let Some(kernel) = kernel else { fail(&format!("{pipeline} has no run")) };
        let outputs = outputs.iter().map(|s| (*s).to_owned()).collect();
        let request = Request { outputs: Some(outputs), dense: true, level: Level::current(), ..Request::all(pipeline) };
        Ours { kernel, request, morsel: Morsel::new(batch.clone(), Origin::default()) }
    }
    /// Runs it.
    pub fn run(&self) -> Ran {
        match self.kernel.run(&self.morsel, &self.request) {
            Ok(ran) => ran,
            Err(e) => fail(&e.to_string()),
        }
    }
}
