//! The same rows for every contender, from a fixed seed. Also compiled into `benches/arrow-udf`, with its own Arrow.

use std::sync::Arc;

use arrow_array::{ArrayRef, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray, types::Int32Type};
use arrow_buffer::NullBuffer;

const PATHS: [&str; 6] = ["/", "/index.html", "/api/v1/items", "/static/site.css", "/a/rather/long/path/to/some/page.html", "/q?x=1"];
const VERBS: [&str; 8] = ["GET", "GET", "GET", "GET", "POST", "PUT", "DELETE", "HEAD"];

/// xorshift, so that no two runs differ.
struct Rng(u64);
impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// `rows` rows with `nulls` of 1000 values of `d` null, and text plain or as a dictionary.
pub fn batch(rows: usize, nulls: u64, dictionary: bool) -> RecordBatch {
    let mut rng = Rng(88_172_645_463_325_252);
    let p: Vec<f64> = (0..rows).map(|_| (rng.next() % 2000) as f64 / 100.0).collect();
    let q: Vec<i64> = (0..rows).map(|_| (rng.next() % 100) as i64).collect();
    let f: Vec<f64> = (0..rows).map(|_| 0.5 + (rng.next() % 1000) as f64 / 1000.0).collect();
    let d: Vec<i64> = (0..rows).map(|_| (rng.next() % 200) as i64 - 20).collect();
    let valid: Vec<bool> = (0..rows).map(|_| rng.next() % 1000 >= nulls).collect();
    let m: Vec<i64> = (0..rows).map(|_| (rng.next() % 1000) as i64 + 1).collect();
    let s: Vec<String> = (0..rows)
        .map(|_| {
            let (verb, path) = (rng.next() as usize % VERBS.len(), rng.next() as usize % PATHS.len());
            format!("{} {}", VERBS.get(verb).copied().unwrap_or_default(), PATHS.get(path).copied().unwrap_or_default())
        })
        .collect();
    let text: ArrayRef = if dictionary {
        Arc::new(s.iter().map(String::as_str).collect::<DictionaryArray<Int32Type>>())
    } else {
        Arc::new(StringArray::from_iter_values(&s))
    };
    let d = Int64Array::new(d.into(), (nulls > 0).then(|| NullBuffer::from(valid)));
    let columns: [(&str, ArrayRef); 6] = [
        ("p", Arc::new(Float64Array::from(p))),
        ("q", Arc::new(Int64Array::from(q))),
        ("f", Arc::new(Float64Array::from(f))),
        ("d", Arc::new(d)),
        ("m", Arc::new(Int64Array::from(m))),
        ("s", text),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(n, a)| (n, a, n == "d"))).unwrap_or_else(|e| fail(&e.to_string()))
}

/// Ends the benchmark with a message.
pub fn fail(what: &str) -> ! {
    eprintln!("{what}");
    std::process::exit(1)
}
