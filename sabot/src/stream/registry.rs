//! The pipelines of a program, and the parameters they take.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::Graph;
use crate::{Error, Result};

/// A registered pipeline.
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
    /// Parameters: name and type as written.
    pub params: &'static [(&'static str, &'static str)],
    /// Sources: name, record as written, whether it must end.
    pub sources: &'static [(&'static str, &'static str, bool)],
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
    Err(Error::Usage(format!("there is no pipeline `{name}`; this program has {}", names.join(", "))))
}

/// The values of a pipeline's parameters, as JSON: what ships to another process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Params(BTreeMap<String, Json>);

impl Params {
    /// No parameters.
    pub fn new() -> Self {
        Params::default()
    }
    /// Adds a value.
    ///
    /// A value that JSON cannot hold is kept as null, and refused when it is read.
    #[must_use]
    pub fn with<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static>(mut self, name: &str, value: &T) -> Self {
        self.0.insert(name.to_owned(), serde_json::to_value(value).unwrap_or(Json::Null));
        self
    }
    /// Adds a value from a command line: JSON if it reads as such, else text.
    pub fn set_text(&mut self, name: &str, text: &str) {
        let value = serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.to_owned()));
        self.0.insert(name.to_owned(), value);
    }
    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.get(name)
    }
    /// All of them, as the generated struct.
    ///
    /// # Errors
    /// If one is missing or has another type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        let object = Json::Object(self.0.clone().into_iter().collect());
        serde_json::from_value(object).map_err(|e| Error::Usage(format!("parameters: {e}")))
    }
}

/// A parameter that never shows in logs, listings or plans. It does travel to the processes that run the job.
#[derive(Clone, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret<T>(T);
impl<T> Secret<T> {
    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Secret(value)
    }
    /// The value.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}
impl<T> std::fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
impl<T> std::fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
