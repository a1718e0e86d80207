//! Jobs that go on with another build of the program.

use crate::kit::{Cluster, NEXT, TOOL};

/// Kills everything, and starts another build.
fn swap(cluster: &mut Cluster, program: &'static str) {
    cluster.kill_server();
    for name in ["a1", "a2"] {
        cluster.kill_agent(name);
    }
    cluster.program = program;
    cluster.start_server();
    for name in ["a1", "a2"] {
        cluster.start_agent(name, 2, &[]);
    }
}

#[test]
fn jobs_of_another_build_wait_until_somebody_wants_them() {
    let mut cluster = Cluster::start(2, 2);
    let job = cluster.submit_ledger("ledger", 3, &[]);
    let build = cluster.job(&job)["build"].clone();
    cluster.another_checkpoint(&job);
    swap(&mut cluster, NEXT);
    cluster.until("the job is left alone", 30, || cluster.job(&job)["state"] == "restarting");
    let view = cluster.job(&job);
    assert!(view["error"].as_str().unwrap().starts_with(&format!("it is of build {}", build.as_str().unwrap())), "{}", view["error"]);
    let refused = cluster.tool(&["job", "rescale", &job, "--parallelism", "2"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("`job upgrade` lets it go on with this one"), "{said}");
    // its own build takes it up again
    swap(&mut cluster, TOOL);
    cluster.until_attempt_works(&job, 2, 60);
    cluster.another_checkpoint(&job);
    // the new one may take it over from its last checkpoint, although nobody stopped it
    swap(&mut cluster, NEXT);
    let done = cluster.tool(&["job", "upgrade", "--all"]);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && said.contains("runs with build"), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let view = cluster.job(&job);
    assert_ne!(view["build"], build);
    assert_eq!((view["state"].as_str(), view["parallelism"].as_u64()), (Some("running"), Some(3)));
    cluster.another_checkpoint(&job);
    cluster.stop_with_savepoint(&job, "end");
    println!("{} rows, none lost or repeated", cluster.check_ledger());
    // what was written since has the new column
    let newest = std::fs::read_dir(cluster.path("out")).unwrap().map(|f| f.unwrap().path()).max().unwrap();
    assert!(std::fs::read_to_string(newest).unwrap().lines().next().unwrap().contains("twice"));
}

#[test]
fn a_build_whose_state_does_not_fit_is_refused() {
    let mut cluster = Cluster::start(2, 2);
    let job = cluster.submit_ledger("poison", 2, &["--poisoned=-1"]);
    cluster.another_checkpoint(&job);
    let waits = cluster.tool(&["job", "upgrade", &job, "--savepoint", "before"]);
    let said = String::from_utf8_lossy(&waits.stdout).into_owned();
    assert!(waits.status.success() && said.contains("was stopped with savepoint `before`, and goes on when"), "{said}");
    assert_eq!(cluster.job(&job)["state"], "suspended");
    swap(&mut cluster, NEXT);
    let upgrade = || cluster.job(&job)["operations"].as_array().unwrap().iter().find(|o| o["kind"] == "upgrade").unwrap().clone();
    cluster.until("it is refused", 60, || upgrade()["state"] == "failed");
    let why = upgrade()["error"].as_str().unwrap().to_owned();
    assert!(
        why.contains("`poison/entries/keyed`: its state belongs to other key columns: they were `key: Int64`, and are `n: Int64` now"),
        "{why}"
    );
    assert!(why.contains("It stays suspended. Its state is kept in") && why.contains("before.savepoint"), "{why}");
    assert_eq!(cluster.job(&job)["state"], "suspended");
    // the old build goes on from what was kept
    swap(&mut cluster, TOOL);
    let again = cluster.submit_ledger("poison", 2, &["--poisoned=-1", "--from-savepoint", "before"]);
    cluster.another_checkpoint(&again);
    cluster.stop_with_savepoint(&again, "end");
    println!("{} rows, none lost or repeated", cluster.check_ledger());
}
