//! The rows that are sent, and what their receiver finds.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};

/// Rows of a batch: a morsel's.
pub const BATCH: usize = 16_384;

fn price(row: usize) -> f64 {
    (row % 10_000) as f64 / 4.0
}

fn symbol(row: usize) -> usize {
    row * 7919 % 1_000_000
}

pub fn batches(rows: usize) -> Vec<RecordBatch> {
    (0..rows)
        .step_by(BATCH)
        .map(|start| {
            let range = start..rows.min(start + BATCH);
            let columns: Vec<(&str, ArrayRef)> = vec![
                ("id", Arc::new(range.clone().map(|i| i as i64).collect::<Int64Array>())),
                ("price", Arc::new(range.clone().map(price).collect::<Float64Array>())),
                ("symbol", Arc::new(range.clone().map(|i| Some(format!("SYM-{:06}", symbol(i)))).collect::<StringArray>())),
                ("quantity", Arc::new(range.map(|i| (i % 100) as i64).collect::<Int64Array>())),
            ];
            RecordBatch::try_from_iter(columns).unwrap()
        })
        .collect()
}

/// Bytes of the values: 8 + 8 + 10 and an offset of 4 + 8.
pub fn bytes_of(rows: usize) -> usize {
    rows * 38
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    pub rows: usize,
    ids: i64,
    prices: f64,
    symbols: usize,
    quantities: i64,
}

impl Sums {
    pub fn expected(rows: usize) -> Self {
        (0..rows).fold(Sums::default(), |s, i| Sums {
            rows: s.rows + 1,
            ids: s.ids + i as i64,
            prices: s.prices + price(i),
            symbols: s.symbols + symbol(i),
            quantities: s.quantities + (i % 100) as i64,
        })
    }
    /// Counts a batch, and looks at its values if told to.
    pub fn add(&mut self, batch: &RecordBatch, check: bool) {
        self.rows += batch.num_rows();
        if !check {
            return;
        }
        self.ids += batch.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>();
        self.prices += batch.column(1).as_primitive::<Float64Type>().values().iter().sum::<f64>();
        let symbols = batch.column(2).as_string::<i32>();
        assert_eq!(symbols.null_count(), 0);
        self.symbols += symbols.iter().flatten().map(|s| s[4..].parse::<usize>().unwrap()).sum::<usize>();
        self.quantities += batch.column(3).as_primitive::<Int64Type>().values().iter().sum::<i64>();
    }
}
