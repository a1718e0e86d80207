//! A pipeline that declares no record is used inside another.

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
    pub fn clean(raw: Source<Raw>, limit: i64);

    good = raw -> filter(|r| r.qty > limit);
    good -> sink;
}

pipeline! {
    pub fn p(raw: Source<Raw>);

    cleaned = clean(raw, 10);
    cleaned -> sink;
}

fn main() {}

//~ ERROR 26:15 | clean | a stream begins with a call that returns a stream, but this is `Job`
//~ ALSO it declares what it returns: `pub fn clean(raw: Source<Raw>, limit: i64) -> Clean;`
