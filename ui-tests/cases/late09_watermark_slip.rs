//! A slip of the pen.

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

    ticks -> watermark(disorders = 10.sec()) -> sink;
}

fn main() {}

//~ ERROR 16:24 | disorders | `watermark` has no `disorders`; did you mean `disorder`?
