//! A window that nothing closes.

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

    trades -> key_by(symbol) -> window(tumbling(1.hour())) -> top(3, price) -> sink;
}

fn main() {}

//~ ERROR 17:63 | top | this step does not look at windows
//~ ALSO a window ends in an `aggregate`; without one, put this step before `window(..)`
