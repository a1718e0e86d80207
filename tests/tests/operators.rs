//! `#[operator]`: functions stay functions, and are found in the registry.
#![forbid(unsafe_code)]
#![deny(warnings)]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "operators/asynchronous.rs"]
mod asynchronous;
#[path = "operators/waiting_errors.rs"]
mod waiting_errors;
#[path = "operators/waiting_everywhere.rs"]
mod waiting_everywhere;

use sabot::operator::{Aggregate, BatchItem, KeyedItem, MapOperator, OperatorEntry, OperatorItem, OperatorKind, Tier, operators};
use sabot::prelude::*;
use sabot::record::{Arena, Make, Value, View, to_batch};

#[derive(Record, Clone)]
struct Trade {
    symbol: Str,
    venue: Dict<Str>,
    price: f64,
    qty: i64,
    note: Option<Str>,
    sizes: List<i64>,
    r#type: i32,
}
fn trade() -> Trade {
    Trade {
        symbol: "ACME".into(),
        venue: "X".into(),
        price: 2.5,
        qty: 4,
        note: Some("block trade".into()),
        sizes: vec![3, 1].into(),
        r#type: 7,
    }
}

/// Traded value
/// in the quote currency.
///
/// ```
/// // not run twice: this is a test crate, and the text is copied to the type `notional`
/// ```
#[operator]
pub fn notional(price: f64, qty: i64) -> f64 {
    price * qty as f64
}

#[operator(total, name = "tests::is_block")]
fn is_block(qty: i64, price: f64) -> bool {
    qty.checked_mul(2).is_some() && price > 1.0
}

#[operator]
fn first_word(note: Option<&str>) -> Option<&str> {
    note?.split_whitespace().next()
}

#[operator(volatile)]
fn greeting(symbol: &str, venue: &str) -> String {
    format!("{symbol}@{venue}")
}

#[derive(Debug)]
struct BadSide;
impl std::fmt::Display for BadSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bad side")
    }
}
#[operator]
fn side(symbol: &str) -> Result<i8, BadSide> {
    if symbol == "ACME" { Ok(1) } else { Err(BadSide) }
}

#[operator]
fn kind(r#type: i32, sizes: ListRef<'_, i64>) -> i64 {
    i64::from(r#type) + sizes.iter().sum::<i64>()
}

#[operator]
fn legs(t: TradeRow<'_>) -> impl Iterator<Item = (i64, f64)> {
    (0..t.qty).map(move |i| (i, t.price))
}

#[operator(T = [i32, f64])]
fn twice<T: Copy + std::ops::Add<Output = T>>(x: T, _fallback: Option<T>) -> T {
    x + x
}

#[derive(State, Default)]
struct Run {
    len: u32,
}

/// Counts.
#[operator]
fn bursts(run: &mut Run, by: u32, ctx: &KeyCtx, name: &str) -> Option<u32> {
    run.len += by + ctx.event_time().unwrap_or(0) as u32 + name.len() as u32;
    Some(run.len)
}
#[operator]
fn longest<'a>(run: &mut Run, a: &'a str, b: &'a str) -> Option<&'a str> {
    run.len += 1;
    Some(if a.len() > b.len() { a } else { b })
}
#[operator]
fn state_itself(run: &mut Run) -> Option<&u32> {
    Some(&run.len)
}

// names of ours, and of the language
#[operator]
fn r#match(row: f64, make: f64, state: i64, ctx: &str, value: f64) -> f64 {
    row + make + state as f64 + ctx.len() as f64 + value
}
#[operator]
fn hygiene(out: &mut Run, state: i64, mut ctx: i64, context: &mut KeyCtx) -> Option<i64> {
    ctx += state + context.event_time().unwrap_or(0);
    out.len += 1;
    Some(ctx)
}
#[operator]
fn constant() -> i64 {
    1
}

/// Volume-weighted average price.
#[derive(State, Default, Clone)]
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
    fn retract(&mut self, price: f64, qty: i64) {
        self.value -= price * qty as f64;
        self.volume -= qty;
    }
    fn merge(&mut self, other: Self) {
        self.value += other.value;
        self.volume += other.volume;
    }
    fn finish(&self) -> Option<f64> {
        (self.volume != 0).then(|| self.value / self.volume as f64)
    }
}

