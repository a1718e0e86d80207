//! A window step without windows.

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

    ticks -> key_by(symbol) -> window() -> aggregate(|t| row { total: sum(t.price) }) -> sink;
}

fn main() {}

//~ ERROR 16:32 | window | `window` needs windows: `tumbling(1.hour())`, `hop(1.hour(), 15.minute())`, `session(30.minute())` or `global(on_update)`
