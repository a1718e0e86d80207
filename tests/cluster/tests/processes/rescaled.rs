//! Jobs that move: to another number of instances, away from an agent that leaves.

use std::time::Instant;

use crate::kit::Cluster;

#[test]
fn four_to_eight_to_one_to_four() {
    let cluster = Cluster::start(2, 4);
    let job = cluster.submit_ledger("ledger", 4, &[]);
    cluster.another_checkpoint(&job);
    for parallelism in ["8", "1", "4"] {
        let began = Instant::now();
        let done = cluster.json(&["job", "rescale", &job, "--parallelism", parallelism]);
        println!("rescale to {parallelism}: {} ms", began.elapsed().as_millis());
        assert_eq!(done["state"], "done", "{done}");
        let names: Vec<&str> = done["steps"].as_array().unwrap().iter().filter_map(|s| s["name"].as_str()).collect();
        assert!(names.iter().any(|n| n.contains("validate")) && names.iter().any(|n| n.contains("checkpoint and stop")), "{names:?}");
        let view = cluster.job(&job);
        assert_eq!(view["parallelism"].to_string(), parallelism);
        assert_eq!(view["restarts"], 0, "it is no failure");
        cluster.another_checkpoint(&job);
    }
    let refused = cluster.tool(&["job", "rescale", &job, "--parallelism", "20"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("12 slots are missing"), "{said}");
    let saved = cluster.json(&["job", "savepoint", &job, "kept"]);
    assert_eq!(saved["outcome"]["name"], "kept");
    cluster.stop_with_savepoint(&job, "end");
    println!("{} rows, none lost or repeated: the states are the same", cluster.check_ledger());
    let list = cluster.tool(&["savepoint", "list", "--checkpoint-dir", "state"]);
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(list.contains("kept") && list.contains("end") && !list.contains("sabot-move"), "{list}");
}

#[test]
fn an_agent_leaves_on_sigterm() {
    let mut cluster = Cluster::start(2, 4);
    let job = cluster.submit_ledger("ledger", 4, &[]);
    cluster.another_checkpoint(&job);
    let leaver = cluster.job(&job)["agents"][0].as_str().unwrap().to_owned();
    let began = Instant::now();
    cluster.signal(cluster.agent_pid(&leaver), "TERM");
    assert!(cluster.agent_ends(&leaver), "it ends well: {}", cluster.logs(&leaver));
    println!("drained in {} ms", began.elapsed().as_millis());
    cluster.until_attempt_works(&job, 2, 20);
    let view = cluster.job(&job);
    assert_eq!(view["restarts"], 0, "leaving is no failure: {}", view["history"]);
    assert!(view["tasks"].as_array().unwrap().iter().all(|t| t["placed"]["agent"] != leaver.as_str()));
    assert_eq!(cluster.agent(&leaver).unwrap()["standing"], "left");
    cluster.stop_with_savepoint(&job, "end");
    cluster.check_ledger();
    // a job that is cancelled has ended
    let job = cluster.submit_ledger("ledger", 4, &["--name", "again"]);
    assert!(cluster.tool(&["job", "cancel", &job]).status.success());
    assert_eq!(cluster.job(&job)["state"], "cancelled");
}
