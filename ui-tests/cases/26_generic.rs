//! A generic operator.

use sabot::prelude::*;

#[operator]
fn twice<T: Copy + std::ops::Add<Output = T>>(value: T) -> T {
    value + value
}

fn main() {}

//~ ERROR 6:10 | T | operators are registered by type: list the instances, `#[operator(T = [i32, f64])]`
