//! A source is given to an inner pipeline, so that it is a job and no stream.

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

    cleaned = clean(csv::<Raw>("raw.csv"), 10) -> filter(|c| c.symbol != "");
    cleaned -> sink;
    raw -> sink;
}

fn main() {}

//~ ERROR 26:15 | clean | a stream begins with a call that returns a stream, but this is `Job`
//~ ALSO A source is written `source(..)`
