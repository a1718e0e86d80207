//! Several mistakes in one block: each is reported, and each once.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

/// Traded value.
#[operator]
fn notional(price: f64, qty: i64) -> f64 {
    price * qty as f64
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    cheap  = trades -> filter(|t| t.prize < 1.0);
    keyed  = trades -> key_by(price);
    values = trades -> with(|t| row { value: notional(t.qty, t.qty), value: t.price });
    odd    = trades -> fliter(|t| t.qty > 3);
    late   = treads -> filter(|t| t.qty > 3);
    cheap  -> sink;
    keyed  -> window(tumbling(1.minute())) -> aggregate(|t| row { rows: count() }) -> sink;
    values -> sink;
    odd    -> key_by -> sink;
}

fn main() {}
