//! How fast CSV is read: `cargo bench -p sabot-benches --no-default-features --bench csv [-- --megabytes 100 --peers]`.
//!
//! Writes a file of integers, floats, times and text (some of it in quotes) and reads all of it, then all rows of two of its columns, on one
//! thread. Prints megabytes per second of processor time, the best of five turns. `--peers` also runs
//! `benches/csv/peers.py`: DuckDB and Polars on the same file, from the environment of the engine benchmark.
#![allow(missing_docs, unreachable_pub, clippy::print_stdout)]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use arrow_schema::{DataType, Field, Schema, TimeUnit};
use rustix::time::{ClockId, clock_gettime};
use sabot::connect::{CsvOptions, CsvSource};
use sabot::operator::{Read, Source};
use sabot::{Error, Result};

const TURNS: usize = 5;
const MORSEL: usize = 8192;

/// Seconds of processor time of this process, all threads.
fn cpu() -> f64 {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

fn schema() -> Schema {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("at", utc, false),
        Field::new("price", DataType::Float64, false),
        Field::new("quantity", DataType::Int32, true),
        Field::new("name", DataType::Utf8View, false),
        Field::new("share", DataType::Float64, true),
        Field::new("note", DataType::Utf8View, true),
    ])
}

/// A file of about so many bytes, the same each time.
fn text(bytes: usize) -> Result<String> {
    let mut text = String::from("id,at,price,quantity,name,share,note\n");
    let mut seed = 1_u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    let names = ["ash", "birch", "hornbeam", "sycamore maple", "Norway spruce", "wild service tree", "yew", "Käfer"];
    for id in 0.. {
        if text.len() >= bytes {
            break;
        }
        let (r, s) = (random(), random());
        let name = names.get(r as usize % names.len()).copied().unwrap_or_default();
        let (day, hour, minute, second) = (1 + r % 28, s % 24, r % 60, s % 60);
        let quantity = if r % 10 == 0 { String::new() } else { (s % 100_000).to_string() };
        let note = match s % 10 {
            0 => format!("\"{name}, {r}\""),
            1 => format!("\"say \"\"{name}\"\"\""),
            2 => String::new(),
            _ => format!("{name} {}", r % 1000),
        };
        writeln!(
            text,
            "{id},2013-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z,{}.{:02},{quantity},{name},0.{:09},{note}",
            1 + s % 12,
            r % 10_000,
            s % 100,
            (r * s) % 1_000_000_000
        )
        .map_err(|e| Error::usage(e.to_string()))?;
    }
    Ok(text)
}

fn read(source: &CsvSource) -> Result<usize> {
    let mut rows = 0;
    for split in source.splits()? {
        let mut reader = Source::open(source, &split, None)?;
        while let Read::Rows(batch, _) = reader.next(MORSEL)? {
            rows += std::hint::black_box(batch).num_rows();
        }
    }
    Ok(rows)
}

fn time(path: &str, what: &str, bytes: usize, columns: Option<&[String]>) -> Result<()> {
    let mut best = f64::INFINITY;
    let mut rows = 0;
    for _ in 0..TURNS {
        let before = cpu();
        let mut source = CsvSource::open(&[path.to_string()], &CsvOptions::default(), "Row", &schema())?;
        if let Some(columns) = columns {
            source.project(columns)?;
        }
        rows = read(&source)?;
        best = best.min(cpu() - before);
    }
    println!("sabot {what}: {rows} rows, {best:.3} s, {:.0} MB/s", bytes as f64 / 1e6 / best);
    Ok(())
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let number = args.iter().skip_while(|a| *a != "--megabytes").nth(1).and_then(|n| n.parse::<usize>().ok());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let directory = root.join("target/csv");
    let file = directory.join("rows.csv");
    let text = text(number.unwrap_or(100) * 1_000_000)?;
    std::fs::create_dir_all(&directory).map_err(|e| Error::io(&directory, "cannot create", e))?;
    std::fs::write(&file, &text).map_err(|e| Error::io(&file, "cannot write", e))?;
    let (path, bytes) = (file.display().to_string(), text.len());
    drop(text);
    time(&path, "all columns", bytes, None)?;
    time(&path, "2 columns", bytes, Some(&["id".into(), "price".into()]))?;
    if args.iter().any(|a| a == "--peers") {
        let python = root.join("target/engine-venv/bin/python");
        let status = Command::new(&python).arg(root.join("benches/csv/peers.py")).arg(&path).status();
        let status = status.map_err(|e| Error::io(&python, "cannot run (the engine benchmark installs it)", e))?;
        if !status.success() {
            return Err(Error::usage("the peers failed"));
        }
    }
    Ok(())
}
