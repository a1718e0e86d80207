//! A slide that is larger than the window.

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

    ticks -> key_by(symbol) -> window(hop(1.minute(), 5.minute())) -> aggregate(|t| row { total: sum(t.price) }) -> sink;
}

fn main() {}

//~ ERROR 16:55 | 5.minute | the slide is larger than the window: the rows between two windows would be lost
