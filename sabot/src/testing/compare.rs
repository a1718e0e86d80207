//! Comparing results.

use std::fmt::Debug;

use crate::{Error, Result};

/// Rows shown of each side in a message.
const SHOWN: usize = 5;

/// Whether two floats differ by at most `tolerance` relative to the greater one. NaN is close to NaN.
///
/// ```
/// use sabot::testing::close;
/// assert!(close(0.1 + 0.2, 0.3, 1e-12) && !close(0.3, 0.31, 1e-12) && close(f64::NAN, f64::NAN, 0.0));
/// ```
pub fn close(a: f64, b: f64, tolerance: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * a.abs().max(b.abs())
}

/// The rows as text, sorted: equal for equal multisets.
///
/// ```
/// use sabot::testing::sorted_text;
/// assert_eq!(sorted_text(&[2, 1, 2]), sorted_text(&[2, 2, 1]));
/// ```
pub fn sorted_text<T: Debug>(rows: &[T]) -> Vec<String> {
    let mut out: Vec<String> = rows.iter().map(|r| format!("{r:?}")).collect();
    out.sort();
    out
}

/// Checks that two lists have the same rows in any order, floats equal within a relative `tolerance` (0 is exact).
///
/// Rows are compared by their `Debug` text, numbers with a decimal point or an exponent as floats.
///
/// # Errors
/// If they differ; the message shows some rows of each side that the other lacks.
///
/// ```
/// use sabot::testing::same_rows;
/// assert!(same_rows(&[("a", 0.1 + 0.2), ("b", 1.0)], &[("b", 1.0), ("a", 0.3)], 1e-12).is_ok());
/// assert!(same_rows(&[1, 1, 2], &[1, 2, 2], 0.0).is_err());
/// ```
pub fn same_rows<T: Debug>(found: &[T], expected: &[T], tolerance: f64) -> Result<()> {
    let (found, expected) = (sorted_text(found), sorted_text(expected));
    if tolerance == 0.0 {
        let missing = without(&expected, &found);
        let extra = without(&found, &expected);
        return if missing.is_empty() && extra.is_empty() { Ok(()) } else { Err(differ(found.len(), expected.len(), &missing, &extra)) };
    }
    // sorted by what is exact in them, rows that may be equal stand at the same place
    let (found, expected) = (parts(&found), parts(&expected));
    let same = |a: &Parts, b: &Parts| a.0 == b.0 && a.1.len() == b.1.len() && a.1.iter().zip(&b.1).all(|(a, b)| close(*a, *b, tolerance));
    let wrong: Vec<(&Parts, &Parts)> = found.iter().zip(&expected).filter(|(a, b)| !same(a, b)).collect();
    if wrong.is_empty() && found.len() == expected.len() {
        return Ok(());
    }
    let missing: Vec<&str> = wrong.iter().map(|w| w.1.2.as_str()).collect();
    let extra: Vec<&str> = wrong.iter().map(|w| w.0.2.as_str()).collect();
    Err(differ(found.len(), expected.len(), &missing, &extra))
}

/// The text without its floats, the floats, the text.
type Parts = (String, Vec<f64>, String);

fn parts(rows: &[String]) -> Vec<Parts> {
    let mut out: Vec<Parts> = rows.iter().map(|r| split(r)).collect();
    out.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| order(&a.1, &b.1)));
    out
}
fn order(a: &[f64], b: &[f64]) -> std::cmp::Ordering {
    a.iter().zip(b).map(|(a, b)| a.total_cmp(b)).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
}

/// Takes the floats out of a text.
fn split(row: &str) -> Parts {
    let (mut text, mut floats, mut word) = (String::new(), Vec::new(), String::new());
    let flush = |word: &mut String, text: &mut String, floats: &mut Vec<f64>| {
        let float = word.contains(['.', 'e', 'N', 'i']) && word.starts_with(|c: char| c.is_ascii_digit() || "-Ni".contains(c));
        match word.parse::<f64>().ok().filter(|_| float) {
            Some(f) => {
                floats.push(f);
                text.push('~');
            }
            None => text.push_str(word),
        }
        word.clear();
    };
    for c in row.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_') {
            word.push(c);
        } else {
            flush(&mut word, &mut text, &mut floats);
            text.push(c);
        }
    }
    flush(&mut word, &mut text, &mut floats);
    (text, floats, row.to_owned())
}

/// Items of the sorted list `a` that the sorted list `b` lacks.
fn without<'a>(a: &'a [String], b: &[String]) -> Vec<&'a str> {
    let mut rest = b.iter().peekable();
    let mut out = Vec::new();
    for item in a {
        while rest.next_if(|r| *r < item).is_some() {}
        if rest.next_if(|r| *r == item).is_none() {
            out.push(item.as_str());
        }
    }
    out
}

fn differ(found: usize, expected: usize, missing: &[&str], extra: &[&str]) -> Error {
    let list = |rows: &[&str]| rows.iter().take(SHOWN).map(|r| format!("\n    {r}")).collect::<String>();
    Error::Usage(format!(
        "the rows differ: {found} were found, {expected} were expected\n  {} expected only:{}\n  {} found only:{}",
        missing.len(),
        list(missing),
        extra.len(),
        list(extra)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multisets_with_tolerance() {
        let rows = |f: f64| vec![("a", Some(f), 1), ("b", None, 2), ("a", Some(2.0), 1)];
        let mut other = rows(1.0);
        other.reverse();
        assert!(same_rows(&rows(1.0), &other, 0.0).is_ok());
        assert!(same_rows(&rows(1.0 + 1e-12), &other, 0.0).is_err());
        assert!(same_rows(&rows(1.0 + 1e-12), &other, 1e-9).is_ok());
        assert!(same_rows(&rows(1.1), &other, 1e-9).is_err());
        assert!(same_rows(&rows(1.0), &other[..2], 1e-9).is_err());
        assert!(same_rows(&[1, 1, 2], &[1, 2, 2], 0.0).is_err(), "a multiset, not a set");
        let text = same_rows(&[1, 1, 2], &[1, 2, 2], 0.0).unwrap_err().to_string();
        assert!(text.contains("3 were found") && text.contains("found only"), "{text}");
    }
}
