//! What the bloom filters of a row group exclude: values that none of its rows has.

use std::fs::File;

use arrow_schema::DataType;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::basic::Type;
use parquet::bloom_filter::Sbbf;
use parquet::errors::Result;

use super::types::is_string;
use crate::kernel::{Comparison, Constant, Predicate};

/// Whether the predicate is true of no row of the row group. Reads the filters of columns that are compared with `==`.
pub(super) fn excludes(file: &File, metadata: &ArrowReaderMetadata, row_group: usize, predicate: &Predicate) -> Result<bool> {
    match predicate {
        Predicate::And(parts) => {
            for part in parts {
                if excludes(file, metadata, row_group, part)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Predicate::Or(parts) => {
            for part in parts {
                if !excludes(file, metadata, row_group, part)? {
                    return Ok(false);
                }
            }
            Ok(!parts.is_empty())
        }
        Predicate::Compare { column, how: Comparison::Eq, value } => {
            let Ok(root) = metadata.schema().index_of(column) else { return Ok(false) };
            let found = metadata.schema().field(root).data_type();
            let parquet = metadata.parquet_schema();
            let leaf = (0..parquet.num_columns()).find(|leaf| parquet.get_column_root_idx(*leaf) == root);
            let Some(chunk) = leaf.and_then(|leaf| metadata.metadata().row_group(row_group).columns().get(leaf)) else { return Ok(false) };
            if chunk.bloom_filter_offset().is_none() {
                return Ok(false);
            }
            let has = |filter: &Sbbf| match (value, found, chunk.column_type()) {
                (Constant::Text(v), t, Type::BYTE_ARRAY) if is_string(t) => filter.check(v.as_str()),
                (Constant::Int(v), DataType::Int64, Type::INT64) => filter.check(v),
                (Constant::Int(v), DataType::Int32, Type::INT32) => i32::try_from(*v).is_ok_and(|v| filter.check(&v)),
                _ => true,
            };
            Ok(Sbbf::read_from_column_chunk(chunk, file)?.is_some_and(|filter| !has(&filter)))
        }
        _ => Ok(false),
    }
}
