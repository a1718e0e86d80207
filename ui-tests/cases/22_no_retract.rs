//! An aggregate of one's own that cannot go back, over rows that are taken back.

use sabot::prelude::*;

#[derive(Record)]
struct Sale {
    shop: Str,
    amount: i64,
    #[event_time]
    at: Timestamp<Micros>,
}

#[derive(State, Default)]
struct Squares {
    sum: i64,
}

#[operator]
impl Squares {
    fn update(&mut self, x: i64) {
        self.sum += x * x;
    }
    fn merge(&mut self, other: Self) {
        self.sum += other.sum;
    }
    fn finish(&self) -> i64 {
        self.sum
    }
}

pipeline! {
    pub fn p(sales: Source<Sale>);

    totals = sales -> key_by(shop) -> window(global(on_update)) -> aggregate(|s| row { total: sum(s.amount) });
    totals -> key_by(total) -> window(global(on_update)) -> aggregate(|t| row { sum: Squares(t.total) }) -> sink;
}

fn main() {}

//~ ERROR 35:86 | Squares | `Squares` cannot be used where rows are taken back: it has no `retract`
//~ ALSO add `fn retract(&mut self, ..)` to its `#[operator] impl` block, with the parameters of `update`: it undoes what `update` did with the row
