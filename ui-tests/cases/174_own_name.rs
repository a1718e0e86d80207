//! A column with a name that Sabot keeps for itself.

use sabot::prelude::*;

#[derive(Record)]
struct Sale {
    shop: Str,
    #[record(rename = "sabot.weight")]
    weight: i64,
}

fn main() {}

//~ ERROR 9:5 | weight | names of columns that begin with `sabot.` are Sabot's own: choose another
