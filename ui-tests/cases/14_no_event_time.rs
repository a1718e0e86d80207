//! A window over a stream without event time.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> key_by(symbol) -> window(tumbling(1.minute())) -> aggregate(|t| row { total: sum(t.price) }) -> sink;
}

fn main() {}

//~ ERROR 15:33 | window | windows need event time, but this stream has none
//~ ALSO mark the timestamp with `#[event_time]` in the record, or add an `event_time(column)` step after the source
