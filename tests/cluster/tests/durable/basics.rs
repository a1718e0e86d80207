//! What one process sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sabot::cluster::durable::{self, Definitions, Filter, Flow, Retry, State, Workflows};
use sabot::cluster::store::{ControlStore, Leader, Place};
use sabot::{Error, Result};
use sabot_cluster_tests::Home;
use serde_json::{Value, json};

const LONG: Duration = Duration::from_secs(60);

pub(super) async fn open(home: &Home, definitions: &Definitions) -> (ControlStore, Leader, Arc<dyn Workflows>) {
    let (store, leader) = home.led().await;
    let workflows = durable::open(&store, &leader, definitions).await.unwrap();
    (store, leader, workflows)
}

pub(super) fn names(steps: &[durable::StepSummary]) -> Vec<&str> {
    // the engine's own steps have names of its own
    steps.iter().map(|s| s.name.as_str()).filter(|n| !n.starts_with("DBOS.")).collect()
}

pub(super) async fn values_messages_and_events(home: Home) {
    let ran = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&ran);
    let talk = move |flow: Flow, (who, times): (String, u32)| {
        let count = Arc::clone(&count);
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            let greeting: String = flow.step("greet", || async { Ok(format!("hello {who}")) }).await?;
            flow.set_event("greeting", &greeting).await?;
            let mut heard = Vec::new();
            while heard.len() < times as usize {
                heard.extend(flow.recv::<u32>("numbers", LONG).await?);
            }
            let nothing = flow.recv::<u32>("numbers", Duration::from_millis(50)).await?;
            flow.set_event("greeting", &"bye").await?;
            flow.sleep(Duration::from_millis(30)).await?;
            Ok((greeting, heard, nothing))
        }
    };
    let listen = |flow: Flow, to: String| async move {
        let greeting: Option<String> = flow.event(&to, "greeting", LONG).await?;
        let none: Option<String> = flow.event(&to, "silence", Duration::from_millis(20)).await?;
        flow.send(&to, "numbers", &7).await?;
        Ok((greeting, none))
    };
    let definitions = Definitions::new("1").with("talk", talk).with("listen", listen);
    let (_store, _leader, workflows) = open(&home, &definitions).await;
    assert_eq!(workflows.recovered(), &durable::Recovery::default());

    workflows.start("t", "talk", json!(["you", 4])).await.unwrap();
    workflows.start("l", "listen", json!("t")).await.unwrap();
    assert_eq!(workflows.outcome("l").await.unwrap(), json!(["hello you", null]));
    // twice with one key is once; order is kept
    for (number, key) in [(1, Some("a")), (1, Some("a")), (2, None), (3, Some("b"))] {
        workflows.send("t", "numbers", json!(number), key).await.unwrap();
    }
    workflows.send("t", "others", json!("nobody listens"), None).await.unwrap();
    assert_eq!(workflows.outcome("t").await.unwrap(), json!(["hello you", [7, 1, 2, 3], null]));
    assert_eq!(workflows.event("t", "greeting", Duration::ZERO).await.unwrap(), Some(json!("bye")));
    assert_eq!(workflows.event("t", "nothing", Duration::from_millis(20)).await.unwrap(), None);

    // the first start counts
    workflows.start("t", "talk", json!(["me", 0])).await.unwrap();
    assert_eq!(workflows.outcome("t").await.unwrap()[0], json!("hello you"));
    assert_eq!(ran.load(Ordering::SeqCst), 1);
    let error = workflows.start("t", "listen", json!("t")).await.unwrap_err().to_string();
    assert!(error.contains("`t` is there already, and is a `talk`, not a `listen`"), "{error}");
    let error = workflows.start("x", "unknown", json!(null)).await.unwrap_err().to_string();
    assert!(error.contains("no workflow is defined as `unknown`"), "{error}");

    // those that do not exist
    assert!(workflows.show("nobody").await.unwrap().is_none());
    for error in [
        workflows.outcome("nobody").await.map(|_| ()),
        workflows.send("nobody", "numbers", json!(1), None).await,
        workflows.resume("nobody").await,
        workflows.fork("nobody", 0, "new").await,
    ] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains("there is no workflow `nobody`"), "{error}");
    }
    workflows.cancel("nobody").await.unwrap();

    let shown = workflows.show("t").await.unwrap().unwrap();
    assert_eq!((shown.id.as_str(), shown.name.as_str(), shown.version.as_str(), shown.state), ("t", "talk", "1", State::Done));
    assert_eq!((shown.input, shown.error), (json!(["you", 4]), None));
    assert!(shown.created > 1_700_000_000_000 && shown.updated >= shown.created);
    let steps = workflows.steps("t").await.unwrap();
    assert_eq!(names(&steps), ["greet"]);
    let greet = steps.iter().find(|s| s.name == "greet").unwrap();
    assert_eq!(greet.output, Some(json!("hello you")));
    assert!(steps.windows(2).all(|pair| pair[0].number < pair[1].number));

    let listed = |filter: Filter| {
        let workflows = Arc::clone(&workflows);
        async move { workflows.list(&filter).await.unwrap().into_iter().map(|w| w.id).collect::<Vec<_>>() }
    };
    assert_eq!(listed(Filter::default()).await, ["l", "t"]);
    assert_eq!(listed(Filter { name: Some("talk".into()), ..Filter::default() }).await, ["t"]);
    assert_eq!(listed(Filter { id_prefix: Some("l".into()), ..Filter::default() }).await, ["l"]);
    assert_eq!(listed(Filter { limit: 1, ..Filter::default() }).await, ["l"]);
    assert!(listed(Filter { states: vec![State::Failed, State::Running, State::Queued], ..Filter::default() }).await.is_empty());
    workflows.stop().await.unwrap();
}

