//! Late rows that nobody reads.

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

    (on_time, late) = ticks -> late_rows();
    on_time -> sink;
}

fn main() {}

//~ ERROR 16:15 | late) | the rows in `late` are lost: end it with `-> sink(..)`, or leave out `-> late_rows()`, and they are counted
