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

//~ ERROR 21:37 | prize | no field `prize` on type
//~ ALSO a field with a similar name exists
//~ ERROR 22:31 | price | `f64` cannot be used as a key
//~ ALSO keys are integers, bool, text, bytes, dates, times, timestamps, decimals, and `Option` of these; floats are not: round to an integer first
//~ ERROR 23:55 | t.qty | mismatched types
//~ ALSO expected `f64`, found `i64`
//~ ERROR 23:70 | value | column `value` appears twice in this row
//~ ERROR 24:24 | fliter | no method named `fliter` found
//~ ALSO there is a method `filter` with a similar name
//~ ERROR 25:5 | late | stream `late` goes nowhere; end it with `-> sink(..)` or name it `_late`
//~ ERROR 25:14 | treads | no stream `treads` is defined above; did you mean `trades`?
//~ ERROR 27:15 | window | windows need event time, but this stream has none
//~ ALSO mark the timestamp with `#[event_time]` in the record, or add an `event_time(column)` step after the source
//~ ERROR 29:15 | key_by | expected `(` after step `key_by`
