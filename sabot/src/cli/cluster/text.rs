//! Tables, times and sizes for people.

use crate::clock::time_of_day;

/// Rows of text under names, aligned; columns whose name begins with `#` to the right.
pub(super) fn table(names: &[&str], rows: &[Vec<String>]) -> String {
    let right: Vec<bool> = names.iter().map(|n| n.starts_with('#')).collect();
    let names: Vec<String> = names.iter().map(|n| n.trim_start_matches('#').to_owned()).collect();
    let mut widths: Vec<usize> = names.iter().map(|n| n.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let mut line = |cells: &[String]| {
        let mut text = String::new();
        for (i, ((cell, width), right)) in cells.iter().zip(&widths).zip(&right).enumerate() {
            text.push_str(if i > 0 { "  " } else { "" });
            text.push_str(&if *right { format!("{cell:>width$}") } else { format!("{cell:width$}") });
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&names);
    line(&widths.iter().map(|w| "─".repeat(*w)).collect::<Vec<_>>());
    rows.iter().for_each(|row| line(row));
    out
}

/// How long ago.
pub(super) fn since(ms: i64) -> String {
    let now = time_of_day().as_millis() as i64;
    let seconds = (now - ms).max(0) / 1000;
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Bytes.
pub(super) fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// A rate or a count in few digits.
pub(super) fn count(n: f64) -> String {
    match n {
        n if n < 1000.0 => format!("{n:.0}"),
        n if n < 1_000_000.0 => format!("{:.1}k", n / 1000.0),
        n => format!("{:.1}M", n / 1_000_000.0),
    }
}

/// As a part of an address: what may not be there is escaped.
pub(super) fn escaped(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() || b"-._~".contains(&b) { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect()
}
