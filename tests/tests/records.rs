//! `#[derive(Record)]`: rows to batches and back.
#![forbid(unsafe_code)]
#![deny(missing_docs, warnings)]

use sabot::prelude::*;

/// A trade.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Trade {
    /// Its symbol.
    pub symbol: Str,
    /// Where.
    pub venue: Dict<Str>,
    /// How much.
    pub price: f64,
    /// How many.
    pub qty: i64,
    /// Remark.
    pub note: Option<Str>,
    /// When.
    #[event_time]
    pub ts: Timestamp<Micros>,
}

#[derive(Record)]
struct Plain {
    a: f64,
}

#[test]
fn one() {
    let rows = [Trade { symbol: "A".into(), venue: "X".into(), price: 1.0, qty: 2, note: None, ts: Timestamp::new(5) }];
    let batch = sabot::record::to_batch(&rows);
    let back: Vec<Trade> = sabot::record::from_batch(&batch, "test").unwrap_or_default();
    assert_eq!(rows.to_vec(), back);
    let _ = Plain { a: 1.0 };
}
