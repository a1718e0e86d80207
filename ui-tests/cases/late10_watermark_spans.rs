//! Spans that are none.

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

    ticks -> watermark(disorder = -1.sec(), max_step = 0.sec()) -> sink;
}

fn main() {}

//~ ERROR 16:36 | 1.sec | rows cannot lag by a negative span
//~ ERROR 16:56 | 0.sec | a row must be able to move time: write a span greater than zero
