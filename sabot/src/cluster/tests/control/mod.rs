//! The whole control plane in a simulated world: the real hub, membership, placement, leads, workflows, store and sessions of agents; models of shares,
//! of the network and of users. Anything is killed, frozen, cut off and asked for at any step; what must hold is checked while it goes on, and
//! once the faults have ended: see `board` and `judge`.
//!
//! A seed that fails says its number: `SABOT_SEED=17 cargo test -p sabot --features cluster --lib -- control` runs it alone, and
//! `SABOT_SIMULATED=1` beside it prints what happens as it does.

mod agent;
mod board;
mod judge;
mod net;
mod users;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use super::seeds;
use super::world::{Process, World, run};
use crate::cluster::agent::Ending;
use crate::cluster::server::{Core, Face, begin_core};
use crate::cluster::store::{ControlStore, Keep, Memory, Place, Server};
use crate::prelude::*;
use crate::runtime::Inline;
use crate::runtime::share::Listed;
use crate::shuffle::flight::TicketKey;
use crate::sync::lock;
use agent::{Common, agent};
use board::{Board, Tally};
use net::{Line, Net};
use users::Users;

/// A row that nobody sees.
#[derive(Record, Clone, Debug)]
struct Tick {
    key: i64,
}

/// How many there were of a key.
#[derive(State, Default)]
struct Seen {
    count: i64,
}
#[operator]
fn seen(state: &mut Seen, key: i64) -> i64 {
    state.count += key;
    state.count
}

fn tick(_: u32, row: u64) -> Tick {
    Tick { key: (row % 100) as i64 }
}

pipeline! {
    /// Goes on for ever.
    pub fn sim_endless();
    ticks = source(Source::<Tick>::from(generate(4, tick)));
    counts = ticks -> key_by(key) -> keyed(|t| row { count: seen(t.key) });
    counts -> sink(to("blackhole:"));
}
pipeline! {
    /// Ends.
    pub fn sim_ends();
    ticks = source(generate(4, tick).rows(100));
    counts = ticks -> key_by(key) -> keyed(|t| row { count: seen(t.key) });
    counts -> sink(to("blackhole:"));
}

/// What the sources of a job have, as every share finds it.
fn sources(job: &crate::stream::Job) -> Vec<Listed> {
    job.lead(1, Arc::new(Inline::default())).unwrap().sources().to_vec()
}

/// A simulated time in which any seed is over.
const LONGEST: Duration = Duration::from_secs(600);
const KEY: &[u8] = b"a key of thirty-two bytes or more";

/// A process of an agent.
struct Machine {
    name: String,
    slots: usize,
    process: Process,
    ending: watch::Sender<Ending>,
    frozen: bool,
    /// Whether it was asked to leave.
    leaves: bool,
}

struct Cluster {
    world: Arc<World>,
    net: Arc<Net>,
    board: Arc<Board>,
    common: Arc<Common>,
    memory: Memory,
    last: Process,
    agents: Vec<Machine>,
    /// The process of the server, if it is up.
    server: Option<Process>,
    /// The build of what is started now.
    build: u32,
    users: Users,
}

