//! Operators of several kinds: a scalar (haversine), text in and text out, a parser that may fail, an aggregate (VWAP)
//! and a function with state per key (an exponential moving average).
//!
//! Each stays the plain function that it is: `main` calls them directly as well.

use sabot::prelude::*;

/// Distance over the globe in kilometres.
#[operator]
fn haversine(lat1: f64, lon1: f64, lat2: f64, lon2: f64) -> f64 {
    let (dlat, dlon) = ((lat2 - lat1).to_radians(), (lon2 - lon1).to_radians());
    let a = (dlat / 2.0).sin().powi(2) + lat1.to_radians().cos() * lat2.to_radians().cos() * (dlon / 2.0).sin().powi(2);
    2.0 * 6371.0 * a.sqrt().asin()
}

/// The part of a symbol before the dot: a slice of its input, no copy.
#[operator]
fn ticker(symbol: &str) -> &str {
    symbol.split('.').next().unwrap_or(symbol)
}

/// `B` buys, `S` sells; anything else ends the job with the row's position.
#[operator]
fn side(text: &str) -> Result<i64, String> {
    match text {
        "B" => Ok(1),
        "S" => Ok(-1),
        other => Err(format!("`{other}` is neither B nor S")),
    }
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

/// State of [`ema`].
#[derive(State, Default)]
struct Average {
    value: Option<f64>,
}

/// Exponential moving average; the first price starts it.
#[operator]
fn ema(state: &mut Average, price: f64) -> Option<f64> {
    let next = state.value.map_or(price, |v| 0.5 * price + 0.5 * v);
    state.value = Some(next);
    Some(next)
}

/// A trade.
#[derive(Record, Clone, Debug)]
pub(crate) struct Trade {
    symbol: Str,
    side: Str,
    price: f64,
    qty: i64,
}

/// Per ticker.
#[derive(Record, Clone, Debug, PartialEq)]
struct Summary {
    ticker: Str,
    vwap: Option<f64>,
    position: i64,
}

/// Per trade.
#[derive(Record, Clone, Debug, PartialEq)]
struct Smoothed {
    ticker: Str,
    price: f64,
    ema: f64,
}

pipeline! {
    /// Average price and position per ticker.
    pub fn positions(trades: Source<Trade, Bounded>);

    signed = trades -> with(|t| row { ticker: ticker(t.symbol), signed: side(t.side) })
                    -> with(|t| row { signed: t.signed * t.qty })
                    -> on_error(fail);
    totals = signed -> key_by(ticker)
                    -> aggregate(|t| row { vwap: Vwap(t.price, t.qty), position: sum(t.signed) })
                    -> sort(ticker);
    totals -> sink;
}

pipeline! {
    /// Prices with their moving average, per ticker in source order.
    pub fn smooth(trades: Source<Trade>);

    smoothed = trades -> select(|t| row { ticker: ticker(t.symbol), price: t.price })
                      -> key_by(ticker)
                      -> keyed(|t| row { ema: ema(t.price) });
    smoothed -> sink;
}

fn trade(symbol: &str, side: &str, price: f64, qty: i64) -> Trade {
    Trade { symbol: symbol.into(), side: side.into(), price, qty }
}

fn main() -> Result<()> {
    if std::env::args().len() > 1 {
        return sabot::main();
    }
    assert!((haversine(40.64, -73.78, 33.94, -118.41) - 3975.0).abs() < 10.0);
    assert_eq!(ticker("ACME.N"), "ACME");

    let trades = vec![trade("ACME.N", "B", 10.0, 100), trade("BOLT.N", "B", 5.0, 10), trade("ACME.L", "S", 12.0, 100)];
    let rows: Vec<Summary> = positions(trades.clone()).collect()?;
    println!("{rows:?}");
    let expected = [("ACME", 11.0, 0), ("BOLT", 5.0, 10)];
    let expected = expected.map(|(t, vwap, position)| Summary { ticker: t.into(), vwap: Some(vwap), position });
    assert_eq!(rows, expected);

    let mut rows: Vec<Smoothed> = smooth(trades.clone()).collect()?;
    rows.sort_by(|a, b| (&a.ticker, a.price).partial_cmp(&(&b.ticker, b.price)).unwrap_or(std::cmp::Ordering::Equal));
    println!("{rows:?}");
    assert_eq!(rows.iter().map(|r| r.ema).collect::<Vec<_>>(), [10.0, 11.0, 5.0]);

    let bad = positions(vec![trade("ACME.N", "B", 10.0, 100), trade("BOLT.N", "X", 1.0, 1)]).collect::<Summary>();
    let message = bad.map_err(|e| e.to_string());
    println!("{message:?}");
    assert!(message.is_err_and(|m| m.contains("neither B nor S") && m.contains("row 1")));
    Ok(())
}
