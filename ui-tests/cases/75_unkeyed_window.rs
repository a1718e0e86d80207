//! A window over a stream without a key.

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

    ticks -> window(tumbling(1.minute())) -> aggregate(|t| row { total: sum(t.price) }) -> sink;
}

fn main() {}
