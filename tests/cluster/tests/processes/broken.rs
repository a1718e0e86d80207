//! Processes that are killed or stopped, rows that are poison, a disk that is full.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::kit::Cluster;

#[test]
fn an_agent_is_killed() {
    let mut cluster = Cluster::start(3, 2);
    let began = Instant::now();
    let job = cluster.submit_ledger("ledger", 4, &[]);
    println!("submit: {} ms until the job ran", began.elapsed().as_millis());
    cluster.another_checkpoint(&job);
    cluster.another_checkpoint(&job);
    let victim = cluster.job(&job)["agents"][0].as_str().unwrap().to_owned();
    let killed = Instant::now();
    cluster.kill_agent(&victim);
    let detected = cluster.until("the loss is seen", 10, || cluster.agent(&victim).is_some_and(|a| a["standing"] == "lost"));
    cluster.until_attempt_works(&job, 2, 30);
    println!("kill -9 of an agent: lost after {} ms, working again after {} ms", detected.as_millis(), killed.elapsed().as_millis());
    cluster.another_checkpoint(&job);
    let view = cluster.job(&job);
    assert_eq!((view["restarts"].as_u64(), view["attempt"].as_u64()), (Some(1), Some(2)), "{view}");
    assert!(view["tasks"].as_array().unwrap().iter().all(|t| t["placed"]["agent"] != victim.as_str()));
    assert!(
        view["operations"].as_array().unwrap().iter().any(|o| o["kind"] == "recover-agent" && o["state"] == "done"),
        "{}",
        view["operations"]
    );
    cluster.stop_with_savepoint(&job, "end");
    println!("{} rows, none lost or repeated", cluster.check_ledger());
}

#[test]
fn the_server_is_killed() {
    let mut cluster = Cluster::start(2, 2);
    let job = cluster.submit_ledger("ledger", 3, &[]);
    cluster.another_checkpoint(&job);
    cluster.another_checkpoint(&job);
    for attempt in 2..=3 {
        let killed = Instant::now();
        cluster.kill_server();
        cluster.start_server();
        cluster.until_attempt_works(&job, attempt, 40);
        println!("kill -9 of the server: working again after {} ms", killed.elapsed().as_millis());
        cluster.another_checkpoint(&job);
    }
    cluster.stop_with_savepoint(&job, "end");
    println!("{} rows, none lost or repeated", cluster.check_ledger());
}

#[test]
fn the_server_is_killed_while_jobs_begin_and_end() {
    let mut cluster = Cluster::start(2, 2);
    for wait in [0, 15, 40, 80, 160] {
        let out = cluster.path(&format!("totals-{wait}.csv"));
        let sink = format!("totals={}", out.display());
        let name = format!("t{wait}");
        let args = ["submit", "totals", "--rows", "20000", "--parallelism", "2", "--sink", &sink, "--name", &name, "--wait"];
        let mut submitting = Command::new(crate::kit::TOOL)
            .args(args)
            .env("SABOT_SERVER", &cluster.address)
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // it takes a moment until the request is out
        cluster.until("the job is known", 20, || {
            cluster.json(&["jobs", "--all"]).as_array().unwrap().iter().any(|j| j["name"] == name.as_str())
        });
        std::thread::sleep(Duration::from_millis(wait));
        cluster.kill_server();
        let _ = submitting.wait();
        cluster.start_server();
        cluster.until("the job has finished", 120, || cluster.job(&name)["state"] == "finished");
        let rows: u64 =
            std::fs::read_to_string(&out).unwrap().lines().skip(1).map(|l| l.split(',').nth(1).unwrap().parse::<u64>().unwrap()).sum();
        assert_eq!(rows, 4 * 20_000, "killed after {wait} ms");
    }
}

#[test]
fn an_agent_joins_although_the_store_is_slow() {
    let mut cluster = Cluster::start(0, 0);
    // another process has the right to write, for longer than a lease; the server waits for it
    let script = "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE'); \
                  print('has it', flush=True); time.sleep(7); c.execute('ROLLBACK')";
    let mut holder = Command::new("python3")
        .args(["-c", script])
        .arg(cluster.path("server").join("control.db"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.take().unwrap()), &mut line).unwrap();
    assert_eq!(line, "has it\n");
    cluster.start_agent("a1", 2, &[]);
    assert!(holder.wait().unwrap().success());
    assert!(cluster.logs("server").contains("agent `a1` waits to be written down"), "{}", cluster.logs("server"));
    assert!(!cluster.logs("a1").contains("joining again"), "{}", cluster.logs("a1"));
    let job = cluster.json(&["submit", "totals", "--rows", "100", "--sink", "totals=t.csv", "--wait"]);
    assert_eq!(job["state"], "finished");
}

