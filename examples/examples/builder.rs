//! `hello` without the macro: `pipeline!` is sugar over these calls.
//!
//! Without `pipeline!` there are no anonymous rows, so a computed row is a named record.

use sabot::prelude::*;
use sabot::stream::{Graph, Job, desc};

/// A trade on an exchange.
#[derive(Record, Clone, Debug)]
struct Trade {
    symbol: Str,
    price: f64,
    qty: i64,
}

fn main() -> Result<()> {
    let trades = vec![
        Trade { symbol: "ACME".into(), price: 10.0, qty: 50 },
        Trade { symbol: "BOLT".into(), price: 99.5, qty: 200 },
        Trade { symbol: "COGS".into(), price: 120.0, qty: 100 },
    ];
    let graph = Graph::new("large");
    let source = graph.source("trades", trades);
    graph.stream("large");
    source.filter(|t| t.price * t.qty as f64 >= 1000.0).stream().sort(|t| [desc(t.price)]).limit(1).open_sink("large");
    let job = Job::of(graph);
    println!("{}", job.explain()?);
    let rows: Vec<Trade> = job.collect()?;
    println!("{rows:?}");
    assert_eq!(rows.iter().map(|r| r.symbol.as_str()).collect::<Vec<_>>(), ["COGS"]);
    Ok(())
}
