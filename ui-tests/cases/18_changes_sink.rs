//! A sink that only adds rows behind results that change.

use sabot::prelude::*;

#[derive(Record)]
struct Sale {
    shop: Str,
    amount: i64,
}

pipeline! {
    pub fn p(sales: Source<Sale>);

    totals = sales -> key_by(shop) -> window(global(on_update)) -> aggregate(|s| row { total: sum(s.amount) });
    totals -> sink(to("totals.parquet"));
}

fn main() {}

//~ ERROR 15:20 | to | this sink cannot apply updates and retractions, but the stream produces them
//~ ALSO `to(..).folded()` keeps the final rows: a table or topic as they change, a file when the job ends; `changelog()` before the sink stores the changes as rows, with a column `weight`; a sink of your own implements `Sink::changes` and is made by `Sink::upserting(..)`