#[derive(State, Default)]
struct Words {
    all: String,
}
#[operator]
impl Words {
    const SEPARATOR: &'static str = " ";
    fn update(&mut self, a: &str, b: Option<&str>) {
        self.all += a;
        self.all += Self::SEPARATOR;
        self.all += b.unwrap_or("-");
    }
    fn merge(&mut self, other: Words) {
        self.all += &other.all;
    }
    fn finish(&self) -> String {
        self.all.clone()
    }
}

#[derive(State, Default)]
struct Seen {
    all: Vec<i64>,
}
#[operator]
impl Seen {
    fn update(&mut self, qty: i64) {
        self.all.push(qty);
    }
    fn merge(&mut self, other: Self) {
        self.all.extend(other.all);
    }
    fn finish(&self) -> Option<Vec<i64>> {
        (!self.all.is_empty()).then(|| self.all.clone())
    }
}

#[operator(batch)]
fn doubled(b: &Batch<Trade>) -> Result<arrow_array::Float64Array, BadSide> {
    if b.rows() == 0 { Err(BadSide) } else { Ok(b.price().iter().map(|p| p.map(|p| p * 2.0)).collect()) }
}

fn entry(name: &str) -> &'static OperatorEntry {
    let all = operators().unwrap();
    let name = if name.contains("::") { name.to_owned() } else { format!("{}::{name}", module_path!()) };
    all.into_iter().find(|o| o.name == name).unwrap_or_else(|| panic!("{name} is not registered"))
}

#[test]
fn functions_are_functions() {
    assert_eq!(notional(2.0, 3), 6.0);
    assert!(is_block(1, 2.0));
    assert_eq!(first_word(Some("a b")), Some("a"));
    assert_eq!((twice(2, None), twice(1.5, None)), (4, 3.0));
    let t = trade();
    assert_eq!(legs(t.borrow()).count(), 4);
    assert_eq!(side("x").unwrap_err().to_string(), "bad side");
}

#[test]
fn entries() {
    let e = entry("notional");
    assert_eq!(
        (e.ident, e.kind, e.total, e.volatile, e.fallible, e.tier),
        ("notional", OperatorKind::Scalar, true, false, false, Tier::Lanes)
    );
    assert!(e.doc.starts_with("Traded value\nin the quote currency.\n\n```"), "{}", e.doc);
    let inputs: Vec<_> = e.inputs.iter().map(|i| (i.name, i.rust_type, i.nullable)).collect();
    assert_eq!(inputs, [("price", "f64", false), ("qty", "i64", false)]);
    assert_eq!((e.output.rust_type, e.output.nullable), ("f64", false));
    let source = include_str!("operators.rs");
    let line = |text: &str| 1 + source[..source.find(text).unwrap()].matches('\n').count() as u32;
    assert!(e.file.ends_with("operators.rs"));
    assert_eq!((e.line, e.end_line), (line("pub fn notional"), line("pub fn notional") + 2));
    assert_eq!(<notional as OperatorItem>::ENTRY.hash, e.hash);
    assert_ne!(e.hash, entry("first_word").hash);

    let e = entry("tests::is_block");
    assert_eq!((e.kind, e.total, e.tier), (OperatorKind::Predicate, true, Tier::Lanes));
    let e = entry("first_word");
    assert_eq!((e.total, e.tier, e.output.nullable, e.inputs.first().unwrap().rust_type), (false, Tier::Rows, true, "Option<&str>"));
    assert!(entry("greeting").volatile);
    let e = entry("side");
    assert_eq!((e.fallible, e.output.rust_type), (true, "Result<i8, BadSide>"));
    assert_eq!(entry("kind").inputs.first().unwrap().name, "type");
    assert_eq!((entry("legs").kind, entry("legs").output.rust_type), (OperatorKind::FlatMap, "impl Iterator<Item = (i64, f64)>"));
    let e = entry("twice<i32>");
    assert_eq!((e.inputs.last().unwrap().rust_type, e.output.rust_type), ("Option<i32>", "i32"));
    assert_eq!(entry("twice<f64>").output.rust_type, "f64");
    let e = entry("bursts");
    assert_eq!((e.kind, e.tier, e.doc), (OperatorKind::Keyed, Tier::Batches, "Counts."));
    assert_eq!(e.inputs.iter().map(|i| i.name).collect::<Vec<_>>(), ["by", "name"]);
    let e = entry("Vwap");
    assert_eq!((e.kind, e.inputs.len(), e.output.rust_type), (OperatorKind::Aggregate, 2, "Option<f64>"));
    assert_eq!(entry("doubled").kind, OperatorKind::Batch);
    let of_a_module =
        |name: &str| ["::asynchronous::", "::waiting_errors::", "::waiting_everywhere::"].iter().any(|module| name.contains(module));
    let own = operators().unwrap().into_iter().filter(|o| !of_a_module(o.name));
    assert_eq!(own.count(), 20);
}

