//! Who leads.

use std::time::{Duration, Instant};

use sabot::cluster::store::{Claim, ControlStore, JobState, Place, Server};
use sabot_cluster_tests::{CHILD, Home, Once, here, note, now, place_text};

use super::rows::new_job;

/// A server that leads until it is killed.
pub(super) fn child() {
    if std::env::var(CHILD).as_deref() != Ok("leader") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = ControlStore::open(&Place::of(&std::env::var("SABOT_PLACE").unwrap())).await.unwrap();
        let leader = store.lead(&Server::here("10.1.2.3:4567", now())).await.unwrap();
        println!("leads {}", leader.fence());
        println!("lost {}", leader.lost().await);
        let refused = store.submit(leader.fence(), &new_job("zombie"), 1).await.unwrap_err();
        println!("refused {refused}");
    });
}

pub(super) async fn a_second_server(home: Home) {
    let place = place_text(&home.place);
    let first = tokio::task::spawn_blocking(move || {
        let mut first = Once::start("child", "leader", &[("SABOT_PLACE", &place)]);
        let fence: u64 = first.until("leads ").parse().unwrap();
        (first, fence)
    });
    let (first, fence) = first.await.unwrap();
    let pid = first.id();
    let store = home.store().await;
    let (led, holder) = store.leader().await.unwrap().unwrap();
    assert_eq!((led, holder.pid, holder.address.as_str()), (fence, pid, "10.1.2.3:4567"));
    assert!(!holder.host.is_empty() && (now() - 600_000..=now()).contains(&holder.since), "{holder}");
    let Claim::Held(Some(named)) = store.claim(&here()).await.unwrap() else { panic!("the first leads") };
    assert_eq!(named, holder);
    if store.has_stand_by() {
        let waits = tokio::spawn(async move { store.lead(&here()).await.map(|leader| (store, leader)) });
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert!(!waits.is_finished(), "it stands by");
        let killed = Instant::now();
        tokio::task::spawn_blocking(|| first.kill()).await.unwrap();
        let (store, leader) = waits.await.unwrap().unwrap();
        println!("took over after {:?}", killed.elapsed());
        assert!(killed.elapsed() < Duration::from_secs(4), "{:?}", killed.elapsed());
        assert!(leader.fence().0 > fence && leader.leads());
        store.submit(leader.fence(), &new_job("j"), 1).await.unwrap();
    } else {
        let error = store.lead(&here()).await.unwrap_err().to_string();
        let wanted = format!("is held by process {pid} on {} at 10.1.2.3:4567, since 2", holder.host);
        assert!(error.contains(&wanted) && error.contains(" UTC: stop that server, or take another directory"), "{error}");
        tokio::task::spawn_blocking(|| first.kill()).await.unwrap();
        let leader = store.lead(&here()).await.unwrap();
        assert!(leader.fence().0 > fence && leader.leads());
    }
}

