//! The parameters of a pipeline that are values.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::{Error, Result};

/// A parameter of a registered pipeline.
///
/// Example: [`Job`](super::Job).
#[derive(Clone, Copy)]
pub struct ParamEntry {
    /// Its name.
    pub name: &'static str,
    /// Its type as written.
    pub type_name: &'static str,
    parse: fn(&str) -> Result<Json, String>,
    placeholder: fn() -> Option<Json>,
    rust_name: fn() -> &'static str,
}

impl std::fmt::Debug for ParamEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name, self.type_name)
    }
}

impl ParamEntry {
    /// A parameter of type `T`.
    pub const fn of<T: DeserializeOwned>(name: &'static str, type_name: &'static str) -> Self {
        ParamEntry { name, type_name, parse: parse::<T>, placeholder: placeholder::<T>, rust_name: std::any::type_name::<T> }
    }
    /// Whether its value must not be shown: it is a [`Secret`](crate::stream::Secret), or holds one.
    pub fn is_secret(&self) -> bool {
        (self.rust_name)().contains("::Secret<")
    }
    /// A value from a command line: the text itself if the type takes text, else JSON.
    ///
    /// # Errors
    /// If it is not of the parameter's type; the message names both.
    pub fn parse(&self, text: &str) -> Result<Json> {
        (self.parse)(text).map_err(|e| {
            let given = if self.is_secret() { "the given value is not shown".to_owned() } else { format!("`{text}` is none: {e}") };
            Error::Usage(format!("parameter `{}` takes a value of type `{}`; {given}", self.name, self.type_name))
        })
    }
    /// Some value of the type, to build a plan without real parameters.
    pub fn placeholder(&self) -> Option<Json> {
        (self.placeholder)()
    }
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<Json, String> {
    let as_text = Json::String(text.to_owned());
    let Err(e) = serde_json::from_value::<T>(as_text.clone()) else { return Ok(as_text) };
    match serde_json::from_str::<Json>(text) {
        Ok(json) => serde_json::from_value::<T>(json.clone()).map(|_| json).map_err(|e| e.to_string()),
        Err(_) => Err(e.to_string()),
    }
}

fn placeholder<T: DeserializeOwned>() -> Option<Json> {
    let candidates = [Json::Null, 1.into(), "".into(), false.into(), Json::Array(Vec::new()), Json::Object(serde_json::Map::new())];
    candidates.into_iter().find(|c| serde_json::from_value::<T>(c.clone()).is_ok())
}

/// The values of a pipeline's parameters, as JSON: what ships to another process.
///
/// Example: [`Job`](super::Job).
#[derive(Clone, Default, PartialEq, Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Params(BTreeMap<String, Json>);

impl std::fmt::Debug for Params {
    /// The names alone: a value may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

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
    /// Adds a value that is JSON already; see [`ParamEntry::parse`].
    pub fn set(&mut self, name: &str, value: Json) {
        self.0.insert(name.to_owned(), value);
    }
    /// The value of a parameter.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.0.get(name)
    }
    /// All values, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
    /// The value of a parameter as its type; called by generated code.
    ///
    /// # Errors
    /// If it is missing, or has another type.
    pub fn value<T: DeserializeOwned>(&self, name: &str, type_name: &str) -> Result<T> {
        let value =
            self.0.get(name).ok_or_else(|| Error::Usage(format!("parameter `{name}`, a value of type `{type_name}`, is missing")))?;
        serde_json::from_value(value.clone()).map_err(|e| {
            let secret = std::any::type_name::<T>().contains("::Secret<");
            let reason = if secret { String::new() } else { format!(": {e}") };
            Error::Usage(format!("parameter `{name}` is not a value of type `{type_name}`{reason}"))
        })
    }
}
