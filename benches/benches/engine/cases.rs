//! The cases as pipelines; `benches/engine/cases.py` has the same for the other engines.

use arrow_array::RecordBatch;
use sabot::prelude::*;
use sabot::stream::Job;

use super::load::Place;

// --- rows: of each table the columns that a case needs ---------------------------------------------------------------

#[derive(Record)]
struct Sold {
    id: i64,
    price: f64,
    qty: i64,
}
#[derive(Record)]
struct Taxed {
    k_low: i64,
    k_mid: i64,
    price: f64,
    qty: i64,
}
#[derive(Record)]
struct Checked {
    id: i64,
    k_low: i64,
    k_high: i64,
    price: f64,
    qty: i64,
}
#[derive(Record)]
struct ByLow {
    k_low: i64,
    price: f64,
    qty: i64,
}
#[derive(Record)]
struct ByHigh {
    k_high: i64,
    price: f64,
    qty: i64,
}
#[derive(Record)]
struct ByCity {
    s_low: Str,
    price: f64,
    qty: i64,
}
#[derive(Record)]
struct ByCustomer {
    s_high: Str,
    price: f64,
    qty: i64,
}
#[derive(Record)]
struct WithMid {
    id: i64,
    k_mid: i64,
    price: f64,
}
#[derive(Record)]
struct WithHigh {
    id: i64,
    k_high: i64,
    price: f64,
}
#[derive(Record)]
struct Priced {
    id: i64,
    price: f64,
}
#[derive(Record)]
struct HighOf {
    id: i64,
    k_high: i64,
}
#[derive(Record)]
struct Customer {
    s_high: Str,
    id: i64,
}
#[derive(Record)]
struct LowPriced {
    k_low: i64,
    price: f64,
    id: i64,
}
#[derive(Record)]
struct Transaction {
    s_low: Str,
    k_mid: i64,
    price: f64,
    qty: i64,
}
#[derive(Record)]
struct HighOnly {
    k_high: i64,
}
#[derive(Record)]
struct CustomerOnly {
    s_high: Str,
}
#[derive(Record)]
struct Small {
    k_mid: i64,
    rate: f64,
}
#[derive(Record)]
struct High {
    k_high: i64,
    score: i64,
}
#[derive(Record)]
struct One {
    id: i64,
    v: i64,
}
#[derive(Record)]
struct Book {
    id: i64,
    bid: f64,
    ask: f64,
}

#[derive(Record)]
struct Trade {
    #[event_time]
    ts: Timestamp<Micros>,
    symbol: Str,
    price: f64,
}
#[derive(Record)]
struct Quote {
    #[event_time]
    ts: Timestamp<Micros>,
    symbol: Str,
    bid: f64,
}

// --- user functions: those that cannot panic say so ------------------------------------------------------------------

/// Whether a sale counts.
#[operator(total)]
fn worthwhile(price: f64, qty: i64, k_low: i64) -> bool {
    price * qty as f64 > 500.0 && k_low != 13
}
/// The fee, by tiers of the amount.
#[operator(total)]
fn fee(price: f64, qty: i64) -> f64 {
    let amount = price * qty as f64;
    if amount > 50_000.0 {
        amount * 0.001 + 20.0
    } else if amount > 5_000.0 {
        amount * 0.002
    } else {
        5.0
    }
}
/// What is left after fee and tax.
#[operator(total)]
fn net(price: f64, qty: i64, fee: f64, class: i64) -> f64 {
    let amount = price * qty as f64;
    let tax = match class % 3 {
        0 => amount * 0.19,
        1 => amount * 0.07,
        _ => 0.0,
    };
    amount - fee - tax
}
/// The check digit of the last eight digits, after Luhn.
#[operator]
fn check_digit(number: i64) -> i64 {
    let (mut rest, mut sum) = (number, 0);
    for at in 0..8 {
        let digit = rest % 10;
        rest /= 10;
        sum += match at % 2 {
            0 if digit > 4 => digit * 2 - 9,
            0 => digit * 2,
            _ => digit,
        };
    }
    (sum * 9) % 10
}
/// What is left of a loan after twelve payments.
#[operator(total)]
fn balance(price: f64, qty: i64) -> f64 {
    let mut left = price * 100.0;
    for _ in 0..12 {
        left = (left * 1.004 - qty as f64 * 50.0).max(0.0);
    }
    left
}
/// Whether somebody should look at a payment.
#[operator(total)]
fn suspicious(amount: f64, k_mid: i64) -> bool {
    amount > 90_000.0 || (k_mid % 97 == 0 && amount > 10_000.0)
}

