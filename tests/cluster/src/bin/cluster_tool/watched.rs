//! A server that stands still at points of its workflows, to be killed there; many agents in one process; jobs as requests.
#![allow(clippy::expect_used)]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Mutex;

use sabot::Result;
use sabot::cluster::durable::{At, Watch};
use sabot::cluster::store::{Keep, Place};
use sabot::cluster::{AgentOptions, Ending, ServerOptions, run_agent, run_server};
use sabot::stream::Job;
use serde_json::json;

/// Runs one of this program's own commands, if it is one. `requested` makes the jobs of requests: `@STATE@` and `@OUT@` stand for their places.
pub(crate) fn run(requested: impl Fn(&str) -> Option<Job>) -> Option<Result<()>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["watched-server", listen, control] => Some(serve(listen, control)),
        ["many-agents", join, rest @ ..] => Some(agents(join, rest)),
        ["request", pipeline] => requested(pipeline).map(request),
        _ => None,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

/// Adds a line to a file, as a whole.
fn note(file: &str, line: &str) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).expect("opens");
    file.write_all(format!("{line}\n").as_bytes()).expect("writes");
}

/// Points at which workflows are held: the first of those in the file `points` that are of its definition is the point of a workflow, from when it is seen first.
#[derive(Default)]
struct Points(BTreeMap<String, Option<String>>);

impl Points {
    fn hold(&mut self, at: &At, point: &str) -> bool {
        let own = self.0.entry(at.id.clone()).or_insert_with(|| {
            let text = std::fs::read_to_string("points").unwrap_or_default();
            let begin = format!("{}\t", at.workflow);
            let mut lines: Vec<&str> = text.lines().collect();
            let own = lines.iter().position(|l| l.starts_with(&begin)).map(|n| lines.remove(n).to_owned());
            std::fs::write("points", lines.iter().map(|l| format!("{l}\n")).collect::<String>()).expect("writes");
            own
        });
        own.as_deref() == Some(point)
    }
}

/// A server in this directory that notes all moments of its workflows in `seen`, and in `reached` where it holds them.
fn serve(listen: &str, control: &str) -> Result<()> {
    let points = Mutex::new(Points::default());
    let watch = Watch::new(move |at| {
        // steps that bear the id of a job are the same step
        let word = |w: &str| if w.starts_with("ledger-") || w.starts_with("slow-") { "JOB".to_owned() } else { w.to_owned() };
        let step = at.step.split(' ').map(word).collect::<Vec<_>>().join(" ");
        let point = format!("{}\t{step}\t{:?}", at.workflow, at.moment);
        let mut points = points.lock().expect("no panic");
        note("seen", &format!("{}\t{point}", at.id));
        let hold = points.hold(&at, &point);
        if hold {
            note("reached", &format!("{}\t{point}", at.id));
        }
        async move {
            if hold {
                std::future::pending::<()>().await;
            }
        }
    });
    let dir = std::path::PathBuf::from("server");
    let options = ServerOptions {
        listen: listen.parse().expect("an address"),
        control: control.parse().expect("an address"),
        advertise: None,
        store: Place::Directory(dir.clone()),
        dir,
        token: None,
        tls: None,
        insecure: false,
        watch: Some(watch),
        keep: Keep::default(),
    };
    let (_end, ending) = tokio::sync::watch::channel(false);
    runtime().block_on(run_server(options, ending, |line| eprintln!("{line}")))
}

/// Agents of these names and slots, `name:slots`, until the last has left.
fn agents(join: &str, all: &[&str]) -> Result<()> {
    let (_end, ending) = tokio::sync::watch::channel(Ending::No);
    runtime().block_on(async {
        let mut running = tokio::task::JoinSet::new();
        for agent in all {
            let (name, slots) = agent.split_once(':').expect("name:slots");
            let options = AgentOptions {
                join: join.to_owned(),
                listen: "127.0.0.1:0".parse().expect("an address"),
                advertise: None,
                slots: slots.parse().expect("a number"),
                memory: None,
                name: Some(name.to_owned()),
                token: None,
                tls: None,
                insecure: false,
            };
            running.spawn(run_agent(options, ending.clone(), |line| eprintln!("{line}")));
        }
        while let Some(ended) = running.join_next().await {
            ended.expect("no panic")?;
        }
        Ok(())
    })
}

/// What `submit` would send, but for its key and name.
fn request(job: Job) -> Result<()> {
    let (spec, mut options) = (job.spec()?, None);
    let _ = job.options(|o| options = Some(o.clone()));
    println!("{}", json!({ "spec": spec, "options": options }));
    Ok(())
}