impl Cluster {
    fn process(&mut self) -> Process {
        self.last += 1;
        self.last
    }
    /// Starts a server over the store of those before.
    fn start_server(&mut self) {
        let process = self.process();
        self.server = Some(process);
        self.board.count(|t| t.servers += 1);
        let build = self.build;
        self.world.runs(process, build);
        self.world.note(&format!("FAULT   server of build {build} begins as process {process}"));
        let (memory, net, board) = (self.memory.clone(), Arc::clone(&self.net), Arc::clone(&self.board));
        self.world.spawn_in(process, async move {
            let begun = async {
                let store = Arc::new(ControlStore::open(&Place::Memory(memory)).await?);
                let since = i64::try_from(crate::cluster::door::time_of_day().as_millis()).unwrap();
                let leader = store.lead(&Server { pid: process, host: "here".into(), address: "here:1".into(), since }).await?;
                let face = Face {
                    key: TicketKey::new(KEY)?,
                    ticket_key: String::new(),
                    control: String::new(),
                    tls: false,
                    since,
                    handover: Duration::ZERO,
                };
                let (core, news) = Core::new(store, &leader, face)?;
                let beside = begin_core(&core, &leader, news, Keep::default(), None).await?;
                net.up(process, core);
                Ok::<_, crate::Error>((leader, beside))
            };
            match begun.await {
                Ok(keeps) => {
                    std::future::pending::<()>().await;
                    drop(keeps);
                }
                Err(error) => board.wrong(format!("a server cannot begin: {error}")),
            }
        });
    }
    fn kill_server(&mut self) {
        if let Some(process) = self.server.take() {
            self.world.note(&format!("FAULT   server {process} is killed"));
            self.net.down();
            self.world.kill(process);
        }
    }
    fn start_agent(&mut self, name: &str, slots: usize) {
        let process = self.process();
        self.world.note(&format!("FAULT   agent {name} begins as process {process} with {slots} slots"));
        self.board.agent(process, slots);
        self.world.runs(process, self.build);
        let (ending, ends) = watch::channel(Ending::No);
        self.agents.retain(|m| m.name != name);
        self.agents.push(Machine { name: name.to_owned(), slots, process, ending, frozen: false, leaves: false });
        self.world.spawn_in(process, agent(Arc::clone(&self.common), process, name.to_owned(), slots, ends));
    }
    fn kill_agent(&mut self, at: usize, silently: bool) {
        let Some(machine) = self.agents.get(at) else { return };
        self.world.note(&format!("FAULT   agent {} (process {}) is killed, silently: {silently}", machine.name, machine.process));
        if silently {
            self.net.line(machine.process, Line::Hole);
        }
        self.board.count(|t| t.kills += 1);
        self.board.dead(machine.process);
        self.world.kill(machine.process);
    }
}

/// One seed.
async fn simulate(
    world: Arc<World>,
    dir: std::path::PathBuf,
    sources: std::collections::BTreeMap<String, Vec<Listed>>,
) -> Result<(Tally, u64), String> {
    let (net, board) = (Net::new(Arc::clone(&world)), Board::new(Arc::clone(&world)));
    let common = Arc::new(Common {
        world: Arc::clone(&world),
        net: Arc::clone(&net),
        board: Arc::clone(&board),
        key: TicketKey::new(KEY).map_err(|e| e.to_string())?,
        sources,
        calm: Mutex::new(false),
    });
    let users = Users::new(Arc::clone(&world), Arc::clone(&net), Arc::clone(&board), dir);
    let memory = Memory::default();
    let mut cluster = Cluster { world, net, board, common, memory, last: 0, agents: Vec::new(), server: None, build: 0, users };
    cluster.start_server();
    for n in 0..2 + cluster.world.below(3) {
        let slots = 1 + cluster.world.below(4) as usize;
        cluster.start_agent(&format!("a{n}"), slots);
    }
    let until = Duration::from_secs(10) + cluster.world.while_ms(25_000);
    while cluster.world.now() < until {
        let wait = cluster.world.while_ms(1500);
        cluster.world.sleep(wait).await;
        judge::meanwhile(&cluster).await?;
        fault(&mut cluster).await;
    }
    judge::at_last(&mut cluster).await?;
    let trace = cluster.world.trace();
    cluster.world.note(&format!("TRACE   {trace:016x}"));
    Ok((cluster.board.tally(), trace))
}

