//! Late for nothing.

use sabot::prelude::*;

#[derive(Record)]
struct Tick {
    symbol: Str,
    price: f64,
    #[event_time]
    at: Timestamp<Micros>,
}

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    (on_time, late) = trades -> late_rows();
    on_time -> sink;
    late -> sink;
}

fn main() {}

//~ ERROR 22:33 | late_rows | `watermark` and `late_rows` need event time, but this stream has none
//~ ALSO mark the timestamp with `#[event_time]` in the record
