//! One pipeline inside another, items of another crate by path, and functions over streams.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use sabot::plan::Op;
use sabot::prelude::*;
use sabot::record::HasTime;
use sabot::stream::{Job, Stream, Unkeyed};
use sabot::testing::splits;
use sabot_tests::{Order, everywhere};
use trading::{Clean, Listed, Named, Raw};

fn raws() -> Vec<Raw> {
    let symbol = |i: i64| Str::from(["ACME", "BOLT", "COGS"][i as usize % 3]);
    let price = |i: i64| (i % 7 != 0).then_some(10.0 + i as f64);
    (0..90).map(|i| Raw { symbol: symbol(i), price: price(i), qty: i % 11, ts: Timestamp::new(i * 1_000_000) }).collect()
}
fn cleaned(limit: i64) -> Vec<Clean> {
    let all = raws().into_iter().filter(|r| r.qty >= limit);
    all.filter_map(|r| r.price.map(|price| Clean { symbol: r.symbol, price, qty: r.qty, at: r.ts })).collect()
}
fn listed() -> Vec<Listed> {
    [("ACME", "Acme Corp"), ("COGS", "Cogs Ltd")].map(|(s, n)| Listed { symbol: s.into(), name: n.into() }).into()
}

#[test]
fn it_runs_alone() {
    everywhere(|| trading::clean(splits(&raws(), 7), 3), "good", &cleaned(3), Order::Same, 0.0);
    let rows: Vec<Clean> = trading::clean(raws(), 3).collect().unwrap();
    assert_eq!(rows, cleaned(3));
}

/// A result of the outer pipelines.
#[derive(Record, Clone, Debug, PartialEq)]
struct Total {
    symbol: Str,
    window_start: Timestamp<Micros>,
    window_end: Timestamp<Micros>,
    qty: i64,
    vwap: f64,
    most: i64,
}

pipeline! {
    /// The inner rows have the event time of their record, and end as the given stream does.
    pub fn totals(raw: Source<Raw>, limit: i64);

    cleaned = trading::clean(raw, limit + 1) -> filter(|t| t.qty != 5);
    totals = cleaned -> with(|t| row { more: trading::ops::at_least(t.qty, 7) }) -> key_by(symbol) -> window(tumbling(30.sec()))
        -> aggregate(|t| row { qty: sum(t.qty), vwap: trading::ops::Vwap(t.price, t.qty), most: max(t.more) });
    totals -> sink;
}

#[test]
fn inside_another() {
    let mut expected: Vec<Total> = Vec::new();
    for t in cleaned(4).into_iter().filter(|t| t.qty != 5) {
        let start = t.at.value() / 30_000_000 * 30_000_000;
        let (paid, more) = (t.price * t.qty as f64, t.qty.max(7));
        match expected.iter_mut().find(|e| e.symbol == t.symbol && e.window_start.value() == start) {
            Some(e) => {
                e.vwap += paid;
                e.qty += t.qty;
                e.most = e.most.max(more);
            }
            None => {
                let [window_start, window_end] = [start, start + 30_000_000].map(Timestamp::new);
                expected.push(Total { symbol: t.symbol, window_start, window_end, qty: t.qty, vwap: paid, most: more });
            }
        }
    }
    expected.iter_mut().for_each(|e| e.vwap /= e.qty as f64);
    everywhere(|| totals(splits(&raws(), 7), 3), "totals", &expected, Order::Any, 1e-9);
}

pipeline! {
    /// Twice the same pipeline, one with another inside, and a chain as what is given.
    pub fn twice(raw: Source<Raw, Bounded>, listed: Source<Listed, Bounded>);

    few = trading::clean(raw -> filter(|r| r.qty > 1), 9);
    all = trading::named(raw, listed, 9) -> sort(value);
    few -> sink;
    all -> sink;
    trading::clean(raw, 2) -> union(trading::clean(raw, 3)) -> sink;
}

pipeline! {
    /// A source is given beside a stream, and what is given is a call.
    pub fn beside(raw: Source<Raw>);
    mixed = trading::named(large(raw, 0), listed(), 9);
    mixed -> sink;
}

