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

/// The number of single-character edits between two names (Levenshtein).
fn edits(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, cb) in row.iter_mut().skip(1).zip(b) {
            let best = (diagonal + usize::from(ca != cb)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = best;
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}
