//! Windows of late rows.

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

    (on_time, late) = ticks -> late_rows();
    on_time -> sink;
    late -> key_by(symbol) -> window(tumbling(1.minute())) -> aggregate(|t| row { total: sum(t.price) }) -> sink;
}

fn main() {}

//~ ERROR 18:31 | window | windows need event time, but this stream has none
