//! Of which rows a predicate is true: columns of a batch against constants, many rows at a time.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::{BooleanBuffer, Buffer};
use arrow_schema::{DataType, Schema};

use super::types::is_string;
use crate::kernel::{Comparison, Constant, Predicate};

/// The same predicate with [`Predicate::Unknown`] for conditions that [`Truth`] does not decide.
pub(super) fn decided(predicate: &Predicate, schema: &Schema) -> Predicate {
    match predicate {
        Predicate::And(all) => Predicate::And(all.iter().map(|p| decided(p, schema)).collect()),
        Predicate::Or(all) => Predicate::Or(all.iter().map(|p| decided(p, schema)).collect()),
        Predicate::Compare { column, how, value } => {
            let known = schema.field_with_name(column).is_ok_and(|field| match (field.data_type(), value) {
                // what does not fit an i64 is not compared
                (DataType::UInt64, _) => false,
                (t, Constant::Int(_)) => t.is_integer(),
                // an f32 is compared with the nearest f32 to a constant, which may be a neighbour of the one that we know
                (DataType::Float32, Constant::Float(_)) => *how != Comparison::Ne,
                (DataType::Float64, Constant::Float(_)) | (DataType::Boolean, Constant::Bool(_)) => true,
                (t, Constant::Text(_)) => is_string(t),
                _ => false,
            });
            if known { predicate.clone() } else { Predicate::Unknown }
        }
        Predicate::Null { column, .. } => {
            let flat = |t: &DataType| t.is_primitive() || is_string(t) || matches!(t, DataType::Boolean);
            let known = schema.field_with_name(column).is_ok_and(|field| flat(field.data_type()));
            if known { predicate.clone() } else { Predicate::Unknown }
        }
        Predicate::Unknown => Predicate::Unknown,
    }
}

/// Evaluates one predicate over many batches. Text that comes as codes of a dictionary is compared once per value of it.
#[derive(Default)]
pub(super) struct Truth {
    /// The values of the dictionaries met last, and of which of them a comparison is true. One for each comparison of the
    /// predicate, in the order of evaluation.
    tables: Vec<(ArrayRef, Vec<bool>)>,
}

impl Truth {
    /// Of which rows the predicate is true. Nothing is true of a null but that it is null.
    pub(super) fn of(&mut self, predicate: &Predicate, batch: &RecordBatch) -> BooleanBuffer {
        self.rows(predicate, batch, &mut 0)
    }

    /// Whether the predicate may be true of any row, judged by all values of the dictionaries met.
    pub(super) fn possible(&self, predicate: &Predicate) -> bool {
        self.any(predicate, &mut 0)
    }

    fn any(&self, predicate: &Predicate, number: &mut usize) -> bool {
        // all are visited, so that numbers stay right
        match predicate {
            Predicate::And(all) => all.iter().map(|p| self.any(p, number)).filter(|any| !any).count() == 0,
            Predicate::Or(all) => all.iter().map(|p| self.any(p, number)).filter(|any| *any).count() > 0,
            Predicate::Compare { value: Constant::Text(_), .. } => {
                *number += 1;
                self.tables.get(*number - 1).is_none_or(|(values, table)| values.is_empty() || table.contains(&true))
            }
            _ => true,
        }
    }

    fn rows(&mut self, predicate: &Predicate, batch: &RecordBatch, number: &mut usize) -> BooleanBuffer {
        let rows = batch.num_rows();
        let column = |name: &str| batch.column_by_name(name);
        match predicate {
            Predicate::And(all) => all.iter().fold(BooleanBuffer::new_set(rows), |so_far, p| &so_far & &self.rows(p, batch, number)),
            Predicate::Or(all) => all.iter().fold(BooleanBuffer::new_unset(rows), |so_far, p| &so_far | &self.rows(p, batch, number)),
            Predicate::Null { column: name, is } => match column(name) {
                Some(found) => {
                    let valid = found.logical_nulls().map_or_else(|| BooleanBuffer::new_set(rows), arrow_buffer::NullBuffer::into_inner);
                    if *is { !&valid } else { valid }
                }
                None => BooleanBuffer::new_set(rows),
            },
            Predicate::Compare { column: name, how, value } => {
                let text = matches!(value, Constant::Text(_));
                *number += usize::from(text);
                let at = *number;
                match column(name) {
                    Some(found) => {
                        let bits = self.compare(found, *how, value, at).unwrap_or_else(|| BooleanBuffer::new_set(rows));
                        found.nulls().map_or(bits.clone(), |nulls| &bits & nulls.inner())
                    }
                    None => BooleanBuffer::new_set(rows),
                }
            }
            Predicate::Unknown => BooleanBuffer::new_set(rows),
        }
    }

