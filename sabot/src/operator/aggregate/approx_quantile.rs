//! Quantiles, about.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::builder::LargeBinaryBuilder;
use arrow_array::{Array, ArrayRef, Float64Array, cast::AsArray};
use arrow_schema::{DataType, Field};

use super::accumulator::{input, primitive, short};
use super::digest::Digest;
use super::{Accumulator, AccumulatorFactory, Mean};
use crate::operator::kept::for_rows;
use crate::operator::{Failure, Kept};
use crate::{Error, Result};

/// A column type that [`approx_quantile`] takes.
#[diagnostic::on_unimplemented(
    message = "`approx_quantile` takes numbers, not values of type `{Self}`",
    label = "not a number",
    note = "it takes integers, floats and decimals, and `Option` of these"
)]
pub trait Digested: Mean {}
#[diagnostic::do_not_recommend]
impl<V: Mean> Digested for V {}

/// The quantile of a column, about, in at most 10 KiB per group: exact for fewer than 512 values; beyond, the rank of the
/// result is off by less than 1 % of the values, and by less towards both ends. Nulls and NaN are skipped; without a value
/// it is null.
pub fn approx_quantile<V: Digested>(fraction: f64) -> Arc<dyn AccumulatorFactory> {
    Arc::new(ApproxFactory::<V> { fraction, kind: PhantomData })
}

struct ApproxFactory<V> {
    fraction: f64,
    kind: PhantomData<fn() -> V>,
}

impl<V: Digested> AccumulatorFactory for ApproxFactory<V> {
    fn create(&self) -> Box<dyn Accumulator> {
        Box::new(Approx::<V> { fraction: self.fraction, digests: Vec::new(), held: 0, kind: PhantomData })
    }
    fn state_fields(&self) -> Vec<Field> {
        vec![Field::new("digest", DataType::LargeBinary, false)]
    }
    fn output(&self) -> (DataType, bool) {
        (DataType::Float64, true)
    }
    fn inputs(&self) -> usize {
        1
    }
    fn describe(&self) -> String {
        format!("approx_quantile({}, {})", short::<V>(), self.fraction)
    }
}

/// Cost: an append per row, and a sort of every 512 values of a group.
struct Approx<V> {
    fraction: f64,
    digests: Vec<Digest>,
    /// Bytes of the digests.
    held: usize,
    kind: PhantomData<fn() -> V>,
}

impl<V: Digested> Accumulator for Approx<V> {
    fn resize(&mut self, groups: usize) {
        self.digests.resize_with(groups, Digest::default);
        if groups == 0 {
            self.held = 0;
        }
    }
    fn update(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let column = input::<V::Base>(columns)?;
        let array = primitive::<V::Base>(&column)?;
        let values = array.values();
        for_rows(groups, kept, array.nulls(), |group, row| {
            if let (Some(value), Some(digest)) = (values.get(row), self.digests.get_mut(group)) {
                let before = digest.bytes();
                digest.add(V::float(*value));
                self.held = self.held + digest.bytes() - before;
            }
            Ok(())
        })
    }
    fn merge(&mut self, groups: &[u32], kept: Kept<'_>, columns: &[ArrayRef]) -> Result<(), Failure> {
        let column = columns
            .first()
            .and_then(|c| c.as_binary_opt::<i64>())
            .ok_or_else(|| Error::internal("a partial quantile without its digest"))?;
        for_rows(groups, kept, None, |group, row| {
            if let Some(digest) = self.digests.get_mut(group) {
                let before = digest.bytes();
                digest.merge(column.value(row));
                self.held = self.held + digest.bytes() - before;
            }
            Ok(())
        })
    }
    fn state(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut out = LargeBinaryBuilder::with_capacity(groups.len(), 0);
        let mut bytes = Vec::new();
        for group in groups {
            bytes.clear();
            if let Some(digest) = self.digests.get(*group as usize) {
                digest.write(&mut bytes);
            }
            out.append_value(&bytes);
        }
        Ok(vec![Arc::new(out.finish())])
    }
    fn finish(&self, groups: &[u32]) -> Result<ArrayRef, Failure> {
        let of = |g: &u32| self.digests.get(*g as usize).and_then(|d| d.quantile(self.fraction));
        Ok(Arc::new(groups.iter().map(of).collect::<Float64Array>()))
    }
    fn bytes(&self) -> usize {
        self.held + self.digests.capacity() * size_of::<Digest>()
    }
}
