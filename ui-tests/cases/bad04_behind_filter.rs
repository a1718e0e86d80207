//! Not where rows come in.

use sabot::prelude::*;

#[derive(Record)]
struct Tick {
    symbol: Str,
    price: f64,
}

pipeline! {
    pub fn p(ticks: Source<Tick>);

    (good, bad) = ticks -> filter(|t| t.price > 0.0) -> bad_rows();
    good -> sink;
    bad -> sink;
}

fn main() {}

//~ ERROR 14:57 | bad_rows | `bad_rows` stands right behind a source, which finds what is not a row
