//! The condition of a join: a predicate over pairs, run as a kernel over batches of candidates.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{Field, Schema, SchemaRef};

use super::build::Build;
use super::index::Index;
use crate::Result;
use crate::kernel::{Morsel, Origin, Request, RunKernel};
use crate::operator::kept::{pick, positions};

/// A predicate whose columns are `left.<name>` and `right.<name>`.
#[derive(Clone)]
pub struct Condition {
    kernel: Arc<dyn RunKernel>,
    request: Arc<Request>,
    left: Vec<String>,
    right: Vec<String>,
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Condition").field("step", &self.request.name).finish_non_exhaustive()
    }
}

impl Condition {
    /// The condition of the step with this stable id.
    pub fn new(kernel: Arc<dyn RunKernel>, step: &str) -> Self {
        let (_, inputs, _) = kernel.lineage().require(&|_| false);
        let names: Vec<String> = inputs.iter().filter_map(|i| kernel.lineage().inputs.get(*i)).map(|c| c.name.to_string()).collect();
        let side = |prefix: &str| names.iter().filter_map(|n| n.strip_prefix(prefix)).map(str::to_owned).collect();
        let (left, right) = (side("left."), side("right."));
        let request = Arc::new(Request { outputs: Some(Vec::new()), ..Request::all(step) });
        Condition { kernel, request, left, right }
    }
    /// Columns of the left side that it reads.
    pub(super) fn left(&self) -> &[String] {
        &self.left
    }
    /// Columns of the right side, which is the build side, that it reads.
    pub(super) fn right(&self) -> &[String] {
        &self.right
    }
    /// The columns of a pair: those that it reads of both sides.
    pub(super) fn schema(&self, left: &Schema, right: &Schema) -> Result<SchemaRef> {
        let mut fields = Vec::new();
        for (prefix, names, side) in [("left", &self.left, left), ("right", &self.right, right)] {
            for name in names {
                let f = side.field_with_name(name)?;
                fields.push(Field::new(format!("{prefix}.{name}"), f.data_type().clone(), f.is_nullable()));
            }
        }
        Ok(Arc::new(Schema::new(fields)))
    }
    /// Which of these pairs fulfil it.
    pub(super) fn holds(&self, pairs: RecordBatch, origin: Origin) -> Result<BooleanBuffer> {
        let rows = pairs.num_rows();
        let ran = self.kernel.run(&Morsel::new(pairs, origin), &self.request)?;
        Ok(match &ran.morsel.selection {
            None => BooleanBuffer::new_set(rows),
            Some(selection) => selection.mask(rows).values().clone(),
        })
    }
    /// The condition over these inputs.
    pub(super) fn bind(&self, left: &Schema, build: &Build, right: &Schema) -> Result<Bound> {
        let mut fields = Vec::new();
        let left_at = positions(left, &self.left, &self.request.name)?;
        for i in &left_at {
            let f = left.field(*i);
            fields.push(Field::new(format!("left.{}", f.name()), f.data_type().clone(), f.is_nullable()));
        }
        let right_at = self.right.iter().map(|n| build.position(n)).collect::<Result<Vec<_>>>()?;
        for name in &self.right {
            let f = right.field_with_name(name)?;
            fields.push(Field::new(format!("right.{name}"), crate::operator::kept::plain_type(f.data_type()), f.is_nullable()));
        }
        Ok(Bound { condition: self.clone(), left_at, right_at, schema: Arc::new(Schema::new(fields)) })
    }
}

/// A condition that knows where its columns are.
pub(super) struct Bound {
    condition: Condition,
    left_at: Vec<usize>,
    right_at: Vec<usize>,
    schema: SchemaRef,
}

impl Bound {
    /// Which of the candidates fulfil it.
    pub(super) fn test(&self, probe: &Morsel, index: &Index, lefts: &[u32], rights: &[u32]) -> Result<BooleanBuffer> {
        self.run(probe, index, lefts, rights, probe.origin).or_else(|error| {
            // once more, one at a time, to find the probe row that fails
            for (l, r) in lefts.iter().zip(rights) {
                let origin = Origin { row: probe.origin.row + u64::from(*l), ..probe.origin };
                self.run(probe, index, std::slice::from_ref(l), std::slice::from_ref(r), origin)?;
            }
            Err(error)
        })
    }
    fn run(&self, probe: &Morsel, index: &Index, lefts: &[u32], rights: &[u32], origin: Origin) -> Result<BooleanBuffer> {
        let mut columns = take(&pick(&probe.batch, &self.left_at)?, lefts)?;
        let build: Vec<ArrayRef> = self.right_at.iter().filter_map(|i| index.columns.get(*i)).cloned().collect();
        columns.extend(take(&build, rights)?);
        let options = RecordBatchOptions::new().with_row_count(Some(lefts.len()));
        let pairs = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        self.condition.holds(pairs, origin)
    }
}

/// The rows of some columns.
pub(super) fn take(columns: &[ArrayRef], rows: &[u32]) -> Result<Vec<ArrayRef>> {
    Ok(arrow_select::take::take_arrays(columns, &UInt32Array::from(rows.to_vec()), None)?)
}
