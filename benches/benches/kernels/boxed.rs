//! The cases with a boxed call per row: what an engine does that only knows values.

use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringViewBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;

use crate::data::fail;

/// A value of any type.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// Text.
    Text(String),
}
impl Scalar {
    /// The float, or zero.
    pub fn float(&self) -> f64 {
        if let Scalar::Float(v) = self { *v } else { 0.0 }
    }
    /// The integer, or zero.
    pub fn int(&self) -> i64 {
        if let Scalar::Int(v) = self { *v } else { 0 }
    }
    /// The text, or none.
    pub fn text(&self) -> &str {
        if let Scalar::Text(v) = self { v } else { "" }
    }
}

/// A function of values.
pub type Function = Box<dyn Fn(&[Scalar]) -> Scalar>;

fn get(column: &ArrayRef, row: usize) -> Scalar {
    if column.is_null(row) {
        return Scalar::Null;
    }
    match column.data_type() {
        DataType::Float64 => Scalar::Float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Int64 => Scalar::Int(column.as_primitive::<Int64Type>().value(row)),
        DataType::Utf8 => Scalar::Text(column.as_string::<i32>().value(row).to_owned()),
        DataType::Dictionary(_, _) => {
            let d = column.as_dictionary::<Int32Type>();
            get(d.values(), d.key(row).unwrap_or_default())
        }
        other => fail(&other.to_string()),
    }
}

enum Builder {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Text(StringViewBuilder),
}

/// Calls the steps row by row: each appends its value to the row, a `false` drops the row, the last value is the result.
pub fn rows(b: &RecordBatch, args: &[&str], steps: &[Function], result: &DataType, filters: bool) -> ArrayRef {
    let columns: Vec<&ArrayRef> = args.iter().map(|n| b.column_by_name(n).unwrap_or_else(|| fail(n))).collect();
    let mut out = match result {
        DataType::Boolean => Builder::Bool(BooleanBuilder::new()),
        DataType::Int64 => Builder::Int(Int64Builder::new()),
        DataType::Float64 => Builder::Float(Float64Builder::new()),
        _ => Builder::Text(StringViewBuilder::new()),
    };
    let mut row = Vec::new();
    'rows: for i in 0..b.num_rows() {
        row.clear();
        row.extend(columns.iter().map(|c| get(c, i)));
        for step in steps {
            let value = step(&row);
            if filters && value == Scalar::Bool(false) {
                continue 'rows;
            }
            row.push(value);
        }
        match (&mut out, row.last().unwrap_or(&Scalar::Null)) {
            (Builder::Bool(o), Scalar::Bool(v)) => o.append_value(*v),
            (Builder::Bool(o), _) => o.append_null(),
            (Builder::Int(o), Scalar::Int(v)) => o.append_value(*v),
            (Builder::Int(o), _) => o.append_null(),
            (Builder::Float(o), Scalar::Float(v)) => o.append_value(*v),
            (Builder::Float(o), _) => o.append_null(),
            (Builder::Text(o), Scalar::Text(v)) => o.append_value(v),
            (Builder::Text(o), _) => o.append_null(),
        }
    }
    match out {
        Builder::Bool(mut o) => Arc::new(o.finish()),
        Builder::Int(mut o) => Arc::new(o.finish()),
        Builder::Float(mut o) => Arc::new(o.finish()),
        Builder::Text(mut o) => Arc::new(o.finish()),
    }
}
