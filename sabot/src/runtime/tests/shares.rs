//! Jobs in several simulated processes: whichever of them dies, hangs or fails, and when.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use super::kept::{Shelf, each_row_once, folder, kept, on, plan, plan_of, shown, shown_once};
use super::*;
use crate::operator::{BoundSink, Operator, Output, PhysicalPlan, Progress};
use crate::runtime::share::{Carrier, Lead, Member, Share, ToShare, Up};
use crate::testing::processes::Processes;
use crate::{Error, Result};

type Sinks = Arc<dyn Fn() -> Vec<BoundSink> + Send + Sync>;

/// Starts a job on so many shares.
fn start(sim: &Arc<Simulated>, plan: &Arc<PhysicalPlan>, sinks: Sinks, options: &RunOptions, shares: usize) -> Result<Arc<Processes>> {
    let lead = |executor| {
        let stages = crate::runtime::share::stages(plan, options, options.threads)?;
        let lead = Lead::open(Arc::clone(plan), options, options.threads, executor)?;
        assert_eq!(lead.stages(), stages, "what was placed is what is led");
        Ok(lead)
    };
    let member = |executor: Arc<dyn Executor>, share: Share, carrier: Arc<dyn Carrier>, up: Up| -> Result<Member<'static>> {
        let sinks = Arc::clone(&sinks);
        let open = move |nodes: &[usize]| Ok(sinks().into_iter().filter(|s| nodes.contains(&s.node)).collect());
        Ok(Member::new(executor, (Arc::clone(plan), options), Box::new(open), share, carrier, up))
    };
    Processes::start(sim, shares, lead, member)
}

/// Runs a job whose last node is its sink.
fn shared(plan: Plan, seed: u64, options: &RunOptions, shares: usize) -> (Seen, Result<Report>) {
    let (seen, sim, plan) = (Seen::default(), Arc::new(Simulated::new(seed)), Arc::new(plan.0));
    let (sink, node) = (seen.clone(), plan.nodes.len() - 1);
    let sinks: Sinks = Arc::new(move || bind(node, &sink));
    let report = start(&sim, &plan, sinks, options, shares).and_then(|processes| processes.drive());
    (seen, report)
}

fn shelved(shelves: &[Shelf; 2], nodes: [usize; 2]) -> Sinks {
    let shelves = shelves.clone();
    Arc::new(move || on(&shelves, nodes))
}

/// An executor on which, at a step, something happens to processes that have started by then.
fn at(seed: u64, step: u64, act: impl Fn(&Arc<Processes>) + Send + 'static) -> (Arc<Simulated>, Arc<OnceLock<Arc<Processes>>>) {
    let started: Arc<OnceLock<Arc<Processes>>> = Arc::default();
    let then = Arc::clone(&started);
    let sim = Simulated::new(seed).at(step, move || then.get().iter().for_each(|p| act(p)));
    (Arc::new(sim), started)
}

#[test]
fn what_several_processes_do_is_what_one_does() {
    let expected = go(&counted(2000), &options(1, 20)).0.rows();
    let joined = go(&diamond(700), &options(1, 20)).0.sorted();
    for seed in seeds(24) {
        let (shares, threads) = (1 + seed as usize % 3, [1, 2, 3, 8][seed as usize % 4]);
        for (plan, expected, ordered) in [(counted(2000), &expected, true), (diamond(700), &joined, false)] {
            let (seen, report) = shared(plan, seed, &options(threads, 20), shares);
            report.unwrap_or_else(|e| panic!("seed {seed}, {threads} instances in {shares} processes: {e}"));
            let rows = if ordered { seen.rows() } else { seen.sorted() };
            assert!(rows == *expected, "seed {seed}, {threads} instances in {shares} processes");
            assert_eq!(seen.ends(), ["commit"]);
        }
    }
}

