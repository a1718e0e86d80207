//! Spans of time that results cannot be sent after.

use sabot::prelude::*;

#[derive(Record)]
struct Sale {
    shop: Str,
    amount: i64,
    #[event_time]
    at: Timestamp<Micros>,
}

pipeline! {
    pub fn p(sales: Source<Sale>);

    a = sales -> key_by(shop) -> window(tumbling(1.minute()), every = 0.sec()) -> aggregate(|s| row { total: sum(s.amount) });
    a -> sink;
    b = sales -> key_by(shop) -> window(tumbling(1.minute()), lateness = -1.sec()) -> aggregate(|s| row { total: sum(s.amount) });
    b -> sink;
}

fn main() {}

//~ ERROR 16:71 | 0 | results are sent every so often: write a span greater than zero
//~ ERROR 18:75 | 1 | rows cannot be late by a negative span