#[test]
fn several_uses() {
    let job = || twice(splits(&raws(), 7), listed());
    let both = [cleaned(2), cleaned(3)].concat();
    let alone = |job: Job, keep: &str| {
        let mut job = job;
        for other in ["few", "all", "clean"] {
            if other != keep {
                job = job.sink(other, sabot::connect::SinkSpec::Blackhole);
            }
        }
        job
    };
    everywhere(|| alone(job(), "few"), "few", &cleaned(9), Order::Same, 0.0);
    everywhere(|| alone(job(), "clean"), "clean", &both, Order::Any, 0.0);
    // a source beside a stream
    let mixed: Vec<Named> = beside(raws()).collect().unwrap();
    let named: Vec<Named> = trading::named(raws(), listed(), 9).collect().unwrap();
    assert_eq!(format!("{mixed:?}"), format!("{named:?}"));
    let mut sorted = named.clone();
    sorted.sort_by(|a, b| a.value.total_cmp(&b.value));
    assert!(named.len() > 5);
    everywhere(|| alone(job(), "all"), "all", &sorted, Order::Same, 0.0);
    let plan = job().plan().unwrap();
    let mut ids: Vec<&str> = plan.nodes.iter().map(|n| n.id.as_str()).collect();
    for id in [
        "twice/few/clean/good/run",
        "twice/all/named/named/clean/good/run",
        "twice/all/named/named/join",
        "twice/clean/clean/good/run",
        "twice/clean/clean#2/good/run",
        "twice/all/sort",
    ] {
        assert!(ids.contains(&id), "{id}: {ids:#?}");
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), plan.nodes.len(), "ids are unique");
    assert!(plan.nodes.iter().all(|n| n.bounded), "{plan:#?}");
}

pipeline! {
    /// A side sink and a source that are fixed.
    pub fn split(raw: Source<Raw>) -> Raw;
    names = source(listed());
    known = raw -> key_by(symbol) -> join(names -> key_by(symbol), |r, l| row Raw { symbol: r.symbol, price: r.price, qty: r.qty, ts: r.ts });
    bad = raw -> filter(|r| r.price.is_none());
    bad -> sink(sabot::connect::SinkSpec::Blackhole);
    known -> sink;
}
pipeline! {
    /// Uses it.
    pub fn outer(raw: Source<Raw>);
    kept = split(raw);
    kept -> sink;
}

#[test]
fn fixed_ends_have_names_of_their_own() {
    let job = outer(raws());
    assert_eq!(job.sink_names(), ["kept/split/bad", "kept"]);
    assert_eq!(job.source_names().into_iter().map(|(n, _)| n).collect::<Vec<_>>(), ["raw", "kept/split/names"]);
    assert_eq!(job.open_sinks(), ["kept"]);
    let rows: Vec<Raw> = job.collect().unwrap();
    assert_eq!(rows.len(), 60);
}

pipeline! {
    /// Uses the one below.
    pub fn ping(raw: Source<Raw>) -> Raw;
    ping = pong(raw);
    ping -> sink;
}
pipeline! {
    /// Uses the one above.
    pub fn pong(raw: Source<Raw>) -> Raw;
    pong = ping(raw);
    pong -> sink;
}

#[test]
fn a_circle_of_pipelines_is_an_error() {
    let error = ping(raws()).run().unwrap_err().to_string();
    assert!(error.contains("pipeline `pong` uses itself: pong -> ping -> pong"), "{error}");
}

/// Rows that have a quantity: what a function over any of them needs.
trait HasQty {
    fn qty(&self) -> i64;
}
impl HasQty for trading::RawRow<'_> {
    fn qty(&self) -> i64 {
        self.qty
    }
}
impl HasQty for trading::CleanRow<'_> {
    fn qty(&self) -> i64 {
        self.qty
    }
}

