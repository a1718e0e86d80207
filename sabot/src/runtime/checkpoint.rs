//! A consistent cut of a job: enough to go on elsewhere, with another number of threads.
//!
//! Idea: barriers cut every channel at the same point of the sources' rows. The cut holds operator state by key group,
//! source positions, and the few rows that are between two operators and neither: held back by an input to restore
//! source order, or refused by an operator that is not ready. Nodes are named, never numbered.

use serde::{Deserialize, Serialize};

use arrow_array::RecordBatch;

use super::StepShape;
use crate::kernel::Origin;
use crate::kernel::hash::{KEY_GROUPS, instance_of};
use crate::operator::{Account, EventTime, GroupState, LAYERED, LayerRows};
use crate::record::own_text;
use crate::{Error, Result};

/// (source node, partition, sequence): a split of a job. Their order is the source order of a bounded job.
///
/// Example: [`Checkpoint`].
pub type SplitKey = (u32, u32, u64);

pub(super) fn split_key(origin: &Origin) -> SplitKey {
    (origin.source, origin.partition, origin.split)
}

/// A consistent cut of a running job.
///
/// ```
/// use sabot::prelude::*;
/// use sabot::runtime::{Checkpoint, Control};
///
/// #[derive(Record, Clone, Debug)]
/// struct Number { n: i64 }
///
/// pipeline! {
///     /// The even ones.
///     pub fn evens(numbers: Source<Number, Bounded>);
///     evens = numbers -> filter(|x| x.n % 2 == 0);
///     evens -> sink(to("blackhole:"));
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let job = evens((0..10).map(|n| Number { n }).collect::<Vec<_>>()).options(|o| o.checkpoints = true);
/// let control = Control::new();
/// let ticket = control.request_snapshot(); // a running job takes one at once
/// job.run_with(&control)?;
/// let text = serde_json::to_string(&ticket.wait()?)?; // plain data
/// let checkpoint: Checkpoint = serde_json::from_str(&text)?;
/// assert!(checkpoint.nodes.iter().any(|n| n.ends_with("sink")));
/// job.parallel(3).resume(&Control::new(), &checkpoint)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Number of the checkpoint, ascending within a job and its continuations.
    pub epoch: u64,
    /// Names of all nodes of the plan, in order. A checkpoint only fits a plan with the same nodes.
    pub nodes: Vec<String>,
    /// What these nodes are: a savepoint may be restored into a plan where some of them differ.
    #[serde(default)]
    pub steps: Vec<StepShape>,
    /// Nodes that had finished, in all instances.
    pub finished: Vec<String>,
    /// Operator states. Sinks keep here, as Arrow IPC, the rows they received since the start.
    pub states: Vec<NodeState>,
    /// Where each source stood.
    pub positions: Vec<SourcePosition>,
    /// Rows between operators.
    pub in_flight: Vec<InFlight>,
    /// Split marks that some but not all inputs of a node have seen, and what ordered inputs have delivered.
    pub marks: Vec<NodeMarks>,
    /// Row accounts so far.
    pub accounts: Vec<(String, Account)>,
}

/// The state of a key group of a node, or a layer of its rows, as one instance wrote it.
///
/// Example: [`Checkpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// The node.
    pub node: String,
    /// The instance that wrote it.
    pub instance: usize,
    /// The state.
    pub state: GroupState,
    /// Where it is kept, if it is in a file of its own beside the checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored: Option<Stored>,
    /// Of a layer: how many rows it holds. The layers of an instance stand one behind the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<LayerRows>,
    /// Of a layer: how many instances there were, so which key groups it may have rows of. 0: of any.
    #[serde(default, skip_serializing_if = "none")]
    pub of: usize,
}

fn none(of: &usize) -> bool {
    *of == 0
}

impl NodeState {
    /// Whether the layer may have rows of key groups that belong to this instance of so many.
    pub(super) fn concerns(&self, instance: usize, of: usize) -> bool {
        self.of == 0
            || (0..KEY_GROUPS).any(|g| instance_of(g, KEY_GROUPS, self.of) == self.instance && instance_of(g, KEY_GROUPS, of) == instance)
    }
}

