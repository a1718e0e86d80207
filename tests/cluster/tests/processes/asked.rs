//! What is asked of jobs and agents, and what comes between.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sabot::cluster::Client;
use sabot::cluster::store::{ControlStore, Place};
use serde_json::{Value, json};

use crate::kit::{Cluster, TOOL};

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asks for something that its server does not live to answer.
fn ask_in_vain(cluster: &mut Cluster, args: &[&str]) {
    let mut command = Command::new(TOOL);
    command.args(args).env("SABOT_SERVER", &cluster.address).current_dir(cluster.dir.path());
    let mut asking = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    cluster.server_dies();
    asking.kill().unwrap_or_default();
    asking.wait().unwrap();
}

#[test]
fn what_was_saved_when_the_server_died_counts() {
    let mut cluster = Cluster::start(2, 2);
    cluster.kill_server();
    cluster.start_server_that_dies("ended:1");
    cluster.until_agents(2);
    let job = cluster.submit_ledger("ledger", 2, &[]);
    cluster.another_checkpoint(&job);
    ask_in_vain(&mut cluster, &["job", "rescale", &job, "--parallelism", "4"]);
    cluster.start_server_that_dies("saved:1");
    cluster.until_attempt_works(&job, 2, 60);
    let operation = |kind: &str| {
        let all = cluster.job(&job)["operations"].clone();
        all.as_array().unwrap().iter().find(|o| o["kind"] == kind).unwrap()["state"].clone()
    };
    cluster.until("the operation is over", 30, || operation("rescale") != "running");
    assert_eq!((operation("rescale"), cluster.job(&job)["parallelism"].clone()), (json!("done"), json!(4)));
    assert_eq!(cluster.job(&job)["restarts"], 1, "the server's death counts, and nothing else");
    cluster.another_checkpoint(&job);
    cluster.until_written();
    ask_in_vain(&mut cluster, &["job", "savepoint", &job, "end", "--stop"]);
    cluster.start_server();
    let operation = |kind: &str| {
        let all = cluster.job(&job)["operations"].clone();
        all.as_array().unwrap().iter().find(|o| o["kind"] == kind).unwrap()["state"].clone()
    };
    cluster.until("the job has stopped", 60, || cluster.job(&job)["state"] == "suspended");
    cluster.until("the operation is over", 30, || operation("suspend") != "running");
    assert_eq!(operation("suspend"), "done");
    println!("{} rows, none lost or repeated", cluster.check_ledger());
}

#[test]
fn what_stands_in_the_way_of_a_move() {
    let mut cluster = Cluster::start(2, 2);
    // what a job before has left in this directory
    let savepoints = cluster.path("state").join("savepoints");
    std::fs::create_dir_all(&savepoints).unwrap();
    std::fs::write(savepoints.join("sabot-move-4-1.savepoint"), "of another job").unwrap();
    let job = cluster.submit_ledger("ledger", 2, &[]);
    cluster.another_checkpoint(&job);
    let refused = cluster.tool(&["job", "savepoint", &job, "sabot-move-3-1", "--stop"]);
    assert!(!refused.status.success() && said(&refused).contains("choose another name"), "{}", said(&refused));
    let done = cluster.json(&["job", "rescale", &job, "--parallelism", "4"]);
    assert_eq!((&done["state"], &cluster.job(&job)["parallelism"]), (&json!("done"), &json!(4)), "{done}");
    // all slots are taken: nobody can leave
    let leaver = "a1";
    let refused = cluster.tool(&["agents", "--drain", leaver]);
    assert!(!refused.status.success() && said(&refused).contains("2 slots missing"), "{}", said(&refused));
    cluster.another_checkpoint(&job);
    let view = cluster.job(&job);
    assert_eq!((view["state"].as_str(), view["attempt"].as_u64()), (Some("running"), Some(2)), "it runs on: {}", view["history"]);
    assert_eq!(cluster.agent(leaver).unwrap()["standing"], "alive");
    cluster.start_agent("a3", 2, &[]);
    let output = cluster.tool(&["agents", "--drain", leaver]);
    assert!(output.status.success(), "{}", said(&output));
    cluster.until_attempt_works(&job, 3, 60);
    let tasks = cluster.job(&job)["tasks"].clone();
    assert!(tasks.as_array().unwrap().iter().all(|t| t["placed"]["agent"] != leaver), "{tasks}");
    assert_eq!(cluster.job(&job)["restarts"], 0);
    cluster.stop_with_savepoint(&job, "end");
    println!("{} rows, none lost or repeated", cluster.check_ledger());
}