fn map<O: MapOperator<Trade, W, V>, W, V: sabot::record::Value>() -> Option<V> {
    let (t, arena) = (trade(), Arena::default());
    let make = Make::new(!0, &arena, None);
    let mut bad = false;
    let value = O::call(&View::new(<Trade as sabot::record::Value>::borrow(&t)), make).take(&mut bad);
    (!bad).then(|| V::own(value))
}

#[test]
fn bound_by_name() {
    assert_eq!(map::<notional, _, _>(), Some(10.0));
    assert_eq!(map::<is_block, _, _>(), Some(true));
    assert_eq!(map::<first_word, _, _>(), Some(Some("block".into())));
    assert_eq!(map::<greeting, _, _>(), Some("ACME@X".into()));
    assert_eq!(map::<side, _, _>().map(sabot::record::MayFail::into_inner), Some(1));
    assert_eq!(map::<kind, _, _>(), Some(11));
}

#[test]
fn keyed() {
    fn state<K: KeyedItem>() -> K::State {
        K::State::default()
    }
    let mut run = state::<bursts>();
    assert_eq!(bursts::__keyed(&mut run, &mut KeyCtx::new(Some(5)), 2, "abc"), Some(10));
    let (a, b) = (String::from("aa"), String::from("b"));
    let longer = longest::__keyed(&mut run, &mut KeyCtx::new(None), &a, &b);
    assert_eq!(longer, Some("aa"));
    assert_eq!(state_itself::__keyed(&mut run, &mut KeyCtx::new(None)), Some(&11));
}

#[test]
fn items_within_a_function() {
    #[derive(Record)]
    struct Local {
        x: f64,
    }
    #[operator]
    fn local(x: f64) -> f64 {
        x
    }
    fn bound<O: MapOperator<Local, W, V>, W, V: sabot::record::Value>() -> &'static str {
        O::ENTRY.ident
    }
    assert_eq!((bound::<local, _, _>(), bound::<constant, _, _>()), ("local", "constant"));
    assert_eq!(local(Local { x: 1.0 }.x) + r#match(1.0, 1.0, 1, "a", 1.0), 6.0);
    assert_eq!(hygiene::__keyed(&mut Run::default(), &mut KeyCtx::new(Some(1)), 2, 3), Some(6));
    assert_eq!(entry("match").ident, "match");
}

#[test]
fn aggregates() {
    let (mut a, mut b) = (Vwap::default(), Vwap::default());
    Aggregate::update(&mut a, Vwap::__inputs(2.0, 3));
    Aggregate::update(&mut b, Vwap::__inputs(4.0, 1));
    Aggregate::merge(&mut a, b);
    assert_eq!(Aggregate::finish(&a), Some(2.5));
    Aggregate::retract(&mut a, Vwap::__inputs(4.0, 1));
    assert_eq!(Aggregate::finish(&a), Some(2.0));
    const { assert!(Vwap::RETRACTS && !Words::RETRACTS) };

    let mut w = Words::default();
    Aggregate::update(&mut w, Words::__inputs("a", None));
    let out: Str = Aggregate::finish(&w);
    assert_eq!(out, "a -");

    let mut seen = Seen::default();
    Aggregate::update(&mut seen, Seen::__inputs(3));
    let out: Option<List<i64>> = Aggregate::finish(&seen);
    assert_eq!(out, Some(vec![3].into()));
}

#[test]
fn batches() {
    let call = |rows: &[Trade]| doubled::call(&Batch::new(to_batch(rows)));
    assert_eq!(call(&[trade()]).unwrap().values(), &[5.0]);
    assert_eq!(call(&[]).unwrap_err(), "bad side");
}
