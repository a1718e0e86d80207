//! A window of all rows before a step that needs their end.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> key_by(symbol) -> window(global(on_update)) -> over(price, |t| row { n: row_number() }) -> sink;
}

fn main() {}

//~ ERROR 14:62 | over | this step does not look at windows
//~ ALSO a window ends in an `aggregate`; without one, put this step before `window(..)`
