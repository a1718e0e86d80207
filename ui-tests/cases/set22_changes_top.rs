//! The first of all rows that are taken back: without a key there is none to send them by.

use sabot::prelude::*;

#[derive(Record)]
struct Sale {
    shop: Str,
    amount: i64,
}

pipeline! {
    pub fn p(sales: Source<Sale, Bounded>);

    totals = sales -> key_by(shop) -> window(global(on_update)) -> aggregate(|s| row { total: sum(s.amount) });
    totals -> top(3, desc(total)) -> sink;
}

fn main() {}

//~ ERROR 15:15 | top | this step needs rows that stay, but the rows of this stream are taken back when results change
//~ ALSO add `key_by(..) -> window(global(on_update))` before it, which sends results as they change, or `changelog()`: the changes as rows that stay, with a column `weight`
