//! An aggregate of your own: the spread between the smallest and the largest value, without a sort.
//!
//! `update` takes a row in, `merge` combines the partial results of threads in source order, `finish` reads the result.
//! It is never called on a null, unless a parameter is an `Option`.

use sabot::prelude::*;

/// The difference between the largest and the smallest value.
#[derive(State, Default)]
struct Spread {
    low: Option<f64>,
    high: Option<f64>,
}

#[operator]
impl Spread {
    fn update(&mut self, value: f64) {
        self.low = Some(self.low.map_or(value, |l| l.min(value)));
        self.high = Some(self.high.map_or(value, |h| h.max(value)));
    }
    fn merge(&mut self, other: Self) {
        if let (Some(low), Some(high)) = (other.low, other.high) {
            self.update(low);
            self.update(high);
        }
    }
    fn finish(&self) -> Option<f64> {
        Some(self.high? - self.low?)
    }
}

/// The weather at an airport in one hour.
#[derive(Record, Clone, Debug)]
struct Weather {
    origin: Str,
    temp: Option<f64>,
}

/// The result.
#[derive(Record, Clone, Debug, PartialEq)]
struct Range {
    origin: Str,
    range: Option<f64>,
}

pipeline! {
    /// How far temperatures go apart in a year, per airport.
    pub fn ranges(weather: Source<Weather, Bounded>);

    airports = weather -> key_by(origin) -> aggregate(|w| row { range: Spread(w.temp?) }) -> sort(origin);
    airports -> sink;
}

fn main() -> Result<()> {
    if std::env::args().len() > 1 {
        return sabot::main();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/nycflights13/weather.parquet");
    let rows: Vec<Range> = ranges(parquet(path)).collect()?;
    println!("{rows:?}");
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|r| r.range.is_some_and(|r| (80.0..100.0).contains(&r))));
    Ok(())
}
