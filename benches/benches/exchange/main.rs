//! How fast rows go from one process to another: `cargo bench -p sabot-benches --no-default-features --features cluster --bench exchange`.
//!
//! One link of 10 million rows of four columns (i64, f64, text, i64; 380 MB) between two processes over 127.0.0.1: Sabot's exchange,
//! beside raw TCP with as many bytes, Arrow IPC over TCP, and `DoGet` as `arrow-flight` does it. Each contestant's rows are checked
//! once; then they take turns, and the medians are printed: GB/s, million rows per second, and seconds of processor time of both
//! processes per GB. Then how fast rows are dealt out by key, on one thread; and jobs on two agents beside the same jobs in one process.
//! `-- --smoke` only checks; `-- --rounds 5`; `-- --partition` and `-- --jobs` (with `joined` or `grouped` one
//! of them, `--rows N` other sizes) do that part alone; `-- --times` measures the control plane.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod against;
mod cluster;
mod jobs;
mod partition;
mod rows;
mod times;
mod ways;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

use rows::{Sums, batches, bytes_of};
use ways::{WAYS, Way};

const ROWS: usize = 10_000_000;
const SMOKE_ROWS: usize = 300_000;

/// Seconds of processor time of this process.
fn cpu() -> f64 {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    t.tv_sec as f64 + t.tv_nsec as f64 / 1e9
}

/// The process that sends.
struct Sender {
    child: Child,
    say: ChildStdin,
    hear: BufReader<ChildStdout>,
}

impl Sender {
    fn start(rows: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--send", &rows.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (say, hear) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut sender = Sender { child, say, hear };
        assert_eq!(sender.hear(), "ready");
        sender
    }
    fn say(&mut self, line: &str) {
        writeln!(self.say, "{line}").unwrap();
        self.say.flush().unwrap();
    }
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.hear.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

/// What one turn took: wall and processor time in seconds, of both processes.
#[derive(Clone, Copy)]
struct Turn {
    wall: f64,
    cpu: f64,
}

/// One way, once. With `check` the rows are looked at.
fn turn(way: &Way, sender: &mut Sender, rows: usize, check: bool) -> Turn {
    let before = cpu();
    let receiver = (way.receive)();
    sender.say(&format!("{} {}", way.name, receiver.address()));
    // a way whose sender listens says where
    let told = sender.hear();
    let begun = Instant::now();
    let got = receiver.run(&told, check);
    let wall = begun.elapsed().as_secs_f64();
    let theirs: f64 = sender.hear().parse().unwrap();
    if check && way.arrow {
        assert_eq!(got, Sums::expected(rows), "{}", way.name);
    }
    assert_eq!(got.rows, if way.arrow { rows } else { got.rows }, "{}", way.name);
    Turn { wall, cpu: cpu() - before + theirs }
}

fn send(rows: usize) {
    let batches = batches(rows);
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let (name, address) = line.split_once(' ').unwrap();
        let way = WAYS.iter().find(|w| w.name == name).unwrap();
        let before = cpu();
        (way.send)(address, &batches);
        println!("{}", cpu() - before);
    }
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let after = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).and_then(|n| n.parse::<usize>().ok());
    if let Some(rows) = after("--send") {
        return send(rows);
    }
    if args.get(1).is_some_and(|a| cluster::VERBS.contains(&a.as_str())) {
        if let Some((rows, keys)) = std::env::var(cluster::TABLES).ok().as_deref().and_then(|t| t.split_once(' ')) {
            jobs::load(rows.parse().unwrap(), keys.parse().unwrap());
        }
        return sabot::main().unwrap();
    }
    let smoke = args.iter().any(|a| a == "--smoke");
    partition::check();
    let (rounds, only) = (after("--rounds").unwrap_or(5), |name: &str| args.iter().any(|a| a == name));
    if only("--partition") {
        return partition::time();
    }
    if only("--jobs") {
        return against::compare(smoke, rounds, after("--rows"), &only);
    }
    if only("--times") {
        return times::measure(rounds);
    }
    let rows = if smoke { SMOKE_ROWS } else { ROWS };
    let mut sender = Sender::start(rows);
    let bytes = bytes_of(rows) as f64;
    for way in WAYS {
        turn(way, &mut sender, rows, true);
    }
    println!("{} rows, {:.0} MB: checked", rows, bytes / 1e6);
    if !smoke {
        let mut turns: Vec<Vec<Turn>> = WAYS.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for (way, turns) in WAYS.iter().zip(&mut turns) {
                turns.push(turn(way, &mut sender, rows, false));
            }
        }
        println!("{:<34} {:>8} {:>10} {:>10}", "", "GB/s", "Mrows/s", "CPU-s/GB");
        for (way, turns) in WAYS.iter().zip(turns) {
            let (wall, cpu) = (median(turns.iter().map(|t| t.wall).collect()), median(turns.iter().map(|t| t.cpu).collect()));
            println!("{:<34} {:>8.2} {:>10.1} {:>10.2}", way.title, bytes / 1e9 / wall, rows as f64 / 1e6 / wall, cpu / (bytes / 1e9));
        }
        partition::time();
    }
    drop(sender.say);
    sender.child.wait().unwrap();
    against::compare(smoke, rounds, None, &only);
}
