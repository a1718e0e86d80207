//! A stream that may never end where a pipeline needs one that ends.

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
    pub fn sorted(raw: Source<Raw, Bounded>) -> Raw;

    raw -> sort(qty) -> sink;
}

pipeline! {
    pub fn p(raw: Source<Raw>);

    all = sorted(raw);
    all -> sink;
}

fn main() {}

//~ ERROR 25:18 | raw | this pipeline needs rows that end (`Source<.., Bounded>`), but the stream may never end
//~ ALSO declare the outer source as one that ends: `Source<T, Bounded>`
