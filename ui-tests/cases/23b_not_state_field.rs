//! A field of a state struct that cannot survive a restart.

use std::fs::File;

use sabot::prelude::*;

#[derive(State, Default)]
struct Cache {
    last: f64,
    open: Option<File>,
}

fn main() {}
