//! The server is killed at every step of every workflow: before the body, after it and before its record, after the record, and before the end of the
//! workflow is recorded.
//!
//! A first run without a kill tells the steps, so that a new one is covered when it is there. Then there is a case for each point; all cases of a scenario
//! are held at their points at once, and one kill hits them all. The server is started again, and each has to end once, as if nothing had been.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::kit::{Cluster, NEXT, TOOL, check_ledger};

/// A point of a workflow: definition, step, moment.
type Point = (String, String, String);

/// The cases of one scenario.
struct Held {
    cluster: Cluster,
    requests: BTreeMap<String, Value>,
}

impl Held {
    /// A server that can be held, and agents of one process, `name:slots` each.
    fn start(agents: &[String]) -> Self {
        let mut cluster = Cluster::watched();
        cluster.start_agents("agents", agents);
        Held { cluster, requests: BTreeMap::new() }
    }
    /// The request that submits a case.
    fn request(&mut self, pipeline: &str, case: usize) -> Value {
        let text = self.requests.entry(pipeline.to_owned()).or_insert_with(|| {
            let output = std::process::Command::new(TOOL).args(["request", pipeline]).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            serde_json::from_slice(&output.stdout).unwrap()
        });
        let name = format!("{pipeline}-{case}");
        let text = text
            .to_string()
            .replace("@STATE@", &self.cluster.path(&format!("state-{name}")).display().to_string())
            .replace("@OUT@", &self.out(&name).display().to_string())
            .replace("77777", &case.to_string());
        let mut request: Value = serde_json::from_str(&text).unwrap();
        request["key"] = json!(name);
        request["name"] = json!(name);
        request
    }
    fn out(&self, name: &str) -> PathBuf {
        self.cluster.path(&format!("out-{name}"))
    }
    /// Submits a job, and waits until it runs; its id.
    fn running(&mut self, pipeline: &str, case: usize) -> String {
        let job = self.submit(pipeline, case);
        self.until_all("it runs", std::slice::from_ref(&job), |j| j["state"] == "running");
        job
    }
    fn submit(&mut self, pipeline: &str, case: usize) -> String {
        let request = self.request(pipeline, case);
        self.cluster.post("/v1/jobs", &request).unwrap()["job"].as_str().unwrap().to_owned()
    }
    /// All jobs by id, as lists show them.
    fn jobs(&self) -> BTreeMap<String, Value> {
        let jobs = self.cluster.get("/v1/jobs").unwrap_or_default();
        jobs.as_array().into_iter().flatten().map(|j| (j["id"].as_str().unwrap().to_owned(), j.clone())).collect()
    }
    fn until_all(&self, what: &str, jobs: &[String], so: impl Fn(&Value) -> bool) {
        self.cluster.until(what, 120, || {
            let now = self.jobs();
            jobs.iter().all(|id| now.get(id).is_some_and(&so))
        });
    }
    fn lines(&self, file: &str) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(self.cluster.path(file)).unwrap_or_default();
        text.lines().map(|l| l.split('\t').map(str::to_owned).collect()).collect()
    }
    /// The points that a workflow has passed, in their order.
    fn passed(&self, workflow: &str) -> Vec<Point> {
        let mut seen = BTreeSet::new();
        let point = |l: Vec<String>| (l[1].clone(), l[2].clone(), l[3].clone());
        let points = self.lines("seen").into_iter().filter(|l| l[1] == workflow).map(point);
        points.filter(|p| seen.insert(p.clone())).collect()
    }
    /// Holds the next workflows at these points, one at each.
    fn hold(&self, points: &[Point]) {
        let text: String = points.iter().map(|(workflow, step, moment)| format!("{workflow}\t{step}\t{moment}\n")).collect();
        std::fs::write(self.cluster.path("points"), text).unwrap();
    }
    /// Asks for something, of a server that may be killed before it answers.
    fn ask(&self, asked: Vec<(String, Value)>, while_it_waits: impl FnOnce(&Self)) {
        std::thread::scope(|scope| {
            for (path, body) in &asked {
                scope.spawn(move || drop(self.cluster.post(path, body)));
            }
            while_it_waits(self);
        });
    }
    /// Waits until all cases are held, kills the server, and starts it again.
    fn kill_at(&mut self, points: &[Point], asked: Vec<(String, Value)>) {
        if !asked.is_empty() {
            self.hold(points);
        }
        let server = self.cluster.server_pid(0);
        self.ask(asked, |held| {
            held.cluster.until("all are held at their points", 120, || held.lines("reached").len() >= points.len());
            held.cluster.signal(server, "KILL");
        });
        let reached: BTreeSet<Point> = self.lines("reached").into_iter().map(|l| (l[1].clone(), l[2].clone(), l[3].clone())).collect();
        assert_eq!(reached, points.iter().cloned().collect(), "each point was reached once");
        self.hold(&[]);
        self.cluster.kill_server();
        self.cluster.start_server();
    }
    /// Operations that were held, by the number of their case; where they were held, for messages.
    fn held(&self) -> BTreeMap<String, String> {
        self.lines("reached").into_iter().map(|l| (l[0].clone(), l[1..].join(", "))).collect()
    }
    /// Waits until the operations that were held have ended well, and no step was recorded twice; what came out, by the case's job.
    fn ended_once(&self) -> BTreeMap<String, Value> {
        let held = self.held();
        self.cluster.until("all operations are done", 120, || {
            held.keys().all(|id| self.cluster.get(&format!("/v1/operations/{id}")).is_ok_and(|o| o["state"] != "running"))
        });
        let mut out = BTreeMap::new();
        for (id, point) in &held {
            let operation = self.cluster.get(&format!("/v1/operations/{id}")).unwrap();
            assert_eq!(operation["state"], "done", "{point}: {operation}");
            let mut names: Vec<&str> = operation["steps"].as_array().unwrap().iter().filter_map(|s| s["name"].as_str()).collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{point}: a step was taken twice: {operation}");
            let job = operation["job"].as_str().map_or_else(|| id.clone(), str::to_owned);
            out.insert(job, operation["outcome"].clone());
        }
        out
    }
    /// Stops jobs with a savepoint each, and checks their ledgers.
    fn stop_and_check(&self, jobs: &[(String, String)], savepoint: &str) {
        for (job, _) in jobs {
            let body = json!({ "name": savepoint, "stop": true });
            self.cluster.post(&format!("/v1/jobs/{job}/savepoint"), &body).unwrap();
        }
        let ids: Vec<String> = jobs.iter().map(|(job, _)| job.clone()).collect();
        self.until_all("all have stopped", &ids, |j| j["state"] == "suspended");
        for (job, name) in jobs {
            if let Err(why) = check_ledger(&self.out(name), true) {
                let view = self.cluster.get(&format!("/v1/jobs/{job}")).unwrap_or_default();
                panic!("{why}\nheld: {:#?}\n{:#}\n{:#}", self.lines("reached"), view["history"], view["operations"]);
            }
        }
    }
    /// Nothing is left of the jobs: no slot is taken, and there are so many jobs.
    fn nothing_is_left(&self, jobs: usize) {
        assert_eq!(self.jobs().len(), jobs);
        self.cluster.until("all slots are free", 20, || {
            let agents = self.cluster.get("/v1/agents").unwrap();
            agents.as_array().unwrap().iter().all(|a| a["taken"] == 0)
        });
    }
}

