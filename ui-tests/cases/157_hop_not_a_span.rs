//! A number instead of a span of time.

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

    ticks -> key_by(symbol) -> window(hop(10, 5)) -> aggregate(|t| row { total: sum(t.price) }) -> sink;
}

fn main() {}

//~ ERROR 16:39 | hop | arguments to this function are incorrect
