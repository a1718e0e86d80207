//! How late, at the wrong place.

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

    (on_time, late) = ticks -> late_rows(5.sec());
    on_time -> key_by(symbol) -> window(tumbling(1.minute())) -> aggregate(|t| row { total: sum(t.price) }) -> sink;
    late -> sink;
}

fn main() {}

//~ ERROR 16:42 | 5.sec | `late_rows` takes nothing: write `late_rows()`; how late is too late says `watermark(..)` before it
