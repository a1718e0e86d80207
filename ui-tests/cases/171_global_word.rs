//! A word that does not say when results are sent.

use sabot::prelude::*;

#[derive(Record)]
struct Sale {
    shop: Str,
    amount: i64,
}

pipeline! {
    pub fn p(sales: Source<Sale>);

    sales -> key_by(shop) -> window(global(on_updates)) -> aggregate(|s| row { total: sum(s.amount) }) -> sink;
}

fn main() {}

//~ ERROR 14:44 | on_updates | results are not sent `on_updates`; did you mean `on_update`?
