//! Two streams, one name.

use sabot::prelude::*;

#[derive(Record)]
struct Tick {
    symbol: Str,
    price: f64,
}

pipeline! {
    pub fn p(ticks: Source<Tick>);

    good = ticks -> bad_rows();
    good -> sink;
}

fn main() {}

//~ ERROR 14:21 | bad_rows | `bad_rows()` makes two streams: write `(good, bad) = .. -> bad_rows();`
