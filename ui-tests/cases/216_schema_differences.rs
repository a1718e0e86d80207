//! A record that disagrees with its schema file in every way, and one whose file is not there.

use sabot::prelude::*;

#[derive(Record)]
#[record(schema = "schemas/instrument.json")]
struct Instrument {
    symbols: Str,
    sector: Str,
    lot: Option<i32>,
}

#[derive(Record)]
#[record(schema = "schemas/nowhere.json")]
struct Nowhere {
    symbol: Str,
}

fn main() {}

//~ ERROR 8:5 | symbols | schemas/instrument.json: there is no column `symbols`; did you mean `symbol`?
//~ ERROR 9:5 | sector | schemas/instrument.json: `sector` is nullable, but the field is `Str`: write `Option<Str>`
//~ ERROR 14:19 | "schemas/nowhere.json" | the schema `schemas/nowhere.json` cannot be read
