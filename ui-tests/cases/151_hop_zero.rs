//! Windows without a size, and without a slide.

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

    ticks -> key_by(symbol) -> window(hop(0.minute(), 0.minute())) -> aggregate(|t| row { total: sum(t.price) }) -> sink;
}

fn main() {}

//~ ERROR 16:43 | 0.minute | a window needs a size greater than zero
//~ ERROR 16:55 | 0.minute | windows need a slide greater than zero