/// The sum of the rows in a job's output.
fn rows(path: PathBuf) -> u64 {
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let at = lines.next().unwrap().split(',').position(|c| c == "rows").unwrap();
    lines.map(|l| l.split(',').nth(at).unwrap().parse::<u64>().unwrap()).sum()
}

/// Jobs that end, held at these points of their own workflows.
fn jobs_that_end(pipeline: &str, points: impl Fn(Vec<Point>) -> Vec<Point>, most: u64) {
    let mut held = Held::start(&["a:100".to_owned()]);
    let first = held.submit(pipeline, 0);
    held.until_all("it has finished", &[first], |j| j["state"] == "finished");
    held.cluster.until("its workflow has ended", 20, || held.passed("submit").iter().any(|p| p.2 == "Over"));
    let points = points(held.passed("submit"));
    println!("{pipeline}: {} points", points.len());
    assert!(points.len() > 20, "{points:?}");
    let asked: Vec<(String, Value)> = (1..=points.len()).map(|case| ("/v1/jobs".to_owned(), held.request(pipeline, case))).collect();
    held.kill_at(&points, asked);
    held.cluster.until("all have finished", 120, || {
        let jobs = held.jobs();
        jobs.len() == points.len() + 1 && jobs.values().all(|j| j["state"] == "finished")
    });
    let at = held.held();
    for (id, job) in held.jobs() {
        let point = at.get(&format!("submit-{id}")).map_or("nowhere", String::as_str);
        assert_eq!(rows(held.out(&format!("{}.csv", job["name"].as_str().unwrap()))), 800, "{point}");
        assert!(job["attempt"].as_u64() <= Some(most), "{point}: {job}");
        let view = held.cluster.get(&format!("/v1/jobs/{id}")).unwrap();
        let states: Vec<&str> = view["history"].as_array().unwrap().iter().filter_map(|h| h["state"].as_str()).collect();
        assert_eq!(states.iter().filter(|s| **s == "finished").count(), 1, "{point}: {states:?}");
        assert_eq!(states.iter().filter(|s| **s == "submitted").count(), 1, "{point}: {states:?}");
        assert!(view["operations"].as_array().unwrap().iter().all(|o| o["state"] != "running"), "{point}: {}", view["operations"]);
    }
    held.nothing_is_left(points.len() + 1);
}

