//! A span without a name.

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

    ticks -> watermark(10.sec()) -> sink;
}

fn main() {}

//~ ERROR 16:24 | 10.sec | `watermark` takes named spans of time: `watermark(disorder = 10.sec(), max_step = 1.hour())`
