//! A source of your own: the trait `Source` cuts the data into splits, a `SplitReader` reads one of them from any position.
//!
//! Here: the prime numbers below a limit, in splits of 10,000 candidates, so that several threads can search.

use std::sync::Arc;

use sabot::operator::{Read, Split, SplitReader};
use sabot::prelude::*;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};

/// A prime number.
#[derive(Record, Clone, Debug)]
struct Prime {
    n: i64,
}

/// How many there are per last digit.
#[derive(Record, Clone, Debug, PartialEq)]
struct Ending {
    digit: i64,
    primes: u64,
}

const CANDIDATES: i64 = 10_000;

/// The prime numbers below `end`.
struct Primes {
    end: i64,
    schema: SchemaRef,
}

impl Primes {
    fn below(end: i64) -> Self {
        Primes { end, schema: Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)])) }
    }
}

impl sabot::operator::Source for Primes {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn project(&mut self, columns: &[String]) -> Result<()> {
        let keep = columns.iter().map(|c| self.schema.index_of(c)).collect::<std::result::Result<Vec<_>, _>>()?;
        self.schema = Arc::new(self.schema.project(&keep)?);
        Ok(())
    }
    fn bounded(&self) -> bool {
        true
    }
    fn splits(&self) -> Result<Vec<Split>> {
        let split = |(sequence, first): (usize, i64)| Split {
            partition: 0,
            sequence: sequence as u64,
            rows: None,
            bytes: None,
            spec: first.into(),
        };
        Ok((0..self.end).step_by(CANDIDATES as usize).enumerate().map(split).collect())
    }
    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let first = split.spec.as_i64().unwrap_or(0);
        let next = position.and_then(serde_json::Value::as_i64).unwrap_or(first);
        Ok(Box::new(Search { next, end: self.end.min(first + CANDIDATES), schema: Arc::clone(&self.schema) }))
    }
    fn describe(&self) -> String {
        format!("the primes below {}", self.end)
    }
}

struct Search {
    next: i64,
    end: i64,
    schema: SchemaRef,
}

impl SplitReader for Search {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        let mut found = Vec::new();
        while self.next < self.end && found.len() < max_rows {
            let n = self.next;
            if n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0) {
                found.push(n);
            }
            self.next += 1;
        }
        if found.is_empty() {
            return Ok(Read::End);
        }
        let column: ArrayRef = Arc::new(Int64Array::from(found));
        Ok(Read::Rows(RecordBatch::try_new(Arc::clone(&self.schema), vec![column])?, None))
    }
    fn position(&self) -> serde_json::Value {
        self.next.into()
    }
}

pipeline! {
    /// Prime numbers by their last digit.
    pub fn endings(primes: Source<Prime, Bounded>);

    digits  = primes -> with(|p| row { digit: p.n % 10 });
    endings = digits -> key_by(digit) -> aggregate(|_p| row { primes: count() }) -> sort(digit);
    endings -> sink;
}

fn main() -> Result<()> {
    let rows: Vec<Ending> = endings(Source::custom_bounded(|| Ok(Primes::below(100_000)))).collect()?;
    println!("{rows:?}");
    assert_eq!(rows.iter().map(|r| r.primes).sum::<u64>(), 9592);
    assert_eq!(rows.first(), Some(&Ending { digit: 1, primes: 2387 }));
    Ok(())
}
