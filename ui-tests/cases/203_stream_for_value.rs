//! A stream where a pipeline takes a value.

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

    cleaned = clean(raw, raw);
    cleaned -> sink;
}

fn main() {}

//~ ERROR 26:26 | raw | mismatched types
//~ ALSO expected `i64`, found `Stream<
