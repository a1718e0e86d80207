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