/// Something happens.
async fn fault(cluster: &mut Cluster) {
    let world = Arc::clone(&cluster.world);
    let which = world.below(100);
    let at = world.below(cluster.agents.len().max(1) as u64) as usize;
    let name = cluster.agents.get(at).map(|m| (m.name.clone(), m.process));
    match which {
        0..40 => cluster.users.act(),
        40..50 => match cluster.server {
            Some(_) => cluster.kill_server(),
            None => {
                // who wants another build brings one
                if world.chance(if cluster.users.upgraded > 0 { 50 } else { 4 }) {
                    cluster.build += 1;
                }
                cluster.start_server();
            }
        },
        50..60 => cluster.kill_agent(at, world.chance(40)),
        60..72 => {
            if let Some(machine) = cluster.agents.get_mut(at) {
                machine.frozen = !machine.frozen;
                let how = if machine.frozen { "frozen" } else { "thawed" };
                world.note(&format!("FAULT   agent {} (process {}) is {how}", machine.name, machine.process));
                if machine.frozen {
                    world.freeze(machine.process);
                } else {
                    cluster.board.count(|t| t.zombies += 1);
                    world.thaw(machine.process);
                }
            }
        }
        72..80 => {
            if let Some((name, process)) = name {
                let line = [Line::Hole, Line::Cut, Line::Fine][world.below(3) as usize];
                world.note(&format!("FAULT   the lines of {name} are {line:?}"));
                cluster.net.line(process, line);
            }
        }
        80..92 => {
            // one that is gone is started again, or a new one comes
            let gone = cluster.agents.iter().find(|m| !world.lives(m.process)).map(|m| (m.name.clone(), m.slots));
            if let Some((name, slots)) = gone {
                cluster.start_agent(&name, slots);
            } else if cluster.agents.len() < 6 {
                let name = format!("a{}", cluster.agents.len());
                let slots = 1 + world.below(4) as usize;
                cluster.start_agent(&name, slots);
            }
        }
        92..96 => {
            if let Some(machine) = cluster.agents.get_mut(at) {
                world.note(&format!("FAULT   agent {} is told to drain", machine.name));
                machine.leaves = true;
                machine.ending.send_replace(Ending::Drain);
            }
        }
        _ => {
            if let Some((name, _)) = name {
                cluster.users.drain(&name);
            }
        }
    }
}

#[test]
fn a_seed_is_the_same_run_again() {
    let sources: std::collections::BTreeMap<String, Vec<Listed>> =
        [("sim_endless", sources(&sim_endless())), ("sim_ends", sources(&sim_ends()))].map(|(n, s)| (n.to_owned(), s)).into();
    for seed in [4, 17] {
        let trace = || {
            let dir = tempfile::tempdir().unwrap();
            let (path, sources) = (dir.path().to_owned(), sources.clone());
            run(seed, LONGEST, |world| simulate(world, path, sources)).map(|(_, trace)| trace)
        };
        assert_eq!(trace().map_err(|(why, _)| why), trace().map_err(|(why, _)| why), "seed {seed}");
    }
}

#[test]
fn the_control_plane_keeps_its_word() {
    let only: Option<u64> = std::env::var("SABOT_SEED").ok().and_then(|s| s.parse().ok());
    let seeds = only.map_or_else(|| seeds(40), |seed| seed..seed + 1);
    let sources: std::collections::BTreeMap<String, Vec<Listed>> =
        [("sim_endless", sources(&sim_endless())), ("sim_ends", sources(&sim_ends()))].map(|(n, s)| (n.to_owned(), s)).into();
    let next = AtomicU64::new(seeds.start);
    let failed: Mutex<Vec<(u64, String, Vec<String>)>> = Mutex::default();
    let total: Mutex<Tally> = Mutex::default();
    let begun = std::time::Instant::now();
    let threads = if only.is_some() { 1 } else { std::thread::available_parallelism().map_or(1, usize::from) };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds.end || !lock(&failed).is_empty() {
                        return;
                    }
                    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
                    let (path, sources) = (dir.path().to_owned(), sources.clone());
                    match run(seed, LONGEST, |world| simulate(world, path, sources)) {
                        Ok((tally, _)) => lock(&total).add(&tally),
                        Err((why, notes)) => lock(&failed).push((seed, why, notes)),
                    }
                }
            });
        }
    });
    if let Some((seed, why, notes)) = lock(&failed).first() {
        let from = notes.len().saturating_sub(400);
        println!("{}", notes[from..].join("\n"));
        panic!("seed {seed}: {why}");
    }
    let total = *lock(&total);
    println!("{} seeds in {:?}: {total:?}", seeds.end - seeds.start, begun.elapsed());
    if only.is_none() {
        let Tally { attempts, writes, checkpoints, kills, zombies, servers, operations, done, finished } = total;
        for (what, n) in [
            ("attempts", attempts),
            ("writes", writes),
            ("checkpoints", checkpoints),
            ("kills", kills),
            ("zombies", zombies),
            ("servers", servers),
            ("operations", operations),
            ("operations that were done", done),
            ("jobs that have finished", finished),
        ] {
            assert!(n > 0, "{n} {what}: the seeds do too little");
        }
    }
}