#[test]
fn submit() {
    // one attempt more than without a kill, if one had been placed
    jobs_that_end("totals", |all| all, 2);
}

#[test]
fn recover() {
    // from where the first attempt has failed
    let behind = |all: Vec<Point>| {
        assert!(all.iter().any(|p| p.1 == "activate 2"), "it does not fail: {all:?}");
        all.into_iter().skip_while(|p| p.1 != "fence").collect()
    };
    jobs_that_end("stumble", behind, 3);
}

/// Jobs that run, to each of which something is done; each is held at a point of that.
fn jobs_that_run(workflow: &str, action: &str, body: &Value) -> (Held, Vec<(String, String)>, BTreeMap<String, Value>) {
    let mut held = Held::start(&["a:60".to_owned()]);
    let first = held.running("ledger", 0);
    let done = held.cluster.post(&format!("/v1/jobs/{first}/{action}"), body).unwrap();
    held.cluster.until("it is done", 60, || {
        held.cluster.get(&format!("/v1/operations/{}", done["operation"].as_str().unwrap())).unwrap()["state"] == "done"
    });
    held.cluster.until("its workflow has ended", 20, || held.passed(workflow).iter().any(|p| p.2 == "Over"));
    let points = held.passed(workflow);
    println!("{action}: {} points", points.len());
    assert!(points.len() > 6, "{points:?}");
    let jobs: Vec<(String, String)> = (1..=points.len()).map(|case| (held.submit("ledger", case), format!("ledger-{case}"))).collect();
    let ids: Vec<String> = jobs.iter().map(|(id, _)| id.clone()).collect();
    held.until_all("all run", &ids, |j| j["state"] == "running" && j["checkpoint"].is_u64());
    let asked = ids.iter().map(|id| (format!("/v1/jobs/{id}/{action}"), body.clone())).collect();
    held.kill_at(&points, asked);
    let ended = held.ended_once();
    assert_eq!(ended.len(), points.len());
    held.cluster.post(&format!("/v1/jobs/{first}/cancel"), &json!({})).unwrap();
    (held, jobs, ended)
}

#[test]
fn cancel() {
    let (held, jobs, ended) = jobs_that_run("cancel", "cancel", &json!({}));
    let ids: Vec<String> = jobs.iter().map(|(id, _)| id.clone()).collect();
    held.until_all("all are cancelled", &ids, |j| j["state"] == "cancelled");
    assert!(ended.values().all(|o| o["state"] == "cancelled"), "{ended:?}");
    held.nothing_is_left(jobs.len() + 1);
}

#[test]
fn savepoint() {
    let (mut held, mut jobs, ended) = jobs_that_run("savepoint", "savepoint", &json!({ "name": "kept", "stop": false }));
    let ids: Vec<String> = jobs.iter().map(|(id, _)| id.clone()).collect();
    held.until_all("all go on", &ids, |j| j["state"] == "running");
    // what was saved can be gone on from, by another job
    let mut others = Vec::new();
    for (case, id) in (101..).zip(&ids) {
        let mut request = held.request("ledger", case);
        request["options"]["from_savepoint"] = ended[id]["path"].clone();
        let job = held.cluster.post("/v1/jobs", &request).unwrap()["job"].as_str().unwrap().to_owned();
        others.push((job, format!("ledger-{case}")));
    }
    let ids: Vec<String> = others.iter().map(|(id, _)| id.clone()).collect();
    held.until_all("all run from there", &ids, |j| j["state"] == "running");
    held.stop_and_check(&jobs, "end");
    for (id, _) in &others {
        held.cluster.post(&format!("/v1/jobs/{id}/savepoint"), &json!({ "name": "end", "stop": true })).unwrap();
    }
    held.until_all("all have stopped", &ids, |j| j["state"] == "suspended");
    for (_, name) in &others {
        check_ledger(&held.out(name), false).unwrap();
    }
    jobs.extend(others);
    held.nothing_is_left(jobs.len() + 1);
}

