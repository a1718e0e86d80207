//! A window function that does not exist.

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

    trades -> over(ts, |t| row { n: row_numbr(), m: median(t.price) }) -> sink;
}

fn main() {}

//~ ERROR 17:37 | row_numbr | there is no window function `row_numbr`; did you mean `row_number`?
//~ ERROR 17:53 | median | there is no window function `median`; did you mean `mean`?
