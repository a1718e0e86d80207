//! A method, an unsafe function and a foreign function as operators.

use sabot::prelude::*;

struct Prices;

impl Prices {
    #[operator]
    fn double(&self, price: f64) -> f64 {
        price * 2.0
    }
}

#[operator]
unsafe fn fast(price: f64) -> f64 {
    price * 2.0
}

#[operator]
extern "C" fn foreign(price: f64) -> f64 {
    price * 2.0
}

fn main() {}
