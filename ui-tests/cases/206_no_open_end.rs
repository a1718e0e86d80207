//! A pipeline that returns rows has no open end.

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
    pub fn clean(raw: Source<Clean>) -> Clean;

    raw -> sink(to("out.csv"));
}

fn main() {}

//~ ERROR 17:41 | Clean | this pipeline returns `Clean` rows, so one of its streams must be its open end: `clean -> sink;`