    /// What lies under nulls is compared too. `None`: not decided.
    fn compare(&mut self, column: &ArrayRef, how: Comparison, value: &Constant, at: usize) -> Option<BooleanBuffer> {
        let bits = match (value, column.data_type()) {
            (Constant::Int(v), DataType::Int64) => ordered(column.as_primitive::<Int64Type>().values(), how, *v, *v),
            (Constant::Int(v), t) if t.is_integer() => {
                let wide = arrow_cast::cast(column, &DataType::Int64).ok()?;
                ordered(wide.as_primitive::<Int64Type>().values(), how, *v, *v)
            }
            (Constant::Float(v), DataType::Float64) => ordered(column.as_primitive::<Float64Type>().values(), how, *v, *v),
            (Constant::Float(v), DataType::Float32) => {
                let near = *v as f32;
                ordered(column.as_primitive::<Float32Type>().values(), how, near.next_down(), near.next_up())
            }
            (Constant::Bool(v), DataType::Boolean) => {
                let values = column.as_boolean().values();
                let none = BooleanBuffer::new_unset(values.len());
                let if_true = if holds(how, &true, v) { values } else { &none };
                let if_false = if holds(how, &false, v) { !values } else { none.clone() };
                if_true | &if_false
            }
            (Constant::Text(v), DataType::Utf8View) => {
                let found = column.as_string_view();
                bits(found.len(), found.iter().map(|text| text.is_some_and(|text| holds(how, text, v.as_str()))))
            }
            (Constant::Text(v), DataType::Utf8) => {
                let found = column.as_string::<i32>();
                bits(found.len(), found.iter().map(|text| text.is_some_and(|text| holds(how, text, v.as_str()))))
            }
            (Constant::Text(v), DataType::LargeUtf8) => {
                let found = column.as_string::<i64>();
                bits(found.len(), found.iter().map(|text| text.is_some_and(|text| holds(how, text, v.as_str()))))
            }
            (Constant::Text(v), DataType::Dictionary(key, _)) if **key == DataType::Int32 => {
                let found = column.as_dictionary::<Int32Type>();
                let table = self.table(found.values(), how, v, at)?;
                let codes = found.keys().values();
                let is = |code: &i32| usize::try_from(*code).is_ok_and(|code| table.get(code).copied().unwrap_or(false));
                bits(codes.len(), codes.iter().map(is))
            }
            _ => return None,
        };
        Some(bits)
    }

    /// Of which values of a dictionary the comparison number `at`, from one, is true.
    fn table(&mut self, values: &ArrayRef, how: Comparison, value: &str, at: usize) -> Option<&Vec<bool>> {
        if self.tables.len() < at {
            self.tables.resize_with(at, || (arrow_array::new_empty_array(&DataType::Utf8), Vec::new()));
        }
        let (known, table) = self.tables.get_mut(at - 1)?;
        if !Arc::ptr_eq(known, values) {
            let texts = values.as_string_opt::<i32>()?;
            *table = texts.iter().map(|text| text.is_some_and(|text| holds(how, text, value))).collect();
            *known = Arc::clone(values);
        }
        Some(table)
    }
}

fn holds<T: PartialOrd + ?Sized>(how: Comparison, a: &T, b: &T) -> bool {
    match how {
        Comparison::Eq => a == b,
        Comparison::Ne => a != b,
        Comparison::Lt => a < b,
        Comparison::Le => a <= b,
        Comparison::Gt => a > b,
        Comparison::Ge => a >= b,
    }
}

/// Compares with a constant that is known to be between `low` and `high`: true where it may be.
fn ordered<T: PartialOrd + Copy>(values: &[T], how: Comparison, low: T, high: T) -> BooleanBuffer {
    let rows = values.len();
    let values = values.iter().copied();
    match how {
        Comparison::Eq => bits(rows, values.map(|v| (v >= low) & (v <= high))),
        Comparison::Ne => bits(rows, values.map(|v| v != low)),
        Comparison::Lt => bits(rows, values.map(|v| v < high)),
        Comparison::Le => bits(rows, values.map(|v| v <= high)),
        Comparison::Gt => bits(rows, values.map(|v| v > low)),
        Comparison::Ge => bits(rows, values.map(|v| v >= low)),
    }
}

fn bits(rows: usize, mut flags: impl Iterator<Item = bool>) -> BooleanBuffer {
    let words =
        (0..rows.div_ceil(64)).map(|_| flags.by_ref().take(64).zip(0..).fold(0u64, |word, (flag, bit)| word | (u64::from(flag) << bit)));
    BooleanBuffer::new(Buffer::from_vec(words.collect::<Vec<u64>>()), 0, rows)
}
