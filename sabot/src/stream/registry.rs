//! The pipelines of a program.

use super::{Graph, ParamEntry, Params};
use crate::words::unknown;
use crate::{Error, Result};

/// A registered pipeline.
///
/// Example: [`pipelines`].
#[derive(Clone, Copy)]
pub struct PipelineEntry {
    /// Its name: the identifier.
    pub name: &'static str,
    /// Its module.
    pub module: &'static str,
    /// Doc comment.
    pub doc: &'static str,
    /// Source file.
    pub file: &'static str,
    /// Source line.
    pub line: u32,
    /// Parameters that are values.
    pub params: &'static [ParamEntry],
    /// Sources: name, record as written, whether it must end.
    pub sources: &'static [(&'static str, &'static str, bool)],
    /// The record whose rows it returns to a pipeline that uses it, as written.
    pub output: Option<&'static str>,
    /// Fills a graph from parameters.
    pub build: fn(&Params, &Graph) -> Result<()>,
}
inventory::collect!(PipelineEntry);

impl std::fmt::Debug for PipelineEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}::{} ({}:{})", self.module, self.name, self.file, self.line)
    }
}

/// The type-namespace face of a pipeline.
pub trait PipelineItem {
    /// Its registry entry.
    const ENTRY: PipelineEntry;
}

/// The pipelines of this program, by name.
///
/// # Errors
/// If two pipelines have the same name; the message gives both source positions.
///
/// ```standalone_crate
/// use sabot::prelude::*;
/// use sabot::stream::{pipeline_named, pipelines};
///
/// #[derive(Record, Clone)]
/// struct Trade { symbol: Str, qty: i64 }
///
/// pipeline! {
///     /// Large trades.
///     pub fn large(trades: Source<Trade>, least: i64);
///     large = trades -> filter(|t| t.qty >= least);
///     large -> sink;
/// }
///
/// # fn main() -> Result<()> {
/// let all = pipelines()?;
/// assert_eq!((all[0].name, all[0].doc.trim(), all[0].params[0].name), ("large", "Large trades.", "least"));
/// assert!(pipeline_named("larg").is_err_and(|e| e.to_string().contains("large")));
/// # Ok(()) }
/// ```
pub fn pipelines() -> Result<Vec<&'static PipelineEntry>> {
    let mut all: Vec<_> = inventory::iter::<PipelineEntry>.into_iter().collect();
    all.sort_by_key(|p| (p.name, p.file, p.line));
    for pair in all.windows(2) {
        if let [a, b] = pair
            && a.name == b.name
        {
            return Err(Error::Usage(format!(
                "two pipelines are called `{}`: {}:{} and {}:{}; rename one",
                a.name, a.file, a.line, b.file, b.line
            )));
        }
    }
    Ok(all)
}

/// The pipeline of this name.
///
/// # Errors
/// If there is none; the message names a similar one, and what may be wrong if there are none at all.
///
/// Example: [`pipelines`].
pub fn pipeline_named(name: &str) -> Result<&'static PipelineEntry> {
    let all = pipelines()?;
    if let Some(found) = all.iter().find(|p| p.name == name) {
        return Ok(found);
    }
    if all.is_empty() {
        return Err(Error::usage(
            "this program has no pipelines. A library crate whose items are never referenced is dropped by the linker: name it once in the program, e.g. `use my_pipelines as _;`",
        ));
    }
    let names: Vec<&str> = all.iter().map(|p| p.name).collect();
    Err(Error::Usage(unknown("this program has no pipeline", name, "its pipelines are", &names)))
}
