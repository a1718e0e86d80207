//! An argument of the wrong type for an aggregate of the user's.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

/// Volume-weighted average price.
#[derive(State, Default)]
struct Vwap {
    value: f64,
    volume: i64,
}

#[operator]
impl Vwap {
    fn update(&mut self, price: f64, qty: i64) {
        self.value += price * qty as f64;
        self.volume += qty;
    }
    fn merge(&mut self, other: Self) {
        self.value += other.value;
        self.volume += other.volume;
    }
    fn finish(&self) -> Option<f64> {
        (self.volume != 0).then(|| self.value / self.volume as f64)
    }
}

pipeline! {
    pub fn p(trades: Source<Trade, Bounded>);

    trades -> key_by(symbol) -> aggregate(|t| row { vwap: Vwap(t.qty, t.qty) }) -> sink;
}

fn main() {}

//~ ERROR 37:64 | t.qty | mismatched types
//~ ALSO expected `f64`, found `i64`