/// Stops the sources late, so that all rows are read before.
fn finish(dir: &Path, plan: &Arc<PhysicalPlan>, sinks: Sinks, seed: u64, (shares, threads): (usize, usize)) -> Report {
    let sim = Arc::new(Simulated::new(seed));
    let options = RunOptions { checkpoint_every: Duration::from_millis(15), ..kept(dir, threads) };
    let processes = start(&sim, plan, sinks, &options, shares).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    let lead = Arc::clone(&processes.lead);
    sim.after(Duration::from_millis(60), Box::new(move || lead.stop()));
    processes.drive().unwrap_or_else(|e| panic!("seed {seed}: {e}"))
}

/// One of two tests, which run side by side.
fn dies(half: u64) {
    let (mut restored, mut attempts) = (0, 0);
    for seed in seeds(500).map(|seed| seed * 2 + half) {
        let dir = folder();
        let shelves = [Shelf::default(), Shelf::default()];
        let partitions = 1 + seed as u32 % 3;
        let (plan, nodes) = plan_of(partitions, ROWS);
        let plan = Arc::new(plan.0);
        for life in 0..1 + u64::from(seed % 8 < 2) {
            let mut random = seed * 7919 + life;
            let mut random = || crate::runtime::executor::split_mix(&mut random) >> 8;
            let shares = 1 + random() as usize % 3;
            let victim = random() as usize % (shares + 1);
            let noticed = random() % 4 > 0;
            let die = move |p: &Arc<Processes>| {
                if victim == shares {
                    p.kill_lead();
                    (0..shares).filter(|_| noticed).for_each(|share| p.hang_up(share));
                } else {
                    p.kill(victim);
                    // else a job of which it has no task goes on until its lease is over
                    if noticed || !p.has_tasks(victim) {
                        p.hang_up(victim);
                    }
                }
            };
            let (sim, started) = at(seed * 10 + life, 30 + random() % 700, die);
            let processes = start(&sim, &plan, shelved(&shelves, nodes), &kept(dir.path(), 1 + random() as usize % 4), shares);
            let processes = processes.unwrap_or_else(|e| panic!("seed {seed}, life {life}: {e}"));
            let _ = started.set(Arc::clone(&processes));
            let ended = processes.drive();
            assert!(ended.is_err(), "seed {seed}: a process died");
            assert!(victim == shares || matches!(ended, Err(Error::Io { .. })), "seed {seed}: {ended:?}");
            attempts += 1;
        }
        let report = finish(dir.path(), &plan, shelved(&shelves, nodes), seed, (1 + seed as usize % 3, 2));
        restored += u32::from(report.checkpoints.restored.is_some());
        shown_once(&shelves, i64::from(partitions), ROWS, seed);
    }
    assert!(restored > attempts / 4, "{restored} of {attempts} continued from a checkpoint");
}

/// Rows of each partition, where many seeds are tried.
const ROWS: i64 = 80;

#[test]
fn every_row_is_shown_once_whichever_process_dies_whenever() {
    dies(0);
}
#[test]
fn every_row_is_shown_once_whichever_process_dies_whenever_again() {
    dies(1);
}

