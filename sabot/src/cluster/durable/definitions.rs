//! The workflows of a program, by name.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::watch::Watched;
use super::{Flow, Moment, Pending, Recovery, Watch};
use crate::{Error, Result};

/// A workflow's function, of values of JSON.
pub(super) type Function = Arc<dyn Fn(Flow, Value) -> Pending<'static, Value> + Send + Sync>;

/// The workflows that an engine can run.
///
/// A function that changes so that it takes other steps needs a new [version](Definitions::new): workflows that were begun with the old one wait for a
/// server that has it ([`Recovery::waiting`](super::Recovery::waiting)).
#[derive(Clone)]
pub struct Definitions {
    version: String,
    functions: BTreeMap<String, Function>,
}
impl Definitions {
    /// None yet, of a version.
    pub fn new(version: impl Into<String>) -> Self {
        Definitions { version: version.into(), functions: BTreeMap::new() }
    }
    /// Adds a workflow. Of two with one name the later counts.
    pub fn with<I, O, F, Fut>(mut self, name: impl Into<String>, function: F) -> Self
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
        F: Fn(Flow, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O>> + Send + 'static,
    {
        let name = name.into();
        let called = name.clone();
        let function = Arc::new(function);
        let erased = move |flow: Flow, input: Value| -> Pending<'static, Value> {
            let (function, called) = (Arc::clone(&function), called.clone());
            Box::pin(async move {
                let input =
                    serde_json::from_value(input).map_err(|e| Error::Control(format!("workflow `{called}` cannot read its input: {e}")))?;
                let output = function(flow, input).await?;
                serde_json::to_value(output).map_err(|e| Error::Control(format!("workflow `{called}` cannot write its value: {e}")))
            })
        };
        self.functions.insert(name, Arc::new(erased));
        self
    }
    /// With somebody who looks on at each step of the workflows so far: see [`Watch`].
    pub fn watched(mut self, watch: &Watch) -> Self {
        for (name, function) in &mut self.functions {
            let watched = Watched { watch: watch.clone(), workflow: name.as_str().into() };
            let inner = Arc::clone(function);
            *function = Arc::new(move |flow: Flow, input: Value| -> Pending<'static, Value> {
                let flow = flow.watched(watched.clone());
                let body = inner(flow.clone(), input);
                Box::pin(async move {
                    let ended = body.await;
                    flow.tell("", Moment::Over).await;
                    ended
                })
            });
        }
        self
    }
    /// The version that workflows are started with.
    pub fn version(&self) -> &str {
        &self.version
    }
    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.functions.keys().map(String::as_str)
    }
    /// What becomes of these: id, name and version of unfinished workflows.
    pub(super) fn recovers(&self, unfinished: impl IntoIterator<Item = (String, String, String)>) -> Recovery {
        let mut recovery = Recovery::default();
        for (id, name, version) in unfinished {
            let runs = version == self.version && self.functions.contains_key(&name);
            if runs { recovery.resumed.push(id) } else { recovery.waiting.push((id, version)) }
        }
        recovery
    }
    pub(super) fn functions(&self) -> impl Iterator<Item = (&String, &Function)> {
        self.functions.iter()
    }
}
impl std::fmt::Debug for Definitions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Definitions").field("version", &self.version).field("names", &self.functions.keys()).finish()
    }
}
