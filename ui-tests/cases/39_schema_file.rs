//! A record that disagrees with its schema file.

use sabot::prelude::*;

#[derive(Record)]
#[record(schema = "schemas/instrument.json")]
struct Instrument {
    symbol: Str,
    sector: Option<Str>,
    lot: i64,
}

fn main() {}

//~ ERROR 10:5 | lot | schemas/instrument.json: `lot` is Int32, but the field is `i64`
