//! A pipeline uses itself.

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
    pub fn clean(raw: Source<Raw>) -> Raw;

    again = clean(raw);
    again -> sink;
}

fn main() {}

//~ ERROR 19:13 | clean | pipeline `clean` uses itself: a pipeline is a graph without cycles
