//! A plainer failure of the same kind: fewer rows, fewer things at once (delta debugging: Zeller and Hildebrandt, 2002).

use super::stream_check::{Left, Way};
use crate::Error;

/// How many runs a search may take.
const ATTEMPTS: usize = 400;

/// A way to run, the rows, and how it fails.
pub(super) type Failure = (Way, Left, Error);

/// Goes on as long as something can be left out such that `fails` still returns an error.
pub(super) fn shrink(first: Failure, fails: impl Fn(&Way, &Left) -> Option<Error>) -> Failure {
    let (mut way, mut left, mut error) = first;
    let mut attempts = ATTEMPTS;
    let mut attempt = |way: &Way, left: &Left| {
        attempts = attempts.checked_sub(1)?;
        fails(way, left)
    };
    let plainer: [fn(&Way) -> Way; 6] = [
        |w| Way { shares: None, ..w.clone() },
        |w| Way { crash: None, ..w.clone() },
        |w| Way { partitions: 1, ..w.clone() },
        |w| Way { threads: 1, ..w.clone() },
        |w| Way { later: 1, ..w.clone() },
        |w| Way { morsel: 1000, ..w.clone() },
    ];
    for simpler in plainer {
        let other = simpler(&way);
        if let Some(e) = attempt(&other, &left) {
            (way, error) = (other, e);
        }
    }
    let names: Vec<String> = left.keys().cloned().collect();
    let mut part = left.values().map(Vec::len).max().unwrap_or(0).div_ceil(2);
    while part > 0 {
        let mut removed = false;
        for name in &names {
            let mut at = 0;
            while let Some(rows) = left.get(name).filter(|rows| at < rows.len()) {
                let rest = rows.iter().enumerate().filter(|(i, _)| *i < at || *i >= at + part).map(|(_, row)| *row).collect();
                let mut fewer = left.clone();
                fewer.insert(name.clone(), rest);
                match attempt(&way, &fewer) {
                    Some(e) => (left, error, removed) = (fewer, e, true),
                    None => at += part,
                }
            }
        }
        // single rows are tried again as long as some can go
        part = if part == 1 && removed { 1 } else { part / 2 };
    }
    (way, left, error)
}
