//! A stream is given to a pipeline before it is defined.

use sabot::prelude::*;

#[derive(Record)]
struct Raw {
    symbol: Str,
    qty: i64,
}

#[derive(Record)]
struct Clean {
    symbol: Str,
}

pipeline! {
    pub fn clean(raw: Source<Raw>, limit: i64) -> Clean;

    good = raw -> filter(|r| r.qty > limit) -> select(|r| row Clean { symbol: r.symbol });
    good -> sink;
}

pipeline! {
    pub fn p(raw: Source<Raw>);

    cleaned = clean(large, 10);
    large = raw -> filter(|r| r.qty > 3);
    cleaned -> sink;
}

fn main() {}

//~ ERROR 26:21 | large | stream `large` is used before it is defined: move its statement up
