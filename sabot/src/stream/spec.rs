//! A job as data: what ships to another process, or is stored beside a checkpoint.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Params;
use crate::connect::{SinkSpec, SourceSpec};
use crate::plan::Plan;

/// What identifies a job in another process of the same binary: enough to rebuild its code, open its sources and sinks,
/// and run it or continue it from a checkpoint.
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

/// Build sides of at most this many rows are sent to every instance instead of hashing both sides: with few threads,
/// building a table several times costs less than moving every probe row, and the probe side keeps its order.
const BROADCAST_ROWS: u64 = 200_000;

/// Five seconds: what streaming systems assume for clocks of producers that are synchronised over a network.
const DISORDER: i64 = 5_000_000;

/// What decides the physical plan, or results, besides plan and data; part of a job's specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// A join sends its right side to every instance if it has at most this many rows, as far as sources know; else it
    /// hashes both sides.
    pub broadcast_rows: u64,
    /// How far, in microseconds, the event time of a row of an endless source may lag behind that of earlier rows of its
    /// partition, where the source itself does not say. Rows that lag further are late.
    pub disorder: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { broadcast_rows: BROADCAST_ROWS, disorder: DISORDER }
    }
}
