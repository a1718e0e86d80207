//! The changes of a stream that has none.

use sabot::prelude::*;

#[derive(Record)]
struct Sale {
    shop: Str,
    amount: i64,
}

pipeline! {
    pub fn p(sales: Source<Sale>);

    sales -> filter(|s| s.amount > 3) -> changelog() -> sink;
}

fn main() {}

//~ ERROR 14:42 | changelog | `changelog` shows what changes, but the rows of this stream are never taken back
//~ ALSO changes come from results that are sent again: `key_by(..) -> window(global(on_update)) -> aggregate(..)`
