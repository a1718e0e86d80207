//! A right side that may never end.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
    #[event_time]
    ts: Timestamp<Micros>,
}

#[derive(Record)]
struct Quote {
    id: i64,
    symbol: Str,
    bid: f64,
    #[event_time]
    ts: Timestamp<Micros>,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>, quotes: Source<Quote, Bounded>, live: Source<Quote>);

    trades -> key_by(symbol) -> join(live -> key_by(symbol), |t, q| row { bid: q.bid }) -> sink; _quotes = quotes -> key_by(symbol);
}

fn main() {}

//~ ERROR 26:38 | live | the right side of a join is read to its end before the first row comes out, but this stream may never end
//~ ALSO or say which rows of two streams are partners, so that the others can be forgotten: event times near each other, `join(.., ttl = 1.hour(), ..)` or `interval_join(.., within = -5.minute()..=5.minute(), ..)`; the same window of both sides, `.. -> window(w) -> join(.. -> window(w), ..)`; or the last right row at the time of the left one, `asof_join(..)`
