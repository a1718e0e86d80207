//! Which share runs which instance of which stage.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A stage of a job: steps that share a task, and how many such tasks there are.
///
/// Example: [`Placement`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageShape {
    /// The steps by name, the first one first.
    pub nodes: Vec<String>,
    /// How many tasks.
    pub instances: usize,
    /// Whether it reads a source.
    pub source: bool,
    /// Whether it has a sink.
    pub sink: bool,
    /// The stages that it reads, by number.
    pub inputs: Vec<usize>,
}

/// The share of each instance of each stage.
///
/// ```
/// use sabot::runtime::share::{Placement, StageShape};
///
/// let stage = |name: &str, instances| StageShape { nodes: vec![name.into()], instances, source: false, sink: false, inputs: vec![] };
/// let placement = Placement::spread(&[stage("a", 4), stage("b", 1)], &[2, 1, 1]);
/// assert_eq!(placement.stages, [vec![0, 0, 1, 2], vec![1]]);
/// assert_eq!(placement.shares, 3);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// How many shares there are.
    pub shares: usize,
    /// What errors call them; `share 0` and so on where nothing is given.
    #[serde(default)]
    pub names: Vec<String>,
    /// For each stage, in the order of [`stages`](super::stages), the share of each instance.
    pub stages: Vec<Vec<usize>>,
}

impl Placement {
    /// Spreads the instances of each stage over shares with so many slots: an instance of one stage is beside the instances of the same
    /// number of the others, and single ones go to the shares in turn.
    pub fn spread(stages: &[StageShape], slots: &[usize]) -> Placement {
        let total = slots.iter().sum::<usize>().max(1);
        let owners: Vec<usize> = slots.iter().enumerate().flat_map(|(share, n)| std::iter::repeat_n(share, *n)).collect();
        let shares = slots.len().max(1);
        let of = |(number, stage): (usize, &StageShape)| -> Vec<usize> {
            if stage.instances == 1 {
                return vec![number % shares];
            }
            (0..stage.instances).map(|i| owners.get(i * total / stage.instances).copied().unwrap_or(0)).collect()
        };
        Placement { shares, names: Vec::new(), stages: stages.iter().enumerate().map(of).collect() }
    }
    /// What a share is called.
    pub fn name(&self, share: usize) -> String {
        self.names.get(share).cloned().unwrap_or_else(|| format!("share {share}"))
    }
    /// The share of an instance of a stage.
    pub fn share_of(&self, stage: usize, instance: usize) -> Option<usize> {
        self.stages.get(stage)?.get(instance).copied()
    }
    /// Refuses a placement that is not of these stages.
    pub(crate) fn check(&self, instances: &[usize]) -> Result<()> {
        let fits = self.stages.iter().map(Vec::len).eq(instances.iter().copied());
        match self.stages.iter().flatten().find(|share| **share >= self.shares) {
            Some(share) => Err(Error::Plan(format!("share {share} has tasks, and there are {} shares", self.shares))),
            None if !fits => Err(Error::Plan("its tasks were placed for another plan, or another number of threads".into())),
            None => Ok(()),
        }
    }
}
