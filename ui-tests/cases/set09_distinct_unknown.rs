//! A column that does not exist.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
    #[event_time]
    ts: Timestamp<Micros>,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> distinct(symbol, prize) -> sink;
}

fn main() {}

//~ ERROR 17:32 | prize | no field `prize` on type
//~ ALSO a field with a similar name exists
