//! Not where rows come in.

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

    (on_time, late) = ticks -> filter(|t| t.price > 0.0) -> late_rows();
    on_time -> key_by(symbol) -> window(tumbling(1.minute())) -> aggregate(|t| row { total: sum(t.price) }) -> sink;
    late -> sink;
}

fn main() {}

//~ ERROR 16:61 | late_rows | `late_rows` stands right behind a source, where rows are found to be late