// --- pipelines -------------------------------------------------------------------------------------------------------

pipeline! {
    /// Half of the rows.
    pub fn filter(t: Source<Sold, Bounded>);
    out = t -> filter(|t| t.price < 500.0);
    out -> sink;
}
pipeline! {
    /// One computed column.
    pub fn map(t: Source<Sold, Bounded>);
    out = t -> select(|t| row { id: t.id, total: t.price * t.qty as f64 * 1.1 });
    out -> sink;
}
pipeline! {
    /// A predicate, two computed columns, an aggregate.
    pub fn functions(t: Source<Taxed, Bounded>);
    some = t    -> filter(|t| worthwhile(t.price, t.qty, t.k_low))
                -> with(|t| row { fee: fee(t.price, t.qty) })
                -> with(|t| row { net: net(t.price, t.qty, t.fee, t.k_mid) });
    out  = some -> key_by(k_low) -> aggregate(|t| row { n: count(), fees: sum(t.fee), net: sum(t.net) });
    out -> sink;
}
pipeline! {
    /// The same with functions that loop.
    pub fn loops(t: Source<Checked, Bounded>);
    some = t    -> filter(|t| check_digit(t.id) < 5)
                -> with(|t| row { balance: balance(t.price, t.qty), digit: check_digit(t.k_high) });
    out  = some -> key_by(k_low) -> aggregate(|t| row { n: count(), balance: sum(t.balance), digits: sum(t.digit) });
    out -> sink;
}
pipeline! {
    /// 100 groups.
    pub fn group_k_low(t: Source<ByLow, Bounded>);
    out = t -> key_by(k_low) -> aggregate(|t| row { n: count(), q: sum(t.qty), p: mean(t.price) });
    out -> sink;
}
pipeline! {
    /// 100 groups.
    pub fn group_s_low(t: Source<ByCity, Bounded>);
    out = t -> key_by(s_low) -> aggregate(|t| row { n: count(), q: sum(t.qty), p: mean(t.price) });
    out -> sink;
}
pipeline! {
    /// A million groups.
    pub fn group_k_high(t: Source<ByHigh, Bounded>);
    out = t -> key_by(k_high) -> aggregate(|t| row { n: count(), q: sum(t.qty), p: mean(t.price) });
    out -> sink;
}
pipeline! {
    /// A million groups.
    pub fn group_s_high(t: Source<ByCustomer, Bounded>);
    out = t -> key_by(s_high) -> aggregate(|t| row { n: count(), q: sum(t.qty), p: mean(t.price) });
    out -> sink;
}
pipeline! {
    /// A small build side.
    pub fn join_small(t: Source<WithMid, Bounded>, small: Source<Small, Bounded>);
    out = t -> key_by(k_mid) -> join(small -> key_by(k_mid), |t, s| row { id: t.id, price: t.price, rate: s.rate });
    out -> sink;
}
pipeline! {
    /// A build side of a million rows.
    pub fn join_high(t: Source<WithHigh, Bounded>, high: Source<High, Bounded>);
    out = t -> key_by(k_high) -> join(high -> key_by(k_high), |t, h| row { id: t.id, price: t.price, score: h.score });
    out -> sink;
}
pipeline! {
    /// As many rows on both sides.
    pub fn join_one(t: Source<Priced, Bounded>, one: Source<One, Bounded>);
    out = t -> key_by(id) -> join(one -> key_by(id), |t, o| row { id: t.id, price: t.price, v: o.v });
    out -> sink;
}
pipeline! {
    /// Ten matches for each row.
    pub fn join_many(high: Source<High, Bounded>, t: Source<HighOf, Bounded>);
    out = high -> key_by(k_high) -> join(t -> key_by(k_high), |h, t| row { k_high: h.k_high, score: h.score, id: t.id });
    out -> sink;
}
pipeline! {
    /// One integer.
    pub fn sort_int(t: Source<Priced, Bounded>);
    out = t -> sort(id);
    out -> sink;
}
pipeline! {
    /// One string.
    pub fn sort_string(t: Source<Customer, Bounded>);
    out = t -> sort(s_high);
    out -> sink;
}
pipeline! {
    /// Two columns.
    pub fn sort_two(t: Source<LowPriced, Bounded>);
    out = t -> sort(k_low, desc(price));
    out -> sink;
}
pipeline! {
    /// A million integers.
    pub fn distinct_int(t: Source<HighOnly, Bounded>);
    out = t -> distinct();
    out -> sink;
}
pipeline! {
    /// A million strings.
    pub fn distinct_string(t: Source<CustomerOnly, Bounded>);
    out = t -> distinct();
    out -> sink;
}
pipeline! {
    /// Payments of a day.
    pub fn transactions(t: Source<Transaction, Bounded>);
    some = t    -> with(|t| row { amount: t.price * t.qty as f64 })
                -> filter(|t| t.amount > 100.0)
                -> with(|t| row { fee: fee(t.price, t.qty), odd: i64::from(suspicious(t.amount, t.k_mid)) });
    out  = some -> key_by(s_low)
                -> aggregate(|t| row { n: count(), amount: sum(t.amount), fees: sum(t.fee), suspicious: sum(t.odd) });
    out -> sink;
}
pipeline! {
    /// Quotes to securities.
    pub fn enrich(t: Source<Priced, Bounded>, book: Source<Book, Bounded>);
    out = t -> key_by(id)
            -> join(book -> key_by(id), |t, b| row { id: t.id, price: t.price, bid: b.bid, ask: b.ask, spread: b.ask - b.bid })
            -> filter(|r| r.spread < 0.5);
    out -> sink;
}

