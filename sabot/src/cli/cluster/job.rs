//! `job show`, `job output`, `job cancel`, `job savepoint`, `job rescale`, `job upgrade`.

use std::fmt::Write as _;
use std::time::Duration;

use clap::ArgMatches;

use super::text::{bytes, count, escaped, since, table};
use super::{client, pretty, wait};
use crate::cli::print;
use crate::clock::utc;
use crate::cluster::api::{Begun, JobSummary, JobView, OperationView, RescaleAsked, SavepointAsked, UpgradeAsked};
use crate::cluster::store::OperationState;
use crate::cluster::{Client, WAITS};
use crate::{Error, Result};

/// Runs the subcommand.
pub(super) fn job(matches: &ArgMatches) -> Result<i32> {
    let (verb, sub) = matches
        .subcommand()
        .ok_or_else(|| Error::usage("which command? `show`, `output`, `cancel`, `savepoint`, `rescale` or `upgrade`"))?;
    let client = client(sub)?;
    if verb == "upgrade" {
        return upgrade(&client, sub);
    }
    let given = sub.get_one::<String>("job").map_or("", String::as_str);
    let json = sub.get_flag("json");
    wait(async {
        let id = named(&client, given).await?;
        let path = |what: &str| format!("/v1/jobs/{id}/{what}");
        let begun: Begun = match verb {
            "show" => {
                let view: JobView = client.get(&format!("/v1/jobs/{id}")).await?;
                return if json { pretty(&view) } else { print(&shown(&view)) };
            }
            "output" => return super::output::output(&client, &id, sub).await,
            "cancel" => client.post(&path("cancel"), &serde_json::json!({})).await?,
            "savepoint" => {
                let name = sub.get_one::<String>("name").cloned().unwrap_or_default();
                client.post(&path("savepoint"), &SavepointAsked { name, stop: sub.get_flag("stop") }).await?
            }
            _ => {
                let parallelism = sub.get_one::<u16>("parallelism").copied().map_or(1, usize::from);
                client.post(&path("rescale"), &RescaleAsked { parallelism }).await?
            }
        };
        let done = follow(&client, &begun.operation).await?;
        if json {
            return pretty(&done);
        }
        let outcome = done.operation.outcome.as_ref();
        let text = |key: &str| {
            outcome.and_then(|o| o.get(key)).map_or_else(|| "?".into(), |v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
        };
        print(&match verb {
            "cancel" => format!("job {id} is {}\n", text("state")),
            "savepoint" => format!("{} is checkpoint {}, {} bytes, in {}\n", text("name"), text("epoch"), text("bytes"), text("path")),
            _ => format!("job {id} runs with parallelism {} after {} ms\n", text("parallelism"), text("took_ms")),
        })
    })
}

/// Upgrades one job, or all; returns the exit code.
fn upgrade(client: &Client, sub: &ArgMatches) -> Result<i32> {
    let body =
        UpgradeAsked { savepoint: sub.get_one::<String>("savepoint").cloned(), allow_dropped_state: sub.get_flag("allow-dropped-state") };
    wait(async {
        let jobs: Vec<String> = match sub.get_one::<String>("job") {
            Some(given) => vec![named(client, given).await?],
            None => super::lists::listed(client, "open").await?.into_iter().map(|j| j.id).collect(),
        };
        let mut begun: Vec<(String, Result<Begun>)> = Vec::new();
        for job in jobs {
            let answer = client.post(&format!("/v1/jobs/{job}/upgrade"), &body).await;
            begun.push((job, answer));
        }
        let (mut views, mut text, mut failed) = (Vec::new(), String::new(), None);
        for (job, begun) in begun {
            let followed = async { follow(client, &begun?.operation).await };
            match followed.await {
                Ok(view) => {
                    let operation = &view.operation;
                    let name = operation.input.get("name").and_then(|n| n.as_str()).unwrap_or("?");
                    // Writing to a string cannot fail.
                    let _ = match &operation.outcome {
                        None => writeln!(
                            text,
                            "job {job} was stopped with savepoint `{name}`, and goes on when a server and agents of another build are started"
                        ),
                        Some(done) => writeln!(
                            text,
                            "job {job} runs with build {} after {} ms",
                            done.get("build").and_then(|b| b.as_str()).unwrap_or("?"),
                            done.get("took_ms").map_or_else(|| "?".into(), ToString::to_string)
                        ),
                    };
                    views.push(view);
                }
                Err(error) => {
                    if let Some(before) = failed.replace(error) {
                        crate::cli::say(&before.to_string());
                    }
                }
            }
        }
        if sub.get_flag("json") {
            pretty(&views)?;
        } else {
            print(&text)?;
        }
        failed.map_or(Ok(0), Err)
    })
}

/// The job of this id, beginning of an id, or name.
pub(super) async fn named(client: &Client, given: &str) -> Result<String> {
    let jobs: Vec<JobSummary> = client.get(&format!("/v1/jobs?limit=1000&find={}", escaped(given))).await?;
    if let Some(job) = jobs.iter().find(|j| j.id == given) {
        return Ok(job.id.clone());
    }
    let begins: Vec<&JobSummary> = jobs.iter().filter(|j| j.id.starts_with(given)).collect();
    let called: Vec<&JobSummary> = jobs.iter().filter(|j| j.name == given).collect();
    let there: Vec<&JobSummary> = called.iter().copied().filter(|j| !j.state.is_over()).collect();
    for found in [&begins, &there, &called] {
        match found.as_slice() {
            [one] => return Ok(one.id.clone()),
            [] => {}
            several => {
                let list = several.iter().map(|j| format!("{} ({})", j.id, j.state)).collect::<Vec<_>>().join(", ");
                return Err(Error::Usage(format!("`{given}` may be {list}: write more of the id")));
            }
        }
    }
    let jobs: Vec<JobSummary> = client.get("/v1/jobs?state=open").await?;
    let names: Vec<&str> = jobs.iter().map(|j| j.name.as_str()).collect();
    Err(Error::Usage(crate::words::unknown("the server has no job", given, "those that are not over are", &names)))
}

/// Waits until an operation is over, or waits for another build.
///
/// # Errors
/// That with which it failed.
pub(super) async fn follow(client: &Client, operation: &str) -> Result<OperationView> {
    let mut wait = Duration::from_millis(10);
    loop {
        let now: OperationView = client.get(&format!("/v1/operations/{operation}")).await?;
        match now.operation.state {
            OperationState::Running if now.operation.progress == WAITS => return Ok(now),
            OperationState::Running => {}
            OperationState::Done => return Ok(now),
            OperationState::Failed => return Err(Error::Control(now.operation.error.unwrap_or_else(|| "it failed".into()))),
            OperationState::Cancelled => return Err(Error::Control("it was given up".into())),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_millis(250));
    }
}

fn shown(view: &JobView) -> String {
    let s = &view.summary;
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "job {} `{}`, pipeline {}: {} for {}, parallelism {}, attempt {}, {} restarts",
        s.id,
        s.name,
        s.pipeline,
        s.state,
        since(s.updated),
        s.parallelism,
        s.attempt,
        s.restarts
    );
    if let Some(error) = &s.error {
        let _ = writeln!(out, "last error: {error}");
    }
    let rows: Vec<Vec<String>> = view
        .tasks
        .iter()
        .map(|t| {
            let stage = view.stages.get(t.id.stage as usize).map(|s| s.nodes.join(" → ")).unwrap_or_default();
            vec![
                t.id.to_string(),
                t.state.word().to_owned(),
                t.placed.agent.clone(),
                t.placed.slot.to_string(),
                t.placed.reason.clone(),
                stage,
            ]
        })
        .collect();
    let _ = write!(out, "\n{}", table(&["TASK", "STATE", "AGENT", "#SLOT", "WHY THERE", "STEPS"], &rows));
    let rows: Vec<Vec<String>> = view
        .operators
        .iter()
        .map(|o| {
            vec![
                o.name.clone(),
                count(o.rows_in_per_second),
                count(o.rows_out_per_second),
                o.rows.rows_in.to_string(),
                o.rows.rows_out.to_string(),
                o.rows.filtered.to_string(),
                o.rows.late.to_string(),
                o.rows.failed.to_string(),
                o.rows.held.to_string(),
                format!("{:.0}%", o.backpressure * 100.0),
                o.watermark_lag.map_or_else(|| "-".into(), |lag| lag.to_string()),
                bytes(o.state_bytes),
            ]
        })
        .collect();
    let names = ["STEP", "#IN/S", "#OUT/S", "#IN", "#OUT", "#FILTERED", "#LATE", "#FAILED", "#HELD", "#BACKPRESSURE", "#LAG", "#STATE"];
    let _ = write!(out, "\n{}", table(&names, &rows));
    if !view.checkpoints.is_empty() {
        let rows: Vec<Vec<String>> = view
            .checkpoints
            .iter()
            .take(5)
            .map(|c| {
                vec![
                    c.number.to_string(),
                    c.name.clone().unwrap_or_else(|| "-".into()),
                    bytes(c.bytes),
                    format!("{} ms", c.took),
                    utc(c.at),
                ]
            })
            .collect();
        let _ = write!(out, "\n{}", table(&["#CHECKPOINT", "SAVEPOINT", "#BYTES", "#TOOK", "AT"], &rows));
    }
    let rows: Vec<Vec<String>> = view
        .history
        .iter()
        .rev()
        .take(12)
        .rev()
        .map(|h| vec![utc(h.at), h.state.word().to_owned(), h.attempt.to_string(), h.reason.clone()])
        .collect();
    let _ = write!(out, "\n{}", table(&["AT", "STATE", "#ATTEMPT", "WHY"], &rows));
    out
}
