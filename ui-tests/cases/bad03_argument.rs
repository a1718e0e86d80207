//! It takes nothing.

use sabot::prelude::*;

#[derive(Record)]
struct Tick {
    symbol: Str,
    price: f64,
}

pipeline! {
    pub fn p(ticks: Source<Tick>);

    (good, bad) = ticks -> bad_rows(skip);
    good -> sink;
    bad -> sink;
}

fn main() {}

//~ ERROR 14:37 | skip | `bad_rows` takes nothing: write `bad_rows()`
