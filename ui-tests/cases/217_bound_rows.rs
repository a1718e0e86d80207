//! A job is given rows of another record.

use sabot::prelude::*;

#[derive(Record)]
struct Trade {
    symbol: Str,
    qty: i64,
}

#[derive(Record)]
struct Quote {
    symbol: Str,
    bid: f64,
}

pipeline! {
    pub fn large(trades: Source<Trade, Bounded>);

    large = trades -> filter(|t| t.qty > 100);
    large -> sink;
}

fn main() -> Result<()> {
    let quotes = vec![Quote { symbol: "A".into(), bid: 1.0 }];
    let _ = large(quotes).collect::<Trade>()?;
    Ok(())
}

//~ ERROR 26:19 | quotes | does not fit a parameter of type `Source<Trade,
//~ ALSO bind `parquet(..)`, `csv(..)`, a `Vec<Trade>` or another source
