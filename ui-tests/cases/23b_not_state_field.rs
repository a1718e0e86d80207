//! A field of a state struct that cannot survive a restart.

use std::fs::File;

use sabot::prelude::*;

#[derive(State, Default)]
struct Cache {
    last: f64,
    open: Option<File>,
}

fn main() {}

//~ ERROR 10:11 | Option<File> | `File` cannot be kept as operator state
//~ ALSO add `#[derive(State, Default)]` (its fields must be `State` too), or keep it outside the state struct
