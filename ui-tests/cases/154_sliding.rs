//! Another name for overlapping windows.

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

    ticks -> key_by(symbol) -> window(sliding(10.minute(), 5.minute())) -> aggregate(|t| row { total: sum(t.price) }) -> sink;
}

fn main() {}

//~ ERROR 16:39 | sliding | there are no windows `sliding`; did you mean `hop`
