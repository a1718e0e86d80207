//! A nullable predicate.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    late: Option<bool>,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> filter(|t| t.late) -> sink;
}

fn main() {}

//~ ERROR 14:26 | t.late | a predicate is true or false of a row, or a `Result` of that, but this is `Option<bool>`
//~ ALSO a null drops the row: `filter(|t| t.late?)`
