//! The server is killed: at every boundary between steps, and inside every step.

use std::path::PathBuf;
use std::time::Duration;

use sabot::cluster::durable::{self, Definitions, Flow, State};
use sabot::cluster::store::{ControlStore, Place};
use sabot_cluster_tests::{CHILD, Home, Once, here, note, notes, now, place_text};
use serde_json::{Value, json};

const STEPS: u32 = 4;
/// Longer than a busy machine takes to begin again.
const SLEEP: Duration = Duration::from_secs(8);
const LONG: Duration = Duration::from_secs(60);

/// Says where it is, and waits there for the end, if that is where this life ends.
async fn here_it_ends(point: &str) {
    if std::env::var("SABOT_KILL_AT").is_ok_and(|at| at == point) {
        println!("reached {point}");
        std::future::pending::<()>().await;
    }
}

/// Notes each step as it is entered, in a file that survives.
async fn ledger(flow: Flow, file: PathBuf) -> sabot::Result<u32> {
    let mut sum = 0;
    for step in 0..STEPS {
        here_it_ends(&format!("before {step}")).await;
        let file = file.clone();
        let id = flow.id().to_owned();
        let value: u32 = flow
            .step(&format!("step {step}"), move || {
                let (file, id) = (file.clone(), id.clone());
                async move {
                    note(&file, &format!("{id}: step {step}"));
                    here_it_ends(&format!("inside {step}")).await;
                    Ok(step * step)
                }
            })
            .await?;
        sum += value;
    }
    here_it_ends("before the end").await;
    Ok(sum)
}

/// Sleeps, then waits for a message.
async fn patient(flow: Flow, file: PathBuf) -> sabot::Result<Value> {
    flow.step("begin", || async {
        note(&file, &format!("begun {}", now()));
        Ok(())
    })
    .await?;
    if std::env::var("SABOT_KILL_AT").is_ok_and(|at| at == "asleep") {
        println!("reached asleep");
    }
    flow.sleep(SLEEP).await?;
    note(&file, &format!("woke {}", now()));
    flow.set_event("awake", &true).await?;
    if std::env::var("SABOT_KILL_AT").is_ok_and(|at| at == "listening") {
        println!("reached listening");
    }
    let first = flow.recv::<u32>("numbers", LONG).await?;
    let second = flow.recv::<u32>("numbers", LONG).await?;
    Ok(json!([first, second]))
}

fn definitions() -> Definitions {
    Definitions::new("1").with("ledger", ledger).with("patient", patient)
}

/// A server that runs one workflow to its end, unless it is killed first.
pub(super) fn child() {
    if std::env::var(CHILD).as_deref() != Ok("server") {
        return;
    }
    let text = |name: &str| std::env::var(name).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = ControlStore::open(&Place::of(&text("SABOT_PLACE"))).await.unwrap();
        let leader = store.lead(&here()).await.unwrap();
        println!("leads {}", leader.fence());
        let workflows = durable::open(&store, &leader, &definitions()).await.unwrap();
        println!("open {}", now());
        let (id, name) = (text("SABOT_ID"), text("SABOT_NAME"));
        workflows.start(&id, &name, json!(text("SABOT_FILE"))).await.unwrap();
        let outcome = workflows.outcome(&id).await;
        println!("outcome {}", outcome.map_or_else(|e| e.to_string(), |v| v.to_string()));
        workflows.stop().await.unwrap();
    });
}

