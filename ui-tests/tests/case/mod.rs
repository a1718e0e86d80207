//! What a case expects, what the compiler found, and how they differ.
//!
//! ```text
//! //~ ERROR 13:28 | prize | no field `prize` on type
//! //~ ALSO a field with a similar name exists
//! ```
//!
//! An error begins at line 13, column 28, where the source says `prize`; its message contains the sentence. A line with
//! `ALSO` belongs to the error above it: the sentence is in a label, a note or a help of it. Errors come in any order.
//! `//~ UNTEXTED reason` means that the case has no `.stderr`.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

/// A file of `cases/`.
pub(crate) struct Case {
    /// The file.
    pub(crate) path: PathBuf,
    /// What it expects.
    pub(crate) errors: Vec<Expected>,
    lines: Vec<String>,
}

/// An error that a case expects.
pub(crate) struct Expected {
    line: usize,
    column: usize,
    token: String,
    sentence: String,
    also: Vec<String>,
}

/// An error of the compiler.
#[derive(Debug)]
pub(crate) struct Found {
    line: usize,
    column: usize,
    message: String,
    /// Labels, notes and helps.
    rest: Vec<String>,
}

impl Case {
    /// Reads a case.
    pub(crate) fn read(path: &Path) -> Case {
        let text = std::fs::read_to_string(path).unwrap();
        let mut errors: Vec<Expected> = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("//~ ERROR ") {
                errors.push(Expected::read(rest).unwrap_or_else(|| panic!("{}: {line}", path.display())));
            } else if let Some(rest) = line.strip_prefix("//~ ALSO ") {
                errors.last_mut().expect("an error comes first").also.push(rest.to_owned());
            }
        }
        Case { path: path.to_owned(), errors, lines: text.lines().map(str::to_owned).collect() }
    }

    /// Whether the whole output is compared: there is some, and it is the same on every machine.
    pub(crate) fn has_text(&self) -> bool {
        !self.errors.is_empty() && !self.lines.iter().any(|l| l.starts_with("//~ UNTEXTED "))
    }

    /// The differences as text, if there are any.
    pub(crate) fn compare(&self, found: &[Found]) -> Option<String> {
        let mut out = Vec::new();
        let mut left: Vec<&Found> = found.iter().collect();
        for e in &self.errors {
            let source = self.lines.get(e.line - 1).and_then(|l| l.get(e.column - 1..)).unwrap_or_default();
            if !source.starts_with(&e.token) {
                out.push(format!("the case is wrong: at {}:{} is `{source}`, not `{}`", e.line, e.column, e.token));
            }
            let Some(at) = left.iter().position(|f| e.is(f)) else {
                out.push(format!("missing {}:{} {}", e.line, e.column, e.sentence));
                continue;
            };
            let f = left.remove(at);
            for also in e.also.iter().filter(|a| !f.rest.iter().any(|r| r.contains(*a))) {
                out.push(format!("{}:{} lacks `{also}`: {:#?}", e.line, e.column, f.rest));
            }
        }
        out.extend(left.iter().map(|f| format!("unexpected {}:{} {}", f.line, f.column, f.message)));
        (!out.is_empty()).then(|| format!("{}\n    {}", self.path.display(), out.join("\n    ")))
    }
}

impl Expected {
    fn read(text: &str) -> Option<Expected> {
        let mut parts = text.splitn(3, " | ");
        let (line, column) = parts.next()?.split_once(':')?;
        let (token, sentence) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        Some(Expected { line: line.parse().ok()?, column: column.parse().ok()?, token, sentence, also: Vec::new() })
    }
    fn is(&self, found: &Found) -> bool {
        (self.line, self.column) == (found.line, found.column) && found.message.contains(&self.sentence)
    }
}

impl Found {
    /// An error among the compiler's messages.
    pub(crate) fn of(json: &Json) -> Option<Found> {
        let message = json["message"].as_str()?;
        if json["level"] != "error" || message.starts_with("aborting due to") {
            return None;
        }
        let spans = json["spans"].as_array()?;
        let main = spans.iter().find(|s| s["is_primary"] == true);
        let number = |key: &str| main.and_then(|s| s[key].as_u64()).unwrap_or_default() as usize;
        let text = |json: &Json| json.as_str().map(str::to_owned);
        let labels = spans.iter().filter_map(|s| text(&s["label"]));
        let children = json["children"].as_array().into_iter().flatten().filter_map(|c| text(&c["message"]));
        let suggested = json["children"].as_array().into_iter().flatten().flat_map(|c| c["spans"].as_array().into_iter().flatten());
        let suggested = suggested.filter_map(|s| text(&s["suggested_replacement"]));
        Some(Found {
            line: number("line_start"),
            column: number("column_start"),
            message: message.to_owned(),
            rest: labels.chain(children).chain(suggested).collect(),
        })
    }
}
