//! One pipeline inside another, and functions over streams, also generic ones.

use sabot::prelude::*;
use sabot::record::Record as Columns;
use sabot::stream::{Bound, Records, Stream, desc};

/// A trade as it arrives.
#[derive(Record, Clone, Debug)]
pub(crate) struct Raw {
    symbol: Str,
    price: Option<f64>,
    qty: i64,
}

/// A trade with a price.
#[derive(Record, Clone, Debug, PartialEq)]
pub(crate) struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

/// An offer.
#[derive(Record, Clone, Debug, PartialEq)]
struct Offer {
    symbol: Str,
    qty: i64,
}

pipeline! {
    /// Trades with a price: runs alone, and inside other pipelines.
    pub fn clean(raw: Source<Raw>, least: i64) -> Trade;

    good = raw -> filter(|r| r.qty >= least && r.price.is_some())
               -> select(|r| row Trade { symbol: r.symbol, price: r.price.unwrap_or(0.0), qty: r.qty });
    good -> sink;
}

/// Rows with a quantity. Closures see rows as `TradeRow` and `OfferRow`, which borrow from the columns.
trait HasQty {
    fn qty(&self) -> i64;
}
impl HasQty for TradeRow<'_> {
    fn qty(&self) -> i64 {
        self.qty
    }
}
impl HasQty for OfferRow<'_> {
    fn qty(&self) -> i64 {
        self.qty
    }
}

/// Rows of at least a quantity, of any record that has one; keys, event time and whether they end stay as they are.
fn at_least<'g, R, K, B: Bound, T>(rows: Stream<'g, R, K, B, T>, least: i64) -> Stream<'g, R, K, B, T>
where
    R: Columns,
    for<'a> R::Row<'a>: HasQty,
{
    rows.filter(move |r| r.qty() >= least).stream()
}

/// The largest trades. `Records` is what a source gives: without a key, with the event time of its record.
fn largest(trades: Records<'_, Trade, Bounded>, n: u64) -> Records<'_, Trade, Bounded> {
    trades.sort(|t| [desc(t.qty)]).limit(n)
}

pipeline! {
    /// The two largest trades, and large offers.
    pub fn report(raw: Source<Raw, Bounded>, offers: Source<Offer>, least: i64);

    trades  = clean(raw, 1) -> filter(|t| t.price < 100.0);
    largest = largest(at_least(trades, least), 2);
    offered = offers -> apply(|o| at_least(o, least));
    largest -> sink;
    offered -> sink;
}

fn main() -> Result<()> {
    let raw = |symbol: &str, price, qty| Raw { symbol: symbol.into(), price, qty };
    let raws = vec![raw("ACME", Some(10.0), 50), raw("BOLT", None, 70), raw("COGS", Some(12.5), 90), raw("ACME", Some(11.0), 60)];
    let offers = vec![Offer { symbol: "ACME".into(), qty: 5 }, Offer { symbol: "BOLT".into(), qty: 500 }];

    let alone: Vec<Trade> = clean(raws.clone(), 60).collect()?;
    println!("alone: {alone:?}");
    assert_eq!(alone.len(), 2);

    let job = report(raws, offers, 55).sink("offered", to("/tmp/sabot-offered.csv"));
    println!("{}", job.explain()?);
    let largest: Vec<Trade> = job.collect()?;
    println!("largest: {largest:?}");
    assert_eq!(largest.iter().map(|t| t.qty).collect::<Vec<_>>(), [90, 60]);
    Ok(())
}
