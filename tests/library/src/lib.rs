//! A library of a user's: records, operators and pipelines that other crates use by path.
#![forbid(unsafe_code)]

pub mod ops;

use sabot::prelude::*;

/// A trade as it arrives.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Raw {
    /// What was traded.
    pub symbol: Str,
    /// Its price.
    pub price: Option<f64>,
    /// How many.
    pub qty: i64,
    /// When.
    #[event_time]
    pub ts: Timestamp<Micros>,
}

/// A trade that can be reckoned with.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Clean {
    /// What was traded.
    pub symbol: Str,
    /// Its price.
    pub price: f64,
    /// How many.
    pub qty: i64,
    /// When.
    #[event_time]
    pub at: Timestamp<Micros>,
}

/// A name of a symbol.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Listed {
    /// What is traded.
    pub symbol: Str,
    /// Its name.
    pub name: Str,
}

/// A trade and what it is of.
#[derive(Record, Clone, Debug, PartialEq)]
pub struct Named {
    /// The name of what was traded.
    pub name: Str,
    /// What was paid.
    pub value: f64,
}

pipeline! {
    /// Trades with a price, of at least a quantity.
    pub fn clean(raw: Source<Raw>, limit: i64) -> Clean;

    good = raw -> filter(|t| t.qty >= limit && t.price.is_some())
               -> select(|t| row Clean { symbol: t.symbol, price: t.price.unwrap_or(0.0), qty: t.qty, at: t.ts });
    good -> sink;
}

pipeline! {
    /// Clean trades with the names of what was traded: a pipeline that uses another.
    pub fn named(raw: Source<Raw>, listed: Source<Listed, Bounded>, limit: i64) -> Named;

    named = clean(raw, limit) -> key_by(symbol)
            -> join(listed -> key_by(symbol), |t, l| row Named { name: l.name, value: ops::notional(t.price, t.qty) });
    named -> sink;
}
