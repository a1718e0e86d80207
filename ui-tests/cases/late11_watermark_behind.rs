//! Not where time is told.

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

    ticks -> filter(|t| t.price > 0.0) -> watermark(disorder = 1.sec()) -> sink;
}

fn main() {}

//~ ERROR 16:43 | watermark | `watermark` stands right behind a source, where time is told