#[test]
fn stop_with_a_savepoint() {
    let (mut held, jobs, ended) = jobs_that_run("savepoint", "savepoint", &json!({ "name": "kept", "stop": true }));
    let ids: Vec<String> = jobs.iter().map(|(id, _)| id.clone()).collect();
    held.until_all("all have stopped", &ids, |j| j["state"] == "suspended");
    // each goes on from there, in its own place
    let mut again = Vec::new();
    for (case, (id, name)) in (1..).zip(&jobs) {
        let mut request = held.request("ledger", case);
        request["options"]["from_savepoint"] = ended[id]["path"].clone();
        request["key"] = json!(format!("again-{case}"));
        let job = held.cluster.post("/v1/jobs", &request).unwrap()["job"].as_str().unwrap().to_owned();
        again.push((job, name.clone()));
    }
    let ids: Vec<String> = again.iter().map(|(id, _)| id.clone()).collect();
    held.until_all("all run from there", &ids, |j| j["state"] == "running");
    held.stop_and_check(&again, "end");
    held.nothing_is_left(jobs.len() * 2 + 1);
}

#[test]
fn rescale() {
    let (held, jobs, ended) = jobs_that_run("rescale", "rescale", &json!({ "parallelism": 2 }));
    assert!(ended.values().all(|o| o["parallelism"] == 2), "{ended:?}");
    let at = held.held();
    for (id, _) in &jobs {
        let view = held.cluster.get(&format!("/v1/jobs/{id}")).unwrap();
        let point = at.iter().find(|(operation, _)| operation.contains(id.as_str())).map(|(_, point)| point);
        assert_eq!(view["parallelism"], 2, "{point:?}: {}", view["history"]);
        let most = view["tasks"].as_array().unwrap().iter().map(|t| t["id"]["instance"].as_u64().unwrap()).max();
        assert_eq!(most, Some(1), "{point:?}: {}", view["tasks"]);
        let saved = std::fs::read_dir(held.cluster.path(&format!("state-{}/savepoints", view["name"].as_str().unwrap())));
        assert_eq!(saved.map_or(0, Iterator::count), 0, "{point:?}: a savepoint that was only made to stop is left");
    }
    held.stop_and_check(&jobs, "end");
    held.nothing_is_left(jobs.len() + 1);
}

#[test]
fn drain() {
    // each case has an agent of its own, with a job that keeps checkpoints and one that does not
    let mut held = Held::start(&["d0:2".to_owned()]);
    held.running("ledger", 0);
    held.running("slow", 0);
    held.cluster.start_agents("rest", &["z:40".to_owned()]);
    let drained = held.cluster.post("/v1/agents/d0/drain", &json!({})).unwrap();
    held.cluster.until("it has left", 60, || {
        held.cluster.get(&format!("/v1/operations/{}", drained["operation"].as_str().unwrap())).unwrap()["state"] == "done"
    });
    held.cluster.until("its workflow has ended", 20, || held.passed("drain").iter().any(|p| p.2 == "Over"));
    let points = held.passed("drain");
    println!("drain: {} points", points.len());
    assert!(points.iter().any(|p| p.1 == "begin JOB anew"), "{points:?}");
    for job in held.jobs().keys() {
        let _ = held.cluster.post(&format!("/v1/jobs/{job}/cancel"), &json!({}));
    }
    held.nothing_is_left(2);
    // the large one is away while the others get their jobs
    held.cluster.kill_agent("rest");
    held.cluster
        .until("it is gone", 20, || held.cluster.get("/v1/agents").unwrap().as_array().unwrap().iter().all(|a| a["standing"] != "alive"));
    let agents: Vec<String> = (1..=points.len()).map(|n| format!("d{n}:2")).collect();
    held.cluster.start_agents("leavers", &agents);
    let mut jobs = Vec::new();
    for case in 1..=points.len() {
        jobs.push((held.submit("ledger", case), format!("ledger-{case}")));
    }
    let mut slow: Vec<String> = (1..=points.len()).map(|case| held.submit("slow", case)).collect();
    slow.extend(jobs.iter().map(|(id, _)| id.clone()));
    held.until_all("all run", &slow, |j| j["state"] == "running");
    held.cluster.start_agents("rest", &["z:80".to_owned()]);
    let asked = (1..=points.len()).map(|n| (format!("/v1/agents/d{n}/drain"), json!({}))).collect();
    held.kill_at(&points, asked);
    held.ended_once();
    assert!(held.cluster.agent_ends("leavers"), "all have left: {}", held.cluster.logs("leavers"));
    held.until_all("all run elsewhere", &slow, |j| {
        j["state"] == "finished" || (j["state"] == "running" && j["agents"].as_array().is_some_and(|a| a.iter().all(|a| a == "z")))
    });
    held.stop_and_check(&jobs, "end");
    for id in &slow {
        let _ = held.cluster.post(&format!("/v1/jobs/{id}/cancel"), &json!({}));
    }
    held.nothing_is_left(2 * points.len() + 2);
}

