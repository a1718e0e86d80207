//! Bad rows that nobody reads.

use sabot::prelude::*;

#[derive(Record)]
struct Tick {
    symbol: Str,
    price: f64,
}

pipeline! {
    pub fn p(ticks: Source<Tick>);

    (good, bad) = ticks -> bad_rows();
    good -> sink;
}

fn main() {}

//~ ERROR 14:12 | bad) | the rows in `bad` are lost: end it with `-> sink(..)`, or leave out `-> bad_rows()`, and they end the job, or are counted
