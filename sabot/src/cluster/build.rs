//! Which program a process runs: a job's code is looked up by name, so all processes of a cluster are the same build.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::operator::operators;
use crate::stream::{build_id, pipelines};

/// How many names of operators a message lists.
const LISTED: usize = 8;

/// The build of a process, and what tells two builds apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The version of Sabot and a hash of the executable.
    pub id: String,
    /// The token hash of each operator, by its stable name.
    pub operators: BTreeMap<String, u64>,
    /// The pipelines.
    pub pipelines: Vec<String>,
}

impl Build {
    /// The build of this process.
    ///
    /// # Errors
    /// If two operators or two pipelines have one name.
    pub fn this() -> Result<Self> {
        Ok(Build {
            id: build_id(),
            operators: operators()?.into_iter().map(|o| (o.name.to_owned(), o.hash)).collect(),
            pipelines: pipelines()?.into_iter().map(|p| p.name.to_owned()).collect(),
        })
    }
    /// Why a process of the build `other` cannot work with this one; nothing if it is the same.
    ///
    /// ```
    /// use sabot::cluster::Build;
    ///
    /// let one = |id: &str, hash| Build { id: id.into(), operators: [("shop::tax".to_owned(), hash)].into(), pipelines: vec!["bills".into()] };
    /// assert_eq!(one("a", 1).refusal(&one("a", 1)), None);
    /// let refused = one("a", 1).refusal(&one("b", 2)).unwrap();
    /// assert!(refused.contains("`shop::tax` differs"), "{refused}");
    /// assert!(one("a", 1).refusal(&one("b", 1)).unwrap().contains("no operator differs"));
    /// ```
    pub fn refusal(&self, other: &Build) -> Option<String> {
        if self.id == other.id {
            return None;
        }
        let mut out = format!("it is build {}, the server is build {}", other.id, self.id);
        let changed = self.operators.iter().filter(|(n, h)| other.operators.get(*n).is_some_and(|o| o != *h));
        let missing = self.operators.keys().filter(|n| !other.operators.contains_key(*n));
        let added = other.operators.keys().filter(|n| !self.operators.contains_key(*n));
        let differences: Vec<String> = changed
            .map(|(n, _)| format!("operator `{n}` differs"))
            .chain(missing.map(|n| format!("it has no operator `{n}`")))
            .chain(added.map(|n| format!("the server has no operator `{n}`")))
            .chain(self.pipelines.iter().filter(|p| !other.pipelines.contains(p)).map(|p| format!("it has no pipeline `{p}`")))
            .chain(other.pipelines.iter().filter(|p| !self.pipelines.contains(p)).map(|p| format!("the server has no pipeline `{p}`")))
            .collect();
        if differences.is_empty() {
            out.push_str(": no operator differs by its own tokens, so what they call, the pipelines, or the way of building does");
        }
        for (i, difference) in differences.iter().take(LISTED).enumerate() {
            out.push_str(if i == 0 { ": " } else { ", " });
            out.push_str(difference);
        }
        if let Some(more) = differences.len().checked_sub(LISTED).filter(|n| *n > 0) {
            // Writing to a string cannot fail.
            let _ = write!(out, " and {more} more");
        }
        out.push_str(". Copy one executable to all machines");
        Some(out)
    }
}