#[test]
fn upgrade() {
    let mut held = Held::start(&["a:60".to_owned()]);
    let swap = |held: &mut Held, program| {
        held.cluster.kill_server();
        held.cluster.kill_agent("agents");
        held.cluster.program = program;
        held.cluster.start_server();
        held.cluster.start_agents("agents", &["a:60".to_owned()]);
    };
    let waiting = |held: &Held, jobs: &[String]| {
        held.cluster.until("all wait for another build", 120, || {
            let operations = held.cluster.get("/v1/operations").unwrap();
            let of = |job: &String| operations.as_array().unwrap().iter().find(|o| o["kind"] == "upgrade" && o["job"] == **job).cloned();
            jobs.iter().all(|job| of(job).is_some_and(|o| o["progress"] == "wait for another build"))
        });
        held.until_all("all are suspended", jobs, |j| j["state"] == "suspended");
    };
    // once without a kill, for the points
    let first = held.running("ledger", 0);
    held.cluster.post(&format!("/v1/jobs/{first}/upgrade"), &json!({})).unwrap();
    waiting(&held, std::slice::from_ref(&first));
    held.cluster.until("its workflow has ended", 20, || held.passed("upgrade").iter().any(|p| p.2 == "Over"));
    swap(&mut held, NEXT);
    held.cluster.until("its workflow has ended", 60, || held.passed("take over").iter().any(|p| p.2 == "Over"));
    held.stop_and_check(&[(first.clone(), "ledger-0".to_owned())], "end");
    let (stopping, taking) = (held.passed("upgrade"), held.passed("take over"));
    println!("upgrade: {} points, take over: {} points", stopping.len(), taking.len());
    // by the old server
    swap(&mut held, TOOL);
    let all = stopping.len().max(taking.len());
    let jobs: Vec<(String, String)> = (1..=all).map(|case| (held.submit("ledger", case), format!("ledger-{case}"))).collect();
    let ids: Vec<String> = jobs.iter().map(|(id, _)| id.clone()).collect();
    held.until_all("all run", &ids, |j| j["state"] == "running" && j["checkpoint"].is_u64());
    let build = held.jobs()[&first]["build"].clone();
    let asked = ids.iter().map(|id| (format!("/v1/jobs/{id}/upgrade"), json!({}))).collect();
    held.kill_at(&stopping, asked);
    for id in &ids {
        // who got no answer asks again: it is one operation
        held.cluster.post(&format!("/v1/jobs/{id}/upgrade"), &json!({})).unwrap();
    }
    waiting(&held, &ids);
    // by the new one
    std::fs::remove_file(held.cluster.path("reached")).unwrap();
    held.cluster.kill_server();
    held.cluster.kill_agent("agents");
    held.cluster.program = NEXT;
    held.hold(&taking);
    held.cluster.start_server();
    held.cluster.start_agents("agents", &["a:60".to_owned()]);
    held.kill_at(&taking, Vec::new());
    held.until_all("all go on", &ids, |j| j["state"] == "running" && j["build"] == build);
    held.cluster.until("all operations are done", 60, || {
        held.cluster
            .get("/v1/operations?limit=1000")
            .unwrap()
            .as_array()
            .unwrap()
            .iter()
            .all(|o| o["kind"] != "upgrade" || o["state"] == "done")
    });
    for id in &ids {
        let view = held.cluster.get(&format!("/v1/jobs/{id}")).unwrap();
        let upgrades = view["operations"].as_array().unwrap().iter().filter(|o| o["kind"] == "upgrade").count();
        assert_eq!(upgrades, 1, "{}", view["operations"]);
    }
    held.stop_and_check(&jobs, "end");
    held.nothing_is_left(all + 1);
}
