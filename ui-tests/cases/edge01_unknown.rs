//! A column that does not exist.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    shard: i32,
    region: Option<i64>,
    #[event_time]
    ts: Timestamp<Micros>,
}

pipeline! {
    pub fn p(trades: Source<Trade>);

    trades -> partition_by(shart) -> sink;
}

fn main() {}

//~ ERROR 18:28 | shart | no field `shart` on type
//~ ALSO a field with a similar name exists
