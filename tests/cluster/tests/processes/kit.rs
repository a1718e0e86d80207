//! A cluster of processes, and the ledger of what its jobs write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use sabot::cluster::Client;
use serde_json::Value;

/// The program.
pub(crate) const TOOL: &str = env!("CARGO_BIN_EXE_cluster_tool");

/// Its next version.
pub(crate) const NEXT: &str = env!("CARGO_BIN_EXE_cluster_next");

/// Servers with agents; all end with it.
pub(crate) struct Cluster {
    pub(crate) dir: tempfile::TempDir,
    /// The servers, as agents and the tool name them.
    pub(crate) address: String,
    /// What servers are given beside their directory, each its own.
    serving: Vec<Vec<String>>,
    /// What all processes that serve are given.
    pub(crate) shown: Vec<String>,
    /// What the tool is given.
    pub(crate) asking: Vec<String>,
    /// Through what servers, agents and the tool are started: a command that runs another.
    pub(crate) within: BTreeMap<String, Vec<String>>,
    servers: BTreeMap<String, Child>,
    agents: BTreeMap<String, Child>,
    /// Whether the server can be held at points of its workflows.
    watched: bool,
    /// What is started as server and agents.
    pub(crate) program: &'static str,
}

/// Runs requests to servers.
fn io() -> &'static tokio::runtime::Runtime {
    static IO: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    IO.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

/// Ports of this test process: two for each server. Below those from which the system takes the ports of connections, so that nobody has
/// one while its server is away.
pub(crate) fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let port = 10_000 + (std::process::id() % 200) as u16 * 100 + NEXT.fetch_add(2, Ordering::Relaxed) % 100;
        let free = |p: u16| std::net::TcpListener::bind(("127.0.0.1", p)).is_ok();
        if free(port) && free(port + 1) {
            return port;
        }
    }
}

/// What the logs of a server are called.
pub(crate) fn server_name(number: usize) -> String {
    if number == 0 { "server".into() } else { format!("server{}", number + 1) }
}

