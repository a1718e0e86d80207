//! The API as any program uses it: `docs/cluster.md`, line by line.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::encrypted::{Ended, spawn};
use crate::http::{Answer, Wire, ask};
use crate::kit::Cluster;

const JSON: (&str, &str) = ("content-type", "application/json");

impl Cluster {
    fn get_raw(&self, path: &str) -> Answer {
        ask(&self.address, "GET", path, &[], "")
    }
    fn post_raw(&self, path: &str, body: &Value) -> Answer {
        ask(&self.address, "POST", path, &[JSON], &body.to_string())
    }
    /// What is there, as JSON.
    fn got(&self, path: &str) -> Value {
        let answer = self.get_raw(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }
    /// Begins an operation, and waits for its end.
    fn done(&self, path: &str, body: &Value) -> Value {
        let begun = self.post_raw(path, body);
        assert_eq!(begun.status, 200, "{path}: {begun:?}");
        let begun = begun.json();
        let operation = format!("/v1/operations/{}", begun["operation"].as_str().unwrap());
        self.until(&format!("{path} is over"), 60, || self.got(&operation)["state"] != "running");
        let over = self.got(&operation);
        assert_eq!((&over["state"], &over["id"]), (&json!("done"), &begun["operation"]), "{over}");
        over
    }
}

/// The ids of a list.
fn ids(cluster: &Cluster, path: &str) -> Vec<String> {
    cluster.got(path).as_array().unwrap().iter().map(|j| j["id"].as_str().unwrap().to_owned()).collect()
}

fn keys(value: &Value, wanted: &[&str]) {
    for key in wanted {
        assert!(value.get(key).is_some(), "no `{key}` in {value}");
    }
}

#[test]
fn every_line_of_the_table_answers_as_it_says() {
    let mut cluster = Cluster::start(0, 0);
    for name in ["a1", "a2"] {
        cluster.start_agent(name, 2, &["--memory", "512M"]);
    }
    let server = cluster.got("/v1/server");
    keys(&server, &["build", "control", "pid", "since", "store", "tls"]);
    assert_eq!((&server["agents"], &server["slots"], &server["free_slots"]), (&json!(2), &json!(4), &json!(4)));
    assert!(server["pipelines"].as_array().unwrap().contains(&json!("ledger")));
    assert_eq!(cluster.got("/v1/jobs"), json!([]));

    // what `submit` sends, sent again: one job; with another key another
    let wire = Wire::to(&cluster.address);
    let first = cluster.submit_ledger("ledger", 2, &["--server", &wire.address, "--name", "books"]);
    let sent = wire.heard().into_iter().map(|s| String::from_utf8_lossy(&s).into_owned()).find(|s| s.starts_with("POST /v1/jobs "));
    let sent = sent.unwrap();
    let sent = sent.split_once("\r\n\r\n").unwrap().1;
    let submission: Value = serde_json::from_str(sent).unwrap();
    keys(&submission, &["key", "name", "spec", "options", "restarts"]);
    let again = cluster.post_raw("/v1/jobs", &submission);
    assert_eq!((again.status, &again.json()["job"]), (200, &json!(first)));
    assert_eq!(again.json()["operation"], json!(format!("submit-{first}")));
    assert_eq!(cluster.got("/v1/jobs").as_array().unwrap().len(), 1);
    let (out, beside) = (cluster.path("out").display().to_string(), cluster.path("beside").display().to_string());
    let mut submission: Value = serde_json::from_str(&sent.replace(&out, &beside)).unwrap();
    submission["key"] = json!("another");
    submission["name"] = json!("ghost");
    submission["options"]["checkpoint_dir"] = json!(cluster.path("other"));
    submission["options"]["threads"] = json!(1);
    let ghost = cluster.post_raw("/v1/jobs", &submission).json()["job"].as_str().unwrap().to_owned();
    assert_ne!(ghost, first);
    submission["spec"]["build"] = json!("other");
    let refused = cluster.post_raw("/v1/jobs", &submission);
    assert!(refused.status == 400 && refused.error().contains("use one executable for all"), "{refused:?}");

    cluster.until_attempt_works(&first, 1, 60);
    cluster.another_checkpoint(&first);
    let jobs = cluster.got("/v1/jobs");
    assert_eq!(jobs.as_array().unwrap().len(), 2);
    for job in jobs.as_array().unwrap() {
        let wanted = ["id", "name", "pipeline", "state", "parallelism", "attempt", "restarts", "agents", "rows_per_second", "checkpoint"];
        keys(job, &wanted);
        keys(job, &["error", "created", "updated"]);
        assert_eq!(job["pipeline"], "ledger");
    }
    let view = cluster.got(&format!("/v1/jobs/{first}"));
    let wanted = ["plan", "mermaid", "stages", "tasks", "operators", "checkpoints", "operations", "history", "checkpoint_dir"];
    keys(&view, &wanted);
    assert_eq!((&view["name"], &view["pipeline"], &view["parallelism"]), (&json!("books"), &json!("ledger"), &json!(2)));
    assert_eq!(view["checkpoint_dir"], json!(cluster.path("state")));

    let saved = cluster.done(&format!("/v1/jobs/{first}/savepoint"), &json!({ "name": "one" }));
    assert_eq!((&saved["kind"], &saved["outcome"]["name"]), (&json!("savepoint"), &json!("one")));
    assert!(!saved["steps"].as_array().unwrap().is_empty(), "{saved}");
    let taken = cluster.post_raw(&format!("/v1/jobs/{first}/savepoint"), &json!({ "name": "one" }));
    assert!(taken.status == 400 && taken.error().contains("has a savepoint `one` already"), "{taken:?}");
    let rescaled = cluster.done(&format!("/v1/jobs/{first}/rescale"), &json!({ "parallelism": 3 }));
    assert_eq!(rescaled["outcome"]["parallelism"], 3, "{rescaled}");
    cluster.until_attempt_works(&first, 2, 60);
    let refused = cluster.post_raw(&format!("/v1/jobs/{first}/rescale"), &json!({ "parallelism": 0 }));
    assert!(refused.status == 400 && refused.error().contains("at least 1"), "{refused:?}");
    cluster.until_attempt_works(&ghost, 1, 60);
    let ended = cluster.done(&format!("/v1/jobs/{ghost}/cancel"), &json!({}));
    assert_eq!(ended["kind"], "cancel");
    assert_eq!(cluster.got(&format!("/v1/jobs/{ghost}"))["state"], "cancelled");

    let operations = cluster.got(&format!("/v1/operations?job={first}"));
    let kinds: Vec<&str> = operations.as_array().unwrap().iter().map(|o| o["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["rescale", "savepoint", "submit"]);
    for operation in operations.as_array().unwrap() {
        keys(operation, &["id", "kind", "job", "input", "state", "progress", "outcome", "error", "created", "updated"]);
    }
    let newest = cluster.got("/v1/operations?limit=1");
    assert!(newest.as_array().unwrap().len() == 1 && newest[0]["id"] == ended["id"], "{newest}");

    let all = cluster.got("/v1/logs?limit=1000");
    let events = all["events"].as_array().unwrap();
    let number = |e: &Value| e["number"].as_u64().unwrap();
    assert!(events.len() > 5 && events.windows(2).all(|w| number(&w[0]) < number(&w[1])), "{all}");
    keys(&events[0], &["number", "at", "level", "job", "agent", "message"]);
    let middle = number(&events[events.len() / 2]);
    let later = cluster.got(&format!("/v1/logs?after={middle}&limit=2"));
    assert_eq!(later["events"].as_array().unwrap().iter().map(number).collect::<Vec<_>>(), [middle + 1, middle + 2]);
    let last = cluster.got("/v1/logs?limit=1");
    assert!(last["events"].as_array().unwrap().len() == 1 && number(&last["events"][0]) >= number(events.last().unwrap()));
    for (filter, key, wanted) in [("agent=a1", "agent", "a1"), (&*format!("job={first}&after=0"), "job", &*first)] {
        let some = cluster.got(&format!("/v1/logs?{filter}"));
        let some = some["events"].as_array().unwrap();
        assert!(!some.is_empty() && some.iter().all(|e| e[key] == wanted), "{filter}: {some:?}");
    }
    let none = cluster.got(&format!("/v1/logs?agent=a1&after={}", u32::MAX));
    assert_eq!(none, json!({ "events": [] }));

    let agents = cluster.got("/v1/agents");
    assert_eq!(agents.as_array().unwrap().len(), 2);
    for agent in agents.as_array().unwrap() {
        let wanted = ["name", "epoch", "address", "standing", "pid", "cores", "slots", "taken", "tasks", "resident", "busy", "silent_ms"];
        keys(agent, &wanted);
        assert_eq!(agent["memory"], 512 << 20);
    }
    let metrics = cluster.get_raw("/metrics");
    assert!(metrics.status == 200 && metrics.headers.contains("content-type: text/plain; version=0.0.4"), "{metrics:?}");
    assert!(metrics.body.contains("sabot_job_state{") && metrics.body.contains("state=\"running\"} 1"), "{}", metrics.body);

    // stopped with a savepoint, and gone on from it as another job
    let stopped = cluster.done(&format!("/v1/jobs/{first}/savepoint"), &json!({ "name": "two", "stop": true }));
    assert_eq!(stopped["kind"], "suspend");
    assert_eq!(cluster.got(&format!("/v1/jobs/{first}"))["state"], "suspended");
    let rows = cluster.check_ledger();
    let second = cluster.submit_ledger("ledger", 2, &["--from-savepoint", "two"]);
    assert_ne!(first, second);
    cluster.until_attempt_works(&second, 1, 60);
    cluster.another_checkpoint(&second);
    cluster.stop_with_savepoint(&second, "three");
    assert!(cluster.check_ledger() > rows);

    let begun = cluster.post_raw("/v1/agents/a2/drain", &json!({}));
    assert_eq!(begun.status, 200, "{begun:?}");
    keys(&begun.json(), &["job", "operation"]);
    cluster.until("a2 stands down", 20, || cluster.agent("a2").is_some_and(|a| a["standing"] != "alive"));
}

#[test]
fn each_refusal_has_its_status_and_a_sentence() {
    let cluster = Cluster::start(0, 0);
    let refused = |method: &str, path: &str, headers: &[(&str, &str)], body: &str, status: u16, sentence: &str| {
        let answer = ask(&cluster.address, method, path, headers, body);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        let error = answer.error();
        assert!(error.contains(sentence), "{method} {path}: {error}");
        answer
    };
    // nothing there
    for path in ["/", "/v1", "/v2/jobs", "/v1/jobs/x/y", "/v1/jobs/"] {
        refused("GET", path, &[], "", 404, &format!("there is no GET {path}"));
    }
    refused("GET", "/v1/jobs/none", &[], "", 404, "there is no job `none`");
    refused("GET", "/v1/operations/none", &[], "", 404, "there is no operation `none`");
    refused("POST", "/v1/jobs/none/cancel", &[], "", 404, "there is no job `none`");
    refused("POST", "/v1/jobs/none/savepoint", &[JSON], r#"{"name": "s"}"#, 404, "there is no job `none`");
    refused("POST", "/v1/jobs/none/rescale", &[JSON], r#"{"parallelism": 2}"#, 404, "there is no job `none`");
    refused("POST", "/v1/agents/none/drain", &[JSON], "{}", 404, "there is no agent `none`");
    // of a wrong form
    for (path, what) in [("/v1/logs?limit=x", "limit"), ("/v1/logs?after=-1", "after"), ("/v1/operations?limit=x", "limit")] {
        refused("GET", path, &[], "", 400, what);
    }
    refused("GET", "/v1/jobs?limit=0", &[], "", 400, "a list has 1 to 1000 jobs");
    refused("GET", "/v1/jobs?limit=1001", &[], "", 400, "a list has 1 to 1000 jobs");
    refused("GET", "/v1/jobs?state=runing", &[], "", 400, "no job has the state `runing`");
    refused("GET", "/v1/jobs?after=none", &[], "", 404, "there is no job `none`");
    refused("GET", "/v1/jobs/%ff", &[], "", 400, "UTF-8");
    refused("POST", "/v1/jobs", &[JSON], "{", 400, "POST /v1/jobs: ");
    refused("POST", "/v1/jobs/none/rescale", &[JSON], "", 400, "POST /v1/jobs/none/rescale: ");
    refused("POST", "/v1/jobs/none/rescale", &[JSON], r#"{"parallelism": "two"}"#, 422, "parallelism");
    refused("POST", "/v1/jobs", &[JSON], r#"{"key": "k"}"#, 422, "missing field");
    refused("POST", "/v1/jobs", &[("content-type", "text/plain")], "{}", 415, "application/json");
    let answer = refused("DELETE", "/v1/jobs", &[], "", 405, "DELETE /v1/jobs: it takes other methods");
    assert!(answer.headers.contains("allow: get,head,post"), "{answer:?}");
    refused("GET", "/v1/jobs/none/cancel", &[], "", 405, "it takes other methods");
    refused("POST", "/v1/jobs", &[JSON], &"x".repeat((64 << 20) + 1), 413, "more than 64 MiB");
    // from a web page, or by a name that somebody else gave this machine
    let origin = ("origin", "https://evil.example");
    for path in ["/v1/jobs/none/cancel", "/v1/agents/none/drain", "/v1/jobs"] {
        refused("POST", path, &[origin], "", 403, "takes nothing from web pages, and this comes from one of `https://evil.example`");
    }
    refused("GET", "/v1/jobs", &[("host", "evil.example:7480")], "", 403, "and not of `evil.example:7480`: ask 127.0.0.1 or localhost");
    let own = format!("http://{}", cluster.address);
    assert_eq!(ask(&cluster.address, "GET", "/v1/jobs", &[("origin", &own)], "").status, 200);
}

#[test]
fn an_agent_that_meets_a_proxy_without_a_server_asks_again() {
    let cluster = Cluster::start(0, 0);
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap().to_string();
    let server = cluster.address.clone();
    std::thread::spawn(move || {
        for (number, caller) in proxy.incoming().enumerate() {
            let mut caller = caller.unwrap();
            if number < 3 {
                let _ = caller.read(&mut [0; 4096]);
                let _ = caller.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 11\r\ncontent-type: text/html\r\n\r\nbad gateway");
                continue;
            }
            let mut far = TcpStream::connect(&server).unwrap();
            let (mut near, mut back) = (caller.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut near, &mut far));
            std::thread::spawn(move || std::io::copy(&mut back, &mut caller));
        }
    });
    let said = cluster.tool(&["agents", "--server", &address]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("answers 502 to /v1/agents, without a sentence: the server, or a proxy before it, is not ready"), "{said}");
    let join = ["agent", "--join", &address, "--name", "a1", "--slots", "1"];
    let _ended = Ended(vec![spawn(cluster.dir.path(), &join, "a1.log")]);
    cluster.until("a1 has joined", 60, || cluster.agent("a1").is_some_and(|a| a["standing"] == "alive"));
    assert!(cluster.logs("a1").contains("answers 502 to /v1/join"), "{}", cluster.logs("a1"));
}

#[test]
fn jobs_that_are_over_are_listed_by_pages_and_forgotten() {
    let mut cluster = Cluster::start(1, 2);
    let run = |name: &str| {
        let out = format!("totals={name}.csv");
        let job = cluster.json(&["submit", "totals", "--rows", "100", "--sink", &out, "--parallelism", "1", "--name", name, "--wait"]);
        assert_eq!(job["state"], "finished");
        job["id"].as_str().unwrap().to_owned()
    };
    let jobs: Vec<String> = ["one", "two words", "three", "four"].iter().map(|n| run(n)).collect();
    let newest: Vec<String> = jobs.iter().rev().cloned().collect();
    assert_eq!(ids(&cluster, "/v1/jobs"), newest);
    assert_eq!(ids(&cluster, "/v1/jobs?limit=3"), newest[..3]);
    assert_eq!(ids(&cluster, &format!("/v1/jobs?limit=3&after={}", newest[2])), newest[3..]);
    assert_eq!(ids(&cluster, "/v1/jobs?state=over"), newest);
    assert_eq!(ids(&cluster, "/v1/jobs?state=finished,failed&limit=1"), newest[..1]);
    assert!(ids(&cluster, "/v1/jobs?state=open").is_empty() && ids(&cluster, "/v1/jobs?state=running").is_empty());
    assert_eq!(ids(&cluster, "/v1/jobs?find=two%20words"), jobs[1..2]);
    assert_eq!(ids(&cluster, &format!("/v1/jobs?find={}", &jobs[2][..jobs[2].len() - 1])), jobs[2..3]);
    assert_eq!(cluster.job("two words")["id"], json!(jobs[1]));
    assert_eq!(cluster.json(&["jobs", "--all"]).as_array().unwrap().len(), 4);
    assert_eq!(cluster.json(&["jobs"]), json!([]));
    let said = cluster.tool(&["jobs"]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("others are over (`--all` shows them)"));
    // those that are over are counted, and are no series of their own
    let metrics = cluster.get_raw("/metrics").body;
    assert!(metrics.contains("sabot_jobs{state=\"finished\"} 4") && !metrics.contains("sabot_job_state{"), "{metrics}");

    // a server that shall remember two
    let operation = format!("/v1/operations/submit-{}", jobs[0]);
    assert_eq!(cluster.got(&operation)["state"], "done");
    cluster.kill_server();
    let dir = cluster.path("server").display().to_string();
    let args = ["server", "--listen", &cluster.address, "--dir", &dir, "--keep-jobs", "2", "--keep-for", "1d"];
    let _ended = Ended(vec![spawn(cluster.dir.path(), &args, "again.log")]);
    cluster.until("two jobs are forgotten", 60, || {
        let output = cluster.tool(&["jobs", "--all", "--json"]);
        output.status.success() && serde_json::from_slice::<Value>(&output.stdout).unwrap().as_array().unwrap().len() == 2
    });
    assert_eq!(ids(&cluster, "/v1/jobs"), newest[..2]);
    for path in [&operation, &format!("/v1/jobs/{}", jobs[0])] {
        assert_eq!(cluster.get_raw(path).status, 404, "{path}");
    }
    assert_eq!(cluster.got(&format!("/v1/operations/submit-{}", jobs[3]))["state"], "done");
    // the agent joins again, and is one
    cluster.until("the agent has joined again", 60, || cluster.agent("a1").is_some_and(|a| a["standing"] == "alive"));
    assert_eq!(cluster.got("/v1/server")["slots"], 2);
    let metrics = cluster.get_raw("/metrics").body;
    let samples: Vec<&str> = metrics.lines().filter(|l| !l.starts_with('#')).map(|l| l.rsplit_once(' ').unwrap().0).collect();
    let different: std::collections::BTreeSet<&str> = samples.iter().copied().collect();
    assert_eq!(samples.len(), different.len(), "a series twice: {metrics}");
}
