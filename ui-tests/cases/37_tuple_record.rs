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

//~ ERROR 6:8 | Price | a record needs named columns: write `struct Price { column: Type, .. }`
//~ ERROR 9:6 | Side | a record needs named columns, so it is a struct; an enum may be a column as text or as a number
