//! What a failed job had is given back.

use crate::kit::Cluster;

fn count(pid: u32, what: &str) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count()
}

#[test]
fn slots_are_free_when_user_code_has_come_back_from_its_last_call() {
    let cluster = Cluster::start(2, 1);
    let sink = format!("totals={}", cluster.path("totals.csv").display());
    let job = cluster.json(&["submit", "directed", "--rows", "2000", "--parallelism", "2", "--sink", &sink]);
    let job = job["id"].as_str().unwrap().to_owned();
    cluster.until("it runs", 60, || cluster.job(&job)["state"] == "running");
    let view = cluster.job(&job);
    let stage = view["stages"].as_array().unwrap().iter().position(|s| s["sink"] == true).unwrap();
    let tasks = view["tasks"].as_array().unwrap();
    // where the file is written, user code is in a long call when the other agent fails
    let slow = tasks.iter().find(|t| t["id"]["stage"] == stage).unwrap()["placed"]["agent"].as_str().unwrap().to_owned();
    let brittle = if slow == "a1" { "a2" } else { "a1" };
    let (slow, brittle) = (cluster.agent_pid(&slow), cluster.agent_pid(brittle));
    let tell = |pid: u32, what: &str| {
        let (new, file) = (cluster.path("new"), cluster.path(&format!("do-{pid}")));
        std::fs::write(&new, what).unwrap();
        std::fs::rename(new, file).unwrap();
    };
    tell(slow, "sleep");
    cluster.until("one is in a long call", 30, || cluster.path(&format!("asleep-{slow}")).exists());
    tell(brittle, "panic");
    cluster.until("the other has failed", 30, || cluster.path(&format!("panicked-{brittle}")).exists());
    tell(slow, "go");
    tell(brittle, "go");
    cluster.until("the next attempt begins", 60, || {
        let view = cluster.job(&job);
        assert_ne!(view["state"], "failed", "{view}");
        view["attempt"].as_u64() > Some(1)
    });
    assert!(cluster.path(&format!("awake-{slow}")).exists(), "a slot was given while its task was still in a call");
    cluster.until("it has finished", 60, || cluster.job(&job)["state"] == "finished");
    let text = std::fs::read_to_string(cluster.path("totals.csv")).unwrap();
    let rows: u64 = text.lines().skip(1).map(|l| l.split(',').nth(1).unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!((rows, cluster.job(&job)["attempt"].as_u64()), (4 * 2000, Some(2)));
}

#[test]
fn files_and_threads_of_failed_jobs_are_returned() {
    let cluster = Cluster::start(2, 2);
    let fail = |n: usize| {
        let (state, sink) = (format!("state-{n}"), format!("entries=csv:out-{n}/"));
        let output = cluster.tool(&[
            "submit",
            "poison",
            "--per_second",
            "5000",
            "--poisoned",
            "3",
            "--parallelism",
            "4",
            "--restarts",
            "0",
            "--wait",
            "--checkpoint-dir",
            &state,
            "--sink",
            &sink,
        ]);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    };
    // what is made once is made
    fail(0);
    fail(1);
    let pids = ["a1", "a2"].map(|name| cluster.agent_pid(name));
    let settled = |what: &str| {
        // threads that were told to end need a moment
        let now = || pids.map(|pid| count(pid, what));
        let mut least = now();
        for _ in 0..20 {
            std::thread::sleep(std::time::Duration::from_millis(50));
            let n = now();
            least = [least[0].min(n[0]), least[1].min(n[1])];
        }
        least
    };
    let (files, threads) = (settled("fd"), settled("task"));
    for n in 2..22 {
        fail(n);
    }
    let after = (settled("fd"), settled("task"));
    println!("files {files:?} → {:?}, threads {threads:?} → {:?} after 20 failed jobs", after.0, after.1);
    for at in 0..2 {
        assert!(after.0[at] <= files[at] + 1, "files stay open");
        // threads for blocking work come and go
        assert!(after.1[at] <= threads[at] + 2, "threads stay");
    }
    assert!(cluster.json(&["agents"]).as_array().unwrap().iter().all(|a| a["tasks"] == 0 && a["taken"] == 0));
}
