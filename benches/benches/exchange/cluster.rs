//! A server and agents as processes of this program, on loopback.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use sabot::cluster::Client;
use sabot::cluster::api::{AgentView, JobView};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

/// How many rows and keys an agent's tables have.
pub const TABLES: &str = "SABOT_BENCH_TABLES";

/// Words with which this program is a server, an agent or the tool.
pub const VERBS: &[&str] = &["server", "agent", "submit", "job", "pipelines"];

/// Ends with it.
struct Process(Child);
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Cluster {
    agents: Vec<(String, Process)>,
    server: Process,
    pub address: String,
    pub dir: tempfile::TempDir,
    client: Client,
    runtime: Runtime,
}

fn this() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

impl Cluster {
    /// A server, and agents of so many slots each. `tables`: rows and keys that agents make before they join.
    pub fn start(agents: usize, slots: usize, tables: Option<(u64, u64)>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut server = this();
        server.args(["server", "--listen", "127.0.0.1:0", "--dir"]).arg(dir.path().join("server"));
        let mut server = server.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map_while(Result::ok);
        let server = Process(server);
        let address = lines.find_map(|line| {
            let rest = line.split_once("server at http://")?.1;
            Some(rest.split(',').next()?.to_owned())
        });
        let address = address.expect("the server says where it is");
        let loud = std::env::var_os("SABOT_BENCH_LOUD").is_some();
        std::thread::spawn(move || {
            lines.for_each(|line| {
                if loud {
                    eprintln!("server: {line}");
                }
            });
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let client = Client::new(&address, None).unwrap();
        let mut cluster = Cluster { agents: Vec::new(), server, address, dir, client, runtime };
        for n in 1..=agents {
            cluster.start_agent(&format!("a{n}"), slots, tables);
        }
        cluster
    }
    /// Starts one, and waits until it has joined.
    pub fn start_agent(&mut self, name: &str, slots: usize, tables: Option<(u64, u64)>) {
        let mut agent = this();
        agent.args(["agent", "--join", &self.address, "--name", name, "--slots", &slots.to_string()]);
        if let Some((rows, keys)) = tables {
            agent.env(TABLES, format!("{rows} {keys}"));
        }
        let agent = agent.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        self.agents.push((name.to_owned(), Process(agent)));
        self.until("an agent joins", Duration::from_secs(120), |c| {
            c.agents().iter().any(|a| a.name == name && a.standing.holds()).then_some(())
        });
    }
    /// `kill -9`; its name is free then.
    pub fn kill_agent(&mut self, name: &str) {
        self.agents.retain(|(n, _)| n != name);
    }
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.runtime.block_on(self.client.get(path)).unwrap()
    }
    pub fn agents(&self) -> Vec<AgentView> {
        self.get("/v1/agents")
    }
    pub fn job(&self, id: &str) -> JobView {
        self.get(&format!("/v1/jobs/{id}"))
    }
    /// Looks every 5 ms.
    pub fn until<T>(&self, what: &str, patience: Duration, so: impl Fn(&Self) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = so(self) {
                return found;
            }
            assert!(began.elapsed() < patience, "not so after {patience:?}: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    /// Runs the tool.
    pub fn tool(&self, args: &[&str]) -> Output {
        let out =
            this().args(args).env("SABOT_SERVER", &self.address).env_remove("SABOT_TOKEN").current_dir(self.dir.path()).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        out
    }
    /// Runs the tool; its answer.
    pub fn ask<T: DeserializeOwned>(&self, args: &[&str]) -> T {
        let all: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        serde_json::from_slice(&self.tool(&all).stdout).unwrap()
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    /// Seconds of processor time of server, agents, and the tool's processes that have ended.
    pub fn cpu(&self) -> f64 {
        let running = self.agents.iter().map(|(_, a)| a).chain([&self.server]);
        let live: u64 = running.map(|p| ticks(&p.0.id().to_string(), 0)).sum();
        (live + ticks("self", 2)) as f64 / 100.0
    }
}

/// User and system time of a process in hundredths of a second; with 2 that of its children that have ended.
fn ticks(process: &str, from: usize) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let numbers = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11 + from).take(2);
    numbers.map(|t| t.parse::<u64>().unwrap()).sum()
}
