//! Steps in the order of rows that are taken back.

use sabot::prelude::*;

#[derive(Record)]
struct Sale {
    shop: Str,
    amount: i64,
}

#[operator]
fn seen(last: &mut Option<i64>, total: i64) -> Option<i64> {
    last.replace(total)
}

pipeline! {
    pub fn p(sales: Source<Sale, Bounded>);

    totals = sales -> key_by(shop) -> window(global(on_update)) -> aggregate(|s| row { total: sum(s.amount) });
    totals -> sort(total) -> sink;
    totals -> limit(3) -> sink;
    totals -> key_by(shop) -> keyed(|t| row { seen: seen(t.total) }) -> sink;
}

fn main() {}

//~ ERROR 20:15 | sort | this step needs rows that stay, but the rows of this stream are taken back when results change
//~ ALSO put this step before the one that makes the changes, or add `changelog()` before it: the changes as rows that stay, with a column `weight`
//~ ERROR 21:15 | limit | this step needs rows that stay, but the rows of this stream are taken back when results change
//~ ERROR 22:31 | keyed | this step needs rows that stay, but the rows of this stream are taken back when results change
