//! Which rows of a Parquet row group a predicate may be true of, by the statistics of the group and of its pages.
//!
//! Minimum and maximum are bounds: text is cut short by writers, floats leave NaN out. So only what the bounds exclude for
//! certain is left out.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, UInt64Array};
use arrow_schema::DataType;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection};
use parquet::errors::Result;

use crate::kernel::{Comparison, Constant, Predicate};

/// The rows that may be wanted.
pub(super) fn kept(metadata: &ArrowReaderMetadata, row_group: usize, predicate: &Predicate) -> Result<RowSelection> {
    let rows = metadata.metadata().row_group(row_group).num_rows();
    let rows = usize::try_from(rows).unwrap_or(0);
    let all = || RowSelection::from_consecutive_ranges(std::iter::once(0..rows), rows);
    Ok(match predicate {
        Predicate::And(parts) => {
            let mut kept_rows = all();
            for part in parts {
                kept_rows = kept_rows.intersection(&kept(metadata, row_group, part)?);
            }
            kept_rows
        }
        Predicate::Or(parts) => {
            let mut kept_rows = RowSelection::from_consecutive_ranges(std::iter::empty(), rows);
            for part in parts {
                kept_rows = kept_rows.union(&kept(metadata, row_group, part)?);
            }
            kept_rows
        }
        Predicate::Compare { column, .. } | Predicate::Null { column, .. } => match leaf(metadata, row_group, column, predicate, rows)? {
            Some(ranges) => RowSelection::from_consecutive_ranges(ranges.into_iter(), rows),
            None => all(),
        },
        Predicate::Unknown => all(),
    })
}

/// The ranges that a condition on one column keeps; `None` if nothing is known of it.
fn leaf(
    metadata: &ArrowReaderMetadata,
    row_group: usize,
    column: &str,
    condition: &Predicate,
    rows: usize,
) -> Result<Option<Vec<std::ops::Range<usize>>>> {
    let parquet = metadata.parquet_schema();
    let Ok(converter) = StatisticsConverter::try_new(column, metadata.schema(), parquet) else { return Ok(None) };
    let converter = converter.with_missing_null_counts_as_zero(false);
    let group = metadata.metadata().row_group(row_group);
    let whole = Bounds {
        min: number_or_text(converter.row_group_mins([group])?),
        max: number_or_text(converter.row_group_maxes([group])?),
        nulls: converter.row_group_null_counts([group])?,
    };
    if !whole.may(0, rows, condition) {
        return Ok(Some(Vec::new()));
    }
    let (Some(columns), Some(offsets), Some(leaf)) =
        (metadata.metadata().column_index(), metadata.metadata().offset_index(), converter.parquet_column_index())
    else {
        return Ok(None);
    };
    let Some(locations) = offsets.get(row_group).and_then(|g| g.get(leaf)).map(|c| c.page_locations()) else { return Ok(None) };
    let pages = Bounds {
        min: number_or_text(converter.data_page_mins(columns, offsets, [&row_group])?),
        max: number_or_text(converter.data_page_maxes(columns, offsets, [&row_group])?),
        nulls: converter.data_page_null_counts(columns, offsets, [&row_group])?,
    };
    let starts: Vec<usize> = locations.iter().map(|l| usize::try_from(l.first_row_index).unwrap_or(0)).chain([rows]).collect();
    let ranges = starts.windows(2).enumerate().filter_map(|(page, w)| match w {
        [from, to] if from < to => pages.may(page, to - from, condition).then_some(*from..*to),
        _ => None,
    });
    Ok(Some(ranges.collect()))
}

/// Statistics of row groups or pages.
struct Bounds {
    min: Option<ArrayRef>,
    max: Option<ArrayRef>,
    nulls: UInt64Array,
}

/// Bounds in one of the types that constants have; `None` if no constant can be compared with them.
fn number_or_text(bounds: ArrayRef) -> Option<ArrayRef> {
    let to = match bounds.data_type() {
        t if t.is_integer() => DataType::Int64,
        DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Boolean => return Some(bounds),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8View,
        _ => return None,
    };
    // a value that does not fit becomes null: unknown
    arrow_cast::cast(&bounds, &to).ok()
}

impl Bounds {
    /// Whether the condition may be true of a row of the unit `at`.
    fn may(&self, at: usize, rows: usize, condition: &Predicate) -> bool {
        let nulls = self.nulls.is_valid(at).then(|| self.nulls.values().get(at).copied()).flatten();
        match condition {
            Predicate::Null { is: true, .. } => nulls != Some(0),
            Predicate::Null { is: false, .. } => nulls != Some(rows as u64),
            Predicate::Compare { how, value, .. } => {
                if nulls == Some(rows as u64) {
                    return false;
                }
                let (Some(min), Some(max)) = (&self.min, &self.max) else { return true };
                if at >= min.len() || at >= max.len() || min.is_null(at) || max.is_null(at) {
                    return true;
                }
                match (value, min.data_type(), max.data_type()) {
                    (Constant::Int(v), DataType::Int64, DataType::Int64) => {
                        let (min, max) = (min.as_primitive::<Int64Type>().value(at), max.as_primitive::<Int64Type>().value(at));
                        between(how, &min, &max, v, true)
                    }
                    (Constant::Float(v), DataType::Float64, DataType::Float64) => {
                        let (min, max) = (min.as_primitive::<Float64Type>().value(at), max.as_primitive::<Float64Type>().value(at));
                        // an f32 column is compared with the nearest f32
                        let near = f64::from(*v as f32);
                        between(how, &min, &max, v, false) || between(how, &min, &max, &near, false)
                    }
                    (Constant::Text(v), DataType::Utf8View, DataType::Utf8View) => {
                        between(how, min.as_string_view().value(at), max.as_string_view().value(at), v.as_str(), false)
                    }
                    (Constant::Bool(v), DataType::Boolean, DataType::Boolean) => {
                        between(how, &min.as_boolean().value(at), &max.as_boolean().value(at), v, true)
                    }
                    _ => true,
                }
            }
            _ => true,
        }
    }
}

/// Whether a value between `min` and `max` may stand in this relation to `v`. `exact`: bounds are values, and all are between.
/// Negated, because a bound that is NaN, as some writers leave it, excludes nothing.
#[allow(clippy::neg_cmp_op_on_partial_ord)]
fn between<T: PartialOrd + ?Sized>(how: &Comparison, min: &T, max: &T, v: &T, exact: bool) -> bool {
    match how {
        Comparison::Eq => !(v < min || v > max),
        Comparison::Ne => !(exact && min == v && max == v),
        Comparison::Lt => !(min >= v),
        Comparison::Le => !(min > v),
        Comparison::Gt => !(max <= v),
        Comparison::Ge => !(max < v),
    }
}