/// A function over streams of any rows with a quantity.
fn large<'g, R, K, B, T>(stream: Stream<'g, R, K, B, T>, least: i64) -> Stream<'g, R, K, B, T>
where
    R: sabot::record::Record,
    for<'a> R::Row<'a>: HasQty,
    B: sabot::stream::Bound,
{
    stream.filter(move |r| r.qty() >= least).stream()
}
/// Another pipeline from a function.
fn prepared<'g, B: sabot::stream::Bound>(raw: Stream<'g, Raw, Unkeyed, B, HasTime>) -> Stream<'g, Clean, Unkeyed, B, HasTime> {
    trading::clean(large(raw, 2), 4)
}

pipeline! {
    /// Functions over streams as heads and as steps.
    pub fn functions(raw: Source<Raw, Bounded>, least: i64);
    prepared = prepared(raw) -> key_by(symbol) -> apply(|s| large(s, least)) -> apply(|s| s.limit(20));
    prepared -> filter(|c| c.qty >= 0) -> sink;
}

#[test]
fn functions_over_streams() {
    let expected: Vec<Clean> = cleaned(5).into_iter().take(20).collect();
    everywhere(|| functions(splits(&raws(), 7), 5), "prepared", &expected, Order::Same, 0.0);
}

#[test]
fn a_library_that_is_only_named_has_its_items() {
    let pipelines = sabot::stream::pipelines().unwrap();
    assert!(pipelines.iter().any(|p| p.name == "clean" && p.output == Some("Clean") && p.module == "trading"));
    assert!(sabot::operator::operators().unwrap().iter().any(|o| o.name.starts_with("trading::ops::")));
    let plan = trading::clean(raws(), 1).plan().unwrap();
    assert!(matches!(plan.nodes.last().map(|n| &n.op), Some(Op::Sink { fixed: false, .. })));
}

/// Another name for a symbol, total or not, volatile or not.
#[operator]
fn upper(symbol: &str) -> String {
    symbol.to_uppercase()
}
/// Never panics.
#[operator(total)]
fn half(price: f64) -> f64 {
    price / 2.0
}
/// Differs each time.
#[operator(volatile)]
fn noise(qty: i64) -> i64 {
    qty + i64::from(std::process::id() == 0)
}

/// What was traded.
#[derive(Record, Clone, Debug)]
struct Symbol {
    symbol: Str,
}

pipeline! {
    /// One of each: what `explain` has to say.
    pub fn shown(raw: Source<Raw, Bounded>, listed: Source<Listed, Bounded>, limit: i64);

    lanes = raw -> filter(|r| r.qty >= limit) -> with(|r| row { half: half(r.price?) });
    daily = lanes -> key_by(symbol) -> window(tumbling(1.day())) -> aggregate(|r| row { half: sum(r.half), trades: count() });
    named = lanes -> key_by(symbol) -> join(listed -> key_by(symbol), |r, l| row { name: l.name, upper: upper(l.name), qty: r.qty })
            -> filter(|n| n.qty > 2) -> with(|n| row { noise: noise(n.qty) });
    clean = trading::clean(raw, limit) -> key_by(symbol) -> keyed(|c| row { total: trading::ops::running(c.qty) }) -> limit(5);
    all   = daily -> select(|d| row Symbol { symbol: d.symbol }) -> union(clean -> select(|c| row Symbol { symbol: c.symbol }));
    daily -> sort(symbol, desc(trades)) -> sink;
    named -> sink;
    clean -> sink;
    all -> sink;
}

