//! A value where a pipeline takes a stream.

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
    pub fn p(raw: Source<Raw>, limit: i64);

    cleaned = clean(limit, limit);
    raw -> sink;
    cleaned -> sink;
}

fn main() {}

//~ ERROR 26:21 | limit | `i64` is neither a stream nor a source of `Raw` rows
//~ ALSO expected a stream or a source of `Raw` rows
