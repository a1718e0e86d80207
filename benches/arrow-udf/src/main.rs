//! The cases of `benches/kernels` in arrow-udf 0.10, over the same rows: `cargo run --release` in this folder.
//!
//! `--rows N` sets the batch size, `--json FILE` writes the numbers, `--smoke` only checks.
#![allow(missing_docs)]

#[allow(dead_code)]
#[path = "../../benches/kernels/generate.rs"]
mod generate;
#[path = "../../benches/kernels/timing.rs"]
mod timing;

use std::hint::black_box;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow_schema::ArrowError;
use arrow_udf::function;
use generate::{batch, fail};

#[function("mul3(float64, int64, float64) -> float64", output = "mul3_eval")]
fn mul3(p: f64, q: i64, f: f64) -> f64 {
    p * q as f64 * f
}
#[function("keep(float64, int64) -> boolean", output = "keep_eval")]
fn keep(p: f64, q: i64) -> bool {
    p > 10.0 && q > 50
}
#[function("notional(float64, int64) -> float64", output = "notional_eval")]
fn notional(p: f64, q: i64) -> f64 {
    p * q as f64
}
#[function("fee(float64) -> float64", output = "fee_eval")]
fn fee(n: f64) -> f64 {
    n * 0.001 + 0.35
}
#[function("tax(float64, float64) -> float64", output = "tax_eval")]
fn tax(n: f64, f: f64) -> f64 {
    n * f + 1.0
}
#[function("drag(int64, int64) -> float64", output = "drag_eval")]
fn drag(d: i64, m: i64) -> f64 {
    d as f64 * 100.0 / m as f64
}
#[function("drag_if(int64, int64) -> float64", output = "drag_if_eval")]
fn drag_if(d: Option<i64>, m: i64) -> Option<f64> {
    if m > 500 { Some(drag(d?, m)) } else { Some(0.0) }
}
#[function("idiv(int64, int64) -> int64", output = "idiv_eval")]
fn idiv(a: i64, b: i64) -> i64 {
    a / b
}
// under a null there may be a zero, on which `idiv` panics; the data here has none
#[function("checked(float64, int64) -> float64", output = "checked_eval")]
fn checked(p: f64, q: i64) -> Result<f64, &'static str> {
    if q < 0 { Err("negative") } else { Ok(p * q as f64) }
}
#[function("is_get(string) -> boolean", output = "is_get_eval")]
fn is_get(s: &str) -> bool {
    s.starts_with("GET ")
}
#[function("path(string) -> string", output = "path_eval")]
fn path(s: &str) -> &str {
    s.split_once(' ').map_or(s, |(_, path)| path)
}
#[function("upper(string) -> string", output = "upper_eval")]
fn upper(s: &str) -> String {
    s.to_ascii_uppercase()
}

