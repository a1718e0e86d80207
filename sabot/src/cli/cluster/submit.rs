//! `submit`: a pipeline as `run` has it, to be run by the agents of a server.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ArgMatches;

use super::{client, pretty, wait};
use crate::cli::{FAILED, bind, print, say};
use crate::clock::time_of_day;
use crate::cluster::Client;
use crate::cluster::api::{Begun, JobView, ServerView, Submission};
use crate::cluster::store::JobState;
use crate::runtime::{find_savepoint, newest_checkpoint};
use crate::stream::build_id;
use crate::{Error, Result};

/// Submits; returns the exit code.
pub(super) fn submit(matches: &ArgMatches) -> Result<i32> {
    let (job, pipeline, sub) = bind::chosen(matches)?;
    let (job, printed) = bind::sinks(job, pipeline, sub)?;
    if let Some(name) = printed {
        return Err(Error::Usage(format!(
            "sink `{name}` would print its rows, which only `run` can, in its own process: bind it to a file that the agents can write, `--sink {name}=out.parquet`, or a directory, `--sink {name}=out/`"
        )));
    }
    let cwd = std::env::current_dir().map_err(|e| Error::io(".", "cannot find the working directory", e))?;
    let absolute = |path: &PathBuf| if path.to_string_lossy().contains("://") { path.clone() } else { cwd.join(path) };
    let kept = sub.get_one::<PathBuf>("checkpoint-dir").map(&absolute);
    let savepoint =
        sub.get_one::<String>("from-savepoint").map(|name| find_savepoint(kept.as_deref(), name)).transpose()?.map(|p| absolute(&p));
    let endless = job.may_be_endless();
    let job = bind::options(job, sub, savepoint.as_ref()).options(|o| {
        o.threads = sub.get_one::<u16>("parallelism").map_or(0, |n| usize::from(*n));
        o.memory_budget = sub.get_one::<usize>("memory").copied();
        o.checkpoint_dir = kept.clone();
        o.spill_dir = o.spill_dir.as_ref().map(&absolute);
        o.state_dir = o.state_dir.as_ref().map(&absolute);
    });
    if endless && kept.is_none() {
        say("note: without `--checkpoint-dir` an endless job that loses an agent fails, since nothing says where it was");
    }
    if let Some(dir) = &kept
        && let Some(number) = newest_checkpoint(dir)?
    {
        say(&format!("continuing from checkpoint {number} in {}", dir.display()));
    }
    let spec = job.spec()?.within(&cwd);
    let submission = Submission {
        key: format!("{:x}", unique()),
        name: sub.get_one::<String>("name").cloned(),
        spec,
        options: job.options.clone(),
        restarts: sub.get_one::<u32>("restarts").copied(),
    };
    let client = client(sub)?;
    wait(async {
        let server: ServerView = client.get("/v1/server").await?;
        if server.build != build_id() {
            return Err(Error::Usage(format!(
                "this program is build {}, the server at {} is build {}: use one executable for all, or submit with the server's",
                build_id(),
                client.base(),
                server.build
            )));
        }
        let begun: Begun = client.post("/v1/jobs", &submission).await?;
        let running = until(&client, &begun.job, |s| s == JobState::Running || s.is_over()).await?;
        let view = if sub.get_flag("wait") { until(&client, &begun.job, JobState::is_over).await? } else { running };
        let failed = matches!(view.summary.state, JobState::Failed | JobState::Cancelled);
        if sub.get_flag("json") {
            pretty(&view)?;
        } else if !failed {
            let s = &view.summary;
            let at = if s.agents.is_empty() { String::new() } else { format!(" on {}", s.agents.join(", ")) };
            print(&format!("job {} `{}` is {}{at}\n", s.id, s.name, s.state))?;
        }
        match (failed, view.summary.error) {
            (true, Some(error)) if !sub.get_flag("json") => Err(Error::Control(format!("job {}: {error}", begun.job))),
            (true, _) => Ok(FAILED),
            (false, _) => Ok(0),
        }
    })
}

/// Between two looks at a job, at least and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// The job, once its state is one of those. It is looked at after each twentieth of the time that it has taken so far, so that whoever waits learns of
/// it about that much later.
async fn until(client: &Client, id: &str, reached: impl Fn(JobState) -> bool) -> Result<JobView> {
    let began = Instant::now();
    loop {
        let view: JobView = client.get(&format!("/v1/jobs/{id}")).await?;
        if reached(view.summary.state) {
            return Ok(view);
        }
        tokio::time::sleep((began.elapsed() / 20).clamp(PAUSE.0, PAUSE.1)).await;
    }
}

/// A number that nobody else has: by time and process.
fn unique() -> u128 {
    let now = time_of_day().as_nanos();
    (now << 32) | u128::from(std::process::id())
}