pub(super) async fn errors_are_recorded(home: Home) {
    let tries = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&tries);
    let stubborn = move |flow: Flow, (fails, permanent): (u32, bool)| {
        let count = Arc::clone(&count);
        async move {
            let retry = Retry { wait: Duration::from_millis(5), ..Retry::transient(4) };
            let number: Result<u32> = flow
                .try_step("try", retry, || {
                    let n = count.fetch_add(1, Ordering::SeqCst) + 1;
                    async move {
                        match (n <= fails, permanent) {
                            (true, false) => Err(Error::io("far", "cannot reach", std::io::ErrorKind::ConnectionReset.into())),
                            (true, true) => Err(Error::usage("never")),
                            _ => Ok(n),
                        }
                    }
                })
                .await;
            // an error that was recorded may be lived with
            match number {
                Ok(n) => Ok(n),
                Err(e) if permanent => Err(e),
                Err(e) => flow.step("instead", || async { Ok(u32::try_from(e.to_string().len()).unwrap_or(0)) }).await,
            }
        }
    };
    let panics = |flow: Flow, inside: bool| async move {
        if inside { flow.step("boom", || async { if inside { panic!("no luck") } else { Ok(1) } }).await } else { panic!("no body") }
    };
    let definitions =
        Definitions::new("1").with("stubborn", stubborn).with("panics", panics).with("wants a word", |_: Flow, w: String| async { Ok(w) });
    let (_store, _leader, workflows) = open(&home, &definitions).await;
    let run = async |id: &str, name: &str, input: Value| {
        tries.store(0, Ordering::SeqCst);
        workflows.start(id, name, input).await.unwrap();
        let outcome = workflows.outcome(id).await.map_err(|e| e.to_string());
        (outcome, tries.load(Ordering::SeqCst))
    };
    assert_eq!(run("a", "stubborn", json!([3, false])).await, (Ok(json!(4)), 4));
    let (outcome, tried) = run("b", "stubborn", json!([9, false])).await;
    assert_eq!((outcome.is_ok(), tried), (true, 4));
    let steps = workflows.steps("b").await.unwrap();
    assert_eq!(names(&steps), ["try", "instead"]);
    assert!(steps[0].error.as_ref().unwrap().contains("far: cannot reach"), "{steps:?}");
    assert_eq!(run("c", "stubborn", json!([1, true])).await, (Err("never".into()), 1));
    assert_eq!(workflows.show("c").await.unwrap().unwrap().state, State::Failed);
    // what failed is over, and is not tried again
    workflows.resume("c").await.unwrap();
    assert_eq!(run("c", "stubborn", json!([1, true])).await, (Err("never".into()), 0));
    let (outcome, _) = run("d", "panics", json!(true)).await;
    assert!(outcome.as_ref().is_err_and(|e| e.contains("no luck")), "{outcome:?}");
    let (outcome, _) = run("e", "panics", json!(false)).await;
    assert!(outcome.as_ref().is_err_and(|e| e.contains("the workflow panicked: no body")), "{outcome:?}");
    let (outcome, _) = run("f", "wants a word", json!(1)).await;
    assert!(outcome.as_ref().is_err_and(|e| e.contains("`wants a word` cannot read its input")), "{outcome:?}");
    let failed = workflows.list(&Filter { states: vec![State::Failed], ..Filter::default() }).await.unwrap();
    assert_eq!(failed.len(), 4);
    workflows.stop().await.unwrap();
}

