//! What a failed job had is given back.

use crate::kit::Cluster;

fn count(pid: u32, what: &str) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count()
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