#[test]
fn a_zombie_is_refused() {
    let mut cluster = Cluster::start(3, 2);
    let job = cluster.submit_ledger("ledger", 4, &[]);
    cluster.another_checkpoint(&job);
    cluster.another_checkpoint(&job);
    // the agent with the sink: what it would write counts
    let tasks = cluster.job(&job)["tasks"].clone();
    let last = tasks.as_array().unwrap().last().unwrap().clone();
    let victim = last["placed"]["agent"].as_str().unwrap().to_owned();
    let epoch = cluster.agent(&victim).unwrap()["epoch"].as_u64().unwrap();
    let pid = cluster.agent_pid(&victim);
    cluster.signal(pid, "STOP");
    cluster.until("the loss is seen", 10, || cluster.agent(&victim).is_some_and(|a| a["standing"] == "lost"));
    cluster.until_attempt_works(&job, 2, 30);
    cluster.another_checkpoint(&job);
    cluster.signal(pid, "CONT");
    cluster.until("the zombie has joined anew", 20, || {
        cluster.agent(&victim).is_some_and(|a| a["standing"] == "alive" && a["epoch"].as_u64() > Some(epoch))
    });
    // nothing of it runs on: its tasks are zero
    cluster.until("the zombie has stopped its tasks", 10, || cluster.agent(&victim).is_some_and(|a| a["tasks"] == 0));
    cluster.another_checkpoint(&job);
    assert_eq!(cluster.job(&job)["attempt"], 2, "the return disturbs nothing");
    cluster.stop_with_savepoint(&job, "end");
    println!("{} rows, none lost or repeated", cluster.check_ledger());
    cluster.kill_agent(&victim);
}

#[test]
fn a_poison_row_fails_the_job_and_nothing_else() {
    let cluster = Cluster::start(2, 2);
    let output = cluster.tool(&[
        "submit",
        "poison",
        "--per_second",
        "2000",
        "--poisoned",
        "400",
        "--parallelism",
        "2",
        "--restarts",
        "1",
        "--wait",
        "--checkpoint-dir",
        "state",
        "--checkpoint-every",
        "100ms",
        "--sink",
        "entries=csv:out/",
    ]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("row 400 is poison") && said.contains("brittle"), "{said}");
    let view = cluster.job("poison");
    assert_eq!(view["state"], "failed");
    assert!(view["restarts"].as_u64() >= Some(1));
    // what was published before is whole, and the cluster goes on
    let rows = cluster.check_ledger();
    assert!(rows <= 50 * 401, "{rows}");
    let next = cluster.json(&["submit", "totals", "--rows", "100", "--sink", "totals=t.csv", "--wait"]);
    assert_eq!(next["state"], "finished");
    assert!(cluster.json(&["agents"]).as_array().unwrap().iter().all(|a| a["taken"] == 0 && a["standing"] == "alive"));
}

#[test]
fn a_full_disk_fails_the_job_and_it_goes_on_when_there_is_room() {
    let cluster = Cluster::start(2, 2);
    let small = cluster.path("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&small).status();
    if !mounted.is_ok_and(|s| s.success()) {
        println!("skipped: no file system can be mounted here");
        return;
    }
    struct Mounted(std::path::PathBuf);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        }
    }
    let _mounted = Mounted(small.clone());
    let out = format!("entries=csv:{}/", small.join("out").display());
    let submit = ["submit", "ledger", "--per_second", "4000", "--parallelism", "2", "--restarts", "1", "--checkpoint-dir", "state"];
    let more = ["--checkpoint-every", "200ms", "--sink", &out];
    let output = cluster.tool(&[&submit[..], &more[..], &["--wait", "--name", "first"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(Command::new("mount").args(["-o", "remount,size=64m"]).arg(&small).status().unwrap().success());
    let again = cluster.json(&[&submit[..], &more[..], &["--name", "second"]].concat());
    let job = again["id"].as_str().unwrap().to_owned();
    cluster.another_checkpoint(&job);
    cluster.stop_with_savepoint(&job, "end");
    std::fs::create_dir(cluster.path("out")).unwrap();
    for file in std::fs::read_dir(small.join("out")).unwrap() {
        let file = file.unwrap().path();
        std::fs::copy(&file, cluster.path("out").join(file.file_name().unwrap())).unwrap();
    }
    println!("{} rows, none lost or repeated", cluster.check_ledger());
}
