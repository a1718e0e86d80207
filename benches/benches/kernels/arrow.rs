//! The cases with Arrow's own kernels, one array per step.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::ArrowError;

use crate::data::fail;
use crate::ours::{checked, drag, fee, notional, tax};

type Made = Result<ArrayRef, ArrowError>;

fn column<'a>(b: &'a RecordBatch, name: &str) -> &'a ArrayRef {
    b.column_by_name(name).unwrap_or_else(|| fail(name))
}
fn done(made: Made) -> ArrayRef {
    made.unwrap_or_else(|e| fail(&e.to_string()))
}
fn both(b: &RecordBatch) -> (&Float64Array, &Int64Array) {
    (column(b, "p").as_primitive::<Float64Type>(), column(b, "q").as_primitive::<Int64Type>())
}
fn made(array: Result<Float64Array, ArrowError>) -> Made {
    array.map(|a| Arc::new(a) as ArrayRef)
}

/// A map of three arguments: two of two.
pub fn map3(b: &RecordBatch) -> ArrayRef {
    let (p, q) = both(b);
    done(
        arrow_arith::arity::binary::<_, _, _, Float64Type>(p, q, notional)
            .and_then(|x| made(arrow_arith::arity::binary(&x, column(b, "f").as_primitive::<Float64Type>(), |x, f| x * f))),
    )
}
fn kept(b: &RecordBatch) -> Result<arrow_array::BooleanArray, ArrowError> {
    let (p, q) = both(b);
    let left = arrow_ord::cmp::gt(p, &Float64Array::new_scalar(10.0))?;
    let right = arrow_ord::cmp::gt(q, &Int64Array::new_scalar(50))?;
    arrow_arith::boolean::and(&left, &right)
}
/// A predicate.
pub fn predicate(b: &RecordBatch) -> ArrayRef {
    done(kept(b).map(|a| Arc::new(a) as ArrayRef))
}
/// Predicate, filter, two maps.
pub fn chain(b: &RecordBatch) -> ArrayRef {
    let run = || {
        let rows = arrow_select::filter::filter_record_batch(&b.project(&[0, 1])?, &kept(b)?)?;
        let (p, q) = both(&rows);
        let n: Float64Array = arrow_arith::arity::binary(p, q, notional)?;
        Ok(Arc::new(arrow_arith::arity::unary::<_, _, Float64Type>(&n, fee)) as ArrayRef)
    };
    done(run())
}
/// `?`.
pub fn question(b: &RecordBatch) -> ArrayRef {
    let (d, m) = (column(b, "d").as_primitive::<Int64Type>(), column(b, "m").as_primitive::<Int64Type>());
    done(made(arrow_arith::arity::binary(d, m, drag)))
}
/// Integer division.
pub fn trap(b: &RecordBatch) -> ArrayRef {
    done(arrow_arith::numeric::div(column(b, "q").as_primitive::<Int64Type>(), column(b, "m").as_primitive::<Int64Type>()))
}
/// Integer division with nulls.
pub fn trap_question(b: &RecordBatch) -> ArrayRef {
    done(arrow_arith::numeric::div(column(b, "d").as_primitive::<Int64Type>(), column(b, "m").as_primitive::<Int64Type>()))
}
/// `Result`.
pub fn result(b: &RecordBatch) -> ArrayRef {
    let (p, q) = both(b);
    done(made(arrow_arith::arity::try_binary(p, q, |p, q| checked(p, q).map_err(|e| ArrowError::ComputeError(e.into())))))
}
/// A predicate over text.
pub fn text_predicate(b: &RecordBatch) -> ArrayRef {
    let made = arrow_string::like::starts_with(column(b, "s"), &StringArray::new_scalar("GET "));
    done(made.map(|a| Arc::new(a) as ArrayRef))
}
/// Two columns, one from the other.
pub fn dependent(b: &RecordBatch) -> ArrayRef {
    let (p, q) = both(b);
    done(arrow_arith::arity::binary::<_, _, _, Float64Type>(p, q, notional).and_then(|n| {
        let x = made(arrow_arith::arity::binary(&n, column(b, "f").as_primitive::<Float64Type>(), tax));
        std::hint::black_box(Arc::new(n) as Arc<dyn Array>);
        x
    }))
}
