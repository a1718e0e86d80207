//! A sink that only adds rows behind a join that takes rows back when they get a partner.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: i64,
}

pipeline! {
    pub fn p(trades: Source<Trade>, quotes: Source<Trade>);

    pairs  = trades -> key_by(symbol) -> window(global(on_update)) -> join(quotes -> key_by(symbol), |t, q| row { bid: q.price });
    quoted = trades -> key_by(symbol) -> window(global(on_update)) -> left_join(quotes -> key_by(symbol), |t, q| row { bid: q?.price });
    pairs -> sink(to("pairs.parquet"));
    quoted -> sink(to("quoted.parquet"));
}

fn main() {}

//~ ERROR 17:20 | to | this sink cannot apply updates and retractions, but the stream produces them
