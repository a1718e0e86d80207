//! Two streams, one name.

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

    on_time = ticks -> late_rows();
    on_time -> sink;
}

fn main() {}

//~ ERROR 16:24 | late_rows | `late_rows()` makes two streams: write `(on_time, late) = .. -> late_rows();`