/// The layers among these states: for each instance that wrote some, all of them in order.
pub(super) fn layers_of<'a>(states: impl Iterator<Item = &'a NodeState>) -> Vec<Vec<&'a NodeState>> {
    let mut all: Vec<Vec<&NodeState>> = Vec::new();
    for state in states.filter(|s| s.state.group == LAYERED) {
        match all.iter_mut().find(|l| l.first().is_some_and(|f| f.instance == state.instance && f.node == state.node)) {
            Some(layers) => layers.push(state),
            None => all.push(vec![state]),
        }
    }
    all
}

/// A state in a file beside the checkpoints, which several of them may name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The file.
    pub file: String,
    /// Where in it the state begins.
    pub offset: u64,
    /// Its bytes.
    pub length: u64,
    /// Their checksum.
    pub hash: u64,
}

/// Where a source stood. Splits that are not named had not been started.
///
/// Example: [`Checkpoint`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourcePosition {
    /// The source.
    pub node: String,
    /// (partition, sequence) of the splits that were read to their end.
    pub done: Vec<(u32, u64)>,
    /// The splits that were being read.
    pub open: Vec<OpenSplit>,
}

/// A split that was being read.
///
/// Example: [`Checkpoint`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenSplit {
    /// Its partition.
    pub partition: u32,
    /// Its sequence number.
    pub sequence: u64,
    /// Rows delivered.
    pub row: u64,
    /// What its reader said.
    pub position: serde_json::Value,
    /// The partition's watermark, if rows have told one.
    #[serde(default)]
    pub time: Option<EventTime>,
    /// Rows shortly before the position, which a job that continues reads again to see that they are the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

/// Rows that were read from a split, as they are known again.
///
/// Example: [`Checkpoint`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proof {
    /// Where the first of them is.
    pub position: serde_json::Value,
    /// How many.
    pub rows: u64,
    /// A hash of the names and types of the columns.
    pub columns: u64,
    /// A hash of the rows.
    pub hash: u64,
}

/// Rows that an input held back.
///
/// Example: [`Checkpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// The consumer.
    pub node: String,
    /// Its instance.
    pub instance: usize,
    /// Index of the edge within the consumer's inputs.
    pub edge: usize,
    /// Instance of the producer.
    pub producer: usize,
    /// (source, partition, split, row) of the rows.
    pub origin: (u32, u32, u64, u64),
    /// The rows, as an Arrow IPC stream.
    #[cfg_attr(feature = "cluster", serde(with = "serde_bytes"))]
    pub rows: Vec<u8>,
}

/// Split marks at a node. Equal for all of its instances, so written by instance 0 alone; but for a step with rows in flight, of which each
/// instance writes what is queued.
///
/// Example: [`Checkpoint`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeMarks {
    /// The node.
    pub node: String,
    /// Splits of which not all inputs have seen the end: which edges have, and to which ports it was delivered.
    pub open: Vec<(SplitKey, Vec<bool>, Vec<bool>)>,
    /// Ends of splits behind rows that a port refuses: (edge, split).
    pub queued: Vec<(usize, SplitKey)>,
    /// For each port, how many splits in source order were delivered; 0 where order does not matter.
    pub delivered: Vec<usize>,
}

pub(super) fn to_ipc<'a>(batches: impl IntoIterator<Item = &'a RecordBatch>) -> Result<Vec<u8>> {
    let mut batches = batches.into_iter().peekable();
    let Some(first) = batches.peek() else { return Ok(Vec::new()) };
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &first.schema())?;
    for batch in batches {
        writer.write(&own_text(batch)?)?;
    }
    Ok(writer.into_inner()?)
}

pub(super) fn from_ipc(bytes: &[u8]) -> Result<Vec<RecordBatch>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let reader = arrow_ipc::reader::StreamReader::try_new(bytes, None)?;
    reader.map(|batch| batch.map_err(|e| Error::Checkpoint(format!("broken rows: {e}")))).collect()
}