/// A submission as the tool makes it: that of a job that is over, with another key.
async fn submission(cluster: &Cluster, job: &str) -> Value {
    let store = ControlStore::open(&Place::Directory(cluster.path("server"))).await.unwrap();
    let row = store.job(job).await.unwrap().unwrap();
    json!({ "key": "", "name": null, "spec": row.spec, "options": row.options, "restarts": 3 })
}

#[test]
fn submitted_twice_and_cancelled_at_once() {
    let cluster = Cluster::start(2, 2);
    let job = cluster.json(&[
        "submit",
        "ledger",
        "--per_second",
        "100",
        "--parallelism",
        "4",
        "--sink",
        "entries=csv:out/",
        "--checkpoint-dir",
        "state",
    ]);
    let job = job["id"].as_str().unwrap().to_owned();
    assert!(cluster.tool(&["job", "cancel", &job]).status.success());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::new(&cluster.address, None).unwrap();
        let mut asked = submission(&cluster, &job).await;
        let state = async |job: &str| client.get::<Value>(&format!("/v1/jobs/{job}")).await.unwrap()["state"].clone();
        for wait in 0..30 {
            asked["key"] = json!(format!("k{wait}"));
            let begun: Value = client.post("/v1/jobs", &asked).await.unwrap();
            let again: Value = client.post("/v1/jobs", &asked).await.unwrap();
            assert_eq!(begun, again, "one key is one job");
            let job = begun["job"].as_str().unwrap();
            tokio::time::sleep(Duration::from_millis(wait * 4)).await;
            client.post::<Value>(&format!("/v1/jobs/{job}/cancel"), &json!({})).await.unwrap();
            let since = Instant::now();
            loop {
                let state = state(job).await;
                if state == "cancelled" {
                    break;
                }
                let history = client.get::<Value>(&format!("/v1/jobs/{job}")).await.unwrap()["history"].clone();
                assert!(state != "failed" && since.elapsed() < Duration::from_secs(60), "cancelled after {} ms: {history}", wait * 4);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        asked["name"] = json!("another");
        let refused = client.post::<Value>("/v1/jobs", &asked).await.unwrap_err().to_string();
        assert!(refused.contains("the key of this submission is that of job ledger-"), "{refused}");
    });
    cluster.until("all slots are free", 20, || {
        cluster.json(&["agents"]).as_array().unwrap().iter().all(|a| a["taken"] == 0 && a["tasks"] == 0)
    });
}

#[test]
fn the_store_is_busy_while_a_job_waits_for_slots() {
    let mut cluster = Cluster::start(2, 1);
    let job = cluster.submit_ledger("ledger", 2, &[]);
    cluster.another_checkpoint(&job);
    let victim = cluster.job(&job)["agents"][0].as_str().unwrap().to_owned();
    cluster.kill_agent(&victim);
    cluster.until("the job waits", 30, || cluster.job(&job)["state"] == "restarting");
    // longer than a transaction waits
    let hold =
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE'); time.sleep(13)";
    let held = Command::new("python3").args(["-c", hold]).arg(cluster.path("server").join("control.db")).status();
    if !held.is_ok_and(|s| s.success()) {
        println!("skipped: no python3 with sqlite3 here");
        return;
    }
    assert_eq!(cluster.job(&job)["state"], "restarting", "{}", cluster.job(&job)["history"]);
    cluster.start_agent("late", 1, &[]);
    cluster.until_attempt_works(&job, 2, 60);
    cluster.stop_with_savepoint(&job, "end");
    println!("{} rows, none lost or repeated", cluster.check_ledger());
}

#[test]
fn a_source_is_away_while_a_job_recovers() {
    let mut cluster = Cluster::start(2, 1);
    let (file, away) = (cluster.path("in.csv"), cluster.path("away.csv"));
    let rows: String = (0..6000).map(|n| format!("{},{n},1970-01-01T00:00:00.{:03}\n", n % 7, n % 1000)).collect();
    std::fs::write(&file, format!("key,n,at\n{rows}")).unwrap();
    let job = cluster.json(&["submit", "slowly", "--source", "ticks=in.csv", "--sink", "kept=kept.csv", "--parallelism", "1"]);
    let job = job["id"].as_str().unwrap().to_owned();
    let victim = cluster.job(&job)["agents"][0].as_str().unwrap().to_owned();
    std::fs::rename(&file, &away).unwrap();
    cluster.kill_agent(&victim);
    cluster.until("an attempt has failed for its source", 60, || cluster.job(&job)["attempt"].as_u64() >= Some(3));
    assert!(cluster.job(&job)["error"].as_str().unwrap().contains("in.csv"), "{}", cluster.job(&job)["error"]);
    std::fs::rename(&away, &file).unwrap();
    cluster.until("the job has finished", 120, || cluster.job(&job)["state"] == "finished");
    assert_eq!(std::fs::read_to_string(cluster.path("kept.csv")).unwrap().lines().count(), 6001);
}