#[test]
fn a_process_that_hangs_and_comes_back_changes_nothing() {
    let (mut refused, mut to_publish) = (0, 0);
    for seed in seeds(60) {
        let dir = folder();
        let shelves = [Shelf::default(), Shelf::default()];
        let (plan, nodes) = plan_of(2, ROWS);
        let plan = Arc::new(plan.0);
        let shares = 2 + seed as usize % 2;
        let zombie = seed as usize % shares;
        let (sim, started) = at(seed, 150 + seed * 17 % 700, move |p| p.stop(zombie));
        let first = start(&sim, &plan, shelved(&shelves, nodes), &kept(dir.path(), 3), shares).unwrap();
        let _ = started.set(Arc::clone(&first));
        let error = first.drive().unwrap_err();
        assert!(error.to_string().contains("was not heard") && first.lead.failed_share() == Some(zombie), "seed {seed}: {error}");
        to_publish += first.falling(zombie).iter().filter(|m| matches!(m, ToShare::Publish { .. })).count();

        // the same clock goes on, for another attempt and, in its midst, for the process that hung
        let generation = first.lead.generation();
        drop(started);
        let late = Arc::clone(&first);
        let options = RunOptions { checkpoint_every: Duration::from_millis(10), ..kept(dir.path(), 2) };
        let second = start(&sim, &plan, shelved(&shelves, nodes), &options, 1 + seed as usize % 3).unwrap();
        assert!(second.lead.generation() > generation);
        sim.after(Duration::from_millis(seed % 20), Box::new(move || late.go_on(zombie)));
        let stop = Arc::clone(&second.lead);
        sim.after(Duration::from_millis(100), Box::new(move || stop.stop()));
        second.drive().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        // it may stage what nobody will ever ask for
        shown_once(&shelves, 2, ROWS, seed);
        let error = first.error(zombie).unwrap_or_default();
        refused += u32::from(error.contains("was not heard"));
        assert!(!error.is_empty(), "seed {seed}: it has ended");
    }
    assert!(refused > 30, "{refused} ended because their lease was over");
    assert!(to_publish > 0, "some were told to publish while they hung");
}

#[test]
fn processes_that_wait_for_each_other_go_on_with_larger_queues() {
    let expected = go(&diamond(1500), &options(1, 20)).0.sorted();
    let mut grown = 0;
    for seed in seeds(12) {
        let tiny = RunOptions { channel_bytes: 200, reorder_bytes: 200, ..options(1 + seed as usize % 4, 10) };
        let (seen, report) = shared(diamond(1500), seed, &tiny, 2 + seed as usize % 2);
        let report = report.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert!(seen.sorted() == expected, "seed {seed}");
        grown += report.events.iter().filter(|e| e.contains("were let grow")).count();
    }
    assert!(grown > 0, "no run stood still");
}

#[test]
fn what_happens_in_a_share_is_told_when_it_happens_and_once() {
    let mut grown = 0;
    for seed in seeds(8) {
        let tiny = RunOptions { channel_bytes: 200, reorder_bytes: 200, ..options(2, 10) };
        let (seen, plan) = (Seen::default(), Arc::new(diamond(1500).0));
        let (node, told) = (plan.nodes.len() - 1, Arc::new(std::sync::Mutex::new(Vec::new())));
        let sinks: Sinks = Arc::new(move || bind(node, &seen));
        let processes = start(&Arc::new(Simulated::new(seed)), &plan, sinks, &tiny, 3).unwrap();
        let (hears, lead) = (Arc::clone(&told), Arc::downgrade(&processes.lead));
        processes.lead.on_event(move |share, event| {
            let over = lead.upgrade().is_none_or(|lead| lead.is_over());
            hears.lock().unwrap().push((share, event.to_owned(), over));
        });
        let report = processes.drive().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let told = told.lock().unwrap();
        assert!(told.iter().map(|(_, event, _)| event).eq(&report.events), "seed {seed}: {told:?} and {:?}", report.events);
        for (share, event, over) in told.iter().filter(|(_, event, _)| event.contains("were let grow")) {
            assert!(!over && event.starts_with(&format!("share {}", share.unwrap())), "seed {seed}: {event}");
            grown += 1;
        }
    }
    assert!(grown > 0, "no run stood still");
}

/// Takes nothing, ever.
struct Deaf;

impl Operator for Deaf {
    fn process(&mut self, _port: usize, _m: crate::kernel::Morsel, _out: &mut dyn Output) -> Result<Progress> {
        Err(Error::internal("a row for a step that takes none"))
    }
    fn ready(&self, _port: usize) -> bool {
        false
    }
}

