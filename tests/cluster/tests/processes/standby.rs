//! A control store in Postgres: the server that leads is killed or stands still, and so is Postgres; one that stands by goes on.

use std::time::{Duration, Instant};

use sabot_services::Postgres;

use crate::kit::Cluster;

/// Two servers on a database, of which the first leads, and two agents. Servers have no token, so each has a key of tickets of its own.
fn two_servers(url: &str) -> Cluster {
    let mut cluster = Cluster::of(2, |_| vec!["--store".into(), url.to_owned()]);
    cluster.start_server();
    stands_by(&mut cluster, 1);
    cluster.start_agent("a1", 2, &[]);
    cluster.start_agent("a2", 2, &[]);
    cluster
}

/// Starts a server that finds another leading.
fn stands_by(cluster: &mut Cluster, number: usize) {
    let name = crate::kit::server_name(number);
    let before = cluster.logs(&name).matches("standing by").count();
    cluster.spawn_server(number);
    cluster.until("a server stands by", 30, || cluster.logs(&name).matches("standing by").count() > before);
}

#[test]
fn a_server_that_stands_by_takes_over() {
    let Some(postgres) = Postgres::shared() else { return };
    let mut cluster = two_servers(&postgres.database(&format!("killed_{}", std::process::id())));
    let job = cluster.submit_ledger("ledger", 4, &[]);
    cluster.another_checkpoint(&job);
    let killed = Instant::now();
    cluster.kill_server();
    cluster.until_attempt_works(&job, 2, 40);
    println!("kill -9 of the server that leads: the other has the job working after {} ms", killed.elapsed().as_millis());
    cluster.another_checkpoint(&job);
    // and the other way round, with agents that have gone from one to the other
    stands_by(&mut cluster, 0);
    cluster.kill_server_at(1);
    cluster.until_attempt_works(&job, 3, 40);
    assert_eq!(cluster.job(&job)["parallelism"], 4);
    cluster.end_with_a_whole_ledger(&job);
}

#[test]
fn a_server_that_stands_still_is_replaced() {
    let Some(postgres) = Postgres::shared() else { return };
    let mut cluster = two_servers(&postgres.database(&format!("stopped_{}", std::process::id())));
    let job = cluster.submit_ledger("ledger", 4, &[]);
    cluster.another_checkpoint(&job);
    let stopped = Instant::now();
    cluster.signal(cluster.server_pid(0), "STOP");
    // it has the lock of the job's directory still: the job waits for that, and does not fail
    let waits =
        |o: &serde_json::Value| o["progress"].as_str().is_some_and(|p| p.contains("another process runs the job of this directory"));
    cluster.until("the other server leads, and waits for the directory", 60, || {
        let view = cluster.json_now(&["job", "show", &job]);
        view.is_some_and(|v| v["operations"].as_array().is_some_and(|all| all.iter().any(waits)))
    });
    println!("SIGSTOP of the server that leads: the other leads after {} ms", stopped.elapsed().as_millis());
    cluster.signal(cluster.server_pid(0), "CONT");
    assert!(!cluster.server_ends(0, 30), "it has lost its place");
    let said = cluster.logs("server");
    assert!(said.contains("this server does not lead any more"), "{said}");
    cluster.until_attempt_works(&job, 2, 40);
    assert_eq!(cluster.job(&job)["attempt"], 2, "the zombie disturbs nothing");
    cluster.end_with_a_whole_ledger(&job);
}

#[test]
fn postgres_is_killed() {
    let Some(postgres) = Postgres::own("postgres-processes") else { return };
    let mut cluster = two_servers(&postgres.database("cluster"));
    let job = cluster.submit_ledger("ledger", 4, &[]);
    cluster.another_checkpoint(&job);
    let killed = Instant::now();
    postgres.kill();
    // who leads has lost its place, and says so; whoever started it, starts it again
    assert!(!cluster.server_ends(0, 30));
    let said = cluster.logs("server");
    assert!(said.contains("this server does not lead any more") && !said.contains("pass-of-tests"), "{said}");
    std::thread::sleep(Duration::from_millis(500));
    postgres.begin();
    cluster.until_attempt_works(&job, 2, 60);
    println!("kill -9 of Postgres: working again after {} ms", killed.elapsed().as_millis());
    cluster.another_checkpoint(&job);
    stands_by(&mut cluster, 0);
    cluster.end_with_a_whole_ledger(&job);
    drop(cluster);
    postgres.end();
}
