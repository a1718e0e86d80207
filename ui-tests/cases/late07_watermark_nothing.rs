//! How, it does not say.

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

    ticks -> watermark() -> sink;
}

fn main() {}

//~ ERROR 16:14 | watermark | `watermark` says how a source tells time: `watermark(disorder = 10.sec(), max_step = 1.hour())`
