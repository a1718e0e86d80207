//! An aggregate without `merge`.

use sabot::prelude::*;

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
    fn finish(&self) -> Option<f64> {
        (self.volume != 0).then(|| self.value / self.volume as f64)
    }
}

fn main() {}

//~ ERROR 12:6 | Vwap | aggregate `Vwap` needs `fn merge(&mut self, other: Self)`: partial results from different threads are combined with it
