//! A pipeline that returns rows has two open ends.

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

pipeline! {
    pub fn clean(raw: Source<Clean>) -> Clean;

    good = raw -> limit(3);
    good -> sink;
    raw -> sink;
}

fn main() {}

//~ ERROR 21:12 | sink | a pipeline that returns rows has one open end, and `good` is it: give this one a place, `-> sink(to(..))`
