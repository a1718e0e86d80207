//! An operator that returns nothing.

use sabot::prelude::*;

#[operator]
fn log(price: f64) {
    println!("{price}");
}

fn main() {}
