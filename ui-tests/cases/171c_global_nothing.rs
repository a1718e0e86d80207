//! Results, but not when.

use sabot::prelude::*;

#[derive(Record)]
struct Sale {
    shop: Str,
    amount: i64,
}

pipeline! {
    pub fn p(sales: Source<Sale>);

    sales -> key_by(shop) -> window(global()) -> aggregate(|s| row { total: sum(s.amount) }) -> sink;
}

fn main() {}

//~ ERROR 14:37 | global | `global` says when results are sent: `global(on_update)` sends results whenever they change
