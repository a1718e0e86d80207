//! A source of other rows is bound to a pipeline.

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

fn run() -> Result<Vec<Clean>> {
    let other: Vec<Clean> = Vec::new();
    clean(other, 10).collect()
}

fn main() {}

//~ ERROR 25:11 | other | `Vec<Clean>` is neither a stream nor a source of `Raw` rows
