//! Edges that the user places: `partition_by`, `rebalance`.

use crate::plan::Op;
use crate::record::{Col, Record, Value};

use super::{Bound, Stays, Stream};

/// A column that can name an instance: an integer of any width, without nulls.
#[diagnostic::on_unimplemented(
    message = "`partition_by` takes a column of integers that is never null, not of `{Self}`",
    label = "this column does not name an instance",
    note = "make one before: `with(|t| row {{ shard: t.region.unwrap_or(0) }})` says where nulls go, `with(|t| row {{ shard: shard_of(t.name) }})` calls an `#[operator]` of yours that makes an integer of a value; to bring equal values together, `key_by` the column: steps that need their keys in one place see to it themselves"
)]
pub trait NamesInstance: Value {}
macro_rules! names_instance {
    ($($t:ty),*) => {$( impl NamesInstance for $t {} )*};
}
names_instance!(i8, i16, i32, i64, u8, u16, u32, u64);

/// A column of [`Stream::partition_by`].
#[derive(Clone, Copy, Debug)]
pub struct Numbers(&'static str);
/// A column that names instances.
pub fn numbers<V: NamesInstance>(column: Col<V>) -> Numbers {
    Numbers(column.name())
}

impl<'g, R: Record, K, B: Bound, T, C> Stream<'g, R, K, B, T, C> {
    /// Deals rows out by a partitioner of your own: those with the same number in this column are worked on by the same instance, up to
    /// the next exchange. Instance `value mod instances` (euclidean: -1 is the last one), of as many as the job has threads, or slots on
    /// a cluster. In `pipeline!`: `partition_by(shard)`.
    ///
    /// For what is held per instance behind it: a batch operator with a table or a connection per thread. Steps that need their keys in one place
    /// (`aggregate`, `keyed`, `join`) see to that themselves.
    ///
    /// Results stay the same. Where rows end, what follows sees them in source order, as without this step; for that, rows of a split wait
    /// before the next step that is not row-wise until the split has ended. Where they do not end, rows with the same number stay in the order
    /// of their partition, others come as they come: a step that tells the order of rows (`keyed`, `first`, `limit` ..) is refused when the job
    /// starts, unless the column is among its keys. `sample` must stand before this step.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Reading { region: Str, value: i64 }
    /// #[derive(Record, Debug, PartialEq)]
    /// struct Rated { value: i64, rated: Option<i64> }
    ///
    /// /// The shard that knows a region.
    /// #[operator]
    /// fn shard_of(region: &str) -> i64 { region.bytes().map(i64::from).sum() }
    /// /// Looks the batch up: only regions of few shards per instance.
    /// #[operator(batch)]
    /// fn rate(readings: &Batch<Reading>) -> arrow_array::Int64Array { readings.value().values().iter().map(|v| v * 10).collect() }
    ///
    /// pipeline! {
    ///     /// What readings are worth.
    ///     pub fn rated(readings: Source<Reading, Bounded>);
    ///     rated = readings -> with(|r| row { shard: shard_of(r.region) }) -> partition_by(shard)
    ///                      -> batch(rate) -> select(|r| row Rated { value: r.value, rated: r.rate });
    ///     rated -> sink;
    /// }
    ///
    /// let readings: Vec<Reading> = (0..4).map(|value| Reading { region: format!("r{value}").into(), value }).collect();
    /// let worth = rated(readings).options(|o| (o.threads, o.bypass_rows) = (3, 0)).collect::<Rated>()?;
    /// assert!(worth.iter().map(|r| r.rated).eq([0, 10, 20, 30].map(Some))); // in source order
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn partition_by(self, f: impl FnOnce(&R::Cols) -> Numbers) -> Self {
        let column = f(&R::cols()).0.to_owned();
        self.same_rows(Op::PartitionBy { column })
    }
    /// Deals rows out evenly over all instances, a morsel at a time: before expensive steps behind a source with few splits, or uneven ones, and behind
    /// steps that only one instance works at (`sort`, `limit`, `.await`). In `pipeline!`: `rebalance()`.
    ///
    /// Results stay the same, as for [`partition_by`](Self::partition_by); over rows that do not end all order of a partition is lost. So there a
    /// `keyed` step needs an event time, by which it is put in order, and other steps that tell the order of rows are refused. Rows
    /// that are taken back must not overtake each other: put `changelog()` before, or use `partition_by`.
    ///
    /// ```
    /// use sabot::prelude::*;
    ///
    /// #[derive(Record, Clone, Debug, PartialEq)]
    /// struct Job { seed: u64 }
    /// #[derive(Record, Debug, PartialEq)]
    /// struct Mined { seed: u64, zeros: u32 }
    ///
    /// /// Takes long.
    /// #[operator]
    /// fn mine(seed: u64) -> u32 { (0..1000).fold(seed, |n, _| n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1)).count_zeros() }
    ///
    /// pipeline! {
    ///     /// One file, all threads.
    ///     pub fn mined(jobs: Source<Job, Bounded>);
    ///     mined = jobs -> rebalance() -> select(|j| row Mined { seed: j.seed, zeros: mine(j.seed) });
    ///     mined -> sink;
    /// }
    ///
    /// let jobs: Vec<Job> = (0..100).map(|seed| Job { seed }).collect();
    /// let rows = mined(jobs).options(|o| (o.threads, o.bypass_rows, o.morsel_rows) = (4, 0, 10)).collect::<Mined>()?;
    /// assert!(rows.iter().map(|r| r.seed).eq(0..100)); // in source order
    /// # Ok::<(), sabot::Error>(())
    /// ```
    pub fn rebalance(self) -> Self
    where
        C: Stays,
    {
        self.same_rows(Op::Rebalance)
    }
}
