//! Changes as rows that stay: the weight becomes a column of its own.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::weights::{Carried, WEIGHT, weights};
use super::{Account, Instance, Operator, OperatorFactory, Output, Progress};
use crate::kernel::Morsel;
use crate::{Error, Result};

/// Shows weights as a column that a record can have.
#[derive(Debug)]
pub struct Changelog {
    name: Arc<str>,
    schema: SchemaRef,
    carried: Carried,
}

impl Changelog {
    /// Instances for the step `name` over changes of this schema, and the columns that they deliver: those of the input, and `column`.
    pub fn factory(name: &str, input: &Schema, column: &str) -> (Arc<dyn OperatorFactory>, SchemaRef) {
        let others = input.fields().iter().filter(|f| f.name() != WEIGHT && f.name() != column).cloned();
        let fields: Vec<Arc<Field>> = others.chain([Arc::new(Field::new(column, DataType::Int64, false))]).collect();
        let (name, schema): (Arc<str>, SchemaRef) = (name.into(), Arc::new(Schema::new(fields)));
        let given = Arc::clone(&schema);
        let make = move |_: Instance| {
            let changelog = Changelog { name: Arc::clone(&name), schema: Arc::clone(&schema), carried: Carried::default() };
            Ok(Box::new(changelog) as Box<dyn Operator>)
        };
        (Arc::new(make), given)
    }
}

impl Operator for Changelog {
    fn process(&mut self, _port: usize, morsel: Morsel, out: &mut dyn Output) -> Result<Progress> {
        let batch = &morsel.batch;
        let weights = weights(batch).ok_or_else(|| Error::internal(format!("`{}` got rows without a weight", self.name)))?;
        let weights: ArrayRef = Arc::new(weights.iter().map(|w| i64::from(*w)).collect::<Int64Array>());
        let (_, others) = self.schema.fields().split_last().ok_or_else(|| Error::internal("a changelog without columns"))?;
        let missing = |f: &Field| Error::Plan(format!("`{}` needs column `{}`, which its input does not have", self.name, f.name()));
        let mut columns =
            others.iter().map(|f| batch.column_by_name(f.name()).cloned().ok_or_else(|| missing(f))).collect::<Result<Vec<ArrayRef>>>()?;
        columns.push(weights);
        let as_declared = columns.iter().zip(self.schema.fields()).all(|(c, f)| c.data_type() == f.data_type());
        let schema = if as_declared {
            Arc::clone(&self.schema)
        } else {
            let fields = self.schema.fields().iter().zip(&columns);
            Arc::new(Schema::new(fields.map(|(f, c)| f.as_ref().clone().with_data_type(c.data_type().clone())).collect::<Vec<_>>()))
        };
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = self.carried.carry_places(&morsel.batch, RecordBatch::try_new_with_options(schema, columns, &options)?)?;
        out.account(Account { used: morsel.rows() as u64, ..Account::default() });
        out.emit(Morsel { batch, ..morsel });
        Ok(Progress::Done)
    }
}
