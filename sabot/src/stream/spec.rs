//! A job as data: what ships to another process, or is stored beside a checkpoint.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Params;
use crate::connect::{SinkSpec, SourceSpec};
use crate::plan::Plan;

/// What identifies a job in another process of the same binary: enough to rebuild its code, open its sources and sinks,
/// and run it or continue it from a checkpoint.
///
/// ```standalone_crate
/// use sabot::prelude::*;
/// use sabot::stream::{Job, JobSpec, SourceBinding, build_id};
///
/// #[derive(Record, Clone, Debug, PartialEq)]
/// struct Trade { symbol: Str, qty: i64 }
///
/// pipeline! {
///     /// Large trades.
///     pub fn large(trades: Source<Trade, Bounded>, least: i64);
///     large = trades -> filter(|t| t.qty >= least);
///     large -> sink;
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("trades.csv").display().to_string();
/// std::fs::write(&path, "symbol,qty\nA,1\nB,9\n")?;
/// let job = large(csv(&path), 5).settings(|s| s.broadcast_rows = 1000);
/// let text = serde_json::to_string(&job.spec()?)?; // for another process of the same build
/// let spec: JobSpec = serde_json::from_str(&text)?;
/// assert_eq!((spec.pipeline.as_str(), spec.settings.broadcast_rows, spec.build.clone()), ("large", 1000, build_id()));
/// assert_eq!(Job::from_spec(&spec)?.collect::<Trade>()?, [Trade { symbol: "B".into(), qty: 9 }]);
/// // a source by its binding, as the command line has it
/// let job = large(Vec::new(), 5).bind_source("trades", SourceBinding::Spec(spec.sources["trades"].clone()));
/// assert_eq!(job.collect::<Trade>()?.len(), 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobSpec {
    /// The pipeline's name.
    pub pipeline: String,
    /// Its parameters.
    pub params: Params,
    /// The optimised plan.
    pub plan: Plan,
    /// Its sources by name.
    pub sources: BTreeMap<String, SourceSpec>,
    /// Its sinks by name.
    pub sinks: BTreeMap<String, SinkSpec>,
    /// What decides results besides plan and data.
    pub settings: Settings,
    /// Identifies the binary: plans do not travel between builds.
    pub build: String,
}

impl JobSpec {
    /// The same with relative paths taken from `dir`: for processes with another working directory.
    #[must_use]
    pub fn within(mut self, dir: &std::path::Path) -> Self {
        self.sources.values_mut().for_each(|source| source.within(dir));
        self.sinks.values_mut().for_each(|sink| sink.within(dir));
        self
    }
}

/// Build sides of at most this many rows are sent to every instance instead of hashing both sides: with few threads,
/// building a table several times costs less than moving every probe row, and the probe side keeps its order.
const BROADCAST_ROWS: u64 = 200_000;

/// 64 MiB: that much more memory in each instance is no surprise to anyone.
const BROADCAST_BYTES: u64 = 64 << 20;

/// Five seconds: what streaming systems assume for clocks of producers that are synchronised over a network.
const DISORDER: i64 = 5_000_000;

/// What decides the physical plan, or results, besides plan and data; part of a job's specification.
///
/// Example: [`JobSpec`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// A join sends its right side to every instance if it has at most this many rows, as far as sources know; else it
    /// hashes both sides.
    pub broadcast_rows: u64,
    /// A join over several processes sends a larger right side to every instance, too, if it takes at most about this many bytes there
    /// and if that is at most half of the rows that it would deal out otherwise: the right side once per instance, against both sides.
    /// Such a join does not spill: 0 where memory is scarce. Jobs with a memory budget do as if it were.
    pub broadcast_bytes: u64,
    /// How far, in microseconds, the event time of a row of an endless source may lag behind that of earlier rows of its
    /// partition, where the source itself does not say. Rows that lag further are late.
    pub disorder: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { broadcast_rows: BROADCAST_ROWS, broadcast_bytes: BROADCAST_BYTES, disorder: DISORDER }
    }
}
