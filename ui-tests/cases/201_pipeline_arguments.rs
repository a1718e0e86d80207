//! Too few arguments for a pipeline that is used inside another.

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

    cleaned = clean(raw) -> filter(|c| c.symbol != "");
    cleaned -> sink;
}

fn main() {}

//~ ERROR 26:15 | clean | this function takes 2 arguments but 1 argument was supplied
