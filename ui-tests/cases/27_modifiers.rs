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

//~ ERROR 9:16 | self | an operator is a free function; for an aggregate put `#[operator]` on the `impl` block
//~ ERROR 15:1 | unsafe | an operator is a safe function: put the unsafe part into a block, with its reason
//~ ERROR 20:1 | extern | an operator is a Rust function: remove `extern`, and call the foreign function in its body