impl Cluster {
    /// A server, and so many agents of so many slots.
    pub(crate) fn start(agents: usize, slots: usize) -> Self {
        let mut cluster = Cluster::of(1, |_| Vec::new());
        cluster.start_server();
        for n in 1..=agents {
            cluster.start_agent(&format!("a{n}"), slots, &[]);
        }
        cluster
    }
    /// A server that can be held at points of its workflows, without agents.
    pub(crate) fn watched() -> Self {
        let mut cluster = Cluster::of(1, |_| Vec::new());
        cluster.watched = true;
        cluster.start_server();
        cluster
    }
    /// So many servers on 127.0.0.1 that are still to be started, and what each is given.
    pub(crate) fn of(servers: usize, given: impl Fn(usize) -> Vec<String>) -> Self {
        let addresses: Vec<String> = (0..servers).map(|_| format!("127.0.0.1:{}", port())).collect();
        let listen = |n: usize| [vec!["--listen".to_owned(), addresses[n].clone()], given(n)].concat();
        Self::at(addresses.join(","), (0..servers).map(listen).collect())
    }
    /// Servers that are reached at `address`, and what each is given.
    pub(crate) fn at(address: String, serving: Vec<Vec<String>>) -> Self {
        Cluster {
            dir: tempfile::tempdir().unwrap(),
            address,
            serving,
            shown: Vec::new(),
            asking: Vec::new(),
            within: BTreeMap::new(),
            servers: BTreeMap::new(),
            agents: BTreeMap::new(),
            watched: false,
            program: TOOL,
        }
    }
    /// A program, where the process of this name is to run.
    fn command(&self, name: &str, program: &str) -> Command {
        let mut command = match self.within.get(name).map(Vec::as_slice) {
            Some([first, more @ ..]) => {
                let mut command = Command::new(first);
                command.args(more).arg(program);
                command
            }
            _ => Command::new(program),
        };
        command.env_remove("SABOT_TOKEN").current_dir(self.dir.path());
        command
    }
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    fn log(&self, name: &str) -> std::fs::File {
        std::fs::OpenOptions::new().create(true).append(true).open(self.path(&format!("{name}.log"))).unwrap()
    }
    pub(crate) fn start_server(&mut self) {
        self.spawn_server(0);
        self.until("the server answers", 60, || self.tool(&["agents"]).status.success());
    }
    /// Agents of one process, `name:slots` each.
    pub(crate) fn start_agents(&mut self, process: &str, agents: &[String]) {
        let mut command = self.command(process, self.program);
        command.args(["many-agents", &self.address]).args(agents);
        self.agents.insert(process.to_owned(), command.stderr(self.log(process)).stdout(Stdio::null()).spawn().unwrap());
        let names: Vec<&str> = agents.iter().map(|a| a.split(':').next().unwrap()).collect();
        self.until("all agents have joined", 60, || {
            let there = self.get("/v1/agents").unwrap();
            let alive = |name: &&str| there.as_array().unwrap().iter().any(|a| a["name"] == **name && a["standing"] == "alive");
            names.iter().all(alive)
        });
    }
    /// Asks the server's API.
    pub(crate) fn get(&self, path: &str) -> Result<Value, String> {
        io().block_on(async { Client::new(&self.address, None)?.get(path).await }).map_err(|e: sabot::Error| e.to_string())
    }
    /// Asks the server's API for something to be done.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        io().block_on(async { Client::new(&self.address, None)?.post(path, body).await }).map_err(|e: sabot::Error| e.to_string())
    }
    /// Starts a server, which may lead or stand by.
    pub(crate) fn spawn_server(&mut self, number: usize) {
        self.spawn_server_with(number, &[]);
    }
    fn spawn_server_with(&mut self, number: usize, variables: &[(&str, &str)]) {
        let name = server_name(number);
        let mut command = self.command(&name, self.program);
        if self.watched {
            let (host, port) = self.address.split_once(':').unwrap();
            let control = format!("{host}:{}", port.parse::<u16>().unwrap() + 1);
            command.args(["watched-server", &self.address, &control]);
        } else {
            command.args(["server", "--dir"]).arg(self.path(&name)).args(&self.serving[number]).args(&self.shown);
        }
        command.envs(variables.iter().copied()).stderr(self.log(&name)).stdout(Stdio::null());
        self.servers.insert(name, command.spawn().unwrap());
    }
    /// Starts an agent, which may be refused.
    pub(crate) fn spawn_agent(&mut self, name: &str, slots: usize, more: &[&str]) {
        let mut command = self.command(name, self.program);
        command.args(["agent", "--join", &self.address, "--name", name, "--slots", &slots.to_string()]).args(&self.shown).args(more);
        command.env("SABOT_TEST_DIR", self.dir.path());
        self.agents.insert(name.to_owned(), command.stderr(self.log(name)).stdout(Stdio::null()).spawn().unwrap());
    }
    pub(crate) fn start_agent(&mut self, name: &str, slots: usize, more: &[&str]) {
        self.spawn_agent(name, slots, more);
        self.until(&format!("agent {name} has joined"), 60, || self.agent(name).is_some_and(|a| a["standing"] == "alive"));
    }
    pub(crate) fn agent_pid(&self, name: &str) -> u32 {
        self.agents[name].id()
    }
    /// `kill -9`.
    pub(crate) fn kill_agent(&mut self, name: &str) {
        let mut child = self.agents.remove(name).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
    pub(crate) fn kill_server(&mut self) {
        self.kill_server_at(0);
    }
    pub(crate) fn kill_server_at(&mut self, number: usize) {
        let mut child = self.servers.remove(&server_name(number)).unwrap();
        // it may be dead already
        let _ = child.kill();
        child.wait().unwrap();
    }
    pub(crate) fn server_pid(&self, number: usize) -> u32 {
        self.servers[&server_name(number)].id()
    }
    /// Waits until a server's process has ended; whether well.
    pub(crate) fn server_ends(&mut self, number: usize, seconds: u64) -> bool {
        let name = server_name(number);
        let mut child = self.servers.remove(&name).unwrap();
        let began = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.success();
            }
            if began.elapsed() > Duration::from_secs(seconds) {
                self.servers.insert(name, child);
                panic!("server {number} does not end: {}", self.all_logs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    /// A signal by its name.
    pub(crate) fn signal(&self, pid: u32, name: &str) {
        assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
    }
    /// Waits until an agent's process has ended; whether well.
    pub(crate) fn agent_ends(&mut self, name: &str) -> bool {
        self.agents.remove(name).unwrap().wait().unwrap().success()
    }
    pub(crate) fn logs(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }
    /// What all of them say, for messages.
    fn all_logs(&self) -> String {
        let servers = (0..self.serving.len()).map(server_name);
        servers.chain(self.agents.keys().cloned()).map(|name| format!("{name}: {}\n", self.logs(&name))).collect()
    }
    /// Runs the tool.
    pub(crate) fn tool(&self, args: &[&str]) -> Output {
        self.command("tool", TOOL).args(args).args(&self.asking).env("SABOT_SERVER", &self.address).output().unwrap()
    }
    /// The tool's answer as JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.push("--json");
        let output = self.tool(&all);
        assert!(output.status.success(), "{args:?}: {}\n{}", String::from_utf8_lossy(&output.stderr), self.logs("server"));
        serde_json::from_slice(&output.stdout).unwrap()
    }
    /// The same, or none while no server answers.
    pub(crate) fn json_now(&self, args: &[&str]) -> Option<Value> {
        let output = self.tool(&[args, &["--json"]].concat());
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }
    pub(crate) fn agent(&self, name: &str) -> Option<Value> {
        self.json_now(&["agents"])?.as_array()?.iter().rev().find(|a| a["name"] == name).cloned()
    }
    pub(crate) fn job(&self, job: &str) -> Value {
        self.json(&["job", "show", job])
    }
    /// Waits until it is so; how long that took.
    pub(crate) fn until(&self, what: &str, seconds: u64, so: impl Fn() -> bool) -> Duration {
        let began = Instant::now();
        while !so() {
            assert!(began.elapsed() < Duration::from_secs(seconds), "not so after {seconds} s: {what}\n{}", self.all_logs());
            // lists of many jobs are work
            std::thread::sleep(Duration::from_millis(if self.watched { 200 } else { 20 }));
        }
        began.elapsed()
    }
    /// Submits the ledger at a parallelism, with checkpoints.
    pub(crate) fn submit_ledger(&self, pipeline: &str, parallelism: usize, more: &[&str]) -> String {
        let state = self.path("state").display().to_string();
        let sink = format!("entries=csv:{}/", self.path("out").display());
        let p = parallelism.to_string();
        let mut args = vec!["submit", pipeline, "--per_second", "500", "--checkpoint-dir", &state, "--checkpoint-every", "500ms"];
        args.extend(["--sink", &sink, "--parallelism", &p]);
        args.extend(more);
        let job = self.json(&args);
        job["id"].as_str().unwrap().to_owned()
    }
    /// Waits until an attempt runs and has read rows; how long that took.
    pub(crate) fn until_attempt_works(&self, job: &str, attempt: u64, seconds: u64) -> Duration {
        self.until(&format!("attempt {attempt} of {job} works"), seconds, || {
            self.json_now(&["job", "show", job])
                .is_some_and(|view| view["state"] == "running" && view["attempt"].as_u64() >= Some(attempt) && works(&view))
        })
    }
    /// Waits until the newest checkpoint is later than any now.
    pub(crate) fn another_checkpoint(&self, job: &str) {
        let newest = || self.job(job)["checkpoint"].as_u64();
        let now = newest();
        self.until("another checkpoint", 60, || newest() > now);
    }
    /// Waits until a ledger has written something.
    pub(crate) fn until_written(&self) {
        self.until("rows are written", 60, || self.path("out").is_dir() && !entries(&self.path("out")).is_empty());
    }
    /// Stops a ledger with a savepoint, once it has written something: what is on its way stays in the savepoint.
    pub(crate) fn stop_with_savepoint(&self, job: &str, name: &str) {
        // one that writes elsewhere has waited itself
        if self.path("out").is_dir() {
            self.until_written();
        }
        let output = self.tool(&["job", "savepoint", job, name, "--stop"]);
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), self.logs("server"));
        assert_eq!(self.job(job)["state"], "suspended");
    }
    /// Stops a job, and checks all that it has written.
    pub(crate) fn end_with_a_whole_ledger(&self, job: &str) {
        self.another_checkpoint(job);
        self.stop_with_savepoint(job, "end");
        println!("{} rows, none lost or repeated", self.check_ledger());
    }
    /// Checks that the rows written are a whole: for each key the counts 1 to some number, once each, as the rows are numbered; rows.
    pub(crate) fn check_ledger(&self) -> usize {
        check_ledger(&self.path("out"), true).unwrap()
    }
}

