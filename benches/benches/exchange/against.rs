//! A job on two agents beside the same job in one process, on as many cores.
//!
//! Two agents of one slot each, and their server, against two threads of this process; the contestants take turns. The *run* of the job on agents is
//! from the moment when the server notes that its tasks run to the one when it notes that the job has finished: all rows are written then and the
//! sink has committed. The *whole* is from the start of the tool's process, `submit --wait`, to its end. Processor time is that of server, agents and
//! tool, over the whole.

use std::path::Path;
use std::time::{Duration, Instant};

use sabot::cluster::api::JobView;
use sabot::cluster::store::JobState;
use sabot::stream::{Job, to};

use super::cluster::Cluster;
use super::jobs::{CASES, Case, check, expected, load};
use super::{cpu, median};

const ROWS: (u64, u64) = (10_000_000, 2_000_000);
const SMOKE_ROWS: (u64, u64) = (100_000, 20_000);
/// Of the machine, and of the agents together.
const CORES: usize = 2;

/// What one turn took, in seconds.
#[derive(Clone, Copy, Debug)]
struct Turn {
    run: f64,
    whole: f64,
    cpu: f64,
}

fn local(case: &Case, (rows, keys): (u64, u64), out: &Path) -> Turn {
    let (began, used) = (Instant::now(), cpu());
    let job: Job = (case.job)(rows, keys);
    job.parallel(CORES).sink("groups", to(&out.display().to_string())).run().unwrap();
    let whole = began.elapsed().as_secs_f64();
    Turn { run: whole, whole, cpu: cpu() - used }
}

fn distributed(cluster: &Cluster, case: &Case, (rows, keys): (u64, u64), out: &Path) -> Turn {
    let (began, used) = (Instant::now(), cluster.cpu());
    let (rows, keys, sink) = (rows.to_string(), keys.to_string(), format!("groups={}", out.display()));
    let cores = CORES.to_string();
    let submit = ["submit", case.pipeline, "--rows", &rows, "--keys", &keys, "--parallelism", &cores, "--sink", &sink, "--wait"];
    let view: JobView = cluster.ask(&[&submit, case.submit].concat());
    let whole = began.elapsed().as_secs_f64();
    let cpu = cluster.cpu() - used;
    assert_eq!((view.summary.state, view.summary.restarts), (JobState::Finished, 0), "{:?}", view.history);
    let shares: std::collections::BTreeSet<_> = view.tasks.iter().map(|t| t.placed.agent.clone()).collect();
    assert_eq!(shares.len(), CORES, "each agent has a share");
    let at = |state: JobState| view.history.iter().find(|h| h.state == state).map(|h| h.at).unwrap();
    let run = Duration::from_millis(u64::try_from(at(JobState::Finished) - at(JobState::Running)).unwrap());
    Turn { run: run.as_secs_f64(), whole, cpu }
}

/// Compares the results, and times unless it is a smoke run. `rows` instead of what is usual; a fifth as many keys.
pub fn compare(smoke: bool, rounds: usize, rows: Option<usize>, only: &dyn Fn(&str) -> bool) {
    let usual = if smoke { SMOKE_ROWS } else { ROWS };
    let size = rows.map_or(usual, |rows| (rows as u64, (rows as u64 / 5).max(1)));
    let cases = || CASES.iter().filter(|c| !CASES.iter().any(|c| only(c.pipeline)) || only(c.pipeline));
    load(size.0, size.1);
    let cluster = Cluster::start(CORES, 1, Some(size));
    let (here, there) = (cluster.path("here.arrow"), cluster.path("there.arrow"));
    for case in cases() {
        let expected = expected(case, size.0, size.1);
        local(case, size, &here);
        check(case, &here, &expected);
        distributed(&cluster, case, size, &there);
        check(case, &there, &expected);
    }
    println!("{} rows, {} keys: results of the local and the distributed job checked", size.0, size.1);
    if smoke {
        return;
    }
    println!(
        "{:<28} {:>22} {:>32} {:>12} {:>12} {:>8}",
        "", "local: s, CPU-s", "on 2 agents: run s, whole s, CPU-s", "local/run", "local/whole", "wanted"
    );
    for case in cases() {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(local(case, size, &here));
            theirs.push(distributed(&cluster, case, size, &there));
        }
        let of = |turns: &[Turn], what: fn(&Turn) -> f64| median(turns.iter().map(what).collect());
        let (one, run, whole) = (of(&ours, |t| t.whole), of(&theirs, |t| t.run), of(&theirs, |t| t.whole));
        println!(
            "{:<28} {:>22} {:>32} {:>12.2} {:>12.2} {:>8}",
            case.title,
            format!("{:.2}, {:.2}", one, of(&ours, |t| t.cpu)),
            format!("{run:.2}, {whole:.2}, {:.2}", of(&theirs, |t| t.cpu)),
            one / run,
            one / whole,
            case.wanted
        );
    }
}
