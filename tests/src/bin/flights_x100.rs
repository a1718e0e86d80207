//! The flights of 2013, a hundred times (33.7 million rows), under a memory limit: aggregate, join and sort must give the
//! same result as without.
//!
//! ```sh
//! tests/flights_x100.sh                                    # everything, with 256 MiB and without a limit
//! flights_x100 aggregate --memory 256MiB --threads 2       # one of them
//! ```
//!
//! The flights are read once and repeated by a source that numbers them: `id` is different in every row, `slot` in
//! every row of one half of the repetitions, so that groups and the build side of the join are half as many as rows. Prints the
//! number of rows, two checksums (of the rows in their order, and in any order), what was spilled, and the process's peak
//! memory. The flights themselves and the text of their columns are held by this program beside the engine, about 60 MB.

use std::sync::{Arc, Mutex};

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use sabot::operator::{Read, Split, SplitReader};
use sabot::prelude::*;
use sabot::stream::Job;
use sabot_tests::Checksum;

/// A flight of one of the repetitions.
#[derive(Record, Clone, Debug)]
struct Flight {
    id: i64,
    slot: i64,
    carrier: Str,
    tailnum: Option<Str>,
    origin: Str,
    dest: Str,
    dep_delay: Option<f64>,
    distance: f64,
}

pipeline! {
    /// Half as many groups as flights; the sums are of floats that have no exact sum.
    pub fn aggregate_flights(flights: Source<Flight, Bounded>);
    groups = flights -> key_by(slot, origin) -> aggregate(|f| row {
        flights: count(), speed: sum(f.distance / 7.3), delay: mean(f.dep_delay), last: max(f.tailnum)
    });
    groups -> sink;
}

pipeline! {
    /// All flights by a column with many equal values.
    pub fn sort_flights(flights: Source<Flight, Bounded>);
    sorted = flights -> sort(desc(dep_delay), carrier, dest);
    sorted -> sink;
}

/// A flight and the one in its slot.
#[derive(Record, Clone, Debug)]
struct Pair {
    id: i64,
    dest: Str,
    other: i64,
    tailnum: Option<Str>,
}

pipeline! {
    /// Every flight with the one of the same slot in the first half.
    pub fn join_flights(flights: Source<Flight, Bounded>, others: Source<Flight, Bounded>, half: i64);
    first = others -> filter(|o| o.id < half);
    pairs = flights -> key_by(slot) -> join(first -> key_by(slot), |f, o| row Pair { id: f.id, dest: f.dest, other: o.id, tailnum: o.tailnum });
    pairs -> sink;
}

/// Rows of a split.
const SPLIT: i64 = 65_536;

/// The flights, again and again.
struct Again {
    flights: Arc<RecordBatch>,
    times: i64,
    schema: SchemaRef,
    columns: Vec<String>,
}

impl Again {
    fn rows(&self) -> i64 {
        self.flights.num_rows() as i64 * self.times
    }
}

impl sabot::operator::Source for Again {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
    fn project(&mut self, columns: &[String]) -> Result<()> {
        let keep = columns.iter().map(|c| self.schema.index_of(c)).collect::<std::result::Result<Vec<_>, _>>()?;
        self.schema = Arc::new(self.schema.project(&keep)?);
        self.columns = columns.to_vec();
        Ok(())
    }
    fn bounded(&self) -> bool {
        true
    }
    fn splits(&self) -> Result<Vec<Split>> {
        let rows = self.rows();
        let split = |(sequence, first): (u64, i64)| {
            let rows = Some((rows - first).min(SPLIT) as u64);
            Split { partition: 0, sequence, rows, bytes: None, spec: first.into() }
        };
        Ok((0..).zip((0..rows).step_by(SPLIT as usize)).map(split).collect())
    }
    fn open(&self, split: &Split, position: Option<&serde_json::Value>) -> Result<Box<dyn SplitReader>> {
        let first = split.spec.as_i64().unwrap_or(0);
        let next = position.and_then(serde_json::Value::as_i64).unwrap_or(first);
        Ok(Box::new(Reader {
            flights: Arc::clone(&self.flights),
            times: self.times,
            schema: Arc::clone(&self.schema),
            next,
            end: self.rows().min(first + SPLIT),
        }))
    }
    fn describe(&self) -> String {
        format!("the flights, {} times", self.times)
    }
}

struct Reader {
    flights: Arc<RecordBatch>,
    times: i64,
    schema: SchemaRef,
    next: i64,
    end: i64,
}