#[test]
fn processes_that_wait_for_nothing_end_with_an_error() {
    for seed in seeds(8) {
        let mut p = Plan::default();
        let s = p.source(Numbers::new(200, 17, 20));
        let d = p.node("deaf", &[(s, 0, by_key(), false)], false, true, || Deaf);
        p.sink(d);
        let (seen, report) = shared(p, seed, &options(3, 10), 1 + seed as usize % 3);
        let error = report.unwrap_err().to_string();
        assert!(error.contains("no step of the job can go on"), "seed {seed}: {error}");
        assert_eq!(seen.ends(), ["abort"], "seed {seed}");
    }
}

/// Counts itself; fails on a row.
struct Counted(Arc<AtomicUsize>, i64);

impl Counted {
    fn new(alive: &Arc<AtomicUsize>, fails: i64) -> Self {
        alive.fetch_add(1, SeqCst);
        Counted(Arc::clone(alive), fails)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Operator for Counted {
    fn process(&mut self, _port: usize, m: crate::kernel::Morsel, out: &mut dyn Output) -> Result<Progress> {
        if of(&m).iter().any(|(_, v)| *v == self.1) {
            return Err(Error::Operator { operator: String::new(), what: "failed: a poison row".into(), row: String::new() });
        }
        out.emit(m);
        Ok(Progress::Done)
    }
}

#[test]
fn an_error_in_one_process_ends_all_and_everything_is_given_back() {
    for seed in seeds(12) {
        let alive = Arc::new(AtomicUsize::new(0));
        let mut p = Plan::default();
        let s = p.source(Numbers::new(3000, 17, 50));
        let theirs = Arc::clone(&alive);
        let c = p.node("checked", &[(s, 0, by_key(), false)], false, true, move || Counted::new(&theirs, 1700));
        p.sink(c);
        let (seen, report) = shared(p, seed, &options(4, 10), 3);
        match report.unwrap_err() {
            Error::Operator { operator, what, row } => {
                assert_eq!((operator.as_str(), what.as_str()), ("checked", "failed: a poison row"));
                assert!(row.contains("`source0`"), "{row}");
            }
            other => panic!("seed {seed}: {other}"),
        }
        assert_eq!(seen.ends(), ["abort"], "seed {seed}");
        assert_eq!(alive.load(SeqCst), 0, "seed {seed}: operators are left");
    }
}

#[test]
fn a_limit_ends_sources_in_other_processes() {
    for seed in seeds(12) {
        let mut p = Plan::default();
        let s = p.source(Numbers { endless: true, partitions: 3, ..Numbers::new(i64::MAX, 17, 1) });
        let l = p.node("limit", &[(s, 0, crate::operator::Exchange::Gather, true)], true, true, || Limit(50));
        p.sink(l);
        let (seen, report) = shared(p, seed, &RunOptions { checkpoints: false, ..options(3, 10) }, 3);
        report.unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(seen.rows().len(), 50, "seed {seed}");
    }
}

#[test]
fn a_savepoint_of_several_processes_begins_a_job_on_another_number() {
    for seed in seeds(12) {
        let (dir, other) = (folder(), folder());
        let shelves = [Shelf::default(), Shelf::default()];
        let (plan, nodes) = plan(2);
        let plan = Arc::new(plan.0);
        let ticket: Arc<OnceLock<Ticket<Savepoint>>> = Arc::default();
        let asked = Arc::clone(&ticket);
        let (sim, started) = at(seed, 700, move |p| _ = asked.set(p.lead.request_savepoint("before", true)));
        let processes = start(&sim, &plan, shelved(&shelves, nodes), &kept(dir.path(), 3), 2).unwrap();
        let _ = started.set(Arc::clone(&processes));
        let ended = processes.drive();
        assert!(matches!(&ended, Err(Error::Suspended(name)) if name == "before"), "seed {seed}: {ended:?}");
        let saved = ticket.get().and_then(Ticket::try_take).unwrap().unwrap();
        assert!(saved.bytes > 0);
        assert_eq!(processes.lead.checkpoints().savepoints, [saved], "seed {seed}");
        let path = find_savepoint(Some(dir.path()), "before").unwrap();
        let (sim, started) = at(seed + 1, 6000, |p| p.lead.stop());
        let options = RunOptions { from_savepoint: Some(path), checkpoint_every: Duration::from_millis(5), ..kept(other.path(), 2) };
        let processes = start(&sim, &plan, shelved(&shelves, nodes), &options, 3).unwrap();
        let _ = started.set(Arc::clone(&processes));
        processes.drive().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        each_row_once(&shelves, 2, seed);
    }
}

/// To several, to one, to several: with one instance each step could be in one task, but for what the checkpoint says of them.
#[test]
fn a_job_that_moves_goes_on_from_a_checkpoint() {
    for seed in seeds(12) {
        let dir = folder();
        let shelves = [Shelf::default(), Shelf::default()];
        let (plan, nodes) = plan(2);
        let plan = Arc::new(plan.0);
        for (life, (threads, shares)) in [(3, 2), (1, 1), (4, 3), (1, 2)].into_iter().enumerate() {
            let ticket: Arc<OnceLock<Ticket<()>>> = Arc::default();
            let asked = Arc::clone(&ticket);
            let (sim, started) = at(seed * 10 + life as u64, 700, move |p| _ = asked.set(p.lead.request_end("elsewhere")));
            let processes = start(&sim, &plan, shelved(&shelves, nodes), &kept(dir.path(), threads), shares).unwrap();
            let _ = started.set(Arc::clone(&processes));
            let ended = processes.drive();
            assert!(matches!(&ended, Err(Error::Suspended(name)) if name == "elsewhere"), "seed {seed}, life {life}: {ended:?}");
            assert!(matches!(ticket.get().and_then(Ticket::try_take), Some(Ok(()))));
        }
        assert!(!dir.path().join("savepoints").exists(), "nothing stays but the checkpoints");
        finish(dir.path(), &plan, shelved(&shelves, nodes), seed, (2, 3));
        each_row_once(&shelves, 2, seed);
    }
}

#[test]
fn a_directory_that_not_all_processes_see_is_refused() {
    let (dir, elsewhere) = (folder(), folder());
    let shelves = [Shelf::default(), Shelf::default()];
    let (plan, nodes) = plan(1);
    let plan = Arc::new(plan.0);
    let sim = Arc::new(Simulated::new(3));
    let here = kept(dir.path(), 2);
    let lead = |executor| Lead::open(Arc::clone(&plan), &here, 2, executor);
    let sinks = shelved(&shelves, nodes);
    let member = |executor: Arc<dyn Executor>, share: Share, carrier: Arc<dyn Carrier>, up: Up| {
        let options = if share.number == 1 { kept(elsewhere.path(), 2) } else { here.clone() };
        let sinks = Arc::clone(&sinks);
        let open = move |nodes: &[usize]| Ok(sinks().into_iter().filter(|s| nodes.contains(&s.node)).collect());
        Ok(Member::new(executor, (Arc::clone(&plan), &options), Box::new(open), share, carrier, up))
    };
    let processes = Processes::start(&sim, 2, lead, member).unwrap();
    let error = processes.drive().unwrap_err().to_string();
    assert!(error.contains("share 1") && error.contains(&elsewhere.path().display().to_string()), "{error}");
    assert_eq!(shown(&shelves[0]), []);
}

#[test]
fn the_lead_knows_what_the_steps_do() {
    let dir = folder();
    let shelves = [Shelf::default(), Shelf::default()];
    let (plan, nodes) = plan(2);
    let plan = Arc::new(plan.0);
    let sim = Arc::new(Simulated::new(5));
    let processes = start(&sim, &plan, shelved(&shelves, nodes), &kept(dir.path(), 3), 2).unwrap();
    let lead = Arc::clone(&processes.lead);
    let seen = Arc::new(OnceLock::new());
    let told = Arc::clone(&seen);
    let asked = Arc::clone(&lead);
    sim.after(
        Duration::from_millis(2500),
        Box::new(move || {
            let _ = told.set((asked.metrics(), asked.checkpoints().taken));
            asked.stop();
        }),
    );
    processes.drive().unwrap();
    let (metrics, taken) = seen.get().unwrap();
    assert_eq!(metrics.len(), 2);
    let of = |node: usize| metrics.iter().flatten().filter(move |m| m.node == node);
    let source = of(0).map(|m| m.account.rows_in).sum::<u64>();
    assert_eq!((source, of(0).map(|m| m.instances).sum::<usize>()), (600, 3), "all rows were read");
    assert_eq!(of(2).map(|m| m.account.rows_in).sum::<u64>(), 300);
    assert_eq!(of(nodes[1]).map(|m| m.account.rows_in).sum::<u64>(), 300);
    assert!(*taken > 0);
}

#[test]
fn the_lead_knows_what_the_steps_of_a_short_job_did() {
    for seed in seeds(12) {
        let plan = Arc::new(counted(200).0);
        let (seen, node) = (Seen::default(), plan.nodes.len() - 1);
        let sinks: Sinks = Arc::new(move || bind(node, &seen));
        let processes = start(&Arc::new(Simulated::new(seed)), &plan, sinks, &options(3, 20), 1 + seed as usize % 3).unwrap();
        let report = processes.drive().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        // it was over before anybody was asked
        let mut accounts = vec![crate::operator::Account::default(); plan.nodes.len()];
        processes.lead.metrics().iter().flatten().for_each(|m| accounts[m.node].add(&m.account));
        // what a step has used follows from the whole job, which only the report knows
        let rows: Vec<_> = accounts.iter().map(|a| (a.rows_in, a.rows_out)).collect();
        let exact: Vec<_> = report.nodes.iter().map(|n| (n.account.rows_in, n.account.rows_out)).collect();
        assert_eq!(rows, exact, "seed {seed}");
        assert_eq!(accounts[0].rows_in, 200);
    }
}

/// Runs shares on threads of their own, and a lead on this one.
fn on_threads(plan: &Arc<PhysicalPlan>, shares: usize, lease: Duration) -> (Seen, Report) {
    use std::sync::mpsc;
    let seen = Seen::default();
    let node = plan.nodes.len() - 1;
    let (pool, workers) = (Arc::new(Pool::new(1).unwrap()), Arc::new(Pool::new(2).unwrap()));
    let (wires, done) = (crate::testing::wires::Wires::new(Arc::clone(&pool) as Arc<dyn Executor>), Arc::new(Done::default()));
    let (driver, until) = (Arc::clone(&pool), Arc::clone(&done));
    let network = std::thread::spawn(move || driver.drive(&until));
    let lead = Lead::open(Arc::clone(plan), &options(2, 100), 4, Arc::new(Inline::default())).unwrap();
    let (to, from): (Vec<_>, Vec<_>) = (0..shares).map(|_| mpsc::channel::<ToShare>()).unzip();
    let to = std::sync::Mutex::new(to);
    let send = move |share: usize, message| _ = to.lock().unwrap()[share].send(message);
    let placement = crate::runtime::share::Placement::spread(lead.stages(), &vec![2; shares]);
    let begun = lead.begin(placement, Arc::new(send)).unwrap();
    let threads: Vec<_> = begun
        .into_iter()
        .zip(from)
        .map(|(share, down)| {
            let (lead, plan, seen, number) = (Arc::clone(&lead), Arc::clone(plan), seen.clone(), share.number);
            let socket = wires.socket(number) as Arc<dyn Carrier>;
            let open = move |nodes: &[usize]| Ok(bind(node, &seen).into_iter().filter(|s| nodes.contains(&s.node)).collect());
            let up: Up = Arc::new(move |message| lead.on(number, message));
            let share = Share { lease, ..share };
            let workers = Arc::clone(&workers);
            std::thread::spawn(move || crate::runtime::share::run_share((plan, &options(2, 100)), &workers, &open, share, socket, up, down))
        })
        .collect();
    let report = lead.wait().unwrap();
    for thread in threads {
        assert_eq!(thread.join().unwrap().unwrap().workers.len(), 2);
    }
    done.set();
    pool.nudge();
    assert!(network.join().unwrap());
    (seen, report)
}

#[test]
fn shares_run_on_threads() {
    let expected = go(&counted(20_000), &options(1, 100)).0.rows();
    for shares in [1, 3] {
        let (seen, report) = on_threads(&Arc::new(counted(20_000).0), shares, Duration::from_secs(5));
        assert_eq!(seen.rows(), expected);
        assert_eq!((report.workers.len(), seen.ends()), (2 * shares, vec!["commit"]));
    }
}

/// Has splits that are listed for so long, but for the first time.
struct Long(Numbers, Duration, std::sync::atomic::AtomicBool);

impl crate::operator::Source for Long {
    fn schema(&self) -> arrow_schema::SchemaRef {
        self.0.schema()
    }
    fn project(&mut self, columns: &[String]) -> Result<()> {
        self.0.project(columns)
    }
    fn bounded(&self) -> bool {
        true
    }
    fn splits(&self) -> Result<Vec<crate::operator::Split>> {
        if self.2.swap(true, SeqCst) {
            std::thread::sleep(self.1);
        }
        self.0.splits()
    }
    fn open(&self, split: &crate::operator::Split, at: Option<&serde_json::Value>) -> Result<Box<dyn crate::operator::SplitReader>> {
        self.0.open(split, at)
    }
    fn describe(&self) -> String {
        self.0.describe()
    }
}

#[test]
fn a_share_that_lists_its_input_for_longer_than_its_lease_is_heard_meanwhile() {
    let lease = Duration::from_millis(2500);
    let mut p = Plan::default();
    let s = p.source(Long(Numbers::new(500, 17, 20), lease + lease / 5, std::sync::atomic::AtomicBool::new(false)));
    p.sink(s);
    let (seen, _) = on_threads(&Arc::new(p.0), 2, lease);
    assert_eq!((seen.rows().len(), seen.ends()), (500, vec!["commit"]));
}

#[cfg(feature = "cluster")]
#[test]
fn messages_are_bytes() {
    use crate::runtime::share::{FromShare, Part};
    let state = |stored| NodeState {
        node: "a".into(),
        instance: 1,
        state: crate::operator::GroupState { group: 3, bytes: vec![0, 200, 7] },
        stored,
        rows: None,
        of: 0,
    };
    let stored = Stored { file: "f".into(), offset: 1, length: 2, hash: u64::MAX };
    let part = Part {
        states: vec![state(None), state(Some(stored))],
        position: Some(SourcePosition {
            node: "s".into(),
            done: vec![(1, 2)],
            open: vec![OpenSplit {
                partition: 0,
                sequence: 9,
                row: 4,
                position: serde_json::json!({"at": [1, null, "x", -3.5]}),
                time: Some(-7),
                proof: None,
            }],
        }),
        in_flight: vec![InFlight { node: "a".into(), instance: 0, edge: 1, producer: 2, origin: (1, 2, 3, 4), rows: vec![255; 40] }],
        ..Part::default()
    };
    let bytes = FromShare::Cut { task: 4, part: Box::new(part.clone()) }.to_bytes().unwrap();
    assert!(bytes.len() < 900, "{}", bytes.len());
    let Ok(FromShare::Cut { task: 4, part: read }) = FromShare::from_bytes(&bytes) else { panic!("another message") };
    assert_eq!((read.states, read.position, read.in_flight), (part.states, part.position, part.in_flight));
    let publish = ToShare::Publish { node: 1, epoch: 2, prepared: serde_json::json!(["part-1", {"rows": 3}, null]) };
    assert_eq!(ToShare::from_bytes(&publish.to_bytes().unwrap()).unwrap(), publish);
    let error = ToShare::from_bytes(b"nonsense").unwrap_err().to_string();
    assert!(error.contains("same build"), "{error}");
}
