//! Results of what is never over, when it is over.

use sabot::prelude::*;

#[derive(Record)]
struct Sale {
    shop: Str,
    amount: i64,
}

pipeline! {
    pub fn p(sales: Source<Sale>);

    sales -> key_by(shop) -> window(global(on_close)) -> aggregate(|s| row { total: sum(s.amount) }) -> sink;
}

fn main() {}

//~ ERROR 14:44 | on_close | all rows of a key are never over, so there is no result to send on close; `global(on_update)` sends results whenever they change