fn server(home: &Home, name: &str, id: &str, kill_at: &str) -> Once {
    let file = home.file("notes").display().to_string();
    let place = place_text(&home.place);
    let variables =
        [("SABOT_PLACE", place.as_str()), ("SABOT_NAME", name), ("SABOT_ID", id), ("SABOT_FILE", &file), ("SABOT_KILL_AT", kill_at)];
    Once::start("child", "server", &variables)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

pub(super) async fn at_every_boundary_and_inside_every_step(home: Home) {
    blocking(move || {
        let mut points = Vec::new();
        for step in 0..STEPS {
            points.extend([format!("before {step}"), format!("inside {step}")]);
        }
        points.push("before the end".into());
        let mut fences = Vec::new();
        for point in &points {
            let id = point.replace(' ', "-");
            let mut life = server(&home, "ledger", &id, point);
            fences.push(life.until("leads ").parse::<u64>().unwrap());
            life.until(&format!("reached {point}"));
            life.kill();
            let mut life = server(&home, "ledger", &id, "nowhere");
            fences.push(life.until("leads ").parse().unwrap());
            assert_eq!(life.until("outcome "), "14", "{point}");
            life.end();
            // the step it died in was entered twice, all others once
            let mut wanted: Vec<String> = (0..STEPS).map(|step| format!("{id}: step {step}")).collect();
            if let Some(step) = point.strip_prefix("inside ") {
                wanted.push(format!("{id}: step {step}"));
            }
            wanted.sort();
            let mut entered: Vec<String> = notes(&home.file("notes")).into_iter().filter(|n| n.starts_with(&id)).collect();
            entered.sort();
            assert_eq!(entered, wanted, "{point}");
        }
        assert!(fences.windows(2).all(|pair| pair[0] < pair[1]), "{fences:?}");
        // what is finished is not run again
        let before = notes(&home.file("notes")).len();
        let mut life = server(&home, "ledger", "inside-2", "nowhere");
        assert_eq!(life.until("outcome "), "14");
        life.end();
        assert_eq!(notes(&home.file("notes")).len(), before);

        // killed again and again inside one step
        for _ in 0..3 {
            let mut life = server(&home, "ledger", "unlucky", "inside 1");
            life.until("reached inside 1");
            life.kill();
        }
        let mut life = server(&home, "ledger", "unlucky", "nowhere");
        assert_eq!(life.until("outcome "), "14");
        life.end();
        let entered = |step: &str| notes(&home.file("notes")).iter().filter(|n| **n == format!("unlucky: step {step}")).count();
        assert_eq!([entered("0"), entered("1"), entered("2")], [1, 4, 1]);
    })
    .await;
}

pub(super) async fn while_it_waits(home: Home) {
    let (home, opened) = blocking(move || {
        let mut life = server(&home, "patient", "p", "asleep");
        life.until("reached asleep");
        std::thread::sleep(Duration::from_millis(300));
        life.kill();
        // the time in which nobody runs counts
        std::thread::sleep(Duration::from_secs(5));
        let mut life = server(&home, "patient", "p", "listening");
        let opened: i64 = life.until("open ").parse().unwrap();
        life.until("reached listening");
        std::thread::sleep(Duration::from_millis(200));
        life.kill();
        (home, opened)
    })
    .await;
    let (store, leader) = home.led().await;
    let workflows = durable::open(&store, &leader, &definitions()).await.unwrap();
    assert_eq!(workflows.recovered().resumed, ["p"]);
    workflows.send("p", "numbers", json!(1), None).await.unwrap();
    while workflows.steps("p").await.unwrap().iter().all(|s| s.name != "DBOS.recv") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // a message that was taken is not taken again
    workflows.stop().await.unwrap();
    drop((workflows, leader, store));
    let (store, leader) = home.led().await;
    let workflows = durable::open(&store, &leader, &definitions()).await.unwrap();
    workflows.send("p", "numbers", json!(2), None).await.unwrap();
    assert_eq!(workflows.outcome("p").await.unwrap(), json!([1, 2]));
    let times: Vec<(String, i64)> = notes(&home.file("notes"))
        .iter()
        .filter_map(|n| n.split_once(' '))
        .map(|(what, at)| (what.to_owned(), at.parse().unwrap()))
        .collect();
    let begins = times.iter().filter(|(what, _)| what == "begun").count();
    assert_eq!(begins, 1);
    let woke = times.iter().find(|(what, _)| what == "woke").unwrap().1;
    let whole = i64::try_from(SLEEP.as_millis()).unwrap();
    assert!(woke - times[0].1 >= whole - 50, "slept {} ms of {whole}", woke - times[0].1);
    assert!(woke - opened < whole - 1000, "slept {} ms after the crash: not the rest of {whole}, but all of it", woke - opened);
    workflows.stop().await.unwrap();
}

pub(super) async fn cancelled_before_the_kill_stays_cancelled(home: Home) {
    let home = blocking(move || {
        let mut life = server(&home, "ledger", "c", "inside 1");
        life.until("reached inside 1");
        life.kill();
        home
    })
    .await;
    let (store, leader) = home.led().await;
    // with no definitions it waits, and can be cancelled
    let workflows = durable::open(&store, &leader, &Definitions::new("0")).await.unwrap();
    assert_eq!(workflows.recovered().waiting, [("c".to_owned(), "1".to_owned())]);
    workflows.cancel("c").await.unwrap();
    workflows.stop().await.unwrap();
    drop((workflows, leader, store));
    let (store, leader) = home.led().await;
    let workflows = durable::open(&store, &leader, &definitions()).await.unwrap();
    assert!(workflows.recovered().resumed.is_empty());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(workflows.show("c").await.unwrap().unwrap().state, State::Cancelled);
    workflows.resume("c").await.unwrap();
    assert_eq!(workflows.outcome("c").await.unwrap(), json!(14));
    workflows.stop().await.unwrap();
}
