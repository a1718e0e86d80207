//! How long the control plane takes, with a server and three agents as processes: until a submitted job runs, until it runs again after `kill -9` of an
//! agent, until it runs with another parallelism. The job counts the rows of its keys; its results are checked at the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use sabot::cluster::Standing;
use sabot::cluster::api::{JobView, OperationView};
use sabot::cluster::store::JobState;
use sabot::prelude::*;

use super::cluster::Cluster;

/// The `n`-th row of its key.
#[derive(Record, Clone, Debug)]
struct Tick {
    key: i64,
    n: i64,
    #[event_time]
    at: Timestamp<Micros>,
}
/// How many rows a key had.
#[derive(State, Default)]
struct Seen {
    count: i64,
}
#[operator]
fn counted(seen: &mut Seen, n: i64) -> i64 {
    seen.count += i64::from(n >= 0);
    seen.count
}

const PARTITIONS: u32 = 8;
const KEYS: u64 = 1000;

/// Row `number` over all partitions, which take turns, is the `number / KEYS`-th of its key.
fn tick(partition: u32, row: u64) -> Tick {
    let number = row * u64::from(PARTITIONS) + u64::from(partition);
    Tick { key: (number % KEYS) as i64, n: (number / KEYS) as i64, at: Timestamp::new(number as i64 * 1000) }
}

pipeline! {
    /// Each row with how many its key had: whatever happens, `count` is `n + 1`.
    pub fn ledger(per_second: f64);
    ticks   = source(Source::<Tick>::from(generate(PARTITIONS, tick).rows_per_second(per_second)));
    entries = ticks -> key_by(key) -> keyed(|t| row { count: counted(t.n) });
    entries -> sink;
}

const PATIENCE: Duration = Duration::from_secs(60);

struct Times(&'static str, Vec<Duration>);

impl Times {
    fn print(mut self, wanted: &str) {
        self.1.sort_unstable();
        let ms = |at: usize| self.1[at].as_millis();
        println!("{:<58} {:>8} {:>8} {:>8}   {wanted}", self.0, ms(self.1.len() / 2), ms(0), ms(self.1.len() - 1));
    }
}

fn submit(cluster: &Cluster, name: &str) -> JobView {
    let (state, sink) = (format!("state-{name}"), format!("entries=csv:out-{name}/"));
    let kept = ["--checkpoint-dir", &state, "--checkpoint-every", "1s", "--sink", &sink, "--parallelism", "4", "--name", name];
    let args: Vec<&str> = ["submit", "ledger", "--per_second", "2000"].into_iter().chain(kept).collect();
    cluster.ask(&args)
}

/// Waits until an attempt reads rows.
fn works(cluster: &Cluster, job: &str, attempt: u32) {
    cluster.until("an attempt works", PATIENCE, |c| {
        let view = c.job(job);
        let reads = view.operators.iter().any(|o| o.rows.rows_in > 0);
        (view.summary.state == JobState::Running && view.summary.attempt >= attempt && reads).then_some(())
    });
}
fn another_checkpoint(cluster: &Cluster, job: &str) {
    let now = cluster.job(job).summary.checkpoint;
    cluster.until("another checkpoint", PATIENCE, |c| (c.job(job).summary.checkpoint > now).then_some(()));
}

/// For each key the counts 1 to some number, once each; rows.
fn check(out: &Path) -> usize {
    let mut entries: BTreeMap<i64, Vec<(i64, i64)>> = BTreeMap::new();
    for file in std::fs::read_dir(out).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let mut lines = text.lines();
        let head: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        let at = |name: &str| head.iter().position(|c| *c == name).unwrap();
        for line in lines {
            let cells: Vec<i64> = ["key", "n", "count"].map(|c| line.split(',').nth(at(c)).unwrap().parse().unwrap()).into();
            entries.entry(cells[0]).or_default().push((cells[1], cells[2]));
        }
    }
    for (key, counts) in &mut entries {
        counts.sort_unstable();
        assert!(
            counts.iter().copied().eq((0..counts.len() as i64).map(|n| (n, n + 1))),
            "key {key}: rows are lost, repeated or miscounted"
        );
    }
    let rows = entries.values().map(Vec::len).sum();
    assert!(rows > 0, "nothing was written");
    rows
}

pub fn measure(rounds: usize) {
    let mut cluster = Cluster::start(3, 4, None);
    let times = |what| Times(what, Vec::new());
    let mut started = times("the tool starts, and lists the pipelines");
    let (mut whole, mut inside) = (times("submit: the tool, until the job runs"), times("submit: from the request until the job runs"));
    let mut steps: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    let ms = |from: i64, to: i64| Duration::from_millis(u64::try_from(to - from).unwrap());
    for round in 0..rounds * 4 {
        let began = Instant::now();
        cluster.tool(&["pipelines"]);
        started.1.push(began.elapsed());
        let began = Instant::now();
        let view = submit(&cluster, &format!("s{round}"));
        whole.1.push(began.elapsed());
        let job = view.summary.id;
        assert_eq!(view.summary.state, JobState::Running);
        let running = view.history.iter().find(|h| h.state == JobState::Running).unwrap().at;
        inside.1.push(ms(view.summary.created, running));
        let operation: OperationView = cluster.get(&format!("/v1/operations/submit-{job}"));
        for step in operation.steps {
            if let (Some(from), Some(to)) = (step.started, step.finished) {
                steps.entry(step.name).or_default().push(ms(from, to));
            }
        }
        cluster.tool(&["job", "cancel", &job]);
    }
    let job = submit(&cluster, "kept").summary.id;
    let (mut lost, mut again, mut moved) =
        (times("kill -9 of an agent: taken for lost"), times("... its job reads rows again"), times("rescale 4 to 8, or 8 to 4"));
    let mut attempt = 1;
    for round in 0..rounds {
        another_checkpoint(&cluster, &job);
        let victim = cluster.job(&job).summary.agents[0].clone();
        let killed = Instant::now();
        cluster.kill_agent(&victim);
        cluster
            .until("it is lost", PATIENCE, |c| c.agents().iter().any(|a| a.name == victim && a.standing == Standing::Lost).then_some(()));
        lost.1.push(killed.elapsed());
        attempt += 1;
        works(&cluster, &job, attempt);
        again.1.push(killed.elapsed());
        cluster.start_agent(&format!("b{round}"), 4, None);
    }
    for _ in 0..rounds {
        for parallelism in ["8", "4"] {
            another_checkpoint(&cluster, &job);
            let began = Instant::now();
            cluster.tool(&["job", "rescale", &job, "--parallelism", parallelism]);
            moved.1.push(began.elapsed());
            assert_eq!(cluster.job(&job).summary.parallelism.to_string(), parallelism);
        }
    }
    another_checkpoint(&cluster, &job);
    cluster.tool(&["job", "savepoint", &job, "end", "--stop"]);
    println!("{} rows, none lost, repeated or miscounted", check(&cluster.path("out-kept")));
    println!("{:<58} {:>8} {:>8} {:>8}", "milliseconds", "median", "least", "most");
    started.print("");
    whole.print("wanted: 500");
    inside.print("");
    for (name, of) in
        steps.into_iter().filter(|(name, _)| ["persist", "optimise", "compile", "assign", "deploy", "activate"].contains(&name.as_str()))
    {
        Times(Box::leak(format!("... step {name}").into_boxed_str()), of).print("");
    }
    lost.print("wanted: 5,000");
    again.print("wanted: 10,000");
    moved.print("wanted: 10,000");
}
