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
        std::future::pending::<()>().await;
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
            Place::Postgres(url) => {
                note(&home.file("script.sql"), &script);
                let ran = std::process::Command::new("psql").args([url.as_str(), "-q", "-c", &script]).status().unwrap();
                assert!(ran.success());
            }
        }
    };
    set("99");
    let error = ControlStore::open(&home.place).await.unwrap_err().to_string();
    let wanted = "the control store has version 99 of its tables, and this program knows versions up to 1: a newer Sabot wrote it; run that one, or take \
                  another store";
    assert!(error.contains(wanted) && !error.contains("pass-of-tests"), "{error}");
    set("1");
    ControlStore::open(&home.place).await.unwrap();
}
