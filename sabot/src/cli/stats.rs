//! What a finished job did, as text.

use std::fmt::Write as _;

use crate::runtime::Report;

/// The account of every step and the work of every thread.
pub(super) fn stats(report: &Report) -> String {
    let head = ["step", "rows in", "used", "filtered", "late", "failed", "held", "rows out"].map(str::to_owned);
    let mut rows = vec![head];
    for node in &report.nodes {
        let a = &node.account;
        let numbers = [a.rows_in, a.used, a.filtered, a.late, a.failed].map(|n| n.to_string());
        let [rows_in, used, filtered, late, failed] = numbers;
        rows.push([node.name.clone(), rows_in, used, filtered, late, failed, a.held.to_string(), a.rows_out.to_string()]);
    }
    let mut out = aligned(&rows);
    let mut workers = vec![["thread", "turns", "morsels", "rows", "busy ms"].map(str::to_owned)];
    for (n, w) in report.workers.iter().enumerate() {
        workers.push([n.to_string(), w.turns.to_string(), w.morsels.to_string(), w.rows.to_string(), w.busy.as_millis().to_string()]);
    }
    out.push_str(&aligned(&workers));
    let bypassed = if report.bypassed { ", on the calling thread" } else { "" };
    let _ = writeln!(out, "{:.3} s{bypassed}; at most {} bytes queued", report.wall.as_secs_f64(), report.peak_channel_bytes);
    for node in report.nodes.iter().filter(|n| n.spilled > 0) {
        let _ = writeln!(out, "{} spilled {} bytes to disk", node.name, node.spilled);
    }
    let c = &report.checkpoints;
    if c.taken > 0 {
        let from = c.restored.map_or_else(String::new, |n| format!(", continued from checkpoint {n}"));
        let (mean, longest) = (c.time.as_secs_f64() * 1e3 / c.taken as f64, c.longest.as_secs_f64() * 1e3);
        let _ = writeln!(
            out,
            "{} checkpoints, {} bytes written (the last {}), {} not again, {mean:.1} ms each, at most {longest:.1} ms, barriers at most {:.1} ms{from}",
            c.taken,
            c.bytes,
            c.last_bytes,
            c.reused,
            c.aligned.as_secs_f64() * 1e3
        );
    }
    for event in &report.events {
        let _ = writeln!(out, "event: {event}");
    }
    out
}

/// The first column to the left, the others to the right.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in rows {
        for (i, (cell, width)) in row.iter().zip(widths).enumerate() {
            let _ = if i == 0 { write!(out, "{cell:width$}") } else { write!(out, "  {cell:>width$}") };
        }
        out.push('\n');
    }
    out
}

/// Rows that did not take part, one line per step: nothing disappears without a word.
pub(super) fn losses(report: &Report) -> Vec<String> {
    let mut out = Vec::new();
    for node in &report.nodes {
        let a = &node.account;
        if a.failed > 0 {
            out.push(format!("warning: {}: {} of {} rows could not be used, and did not go on from here", node.name, a.failed, a.rows_in));
        }
        if a.late > 0 {
            out.push(format!("warning: {}: {} of {} rows came too late, and did not go on from here", node.name, a.late, a.rows_in));
        }
    }
    out
}
