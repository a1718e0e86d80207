//! What somebody meets who does it for the first time.

use std::process::Command;

use crate::kit::{Cluster, TOOL};

/// What the tool says when it refuses.
fn refusal(cluster: &Cluster, args: &[&str]) -> String {
    let output = cluster.tool(args);
    assert!(!output.status.success(), "{args:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn errors_say_what_to_do() {
    let mut cluster = Cluster::start(0, 0);
    let totals = ["submit", "totals", "--rows", "10", "--sink", "totals=t.csv"];
    let said = refusal(&cluster, &[&totals[..], &["--parallelism", "2"]].concat());
    assert!(said.contains("2 slots missing: the job needs 2, and 0 of 0 on 0 agents are free; start another agent"), "{said}");
    cluster.start_agent("a1", 2, &[]);
    let said = refusal(&cluster, &[&totals[..], &["--parallelism", "3"]].concat());
    assert!(said.contains("1 slot missing") && said.contains("--parallelism 2"), "{said}");
    let said = refusal(&cluster, &["submit", "totals", "--rows", "10"]);
    assert!(
        said.contains("sink `totals` would print its rows, which only `run` can") && said.contains("--sink totals=out.parquet"),
        "{said}"
    );
    let said = refusal(&cluster, &["submit", "totals", "--rows", "10", "--sink", "totals=t.csv", "--server", "127.0.0.1:9"]);
    assert!(said.contains("cannot reach the server; start one with `server`, or name another with `--server host:port`"), "{said}");
    let said = refusal(&cluster, &["jobs", "--server", "http://"]);
    assert!(said.contains("is no address of a server: write host:port"), "{said}");
    let said = refusal(&cluster, &["job", "show", "nothing"]);
    assert!(said.contains("the server has no job `nothing`"), "{said}");
    let said = refusal(&cluster, &["submit", "bound", "--source", "ticks=missing.csv", "--sink", "kept=k.csv"]);
    assert!(said.contains("missing.csv"), "{said}");
    let job = cluster.json(&["submit", "ledger", "--per_second", "10", "--sink", "entries=blackhole:", "--parallelism", "1"]);
    let said = refusal(&cluster, &["job", "rescale", job["id"].as_str().unwrap(), "--parallelism", "2"]);
    assert!(said.contains("keeps no checkpoints, which this needs: submit it with `--checkpoint-dir`"), "{said}");
    assert!(cluster.tool(&["job", "cancel", "ledger"]).status.success());
    // a second server for the same directory
    let dir = cluster.path("server").display().to_string();
    let said = refusal(&cluster, &["server", "--listen", "127.0.0.1:0", "--dir", &dir]);
    assert!(said.contains("is held by process"), "{said}");
    let said = refusal(&cluster, &["server", "--listen", "0.0.0.0:0", "--dir", "other"]);
    assert!(said.contains("can be reached from other machines: that needs a token (`--token-file`)"), "{said}");
}

#[test]
fn another_build_is_refused_with_what_differs() {
    let cluster = Cluster::start(0, 0);
    // the same program with other bytes behind it: another build, in which no operator differs
    let other = cluster.path("other");
    std::fs::copy(TOOL, &other).unwrap();
    use std::io::Write as _;
    std::fs::OpenOptions::new().append(true).open(&other).unwrap().write_all(b"another build").unwrap();
    let refused = Command::new(&other).args(["agent", "--join", &cluster.address, "--slots", "1"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    assert!(said.contains("the agent is refused: it is build") && said.contains("Copy one executable to all machines"), "{said}");
    let submit = ["submit", "totals", "--rows", "10", "--sink", "totals=t.csv", "--server", &cluster.address];
    let refused = Command::new(&other).args(submit).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("use one executable for all"), "{said}");
}

#[test]
fn a_token_is_asked_for() {
    let mut cluster = Cluster::start(1, 2);
    cluster.kill_server();
    let file = cluster.path("token");
    std::fs::write(&file, "open-sesame\n").unwrap();
    let file = file.display().to_string();
    let mut server = Command::new(TOOL)
        .args(["server", "--listen", &cluster.address, "--dir", "server", "--token-file", &file])
        .current_dir(cluster.dir.path())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    cluster.until("the server asks for a token", 30, || {
        String::from_utf8_lossy(&cluster.tool(&["agents"]).stderr).contains("the server wants a token")
    });
    std::fs::write(cluster.path("wrong"), "sesame\n").unwrap();
    let said = refusal(&cluster, &["agents", "--token-file", "wrong"]);
    assert!(said.contains("the token is another than the server's"), "{said}");
    let mut agent = Command::new(TOOL)
        .args(["agent", "--join", &cluster.address, "--name", "b", "--slots", "2", "--token-file", &file])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    cluster.until("an agent with the token joins", 30, || {
        cluster.json(&["agents", "--token-file", &file]).as_array().unwrap().iter().any(|a| a["name"] == "b" && a["standing"] == "alive")
    });
    let job = cluster.json(&[
        "submit",
        "totals",
        "--rows",
        "1000",
        "--sink",
        "totals=t.csv",
        "--parallelism",
        "2",
        "--wait",
        "--token-file",
        &file,
    ]);
    assert_eq!(job["state"], "finished");
    for child in [&mut server, &mut agent] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn everything_is_shown() {
    let cluster = Cluster::start(2, 2);
    let job = cluster.submit_ledger("ledger", 4, &["--name", "books"]);
    cluster.another_checkpoint(&job);
    let keyed = |view: &serde_json::Value| {
        view["operators"].as_array().unwrap().iter().find(|s| s["name"].as_str().unwrap().contains("keyed")).unwrap().clone()
    };
    // agents tell of their steps each second
    cluster.until("all agents have told of the step", 20, || {
        let keyed = keyed(&cluster.job("books"));
        keyed["instances"] == 4 && keyed["state_bytes"].as_u64() > Some(0)
    });
    let view = cluster.job("books");
    assert_eq!(
        (view["state"].as_str(), view["pipeline"].as_str(), view["agents"].as_array().map(Vec::len)),
        (Some("running"), Some("ledger"), Some(2))
    );
    for task in view["tasks"].as_array().unwrap() {
        assert!(task["placed"]["reason"].as_str().is_some_and(|r| !r.is_empty()) && task["state"] == "running", "{task}");
    }
    let keyed = keyed(&view);
    let number = |name: &str| keyed["rows"][name].as_i64().unwrap();
    assert_eq!(number("rows_in"), number("used") + number("filtered") + number("late") + number("failed") + number("held"));
    assert!(view["mermaid"].as_str().unwrap().starts_with("flowchart") && !view["plan"]["nodes"].as_array().unwrap().is_empty());
    cluster.until("a rate is known", 20, || cluster.job(&job)["rows_per_second"].as_f64() > Some(100.0));
    let text = String::from_utf8(cluster.tool(&["metrics"]).stdout).unwrap();
    for family in [
        "sabot_agent_up{agent=\"a1\"} 1",
        "sabot_job_state{",
        "sabot_step_rows_in_total{",
        "sabot_step_backpressure{",
        "sabot_step_state_bytes{",
    ] {
        assert!(text.contains(family), "{family}: {text}");
    }
    // every sample belongs to a family that is declared, as Prometheus wants it
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let name = line.split('{').next().unwrap();
        assert!(text.contains(&format!("# TYPE {name} ")), "{line}");
        assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
    }
    let samples = cluster.json(&["metrics"]);
    assert!(
        samples.as_array().unwrap().iter().any(|s| s["name"] == "sabot_agent_slots" && s["labels"]["agent"] == "a2" && s["value"] == 2.0)
    );
    let logs = cluster.json(&["logs", "--job", &job]);
    assert!(logs.as_array().unwrap().iter().any(|e| e["message"].as_str().unwrap().contains("runs (attempt 1)")), "{logs}");
    for args in [&["jobs"][..], &["agents"], &["job", "show", "books"], &["logs"]] {
        let output = cluster.tool(args);
        assert!(output.status.success() && !output.stdout.is_empty(), "{args:?}");
    }
    assert!(cluster.tool(&["job", "cancel", "books"]).status.success());
}
