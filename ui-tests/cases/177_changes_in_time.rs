//! Joins in event time over rows that are taken back.

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
    minutes -> key_by(symbol) -> interval_join(quotes -> key_by(symbol), within = 0.sec()..=5.sec(), |m, q| row { price: q.price }) -> sink;
    minutes -> key_by(symbol) -> left_join(quotes -> key_by(symbol), ttl = 1.hour(), |m, q| row { price: q?.price }) -> sink;
    quotes -> key_by(symbol) -> asof_join(minutes -> key_by(symbol), |q, m| row { most: m?.most }) -> sink;
}

fn main() {}

//~ ERROR 17:34 | interval_join | a join in event time needs rows that stay, but the rows of this stream are taken back when results change
//~ ALSO join by keys alone
//~ ERROR 18:34 | left_join | a join in event time needs rows that stay, but the rows of this stream are taken back when results change
//~ ERROR 19:43 | minutes | a join in event time needs rows that stay, but the rows of this stream are taken back when results change
