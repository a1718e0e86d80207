//! A stream of other rows than a pipeline takes.

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
    pub fn p(raw: Source<Clean>);

    cleaned = clean(raw, 10);
    cleaned -> sink;
}

fn main() {}

//~ ERROR 26:21 | raw | this pipeline takes `Raw` rows, but the stream carries `Clean` rows
//~ ALSO add a `select(|r| row Raw { .. })` step to the stream
