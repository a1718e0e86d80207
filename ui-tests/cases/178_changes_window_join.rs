//! A join of windows whose right rows are taken back.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: i64,
    #[event_time]
    ts: Timestamp<Micros>,
}

pipeline! {
    pub fn p(trades: Source<Trade>, quotes: Source<Trade>);

    minutes = trades -> key_by(symbol) -> window(tumbling(1.minute()), on_update) -> aggregate(|t| row { most: max(t.price) });
    quotes -> key_by(symbol) -> window(tumbling(1.hour())) -> join(minutes -> key_by(symbol) -> window(tumbling(1.hour())), |q, m| row { most: m.most }) -> sink;
}

fn main() {}

//~ ERROR 17:68 | minutes | a join in event time needs rows that stay, but the rows of this stream are taken back when results change
