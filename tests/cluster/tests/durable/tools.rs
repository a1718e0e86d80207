//! The tools of DBOS, from PyPI, on Sabot's workflows.

use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sabot::Error;
use sabot::cluster::durable::State;
use sabot_cluster_tests::{Home, dbos_tools};
use serde_json::{Value, json};

use super::basics::{Three, names, open};

/// What the tool prints, which ends well.
async fn dbos(url: &str, args: &[&str]) -> Option<String> {
    let (url, args) = (url.to_owned(), args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
    let run = move || {
        let ran = Command::new(dbos_tools()?).arg("workflow").args(&args).args(["-s", &url]).output().unwrap();
        let (said, complained) = (String::from_utf8_lossy(&ran.stdout).into_owned(), String::from_utf8_lossy(&ran.stderr).into_owned());
        assert!(ran.status.success(), "dbos workflow {args:?}: {said}{complained}");
        Some(said)
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_list_cancel_and_resume() {
    let home = tokio::task::spawn_blocking(Home::postgres).await.unwrap();
    let Some(home) = home else { return };
    let three = Three::default();
    three.hold.store(1, Ordering::SeqCst);
    let (_store, _leader, workflows) = open(&home, &three.definitions("1")).await;
    workflows.start("seen-from-afar", "three", json!(0)).await.unwrap();
    three.in_second().await;

    let Some(listed) = dbos(home.url(), &["list"]).await else { return };
    let begin = listed.find('[').unwrap();
    let listed: Vec<Value> = serde_json::from_str(&listed[begin..]).unwrap();
    let found: Vec<_> = listed.iter().map(|w| [&w["workflow_id"], &w["name"], &w["status"], &w["app_version"]]).collect();
    assert_eq!(found, [[&json!("seen-from-afar"), &json!("three"), &json!("PENDING"), &json!("1")]], "{listed:?}");
    let steps = dbos(home.url(), &["steps", "seen-from-afar"]).await.unwrap();
    assert!(steps.contains("\"one\"") && !steps.contains("\"two\""), "{steps}");

    dbos(home.url(), &["cancel", "seen-from-afar"]).await.unwrap();
    assert_eq!(workflows.show("seen-from-afar").await.unwrap().unwrap().state, State::Cancelled);
    assert!(matches!(workflows.outcome("seen-from-afar").await, Err(Error::Cancelled)));
    // who cancels from elsewhere lets the step that runs end
    three.hold.store(0, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(three.entered(), [1, 1, 0]);

    dbos(home.url(), &["resume", "seen-from-afar"]).await.unwrap();
    let begun = Instant::now();
    assert_eq!(workflows.outcome("seen-from-afar").await.unwrap(), json!(111));
    println!("resumed from Python and done within {:?}", begun.elapsed());
    let [first, _, third] = three.entered();
    assert_eq!([first, third], [1, 1]);
    assert_eq!(names(&workflows.steps("seen-from-afar").await.unwrap()), ["one", "two", "three"]);
    let listed = dbos(home.url(), &["list", "--status", "SUCCESS"]).await.unwrap();
    assert!(listed.contains("seen-from-afar"), "{listed}");
    workflows.stop().await.unwrap();
}