impl SplitReader for Reader {
    fn next(&mut self, max_rows: usize) -> Result<Read> {
        let one = self.flights.num_rows() as i64;
        let from = self.next % one;
        let rows = (self.end - self.next).min(one - from).min(max_rows as i64);
        if rows <= 0 {
            return Ok(Read::End);
        }
        let ids = self.next..self.next + rows;
        let half = one * (self.times / 2).max(1);
        self.next += rows;
        let mut columns: Vec<ArrayRef> = Vec::new();
        for field in self.schema.fields() {
            columns.push(match field.name().as_str() {
                "id" => Arc::new(Int64Array::from_iter_values(ids.clone())),
                // neighbours are far from each other, so that nothing is in order by chance
                "slot" => Arc::new(Int64Array::from_iter_values(ids.clone().map(|id| (id % half).wrapping_mul(0x9e37_79b9) % 0xffff_ffff))),
                name => {
                    let column = self.flights.column_by_name(name).ok_or_else(|| Error::usage(format!("no column {name}")))?;
                    column.slice(from as usize, rows as usize)
                }
            });
        }
        Ok(Read::Rows(RecordBatch::try_new(Arc::clone(&self.schema), columns)?, None))
    }
    fn position(&self) -> serde_json::Value {
        self.next.into()
    }
}

/// The flights of the repository, with the columns that are needed.
fn flights() -> Result<RecordBatch> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/nycflights13/flights.parquet");
    #[derive(Record, Clone, Debug)]
    struct Raw {
        carrier: Str,
        tailnum: Option<Str>,
        origin: Str,
        dest: Str,
        dep_delay: Option<i64>,
        distance: Option<i64>,
    }
    #[derive(Record, Clone, Debug)]
    struct Flown {
        carrier: Str,
        tailnum: Option<Str>,
        origin: Str,
        dest: Str,
        dep_delay: Option<f64>,
        distance: f64,
    }
    pipeline! {
        /// Delays and distances as floats, whose sums depend on their order.
        fn raw(flights: Source<Raw, Bounded>);
        all = flights -> select(|f| row Flown {
            carrier: f.carrier, tailnum: f.tailnum, origin: f.origin, dest: f.dest,
            dep_delay: f.dep_delay.map(|d| d as f64), distance: f.distance.unwrap_or(0) as f64
        });
        all -> sink;
    }
    let batches = raw(parquet(path)).sequential().collect_batches()?;
    let schema = batches.first().ok_or_else(|| Error::usage("no flights"))?.schema();
    sabot_tests::concat(&schema, &batches)
}

fn source(flights: &Arc<RecordBatch>, times: i64) -> Source<Flight, Bounded> {
    let flights = Arc::clone(flights);
    Source::custom_bounded(move || {
        let mut fields = vec![Field::new("id", DataType::Int64, false), Field::new("slot", DataType::Int64, false)];
        fields.extend(flights.schema().fields().iter().map(|f| f.as_ref().clone()));
        Ok(Again { flights: Arc::clone(&flights), times, schema: Arc::new(Schema::new(fields)), columns: Vec::new() })
    })
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|at| args.get(at + 1)).cloned();
    let number = |name: &str, default: i64| option(name).and_then(|v| v.trim_end_matches("MiB").parse().ok()).unwrap_or(default);
    let times = number("--times", 100);
    let what = args.get(1).map_or("", String::as_str);
    let flights = Arc::new(flights()?);
    let rows = flights.num_rows() as i64;
    let of = || source(&flights, times);
    let (job, name): (Job, &str) = match what {
        "aggregate" => (aggregate_flights(of()), "groups"),
        "sort" => (sort_flights(of()), "sorted"),
        "join" => (join_flights(of(), of(), rows * (times / 2).max(1)), "pairs"),
        _ => {
            return Err(Error::usage(
                "usage: flights_x100 aggregate|sort|join [--memory 256MiB] [--threads 2] [--times 100] [--spill-dir DIR]",
            ));
        }
    };
    let seen: Arc<Mutex<Checksum>> = Arc::default();
    let shared = Arc::clone(&seen);
    let job = job.sink(name, Sink::custom(move || Ok(sabot_tests::ChecksumSink::new(&shared)))).options(|o| {
        o.threads = number("--threads", 2) as usize;
        o.memory_budget = Some(number("--memory", 0) as usize * (1 << 20)).filter(|b| *b > 0);
        o.spill_dir = option("--spill-dir").map(Into::into);
    });
    let before = sabot_tests::peak_memory();
    let report = job.run()?;
    let spilled: u64 = report.nodes.iter().map(|n| n.spilled).sum();
    let sum = seen.lock().map(|s| s.clone()).unwrap_or_default();
    println!(
        "{what}: {} rows, in order {:016x}, in any order {:016x}; {:.1} s, {} MB spilled, peak memory {} MB ({} MB before)",
        sum.rows,
        sum.ordered,
        sum.unordered,
        report.wall.as_secs_f64(),
        spilled >> 20,
        sabot_tests::peak_memory() >> 20,
        before >> 20
    );
    for node in report.nodes.iter().filter(|n| n.spilled > 0) {
        println!("  {} spilled {} bytes", node.name, node.spilled);
    }
    Ok(())
}
