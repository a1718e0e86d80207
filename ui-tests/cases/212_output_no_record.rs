//! The record that a pipeline returns is none, or missing.

use sabot::prelude::*;

#[derive(Record)]
struct Raw {
    symbol: Str,
    qty: i64,
}

#[derive(Record)]
struct Clean {
    symbol: Str,
}

struct Plain;

pipeline! {
    pub fn p(raw: Source<Raw>) -> Plain;

    raw -> sink;
}

pipeline! {
    pub fn q(raw: Source<Raw>) ->;

    raw -> sink;
}

fn main() {}

//~ ERROR 19:35 | Plain | `Plain` is not a record
//~ ALSO add `#[derive(Record)]` to the struct
//~ ERROR 21:12 | sink | this pipeline returns `Plain` rows, but the stream carries `Raw` rows
//~ ERROR 25:32 | -> | expected the record that the pipeline returns after `->`, such as `-> Clean`
