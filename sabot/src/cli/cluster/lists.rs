//! `jobs`, `agents`, `logs`, `metrics`.

use clap::ArgMatches;

use super::text::{bytes, count, escaped, since, table};
use super::{client, pretty, wait};
use crate::Result;
use crate::cli::{print, say};
use crate::clock::utc;
use crate::cluster::Client;
use crate::cluster::api::{AgentView, Begun, JobSummary, Logs};

/// Lists jobs.
pub(super) fn jobs(sub: &ArgMatches) -> Result<i32> {
    let client = client(sub)?;
    let all = sub.get_flag("all");
    let jobs = wait(listed(&client, if all { "open,over" } else { "open" }))?;
    if sub.get_flag("json") {
        return pretty(&jobs);
    }
    let rows: Vec<Vec<String>> = jobs
        .iter()
        .map(|j| {
            vec![
                j.id.clone(),
                j.name.clone(),
                j.state.word().to_owned(),
                j.parallelism.to_string(),
                j.agents.join(", "),
                count(j.rows_per_second),
                j.checkpoint.map_or_else(|| "-".into(), |n| n.to_string()),
                j.restarts.to_string(),
                since(j.updated),
            ]
        })
        .collect();
    print(&table(&["JOB", "NAME", "STATE", "#PARALLELISM", "AGENTS", "#ROWS/S", "#CHECKPOINT", "#RESTARTS", "#SINCE"], &rows))?;
    let over: Vec<JobSummary> = if all { Vec::new() } else { wait(client.get("/v1/jobs?state=over&limit=1"))? };
    if !over.is_empty() {
        say("others are over (`--all` shows them)");
    }
    Ok(0)
}

/// All jobs in these states, the newest first.
pub(super) async fn listed(client: &Client, states: &str) -> Result<Vec<JobSummary>> {
    const AT_ONCE: usize = 1000;
    let mut all: Vec<JobSummary> = Vec::new();
    loop {
        let after = all.last().map_or_else(String::new, |j| format!("&after={}", escaped(&j.id)));
        let some: Vec<JobSummary> = client.get(&format!("/v1/jobs?state={states}&limit={AT_ONCE}{after}")).await?;
        let last = some.len() < AT_ONCE;
        all.extend(some);
        if last {
            return Ok(all);
        }
    }
}

/// Lists agents, or drains one.
pub(super) fn agents(sub: &ArgMatches) -> Result<i32> {
    let client = client(sub)?;
    if let Some(name) = sub.get_one::<String>("drain") {
        let begun: Begun = wait(client.post(&format!("/v1/agents/{}/drain", escaped(name)), &serde_json::json!({})))?;
        return if sub.get_flag("json") {
            pretty(&begun)
        } else {
            print(&format!("agent `{name}` leaves when its tasks have moved (operation {})\n", begun.operation))
        };
    }
    let agents: Vec<AgentView> = wait(client.get("/v1/agents"))?;
    if sub.get_flag("json") {
        return pretty(&agents);
    }
    let standing = |a: &AgentView| serde_json::to_value(a.standing).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let rows: Vec<Vec<String>> = agents
        .iter()
        .map(|a| {
            vec![
                a.name.clone(),
                standing(a),
                a.address.clone(),
                format!("{}/{}", a.taken, a.slots),
                a.tasks.to_string(),
                format!("{:.1}/{}", a.busy, a.cores),
                bytes(a.resident),
                a.epoch.to_string(),
                format!("{:.1}s", a.silent_ms as f64 / 1000.0),
            ]
        })
        .collect();
    print(&table(&["AGENT", "STATE", "ADDRESS", "#SLOTS", "#TASKS", "#CORES", "#MEMORY", "#EPOCH", "#HEARD"], &rows))
}

/// Shows what happened.
pub(super) fn logs(sub: &ArgMatches) -> Result<i32> {
    let client = client(sub)?;
    let mut query = vec![format!("limit={}", sub.get_one::<u32>("last").copied().unwrap_or(100))];
    for name in ["job", "agent"] {
        query.extend(sub.get_one::<String>(name).map(|v| format!("{name}={}", escaped(v))));
    }
    wait(async {
        let mut after: Option<u64> = None;
        loop {
            let mut asked = query.clone();
            asked.extend(after.map(|n| format!("after={n}")));
            let logs: Logs = client.get(&format!("/v1/logs?{}", asked.join("&"))).await?;
            after = logs.events.last().map(|e| e.number).or(after).or(Some(0));
            if sub.get_flag("json") && !sub.get_flag("follow") {
                return pretty(&logs.events);
            }
            for e in &logs.events {
                let line = if sub.get_flag("json") {
                    serde_json::to_string(e).unwrap_or_default()
                } else {
                    let about: Vec<&str> = e.job.as_deref().into_iter().chain(e.agent.as_deref()).collect();
                    format!("{}  {:7}  {}  {}", utc(e.at), e.level.word(), about.join(" "), e.message)
                };
                print(&(line + "\n"))?;
            }
            if !sub.get_flag("follow") {
                return Ok(0);
            }
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
    })
}

/// Prints the metrics.
pub(super) fn metrics(sub: &ArgMatches) -> Result<i32> {
    let client = client(sub)?;
    let text = wait(client.text("/metrics"))?;
    if !sub.get_flag("json") {
        return print(&text);
    }
    // one object per sample: name, labels, value
    let samples: Vec<serde_json::Value> = text.lines().filter(|l| !l.starts_with('#')).filter_map(sample).collect();
    pretty(&samples)
}

/// `name{a="b"} 1` as an object.
fn sample(line: &str) -> Option<serde_json::Value> {
    let (head, value) = line.rsplit_once(' ')?;
    let (name, labels) = head.split_once('{').map_or((head, ""), |(n, l)| (n, l.trim_end_matches('}')));
    let labels: serde_json::Map<String, serde_json::Value> = labels
        .split("\",")
        .filter_map(|pair| pair.split_once("=\""))
        .map(|(k, v)| (k.to_owned(), v.trim_end_matches('"').replace("\\\"", "\"").replace("\\\\", "\\").into()))
        .collect();
    Some(serde_json::json!({ "name": name, "labels": labels, "value": value.parse::<f64>().ok()? }))
}
