//! The candidates of a probe row: a range of the list of its key.
//!
//! In time, a key's next probe row is looked for from where its last one was found, by galloping (Bentley and Yao, "An
//! almost optimal algorithm for unbounded searching", 1976): a probe side in order of time costs a merge, one in any
//! order a binary search per row.

use super::index::Index;
use crate::plan::{Direction, Matching};

/// Finds candidates; remembers for each key where it was last.
pub(super) struct Finder {
    matching: Matching,
    at: Vec<u32>,
}

impl Finder {
    /// A finder over an index whose times are in nanoseconds or microseconds.
    pub(super) fn new(matching: Matching, nanos: bool, index: &Index) -> Self {
        let groups = if matching == Matching::Equal { 0 } else { index.groups() };
        Finder { matching: scaled(matching, if nanos { 1000 } else { 1 }), at: vec![0; groups] }
    }
    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.at.len() * 4
    }
    /// The candidates of rows of these groups and times, as ranges of the index's list.
    pub(super) fn ranges(&mut self, index: &Index, groups: &[u32], times: &[i64]) -> Vec<(u32, u32)> {
        if self.matching == Matching::Equal {
            return groups.iter().map(|g| index.range(*g)).collect();
        }
        let matching = self.matching;
        let mut out = Vec::with_capacity(groups.len());
        for (group, time) in groups.iter().zip(times) {
            let (from, to) = index.range(*group);
            let here = index.times.get(from as usize..to as usize).unwrap_or(&[]);
            let (first, last) = match self.at.get_mut(*group as usize) {
                Some(at) if !here.is_empty() => candidates(matching, here, at, *time),
                _ => (0, 0),
            };
            out.push((from + first, from + last));
        }
        out
    }
}

/// The same with spans in units of which a microsecond has `scale`.
pub(super) fn scaled(matching: Matching, scale: i64) -> Matching {
    let scaled = |t: i64| t.saturating_mul(scale);
    match matching {
        Matching::AsOf { direction, tolerance } => Matching::AsOf { direction, tolerance: tolerance.map(scaled) },
        Matching::Within { from, to } => Matching::Within { from: scaled(from), to: scaled(to) },
        other => other,
    }
}

/// The part of a key's rows that match a time.
fn candidates(matching: Matching, times: &[i64], at: &mut u32, time: i64) -> (u32, u32) {
    match matching {
        Matching::Equal | Matching::SameWindow { .. } => (0, times.len() as u32),
        Matching::Within { from, to } => {
            let first = seek(times, *at, |t| t < time.saturating_add(from));
            *at = first;
            let last = seek(times, first, |t| t <= time.saturating_add(to));
            (first, last.max(first))
        }
        Matching::AsOf { direction, tolerance } => {
            let near = |i: u32| {
                let away = times.get(i as usize).map(|t| t.abs_diff(time));
                away.filter(|a| tolerance.is_none_or(|most| i128::from(*a) <= i128::from(most))).map(|a| (a, i))
            };
            let found = match direction {
                Direction::Backward => {
                    *at = seek(times, *at, |t| t <= time);
                    at.checked_sub(1).and_then(near)
                }
                Direction::Forward => {
                    *at = seek(times, *at, |t| t < time);
                    near(*at)
                }
                Direction::Nearest => {
                    *at = seek(times, *at, |t| t <= time);
                    match (at.checked_sub(1).and_then(near), near(*at)) {
                        (Some(back), Some(ahead)) => Some(if back.0 <= ahead.0 { back } else { ahead }),
                        (back, ahead) => back.or(ahead),
                    }
                }
            };
            found.map_or((0, 0), |(_, i)| (i, i + 1))
        }
    }
}

/// The first position whose time is not `before`; `times` are in order. Gallops from `hint`.
fn seek(times: &[i64], hint: u32, before: impl Fn(i64) -> bool) -> u32 {
    let hint = (hint as usize).min(times.len());
    let is = |i: usize| times.get(i).is_some_and(|t| before(*t));
    // the answer is in `from..=to`
    let (mut from, mut to, mut step) = (0, times.len(), 1);
    if is(hint) {
        from = hint + 1;
        while from + step <= times.len() {
            let probe = from + step - 1;
            if !is(probe) {
                to = probe;
                break;
            }
            from = probe + 1;
            step *= 2;
        }
    } else {
        to = hint;
        while to > 0 {
            let probe = to.saturating_sub(step);
            if is(probe) {
                from = probe + 1;
                break;
            }
            to = probe;
            step *= 2;
        }
    }
    (from + times.get(from..to).unwrap_or(&[]).partition_point(|t| before(*t))) as u32
}

#[cfg(test)]
mod tests {
    use super::seek;

    #[test]
    fn seek_is_a_binary_search_from_any_hint() {
        for len in 0..40i64 {
            let times: Vec<i64> = (0..len).map(|i| i / 3 * 2).collect();
            for hint in 0..=45 {
                for time in -1..30 {
                    assert_eq!(seek(&times, hint, |t| t < time), times.partition_point(|t| *t < time) as u32, "{len} {hint} {time}");
                    assert_eq!(seek(&times, hint, |t| t <= time), times.partition_point(|t| *t <= time) as u32, "{len} {hint} {time}");
                }
            }
        }
    }
}
