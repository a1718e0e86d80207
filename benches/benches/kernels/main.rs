//! Kernels beside a hand-written loop, Arrow's kernels, and a boxed call per row: `cargo bench --bench kernels`.
//!
//! Results are checked before anything is timed. `--smoke` only checks; `--rows N` sets the batch size; `--json FILE`
//! writes the numbers; any other word picks the cases that contain it.
#![allow(missing_docs, unreachable_pub, clippy::indexing_slicing)]

mod arrow;
mod boxed;
mod cases;
mod data;
mod generate;
mod hand;
mod ours;
mod timing;

use std::hint::black_box;

use cases::{Case, same};
use data::fail;
use sabot::kernel::Level;

struct Args {
    smoke: bool,
    rows: usize,
    json: Option<String>,
    pick: Vec<String>,
}

fn args() -> Args {
    let mut out = Args { smoke: false, rows: 8192, json: None, pick: Vec::new() };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--smoke" | "--test" => out.smoke = true,
            "--bench" => {}
            "--rows" => out.rows = args.next().and_then(|n| n.parse().ok()).unwrap_or_else(|| fail("--rows takes a number")),
            "--json" => out.json = Some(args.next().unwrap_or_else(|| fail("--json takes a file"))),
            _ => out.pick.push(arg),
        }
    }
    out
}

fn check(case: &Case) {
    let want = (case.hand)();
    for (who, got) in [("sabot", Some((case.sabot)())), ("arrow", case.arrow.as_ref().map(|f| f())), ("boxed", Some((case.boxed)()))] {
        if got.is_some_and(|got| !same(&got, &want)) {
            fail(&format!("{}: {who} differs from the hand-written loop", case.name));
        }
    }
}

fn main() {
    let args = args();
    // around multiples of 64 first: a wrong tail would not show in a full batch
    for rows in [1, 63, 64, 65, 1000] {
        cases::all(rows).iter().for_each(check);
    }
    let picked = |c: &Case| args.pick.is_empty() || args.pick.iter().any(|p| c.name.contains(p.as_str()));
    let all: Vec<Case> = cases::all(args.rows).into_iter().filter(picked).collect();
    all.iter().for_each(check);
    if args.smoke {
        println!("{} cases agree", all.len());
        return;
    }
    println!(
        "{} rows, level {:?}; ns per row, median of the thread's processor time (wall time in brackets)\n",
        args.rows,
        Level::current()
    );
    println!("| case | Sabot | by hand | Arrow kernels | boxed per row | Sabot / hand | Arrow / Sabot | boxed / Sabot |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut json = Vec::new();
    for case in &all {
        let (ran, hand, boxed) = (|| drop(black_box((case.ran)())), || drop(black_box((case.hand)())), || drop(black_box((case.boxed)())));
        let arrow = case.arrow.as_ref().map(|f| move || drop(black_box(f())));
        let mut contenders: Vec<&dyn Fn()> = vec![&ran, &hand, &boxed];
        if let Some(arrow) = &arrow {
            contenders.push(arrow);
        }
        let times = timing::time(&contenders);
        let (s, h, b, a) = (times[0], times[1], times[2], times.get(3).copied());
        let per = |t: timing::Time| format!("{:.2} ({:.2})", t.cpu / args.rows as f64, t.wall / args.rows as f64);
        let or_none = |v: Option<String>| v.unwrap_or_else(|| "–".into());
        println!(
            "| {} | {} | {} | {} | {} | {:.2} | {} | {:.1} |",
            case.name,
            per(s),
            per(h),
            or_none(a.map(per)),
            per(b),
            s.cpu / h.cpu,
            or_none(a.map(|a| format!("{:.2}", a.cpu / s.cpu))),
            b.cpu / s.cpu
        );
        json.push(serde_json::json!({
            "case": case.name, "rows": args.rows, "sabot_ns": s.cpu, "hand_ns": h.cpu, "arrow_ns": a.map(|a| a.cpu), "boxed_ns": b.cpu,
            "sabot_wall_ns": s.wall, "hand_wall_ns": h.wall, "arrow_wall_ns": a.map(|a| a.wall), "boxed_wall_ns": b.wall,
        }));
    }
    println!("\nOne call, ns:\n\n| rows | 3-argument map | predicate, filter, 2 maps |\n|---|---|---|");
    for rows in [1, 64, 1000] {
        let small = cases::all(rows);
        let find = |name: &str| small.iter().find(|c| c.name == name).unwrap_or_else(|| fail(name));
        let (map, chain) = (find("3-argument map"), find("predicate, filter, 2 maps"));
        let t = timing::time(&[&|| drop(black_box((map.ran)())), &|| drop(black_box((chain.ran)()))]);
        println!("| {rows} | {:.0} | {:.0} |", t[0].cpu, t[1].cpu);
        json.push(serde_json::json!({ "case": "one call", "rows": rows, "map3_ns": t[0].cpu, "chain_ns": t[1].cpu }));
    }
    if let Some(file) = args.json
        && let Err(e) = std::fs::write(&file, format!("{:#}\n", serde_json::Value::Array(json)))
    {
        fail(&format!("{file}: {e}"));
    }
}