/// Checks that the rows in a directory are a whole, see [`Cluster::check_ledger`]; or that they are from some number on.
pub(crate) fn check_ledger(dir: &Path, from_the_start: bool) -> Result<usize, String> {
    let entries = entries(dir);
    if entries.is_empty() {
        return Err(format!("{}: nothing was written", dir.display()));
    }
    whole(&entries, from_the_start).map_err(|e| format!("{}: {e}", dir.display()))
}

/// Checks that each key has the rows 0 to some number and the counts 1 to it, once each; rows.
pub(crate) fn check_whole(entries: &BTreeMap<i64, Vec<(i64, i64)>>) -> usize {
    whole(entries, true).unwrap()
}
/// Rows of a key that come from two partitions need not be counted in the order of their numbers.
fn whole(entries: &BTreeMap<i64, Vec<(i64, i64)>>, from_the_start: bool) -> Result<usize, String> {
    for (key, rows) in entries {
        let mut numbers: Vec<i64> = rows.iter().map(|(n, _)| *n).collect();
        let mut counts: Vec<i64> = rows.iter().map(|(_, count)| count - 1).collect();
        numbers.sort_unstable();
        counts.sort_unstable();
        let first = if from_the_start { 0 } else { numbers[0] };
        for (of, all) in [("rows", &numbers), ("counts", &counts)] {
            if let Some((there, wanted)) = all.iter().zip(first..).find(|(a, b)| *a != b) {
                return Err(format!("key {key}: {of} are lost or repeated: {there} for {wanted} of {rows:?}"));
            }
        }
    }
    Ok(entries.values().map(Vec::len).sum())
}