/// Steps one to three; the second waits while `hold` is set. Counts how often each body was entered, and how many run.
#[derive(Clone, Default)]
pub(super) struct Three {
    entered: Arc<[AtomicU32; 3]>,
    running: Arc<AtomicU32>,
    pub(super) hold: Arc<AtomicU32>,
}
impl Three {
    pub(super) fn definitions(&self, version: &str) -> Definitions {
        let three = self.clone();
        Definitions::new(version).with("three", move |flow: Flow, from: u32| {
            let three = three.clone();
            async move {
                let mut sum = from;
                for (at, name) in ["one", "two", "three"].iter().enumerate() {
                    let three = three.clone();
                    sum += flow
                        .step(name, move || {
                            let three = three.clone();
                            async move {
                                let _runs = Runs::new(&three.running);
                                three.entered[at].fetch_add(1, Ordering::SeqCst);
                                while at == 1 && three.hold.load(Ordering::SeqCst) > 0 {
                                    tokio::time::sleep(Duration::from_millis(5)).await;
                                }
                                Ok(10u32.pow(u32::try_from(at).unwrap_or(0)))
                            }
                        })
                        .await?;
                }
                Ok(sum)
            }
        })
    }
    pub(super) fn entered(&self) -> [u32; 3] {
        [0, 1, 2].map(|at: usize| self.entered[at].load(Ordering::SeqCst))
    }
    pub(super) async fn in_second(&self) {
        while self.running.load(Ordering::SeqCst) == 0 || self.entered()[1] == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
struct Runs(Arc<AtomicU32>);
impl Runs {
    fn new(count: &Arc<AtomicU32>) -> Runs {
        assert_eq!(count.fetch_add(1, Ordering::SeqCst), 0, "two bodies at once");
        Runs(Arc::clone(count))
    }
}
impl Drop for Runs {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) async fn cancelled_resumed_forked(home: Home) {
    let three = Three::default();
    three.hold.store(1, Ordering::SeqCst);
    let (_store, _leader, workflows) = open(&home, &three.definitions("1")).await;
    workflows.start("w", "three", json!(1000)).await.unwrap();
    three.in_second().await;
    // again and again: never two bodies at once, and the first step's value is kept
    for round in 1..=3 {
        workflows.cancel("w").await.unwrap();
        assert_eq!(three.running.load(Ordering::SeqCst), 0, "when cancel returns, nothing runs");
        assert_eq!(workflows.show("w").await.unwrap().unwrap().state, State::Cancelled);
        assert!(matches!(workflows.outcome("w").await, Err(Error::Cancelled)));
        assert_eq!(three.entered(), [1, round, 0]);
        // idempotent
        workflows.cancel("w").await.unwrap();
        workflows.start("w", "three", json!(1000)).await.unwrap();
        assert_eq!(workflows.show("w").await.unwrap().unwrap().state, State::Cancelled);
        workflows.resume("w").await.unwrap();
        workflows.resume("w").await.unwrap();
        let begun = Instant::now();
        while three.entered()[1] == round {
            assert!(begun.elapsed() < LONG, "it does not go on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        println!("resumed within {:?}", begun.elapsed());
    }
    three.hold.store(0, Ordering::SeqCst);
    assert_eq!(workflows.outcome("w").await.unwrap(), json!(1111));
    assert_eq!(three.entered(), [1, 4, 1]);
    // what is over stays so
    workflows.cancel("w").await.unwrap();
    workflows.resume("w").await.unwrap();
    assert_eq!(workflows.outcome("w").await.unwrap(), json!(1111));

    let number = |steps: &[durable::StepSummary], name: &str| steps.iter().find(|s| s.name == name).unwrap().number;
    let third = number(&workflows.steps("w").await.unwrap(), "three");
    workflows.fork("w", third, "f").await.unwrap();
    workflows.fork("w", third, "f").await.unwrap();
    assert_eq!(workflows.outcome("f").await.unwrap(), json!(1111));
    assert_eq!(three.entered(), [1, 4, 2]);
    assert_eq!(workflows.show("f").await.unwrap().unwrap().forked_from.as_deref(), Some("w"));
    workflows.fork("w", 0, "g").await.unwrap();
    assert_eq!(workflows.outcome("g").await.unwrap(), json!(1111));
    assert_eq!(three.entered(), [2, 5, 3]);
    workflows.stop().await.unwrap();
}

pub(super) async fn stopped_and_opened_again(home: Home) {
    let three = Three::default();
    three.hold.store(1, Ordering::SeqCst);
    let (store, leader, workflows) = open(&home, &three.definitions("1")).await;
    workflows.start("w", "three", json!(0)).await.unwrap();
    three.in_second().await;
    workflows.stop().await.unwrap();
    assert_eq!(three.running.load(Ordering::SeqCst), 0, "when stop returns, nothing runs");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(three.entered(), [1, 1, 0], "and nothing is begun again");
    drop(workflows);
    drop((leader, store));
    three.hold.store(0, Ordering::SeqCst);
    let (_store, _leader, workflows) = open(&home, &three.definitions("1")).await;
    assert_eq!(workflows.recovered(), &durable::Recovery { resumed: vec!["w".into()], waiting: vec![] });
    assert_eq!(workflows.outcome("w").await.unwrap(), json!(111));
    assert_eq!(three.entered(), [1, 2, 1]);
    workflows.stop().await.unwrap();
}

/// More often than either engine likes.
pub(super) async fn begun_again_and_again(home: Home) {
    let wait = |flow: Flow, _: Value| async move { flow.recv::<u32>("numbers", LONG).await };
    let definitions = Definitions::new("1").with("wait", wait);
    let (store, leader, workflows) = open(&home, &definitions).await;
    for id in ["often", "given-up"] {
        workflows.start(id, "wait", json!(null)).await.unwrap();
    }
    workflows.stop().await.unwrap();
    drop(workflows);
    match &home.place {
        Place::Directory(_) | Place::Memory(_) => {
            for _ in 0..102 {
                durable::open(&store, &leader, &definitions).await.unwrap().stop().await.unwrap();
            }
        }
        #[allow(unused_variables)]
        Place::Postgres(url) => {
            // a second for each would be too long; so is what DBOS writes
            #[cfg(feature = "postgres")]
            {
                let database = url.rsplit('/').next().unwrap().to_owned();
                let sql = "UPDATE dbos.workflow_status SET recovery_attempts = 200; \
                           UPDATE dbos.workflow_status SET status = 'MAX_RECOVERY_ATTEMPTS_EXCEEDED' WHERE workflow_uuid = 'given-up'";
                let run = move || sabot_services::Postgres::shared().unwrap().sql_in(&database, sql);
                tokio::task::spawn_blocking(run).await.unwrap();
            }
        }
    }
    let workflows = durable::open(&store, &leader, &definitions).await.unwrap();
    let mut resumed = workflows.recovered().resumed.clone();
    resumed.sort_unstable();
    assert_eq!(resumed, ["given-up", "often"]);
    for id in ["often", "given-up"] {
        workflows.send(id, "numbers", json!(7), None).await.unwrap();
        assert_eq!(workflows.outcome(id).await.unwrap(), json!(7));
    }
    workflows.stop().await.unwrap();
}

pub(super) async fn what_is_over_can_be_forgotten(home: Home) {
    let work = |flow: Flow, waits: bool| async move {
        let two: u32 = flow.step("two", || async { Ok(2) }).await?;
        if waits {
            let _: Option<u32> = flow.recv("never", LONG).await?;
        }
        Ok(two)
    };
    let definitions = Definitions::new("1").with("work", work);
    let (_store, _leader, workflows) = open(&home, &definitions).await;
    workflows.start("done", "work", json!(false)).await.unwrap();
    workflows.start("waits", "work", json!(true)).await.unwrap();
    assert_eq!(workflows.outcome("done").await.unwrap(), json!(2));
    let ids = ["done".to_owned(), "waits".to_owned(), "nobody".to_owned()];
    assert!(!workflows.forget(&ids).await.unwrap(), "one of them runs");
    assert!(workflows.show("done").await.unwrap().is_none() && workflows.steps("done").await.unwrap().is_empty());
    assert!(!workflows.show("waits").await.unwrap().unwrap().state.is_over());
    workflows.cancel("waits").await.unwrap();
    assert!(workflows.forget(&ids).await.unwrap() && workflows.forget(&[]).await.unwrap());
    assert!(workflows.list(&Filter::default()).await.unwrap().is_empty());
    // its id is free
    workflows.start("done", "work", json!(false)).await.unwrap();
    assert_eq!(workflows.outcome("done").await.unwrap(), json!(2));
    workflows.stop().await.unwrap();
}

pub(super) async fn other_versions_wait(home: Home) {
    let three = Three::default();
    three.hold.store(1, Ordering::SeqCst);
    let (store, leader, workflows) = open(&home, &three.definitions("old")).await;
    workflows.start("w", "three", json!(0)).await.unwrap();
    three.in_second().await;
    workflows.stop().await.unwrap();
    drop((workflows, leader, store));
    three.hold.store(0, Ordering::SeqCst);

    let (store, leader, workflows) = open(&home, &three.definitions("new")).await;
    assert_eq!(workflows.recovered(), &durable::Recovery { resumed: vec![], waiting: vec![("w".into(), "old".into())] });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(three.entered(), [1, 1, 0]);
    workflows.start("v", "three", json!(0)).await.unwrap();
    assert_eq!(workflows.outcome("v").await.unwrap(), json!(111));
    workflows.stop().await.unwrap();
    drop((workflows, leader, store));

    let (_store, _leader, workflows) = open(&home, &three.definitions("old")).await;
    assert_eq!(workflows.outcome("w").await.unwrap(), json!(111));
    workflows.stop().await.unwrap();
}

pub(super) async fn joined_steps(home: Home) {
    let begun = Arc::new(AtomicU32::new(0));
    let all = Arc::clone(&begun);
    let definitions = Definitions::new("1").with("wide", move |flow: Flow, wait: u64| {
        let all = Arc::clone(&all);
        async move {
            let step = |name: &'static str, wait: u64| {
                let all = Arc::clone(&all);
                flow.step(name, move || {
                    let all = Arc::clone(&all);
                    async move {
                        // one after the other they would wait for ever
                        all.fetch_add(1, Ordering::SeqCst);
                        while all.load(Ordering::SeqCst) < 3 {
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                        tokio::time::sleep(Duration::from_millis(wait)).await;
                        Ok(wait)
                    }
                })
            };
            // the later ends first
            let (a, b, c) = tokio::join!(step("a", 3 * wait), step("b", 2 * wait), step("c", wait));
            Ok((a?, b?, c?))
        }
    });
    let (_store, _leader, workflows) = open(&home, &definitions).await;
    workflows.start("w", "wide", json!(200)).await.unwrap();
    let outcome = tokio::time::timeout(LONG, workflows.outcome("w")).await.expect("steps that are joined run at once");
    assert_eq!(outcome.unwrap(), json!([600, 400, 200]));
    assert_eq!(names(&workflows.steps("w").await.unwrap()), ["a", "b", "c"]);
    let third = workflows.steps("w").await.unwrap()[2].number;
    workflows.fork("w", third, "v").await.unwrap();
    assert_eq!(workflows.outcome("v").await.unwrap(), json!([600, 400, 200]));
    assert_eq!(begun.load(Ordering::SeqCst), 4, "two were recorded");
    workflows.stop().await.unwrap();
}

pub(super) async fn another_step_than_recorded(home: Home) {
    let define = |first: &'static str, hold: bool| {
        Definitions::new("1").with("w", move |flow: Flow, _: ()| async move {
            let n = flow.step(first, || async { Ok(1) }).await?;
            if hold {
                std::future::pending::<()>().await;
            }
            flow.step("last", || async { Ok(n) }).await
        })
    };
    let (store, leader, workflows) = open(&home, &define("first", true)).await;
    workflows.start("w", "w", json!(null)).await.unwrap();
    while workflows.steps("w").await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    workflows.stop().await.unwrap();
    drop((workflows, leader, store));
    let (_store, _leader, workflows) = open(&home, &define("other", false)).await;
    let error = workflows.outcome("w").await.unwrap_err().to_string();
    assert!(error.contains("first") && error.contains("other"), "{error}");
    assert_eq!(workflows.show("w").await.unwrap().unwrap().state, State::Failed);
    workflows.stop().await.unwrap();
}

pub(super) async fn steps_only_where_they_are_recorded(home: Home) {
    let definitions = Definitions::new("1")
        .with("nested", |flow: Flow, _: ()| async move {
            let inner = flow.clone();
            flow.step("outer", move || {
                let inner = inner.clone();
                async move { inner.step("inner", || async { Ok(1) }).await }
            })
            .await
        })
        .with("spawned", |flow: Flow, _: ()| async move {
            let inner = flow.clone();
            let spawned = tokio::spawn(async move { inner.step("elsewhere", || async { Ok(1) }).await });
            spawned.await.map_err(|e| Error::Control(e.to_string()))?
        });
    let (_store, _leader, workflows) = open(&home, &definitions).await;
    for name in ["nested", "spawned"] {
        workflows.start(name, name, json!(null)).await.unwrap();
        assert!(workflows.outcome(name).await.is_err(), "{name}");
        assert_eq!(workflows.show(name).await.unwrap().unwrap().state, State::Failed);
    }
    workflows.stop().await.unwrap();
}

/// A step may start other workflows, and ask for them.
pub(super) async fn workflows_from_within(home: Home) {
    let engine: Arc<std::sync::OnceLock<std::sync::Weak<dyn Workflows>>> = Arc::default();
    let mine = Arc::clone(&engine);
    let definitions = Definitions::new("1")
        .with("child", |flow: Flow, n: u32| async move { flow.step("double", || async { Ok(2 * n) }).await })
        .with("parent", move |flow: Flow, n: u32| {
            let mine = Arc::clone(&mine);
            async move {
                let workflows = mine.get().and_then(std::sync::Weak::upgrade).unwrap();
                let id = format!("{}-child", flow.id());
                flow.step("begin", || async { workflows.start(&id, "child", json!(n)).await }).await?;
                let value: Value = flow.step("await", || async { workflows.outcome(&id).await }).await?;
                workflows.start("beside", "child", json!(5)).await?;
                flow.step("add", || async { Ok(value.as_u64().unwrap_or(0) + 1) }).await
            }
        });
    let (_store, _leader, workflows) = open(&home, &definitions).await;
    engine.set(Arc::downgrade(&workflows)).ok().unwrap();
    workflows.start("p", "parent", json!(20)).await.unwrap();
    assert_eq!(workflows.outcome("p").await.unwrap(), json!(41));
    assert_eq!(workflows.outcome("p-child").await.unwrap(), json!(40));
    assert_eq!(workflows.outcome("beside").await.unwrap(), json!(10));
    assert_eq!(names(&workflows.steps("p").await.unwrap()), ["begin", "await", "add"]);
    workflows.stop().await.unwrap();
}