type Made = Result<RecordBatch, ArrowError>;
type Case = (&'static str, RecordBatch, Box<dyn Fn(&RecordBatch) -> Made>);

fn columns(b: &RecordBatch, names: &[&str]) -> RecordBatch {
    let picked = names.iter().map(|n| b.schema().index_of(n).unwrap_or_else(|_| fail(n))).collect::<Vec<_>>();
    b.project(&picked).unwrap_or_else(|e| fail(&e.to_string()))
}

fn beside(made: &RecordBatch, b: &RecordBatch, name: &str) -> Made {
    let f = b.column_by_name(name).unwrap_or_else(|| fail(name));
    RecordBatch::try_from_iter([("n", made.column(0).clone()), (name, f.clone())])
}

fn cases(n: usize) -> Vec<Case> {
    let plain = batch(n, 0, false);
    let mut out: Vec<Case> = vec![
        ("3-argument map", columns(&plain, &["p", "q", "f"]), Box::new(mul3_eval)),
        ("predicate", columns(&plain, &["p", "q"]), Box::new(keep_eval)),
        (
            "predicate, filter, 2 maps",
            columns(&plain, &["p", "q"]),
            Box::new(|b| {
                let kept = arrow_select::filter::filter_record_batch(b, keep_eval(b)?.column(0).as_boolean())?;
                fee_eval(&notional_eval(&kept)?)
            }),
        ),
    ];
    for (nulls, a, b, c) in [
        (0, "`?`, no nulls", "`?` under `if`, no nulls", "`?` into i64 division, no nulls"),
        (125, "`?`, 12.5% nulls", "`?` under `if`, 12.5% nulls", "`?` into i64 division, 12.5% nulls"),
        (500, "`?`, 50% nulls", "`?` under `if`, 50% nulls", "`?` into i64 division, 50% nulls"),
    ] {
        let holey = columns(&batch(n, nulls, false), &["d", "m"]);
        out.push((a, holey.clone(), Box::new(drag_eval)));
        out.push((b, holey.clone(), Box::new(drag_if_eval)));
        out.push((c, holey, Box::new(idiv_eval)));
    }
    let text = columns(&plain, &["s"]);
    out.extend([
        ("trapping i64 division", columns(&plain, &["q", "m"]), Box::new(idiv_eval) as Box<dyn Fn(&RecordBatch) -> Made>),
        ("`Result`", columns(&plain, &["p", "q"]), Box::new(checked_eval)),
        ("string predicate", text.clone(), Box::new(is_get_eval)),
        ("`&str` result", text.clone(), Box::new(path_eval)),
        ("`String` result", text, Box::new(upper_eval)),
        (
            "two dependent `with`s",
            columns(&plain, &["p", "q", "f"]),
            Box::new(|b| {
                let n = notional_eval(&columns(b, &["p", "q"]))?;
                tax_eval(&beside(&n, b, "f")?)
            }),
        ),
    ]);
    out
}

/// What the case must give, by a plain loop.
fn expected(name: &str, b: &RecordBatch) -> Option<ArrayRef> {
    let f = |n: &str| b.column_by_name(n).map(|a| a.as_primitive::<Float64Type>().clone());
    let i = |n: &str| b.column_by_name(n).map(|a| a.as_primitive::<Int64Type>().clone());
    match name {
        "3-argument map" => {
            let (p, q, f) = (f("p")?, i("q")?, f("f")?);
            Some(Arc::new((0..b.num_rows()).map(|r| Some(mul3(p.value(r), q.value(r), f.value(r)))).collect::<Float64Array>()))
        }
        n if n.starts_with("`?`, ") => {
            let (d, m) = (i("d")?, i("m")?);
            Some(Arc::new((0..b.num_rows()).map(|r| d.is_valid(r).then(|| drag(d.value(r), m.value(r)))).collect::<Float64Array>()))
        }
        n if n.starts_with("`?` into") => {
            let (d, m) = (i("d")?, i("m")?);
            Some(Arc::new((0..b.num_rows()).map(|r| d.is_valid(r).then(|| idiv(d.value(r), m.value(r)))).collect::<Int64Array>()))
        }
        _ => None,
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let after = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).cloned();
    let rows = after("--rows").and_then(|n| n.parse().ok()).unwrap_or(8192);
    let all = cases(rows);
    for (name, b, run) in &all {
        let made = run(b).unwrap_or_else(|e| fail(&format!("{name}: {e}")));
        if expected(name, b).is_some_and(|want| want.to_data() != made.column(0).to_data()) {
            fail(&format!("{name}: wrong"));
        }
    }
    if args.iter().any(|a| a == "--smoke") {
        println!("{} cases run", all.len());
        return;
    }
    println!("| case | arrow-udf 0.10, ns per row |\n|---|---|");
    let mut json = Vec::new();
    for (name, b, run) in &all {
        let t = timing::time(&[&|| drop(black_box(run(b).is_ok()))]);
        let Some(t) = t.first() else { continue };
        println!("| {name} | {:.2} ({:.2}) |", t.cpu / rows as f64, t.wall / rows as f64);
        json.push(serde_json::json!({ "case": name, "rows": rows, "arrow_udf_ns": t.cpu, "arrow_udf_wall_ns": t.wall }));
    }
    if let Some(file) = after("--json")
        && let Err(e) = std::fs::write(&file, format!("{:#}\n", serde_json::Value::Array(json)))
    {
        fail(&format!("{file}: {e}"));
    }
}
