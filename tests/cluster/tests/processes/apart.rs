//! A directory of checkpoints that not all agents share.

use crate::kit::Cluster;

/// The same path, and each process's own directory.
const OWN: &str = "/proc/self/cwd/state";

#[test]
fn checkpoints_that_an_agent_does_not_find_are_refused() {
    let mut cluster = Cluster::start(1, 2);
    let elsewhere = cluster.path("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    cluster.within.insert("a2".into(), ["env", "-C"].map(str::to_owned).into_iter().chain([elsewhere.display().to_string()]).collect());
    cluster.start_agent("a2", 2, &[]);
    let out = format!("entries=csv:{}/", cluster.path("out").display());
    let submit = ["submit", "ledger", "--per_second", "500", "--checkpoint-every", "500ms", "--sink", &out, "--checkpoint-dir", OWN];
    let output = cluster.tool(&[&submit[..], &["--parallelism", "4", "--name", "apart", "--wait"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("agent `a2` does not find in `/proc/self/cwd/state` what the lead of the job wrote there"), "{said}");
    assert!(said.contains("checkpoints must be kept where all agents reach them"), "{said}");
    let view = cluster.job("apart");
    assert_eq!((view["state"].as_str(), view["restarts"].as_u64(), view["attempt"].as_u64()), (Some("failed"), Some(0), Some(1)), "{view}");
    assert!(!cluster.path("out").exists(), "nothing was begun");
    // in its place one that does share it
    cluster.kill_agent("a2");
    cluster.start_agent("a3", 2, &[]);
    let job = cluster.json(&[&submit[..], &["--parallelism", "4", "--name", "together"]].concat());
    let job = job["id"].as_str().unwrap().to_owned();
    cluster.another_checkpoint(&job);
    assert_eq!(cluster.job(&job)["agents"], serde_json::json!(["a1", "a3"]));
    cluster.end_with_a_whole_ledger(&job);
}
