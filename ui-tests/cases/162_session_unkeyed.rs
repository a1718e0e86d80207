//! Sessions of nobody.

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

    ticks -> window(session(5.minute())) -> aggregate(|t| row { total: sum(t.price) }) -> sink;
}

fn main() {}

//~ ERROR 16:14 | window | a window cuts a keyed stream, but this stream is not keyed
//~ ALSO add a `key_by(..)` step before it; for one window over all rows, key by a constant column
