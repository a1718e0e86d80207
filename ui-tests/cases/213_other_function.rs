//! A function that does not take a stream.

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

fn shorten(text: &str) -> &str {
    text
}

pipeline! {
    pub fn p(raw: Source<Raw>);

    short = shorten(raw);
    short -> sink;
    raw -> apply(shorten) -> sink;
}

fn main() {}

//~ ERROR 23:21 | raw | mismatched types
//~ ERROR 23:13 | shorten | a stream begins with a call that returns a stream, but this is `&str`
//~ ERROR 25:18 | shorten | type mismatch in function arguments
