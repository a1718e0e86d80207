//! Changes with an argument.

use sabot::prelude::*;

#[derive(Record)]
struct Sale {
    shop: Str,
    amount: i64,
}

pipeline! {
    pub fn p(sales: Source<Sale>);

    totals = sales -> key_by(shop) -> window(global(on_update)) -> aggregate(|s| row { total: sum(s.amount) });
    totals -> changelog(weight) -> sink;
}

fn main() {}

//~ ERROR 15:25 | weight | `changelog` takes nothing: it adds the column `weight`, 1 or -1
