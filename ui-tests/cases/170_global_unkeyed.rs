//! Results that change, without a key.

use sabot::prelude::*;

#[derive(Record)]
struct Sale {
    shop: Str,
    amount: i64,
}

pipeline! {
    pub fn p(sales: Source<Sale>);

    sales -> window(global(on_update)) -> aggregate(|s| row { total: sum(s.amount) }) -> sink;
}

fn main() {}

//~ ERROR 14:14 | window | a window cuts a keyed stream, but this stream is not keyed
//~ ALSO add a `key_by(..)` step before it; for one window over all rows, key by a constant column
