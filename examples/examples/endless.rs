//! A stream that never ends: a generator of trades, and totals per symbol and second.
//!
//! `cargo run --example endless -- forever` prints until Ctrl-C, which lets the open windows finish; without arguments
//! it ends after a million rows, with the same code.

use std::sync::Arc;

use sabot::connect::from_fn;
use sabot::prelude::*;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};

/// A trade.
#[derive(Record, Clone, Debug)]
pub(crate) struct Trade {
    symbol: Str,
    qty: i64,
    #[event_time]
    ts: Timestamp<Micros>,
}

/// A window's result.
#[derive(Record, Clone, Debug, PartialEq)]
struct Total {
    symbol: Str,
    window_start: Timestamp<Micros>,
    qty: i64,
    trades: u64,
}

pipeline! {
    /// Traded quantity per symbol and second.
    pub fn per_second(trades: Source<Trade>);

    totals = trades -> key_by(symbol) -> window(tumbling(1.sec())) -> aggregate(|t| row { qty: sum(t.qty), trades: count() });
    totals -> sink;
}

const SYMBOLS: [&str; 4] = ["ACME", "BOLT", "COGS", "DYNE"];

/// A thousand trades per second of event time, in one partition.
fn generator(rows: Option<u64>) -> Source<Trade> {
    Source::custom(move || {
        let schema = Arc::new(sabot::record::schema_of::<Trade>());
        let columns = Arc::clone(&schema);
        let source = from_fn(schema, 1, rows, move |_, first, rows| {
            let numbers = first as i64..first as i64 + rows as i64;
            let symbols = numbers.clone().map(|n| SYMBOLS.get(n as usize % 4).copied().unwrap_or_default());
            let symbol: ArrayRef = Arc::new(StringViewArray::from_iter_values(symbols));
            let qty: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers.clone().map(|n| n % 10)));
            let ts: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(numbers.clone().map(|n| n * 1000)));
            let watermark = (numbers.end - 1) * 1000;
            Ok((RecordBatch::try_new(Arc::clone(&columns), vec![symbol, qty, ts])?, Some(watermark)))
        });
        if rows.is_some() { Ok(source) } else { source.rows_per_second(2000.0) }
    })
}

pipeline! {
    /// The same over the generator, for `forever`.
    pub fn forever();

    trades = source(generator(None));
    totals = trades -> key_by(symbol) -> window(tumbling(1.sec())) -> aggregate(|t| row { qty: sum(t.qty), trades: count() });
    totals -> sink;
}

fn main() -> Result<()> {
    if std::env::args().nth(1).is_some_and(|a| a == "forever") {
        let code = sabot::cli::run_from(["endless", "run", "forever"]);
        std::process::exit(code);
    }
    if std::env::args().len() > 1 {
        return sabot::main();
    }
    let rows: Vec<Total> = per_second(generator(Some(1_000_000))).collect()?;
    println!("{} windows, the last {:?}", rows.len(), rows.last());
    assert_eq!(rows.len(), 4 * 1000);
    assert!(rows.iter().all(|r| r.trades == 250));
    assert_eq!(rows.iter().map(|r| r.qty).sum::<i64>(), 4_500_000);
    Ok(())
}
