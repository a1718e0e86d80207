//! A size without a slide.

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

    ticks -> key_by(symbol) -> window(hop(10.minute())) -> aggregate(|t| row { total: sum(t.price) }) -> sink;
}

fn main() {}

//~ ERROR 16:39 | hop | `hop` takes a size and a slide: `hop(1.hour(), 15.minute())`
