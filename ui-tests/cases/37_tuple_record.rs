//! A record without named columns.

use sabot::prelude::*;

#[derive(Record)]
struct Price(f64);

#[derive(Record)]
enum Side {
    Buy,
    Sell,
}

fn main() {}
