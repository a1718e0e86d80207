//! An operator that returns nothing.

use sabot::prelude::*;

#[operator]
fn log(price: f64) {
    println!("{price}");
}

fn main() {}

//~ ERROR 6:4 | log | operator `log` returns nothing; use `inspect` for side effects
