//! What jobs have put out, read by the tool and by `pyarrow.flight`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use sabot_cluster_tests::pyarrow;
use serde_json::Value;

use crate::kit::{Cluster, check_whole, entries};

/// Reads with a ticket, as docs/cluster.md says: whoever of the addresses has the rows.
const READ: &str = r#"
import json, sys
import pyarrow.flight as flight

ticket = json.loads(sys.argv[1])
failed = []
for address in ticket["addresses"]:
    try:
        table = flight.connect(address).do_get(flight.Ticket(ticket["ticket"])).read_all()
        break
    except flight.FlightError as e:
        failed.append(f"{type(e).__name__}: {e}")
else:
    sys.exit("\n".join(failed))
print(json.dumps({"columns": [f"{f.name}: {f.type}" for f in table.schema], "rows": table.to_pylist()}, default=str))
"#;

fn read(python: &Path, ticket: &Value) -> Result<Value, String> {
    let output = Command::new(python).args(["-c", READ, &ticket.to_string()]).output().unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

impl Cluster {
    fn ticket(&self, job: &str, more: &[&str]) -> Value {
        self.json(&[&["job", "output", job, "--ticket"], more].concat())
    }
    /// What the tool prints of an output, or says.
    fn output(&self, job: &str, more: &[&str]) -> Result<String, String> {
        let output = self.tool(&[&["job", "output", job], more].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
    /// The rows of a ledger as the tool reads them.
    fn ledger(&self, job: &str) -> BTreeMap<i64, Vec<(i64, i64)>> {
        let text = self.output(job, &["--json"]).unwrap();
        ledger(text.lines().map(|line| serde_json::from_str(line).unwrap()))
    }
}

/// (n, count) of each key.
fn ledger(rows: impl Iterator<Item = Value>) -> BTreeMap<i64, Vec<(i64, i64)>> {
    let mut out: BTreeMap<i64, Vec<(i64, i64)>> = BTreeMap::new();
    for row in rows {
        let number = |name: &str| row[name].as_i64().unwrap();
        out.entry(number("key")).or_default().push((number("n"), number("count")));
    }
    out
}

fn sorted(mut of: BTreeMap<i64, Vec<(i64, i64)>>) -> BTreeMap<i64, Vec<(i64, i64)>> {
    of.values_mut().for_each(|rows| rows.sort_unstable());
    of
}

#[test]
fn the_rows_of_a_job_on_two_agents() {
    let mut cluster = Cluster::start(2, 2);
    let submit = ["submit", "totals", "--rows", "20000", "--parallelism", "4", "--sink", "totals=out/", "--wait"];
    let output = cluster.tool(&submit);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // 4 partitions of 20000 rows are 1600 rows of each key, numbered from 0
    let expected: String =
        std::iter::once("key,rows,total\n".to_owned()).chain((0..50).map(|key| format!("{key},1600,1279200\n"))).collect();
    assert_eq!(cluster.output("totals", &[]).unwrap(), expected);
    assert_eq!(cluster.output("totals", &["totals", "--output", "csv"]).unwrap(), expected);
    let table = cluster.output("totals", &["--output", "table"]).unwrap();
    assert!(table.contains("key  rows    total") && table.contains("… 10 more rows (`--all` shows them)"), "{table}");
    assert_eq!(cluster.job("totals")["outputs"][0]["unreadable"], Value::Null);

    let ticket = cluster.ticket("totals", &[]);
    assert_eq!(ticket["addresses"].as_array().unwrap().len(), 3, "two agents and the server: {ticket}");
    let rows: Vec<Value> = (0..50).map(|key| serde_json::json!({ "key": key, "rows": 1600, "total": 1_279_200 })).collect();
    let by_python = |ticket: &Value| {
        let Some(python) = pyarrow() else { return };
        let got = read(python, ticket).unwrap();
        assert_eq!(got["columns"], serde_json::json!(["key: int64", "rows: uint64", "total: int64"]));
        assert_eq!(got["rows"], Value::from(rows.clone()));
    };
    by_python(&ticket);

    // one agent after the other goes; those who stay have the rows, and at last the server
    for left in (0..2).rev() {
        let name = format!("a{}", left + 1);
        cluster.kill_agent(&name);
        by_python(&ticket);
        assert_eq!(cluster.output("totals", &[]).unwrap(), expected, "{name} is dead");
        cluster.until("the loss is seen", 20, || cluster.ticket("totals", &[])["addresses"].as_array().unwrap().len() == left + 1);
        by_python(&cluster.ticket("totals", &[]));
    }

    // refusals
    let said = |more: &[&str]| cluster.output("totals", more).unwrap_err();
    let unknown = said(&["totls"]);
    assert!(unknown.contains("there is no output of job totals-") && unknown.contains("did you mean `totals`?"), "{unknown}");
    let late = said(&["--lasts", "0s"]);
    assert!(late.contains("the ticket for output `totals` of job `totals-") && late.contains("expired"), "{late}");
    if let Some(python) = pyarrow() {
        let late = read(python, &cluster.ticket("totals", &["--lasts", "0s"])).unwrap_err();
        assert!(late.contains("FlightUnauthorizedError") && late.contains("expired"), "{late}");
        let mut forged = ticket.clone();
        forged["ticket"] = ticket["ticket"].as_str().unwrap().replace("6f", "70").into();
        let forged = read(python, &forged).unwrap_err();
        assert!(forged.contains("not signed by this cluster's control plane"), "{forged}");
    }
    std::fs::remove_dir_all(cluster.path("out")).unwrap();
    let gone = said(&[]);
    assert!(gone.contains("output `totals` of job `totals-") && gone.contains("its files were removed"), "{gone}");
}

#[test]
fn readers_see_each_committed_row_once_while_an_agent_is_killed() {
    let mut cluster = Cluster::start(3, 2);
    let job = cluster.submit_ledger("ledger", 4, &[]);
    // rows come out when they are not late any more
    cluster.until("rows are committed", 60, || !cluster.ledger(&job).is_empty());
    let mut before = cluster.ledger(&job);
    check_whole(&before);
    let mut grown = |cluster: &Cluster, when: &str| {
        let now = cluster.ledger(&job);
        check_whole(&now);
        let fewer = before.iter().find(|(key, rows)| now.get(key).is_none_or(|n| n.len() < rows.len()));
        assert!(fewer.is_none(), "{when}: rows that were read are not there any more: {fewer:?}");
        before = now;
    };
    // the agent with the sink: it has written all that can be read
    let tasks = cluster.job(&job)["tasks"].clone();
    let victim = tasks.as_array().unwrap().last().unwrap()["placed"]["agent"].as_str().unwrap().to_owned();
    let address = cluster.agent(&victim).unwrap()["address"].as_str().unwrap().to_owned();
    assert_eq!(cluster.ticket(&job, &[])["addresses"][0], format!("grpc://{address}"), "the nearest one first");
    cluster.kill_agent(&victim);
    grown(&cluster, "the agent has just been killed");
    cluster.until_attempt_works(&job, 2, 30);
    grown(&cluster, "it goes on elsewhere");
    cluster.another_checkpoint(&job);
    cluster.another_checkpoint(&job);
    grown(&cluster, "after two checkpoints");
    cluster.stop_with_savepoint(&job, "end");
    let rows = cluster.check_ledger();
    let files = sorted(entries(&cluster.path("out")));
    assert_eq!(sorted(cluster.ledger(&job)), files);
    if let Some(python) = pyarrow() {
        let got = read(python, &cluster.ticket(&job, &[])).unwrap();
        assert_eq!(got["columns"].as_array().unwrap().len(), 4, "{}", got["columns"]);
        assert_eq!(sorted(ledger(got["rows"].as_array().unwrap().iter().cloned())), files);
    }
    println!("{rows} rows, read once each");
}

#[test]
fn rows_that_are_not_there_yet() {
    let cluster = Cluster::start(1, 2);
    let job = cluster.json(&["submit", "ledger", "--per_second", "10", "--sink", "entries=e.csv", "--parallelism", "1"]);
    let job = job["id"].as_str().unwrap();
    let said = cluster.output(job, &[]).unwrap_err();
    assert!(said.contains(&format!("job {job} is running: the rows of `entries` come when it has finished")), "{said}");
    assert!(cluster.tool(&["job", "cancel", job]).status.success());
    let said = cluster.output(job, &[]).unwrap_err();
    assert!(said.contains(&format!("job {job} is cancelled: the rows of `entries` would have come when it has finished")), "{said}");
    let dropped = cluster.json(&["submit", "ledger", "--per_second", "10", "--sink", "entries=blackhole:", "--parallelism", "1"]);
    let said = cluster.output(dropped["id"].as_str().unwrap(), &["--ticket"]).unwrap_err();
    assert!(said.contains("is only counted (`blackhole:`)") && said.contains("--sink entries=out/"), "{said}");
}
