//! A generic operator.

use sabot::prelude::*;

#[operator]
fn twice<T: Copy + std::ops::Add<Output = T>>(value: T) -> T {
    value + value
}

fn main() {}