/// Compares with `golden/<name>`; `GOLDEN=overwrite` writes it anew.
fn golden(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if std::env::var("GOLDEN").is_ok_and(|v| v == "overwrite") {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(text, expected, "{}: see CONTRIBUTING.md", path.display());
}

#[test]
fn explained() {
    let job = shown(raws(), listed(), 3);
    golden("shown.txt", &job.explain().unwrap());
    let json = serde_json::to_value(job.explanation().unwrap()).unwrap();
    assert_eq!(json["pipeline"], "shown");
    let run = json["steps"].as_array().unwrap().iter().find(|s| s["name"] == "lanes/run").unwrap();
    assert_eq!(run["exprs"][1]["column"], "half");
    assert_eq!(run["how"][0], "one pass over 64 lanes, without a branch");
    assert!(json["plan"]["nodes"].as_array().unwrap().len() > 10);
    // what is shown of a join is what runs: the number of rows of a file is known
    let listed_file = std::env::temp_dir().join(format!("sabot-listed-{}.parquet", std::process::id()));
    let written = relisted(listed()).sink("listed", to(listed_file.to_str().unwrap())).run();
    written.unwrap();
    let job = shown(raws(), parquet::<Listed>(listed_file.to_str().unwrap()), 3);
    let one = job.explain().unwrap();
    assert!(one.contains("one thread builds the table: the number of right rows is at most 2"), "{one}");
    let job = job.settings(|s| s.broadcast_rows = 1);
    let all = job.explain().unwrap();
    assert!(all.contains("all threads build the table: the number of right rows is at most 2, more than 1"), "{all}");
    let job = job.options(|o| o.memory_budget = Some(1 << 30));
    let hashed = job.explain().unwrap();
    assert!(hashed.contains("hash join: the number of right rows is at most 2, more than 1"), "{hashed}");
    let broadcast = job.settings(|s| s.broadcast_rows = 2).explain().unwrap();
    assert!(broadcast.contains("broadcast join: the number of right rows is at most 2,"), "{broadcast}");
    std::fs::remove_file(listed_file).unwrap();
}

pipeline! {
    /// As they are.
    pub fn relisted(listed: Source<Listed>);
    listed -> sink;
}

#[test]
fn drawn() {
    let svg = shown(raws(), listed(), 3).svg().unwrap();
    // well formed: every tag is closed in order, and no text has a bare `<` or `&`
    let mut open: Vec<&str> = Vec::new();
    for tag in svg.split('<').skip(1) {
        let (tag, text) = tag.split_once('>').unwrap();
        assert!(!text.contains('>'), "{text}");
        assert!(text.split('&').skip(1).all(|e| ["amp;", "lt;", "gt;", "quot;"].iter().any(|k| e.starts_with(k))), "{text}");
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None if tag.ends_with('/') => {}
            None => open.push(tag.split(' ').next().unwrap()),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    let number = |rect: &str, key: &str| -> f64 {
        let from = rect.split(&format!(" {key}=\"")).nth(1).unwrap();
        from.split('"').next().unwrap().parse().unwrap()
    };
    let boxes: Vec<[f64; 4]> = svg.split("<rect").skip(1).map(|r| ["x", "y", "width", "height"].map(|k| number(r, k))).collect();
    let plan = shown(raws(), listed(), 3).plan().unwrap();
    assert_eq!(boxes.len(), plan.nodes.iter().filter(|n| !n.op.is_note()).count());
    let [w, h] = ["width", "height"].map(|k| number(svg.split('>').next().unwrap(), k));
    for (i, [x, y, bw, bh]) in boxes.iter().enumerate() {
        assert!(*x >= 0.0 && *y >= 0.0 && x + bw <= w && y + bh <= h, "within the drawing");
        for [x2, y2, w2, h2] in &boxes[..i] {
            assert!(x + bw <= *x2 || x2 + w2 <= *x || y + bh <= *y2 || y2 + h2 <= *y, "boxes do not overlap");
        }
    }
}

/// What was paid.
#[derive(Record, Clone, Debug, PartialEq)]
struct Paid {
    symbol: Str,
    notional: f64,
}
pipeline! {
    /// A column that is replaced, twice, before an operator of another crate takes it by name.
    pub fn shadowed(raw: Source<Raw>);
    paid = raw -> with(|r| row { price: r.price.unwrap_or(1.0), q: r.qty }) -> with(|r| row { price: r.price + 1.0, symbol: r.symbol })
        -> map(trading::ops::notional) -> select(|r| row Paid { symbol: r.symbol, notional: r.notional });
    paid -> sink;
}

#[test]
fn a_replaced_column_is_the_one_that_operators_take() {
    let paid = |r: Raw| Paid { symbol: r.symbol, notional: (r.price.unwrap_or(1.0) + 1.0) * r.qty as f64 };
    let expected: Vec<Paid> = raws().into_iter().map(paid).collect();
    everywhere(|| shadowed(splits(&raws(), 7)), "paid", &expected, Order::Same, 0.0);
}
