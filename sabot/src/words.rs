//! Words of messages: what a user may have meant.

/// "{refusal} `{name}`; did you mean `near`? {list} `a`, `b`".
pub(crate) fn unknown(refusal: &str, name: &str, list: &str, known: &[&str]) -> String {
    let all = known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ");
    let all = if all.is_empty() { "none".to_owned() } else { all };
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("{refusal} `{name}`; did you mean `{near}`? ({list} {all})"),
        None => format!("{refusal} `{name}`; {list} {all}"),
    }
}

/// That a cargo feature is missing, and how it is added.
// not called if all are there
#[allow(dead_code)]
pub(crate) fn without_feature(feature: &str) -> String {
    format!(
        "this program was built without the feature `{feature}` of `sabot`: add it in `Cargo.toml` (`sabot = {{ .., features = [\"{feature}\"] }}`)"
    )
}

/// The known name that a user may have meant by `name`, letter case and punctuation aside.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |s: &str| s.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<Vec<char>>();
    let wanted = plain(name);
    known
        .map(|k| (edits(&wanted, &plain(k)), k))
        .filter(|(edits, _)| *edits <= (wanted.len() / 3).max(1))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, k)| k)
}

/// The number of single-character edits between two names, where two swapped neighbours are one edit.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let cell = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX / 2);
    for (i, ca) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, cb) in b.iter().enumerate() {
            let mut best = (cell(&row, j) + usize::from(ca != cb)).min(cell(&next, j) + 1).min(cell(&row, j + 1) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(cb) && b.get(j - 1) == Some(ca);
            if swapped {
                best = best.min(cell(&before, j - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names() {
        let known = ["large", "miles", "dep_delay"];
        let near = |name| nearest(name, known.into_iter());
        assert_eq!(near("lrage"), Some("large"));
        assert_eq!(near("DepDelay"), Some("dep_delay"));
        assert_eq!(near("xyzzy"), None);
    }
}
