//! Operators.

use sabot::prelude::*;

/// What was paid.
#[operator]
pub fn notional(price: f64, qty: i64) -> f64 {
    price * qty as f64
}

/// At least this much.
#[operator(T = [i64, f64])]
pub fn at_least<T: PartialOrd>(value: T, least: T) -> T {
    if value < least { least } else { value }
}

/// A running total.
#[operator]
pub fn running(total: &mut i64, qty: i64) -> Option<i64> {
    *total += qty;
    Some(*total)
}

/// The price per piece over all trades.
#[derive(State, Clone, Debug, Default)]
pub struct Vwap {
    paid: f64,
    pieces: i64,
}

#[operator]
impl Vwap {
    fn update(&mut self, price: f64, qty: i64) {
        self.paid += price * qty as f64;
        self.pieces += qty;
    }
    fn merge(&mut self, other: Self) {
        self.paid += other.paid;
        self.pieces += other.pieces;
    }
    fn finish(&self) -> f64 {
        self.paid / self.pieces as f64
    }
}
