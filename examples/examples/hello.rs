//! The smallest pipeline: a record, an operator, a filter, rows from memory.

use sabot::prelude::*;

/// A trade on an exchange.
#[derive(Record, Clone, Debug)]
pub(crate) struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

/// What a step of the pipeline makes.
#[derive(Record, Clone, Debug, PartialEq)]
struct Valued {
    symbol: Str,
    value: f64,
}

/// Traded value.
#[operator]
fn notional(price: f64, qty: i64) -> f64 {
    price * qty as f64
}

pipeline! {
    /// Large trades with their value.
    pub fn large(trades: Source<Trade>, minimum: f64);

    valued = trades -> select(|t| row { symbol: t.symbol, value: notional(t.price, t.qty) })
                    -> filter(|t| t.value >= minimum);
    valued -> sink;
}

fn main() -> Result<()> {
    let trades = vec![Trade { symbol: "ACME".into(), price: 10.0, qty: 50 }, Trade { symbol: "BOLT".into(), price: 99.5, qty: 200 }];
    let rows: Vec<Valued> = large(trades, 1000.0).collect()?;
    println!("{rows:?}");
    assert_eq!(rows, [Valued { symbol: "BOLT".into(), value: 19900.0 }]);
    Ok(())
}