/// Whether the sources have read rows.
pub(crate) fn works(view: &Value) -> bool {
    view["operators"].as_array().is_some_and(|o| o.iter().any(|o| o["rows"]["rows_in"].as_u64() > Some(0)))
}

/// (n, count) of each key.
pub(crate) fn entries(dir: &Path) -> BTreeMap<i64, Vec<(i64, i64)>> {
    let mut out: BTreeMap<i64, Vec<(i64, i64)>> = BTreeMap::new();
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        // what begins with a dot is not published yet, or never will be
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if hidden || path.extension().is_none_or(|e| e != "csv") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        let Some(head) = lines.next() else { continue };
        let at = |name: &str| head.split(',').position(|c| c == name).unwrap();
        let (key, n, count) = (at("key"), at("n"), at("count"));
        for line in lines {
            let cells: Vec<&str> = line.split(',').collect();
            out.entry(cells[key].parse().unwrap()).or_default().push((cells[n].parse().unwrap(), cells[count].parse().unwrap()));
        }
    }
    out
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.agents.values_mut().chain(self.servers.values_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
        // what a test leaves that fails tells why
        if std::thread::panicking() {
            self.dir.disable_cleanup(true);
            eprintln!("kept: {}", self.dir.path().display());
        }
    }
}

impl Cluster {
    /// A server that dies at a seam of the engine, `saved:1` say.
    pub(crate) fn start_server_that_dies(&mut self, at: &str) {
        self.spawn_server_with(0, &[("SABOT_CRASH_AT", at)]);
        self.until("the server answers", 60, || self.tool(&["agents"]).status.success());
    }
    /// Waits until the server has died.
    pub(crate) fn server_dies(&mut self) {
        assert!(!self.server_ends(0, 60), "it did not die");
    }
    /// Waits until so many agents are there.
    pub(crate) fn until_agents(&self, agents: usize) {
        let alive = || self.json(&["agents"]).as_array().unwrap().iter().filter(|a| a["standing"] == "alive").count();
        self.until("the agents have joined", 60, || alive() >= agents);
    }
}
