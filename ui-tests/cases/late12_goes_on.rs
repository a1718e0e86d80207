//! A step behind two streams.

use sabot::prelude::*;

#[derive(Record)]
struct Tick {
    symbol: Str,
    price: f64,
    #[event_time]
    at: Timestamp<Micros>,
}

pipeline! {
    pub fn p(ticks: Source<Tick>);

    (on_time, late) = ticks -> late_rows() -> filter(|t| t.price > 0.0);
    on_time -> key_by(symbol) -> window(tumbling(1.minute())) -> aggregate(|t| row { total: sum(t.price) }) -> sink;
    late -> sink;
}

fn main() {}

//~ ERROR 16:47 | filter | `late_rows()` ends its statement: go on with each of its two streams by name
