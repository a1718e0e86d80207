//! The open end has other rows than the pipeline returns.

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
    pub fn clean(raw: Source<Raw>) -> Clean;

    good = raw -> filter(|r| r.qty > 0);
    good -> sink;
}

fn main() {}

//~ ERROR 20:13 | sink | this pipeline returns `Clean` rows, but the stream carries `Raw` rows
//~ ALSO add a `select(|r| row Clean { .. })` step before the sink