pub(super) async fn who_led_before_writes_nothing(home: Home) {
    let (store, old) = home.led().await;
    store.submit(old.fence(), &new_job("j"), 1).await.unwrap();
    let old_fence = old.fence();
    // it gives up its place, and does not know yet what it may not
    drop(old);
    let other = home.store().await;
    let begun = Instant::now();
    let new = loop {
        match other.claim(&here()).await.unwrap() {
            Claim::Leads(leader) => break leader,
            Claim::Held(_) => assert!(begun.elapsed() < Duration::from_secs(10), "the place is not free"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(new.fence() > old_fence);
    let error = store.change_job(old_fence, "j", JobState::Starting, "a zombie", 2).await.unwrap_err().to_string();
    assert!(error.contains(&format!("this server does not lead any more: process {} on ", std::process::id())), "{error}");
    assert!(store.submit(old_fence, &new_job("k"), 1).await.is_err());
    assert!(store.release(old_fence, "j", 1).await.is_err() && store.heard(old_fence, &[]).await.is_err());
    assert_eq!(other.jobs().await.unwrap().len(), 1);
    assert_eq!(other.job("j").await.unwrap().unwrap().state, JobState::Submitted);
    // reading is free
    assert!(store.job("j").await.unwrap().is_some());
    other.change_job(new.fence(), "j", JobState::Starting, "the leader", 2).await.unwrap();
}

pub(super) async fn a_newer_store_is_refused(home: Home) {
    home.led().await;
    let set = |version: &str| {
        let script = format!("UPDATE sabot_schema SET version = {version}");
        match &home.place {
            Place::Directory(dir) => {
                let file = dir.join("control.db");
                let python = format!(
                    "import sqlite3, sys; c = sqlite3.connect({:?}); c.execute({script:?}); c.commit()",
                    file.display().to_string()
                );
                let ran = std::process::Command::new("python3").args(["-c", &python]).status().unwrap();
                assert!(ran.success());
            }
            Place::Memory(_) => panic!("no tool reaches what is in memory"),
            Place::Postgres(url) => {
                note(&home.file("script.sql"), &script);
                let ran = std::process::Command::new("psql").args([url.as_str(), "-q", "-c", &script]).status().unwrap();
                assert!(ran.success());
            }
        }
    };
    set("99");
    let error = ControlStore::open(&home.place).await.unwrap_err().to_string();
    let (begin, end) = (
        "the control store has version 99 of its tables, and this program knows versions up to ",
        ": a newer Sabot wrote it; run that one, or take another store",
    );
    let known = error.split_once(begin).and_then(|(_, rest)| rest.strip_suffix(end));
    assert!(known.is_some() && !error.contains("pass-of-tests"), "{error}");
    set(known.unwrap());
    ControlStore::open(&home.place).await.unwrap();
}

#[cfg(feature = "postgres")]
pub(super) async fn a_leader_that_stands_still(home: Home) {
    let place = place_text(&home.place);
    let first = tokio::task::spawn_blocking(move || {
        let mut first = Once::start("child", "leader", &[("SABOT_PLACE", &place)]);
        first.until("leads ");
        first
    });
    let mut first = first.await.unwrap();
    let signal = |name: &str| assert!(std::process::Command::new("kill").args([name, &first.id().to_string()]).status().unwrap().success());
    let store = home.store().await;
    signal("-STOP");
    let begun = Instant::now();
    let leader = store.lead(&here()).await.unwrap();
    println!("took over from a stopped process after {:?}", begun.elapsed());
    assert!(begun.elapsed() > Duration::from_secs(3) && begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    store.submit(leader.fence(), &new_job("j"), 1).await.unwrap();
    signal("-CONT");
    let said = tokio::task::spawn_blocking(move || {
        let said = (first.until("lost "), first.until("refused "));
        first.end();
        said
    });
    let (lost, refused) = said.await.unwrap();
    assert!(lost.contains("the session that holds the leader's place is lost"), "{lost}");
    assert!(refused.contains(&format!("this server does not lead any more: process {} on ", std::process::id())), "{refused}");
    assert!(store.job("zombie").await.unwrap().is_none() && leader.leads());
}

/// Postgres is killed under a leader with a workflow under way: the leader says so at once, and leads again when the database is back; nothing is lost.
#[cfg(feature = "postgres")]
pub(super) async fn the_database_is_killed() {
    use sabot::cluster::durable::{self, Definitions, Flow};

    let server = tokio::task::spawn_blocking(|| {
        let server = sabot_services::Postgres::own("postgres-control")?;
        let url = server.database("control");
        Some((server, url))
    });
    let Some((server, url)) = server.await.unwrap() else { return };
    let store = ControlStore::open(&Place::of(&url)).await.unwrap();
    let leader = store.lead(&here()).await.unwrap();
    store.submit(leader.fence(), &new_job("j"), 1).await.unwrap();
    let definitions = Definitions::new("1").with("long", |flow: Flow, _: ()| async move {
        let mut sum = 0;
        for step in 0..20u32 {
            sum += flow
                .step(&format!("step {step}"), || async {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    Ok(step)
                })
                .await?;
        }
        Ok(sum)
    });
    let workflows = durable::open(&store, &leader, &definitions).await.unwrap();
    workflows.start("w", "long", serde_json::Value::Null).await.unwrap();
    while workflows.steps("w").await.unwrap().len() < 4 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let server = tokio::task::spawn_blocking(move || {
        server.end();
        server
    });
    let server = server.await.unwrap();
    let begun = Instant::now();
    let why = leader.lost().await;
    println!("lost its place {:?} after the database: {why}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(4) && !leader.leads() && why.contains("the leader's place"), "{why}");
    let error = store.job("j").await.unwrap_err();
    assert!(error.is_transient() && !error.to_string().contains("pass-of-tests"), "{error}");
    workflows.stop().await.unwrap();
    let fence = leader.fence();
    drop((workflows, leader));
    let me = here();
    let (again, server) = tokio::join!(store.lead(&me), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let begun = tokio::task::spawn_blocking(move || {
            server.begin();
            server
        });
        begun.await.unwrap()
    });
    let leader = again.unwrap();
    assert!(leader.fence() > fence);
    let workflows = durable::open(&store, &leader, &definitions).await.unwrap();
    assert_eq!(workflows.recovered().resumed, ["w"]);
    assert_eq!(workflows.outcome("w").await.unwrap(), serde_json::json!(190));
    assert!(store.job("j").await.unwrap().is_some());
    workflows.stop().await.unwrap();
    drop((workflows, leader, store));
    tokio::task::spawn_blocking(move || server.end()).await.unwrap();
}