pipeline! {
    /// The last quote before each trade.
    pub fn asof(trades: Source<Trade, Bounded>, quotes: Source<Quote, Bounded>);
    out = trades -> key_by(symbol)
                 -> asof_join(quotes -> key_by(symbol), |t, q| row { ts: t.ts, symbol: t.symbol, price: t.price, bid: q?.bid })
                 -> filter(|r| r.bid.is_some());
    out -> sink;
}

/// Runs a case once.
pub type Run = Box<dyn Fn() -> Result<Vec<RecordBatch>>>;

fn run(threads: usize, job: impl Fn() -> Job + 'static) -> Run {
    Box::new(move || job().parallel(threads).collect_batches())
}

macro_rules! cases {
    ($($name:ident($($table:ident: $row:ty),*)),* $(,)?) => {
        /// The names of all cases.
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];

        /// Loads what a case needs.
        pub fn open(name: &str, place: &Place, threads: usize) -> Result<Run> {
            match name {
                $(stringify!($name) => {
                    $(let $table: Source<$row, Bounded> = place.source(stringify!($table))?;)*
                    Ok(run(threads, move || $name($($table.clone()),*)))
                })*
                _ => Err(Error::usage(format!("there is no case `{name}`"))),
            }
        }
    };
}

cases! {
    filter(t: Sold),
    map(t: Sold),
    functions(t: Taxed),
    loops(t: Checked),
    group_k_low(t: ByLow),
    group_s_low(t: ByCity),
    group_k_high(t: ByHigh),
    group_s_high(t: ByCustomer),
    join_small(t: WithMid, small: Small),
    join_high(t: WithHigh, high: High),
    join_one(t: Priced, one: One),
    join_many(high: High, t: HighOf),
    sort_int(t: Priced),
    sort_string(t: Customer),
    sort_two(t: LowPriced),
    distinct_int(t: HighOnly),
    distinct_string(t: CustomerOnly),
    transactions(t: Transaction),
    enrich(t: Priced, book: Book),
    asof(trades: Trade, quotes: Quote),
}
