//! Which rows of a job others can read, and tickets for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::core::{Core, now, read};
use crate::Result;
use crate::cluster::api::{OutputView, TicketView};
use crate::cluster::membership::Standing;
use crate::cluster::outputs::Place;
use crate::cluster::store::{Job as Row, JobState};
use crate::connect::{PartsSink, SinkSpec};
use crate::plan::{Node, Op};
use crate::runtime::RunOptions;
use crate::shuffle::flight::Grant;
use crate::stream::JobSpec;
use crate::words::unknown;

/// How long a ticket lasts, if nobody says, and at most.
const LASTS: (u64, u64) = (3600, 24 * 3600);

/// Why rows cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Unreadable {
    /// There is no such output.
    Unknown(String),
    /// It is in no files.
    Elsewhere(String),
    /// They were not committed yet.
    NotYet(String),
    /// They are not there any more, or will never be.
    Gone(String),
}

impl Unreadable {
    /// Why, as a sentence.
    pub(in crate::cluster) fn sentence(&self) -> &str {
        let (Unreadable::Unknown(why) | Unreadable::Elsewhere(why) | Unreadable::NotYet(why) | Unreadable::Gone(why)) = self;
        why
    }
}

/// A job as far as its outputs go.
struct Outputs<'a> {
    row: &'a Row,
    spec: &'a JobSpec,
    /// Whether it keeps checkpoints.
    keeps: bool,
    /// All jobs of the store.
    jobs: &'a [Row],
}

impl Outputs<'_> {
    fn sinks(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.spec.plan.nodes.iter().filter_map(|node| if let Op::Sink { name, .. } = &node.op { Some((name.as_str(), node)) } else { None })
    }
    /// Where the rows of an output are, and the step that writes them.
    fn readable(&self, name: &str) -> Result<(Place, &str), Unreadable> {
        let (id, state) = (&self.row.id, self.row.state);
        let Some((_, node)) = self.sinks().find(|(n, _)| *n == name) else {
            let known: Vec<&str> = self.sinks().map(|(n, _)| n).collect();
            return Err(Unreadable::Unknown(unknown(&format!("there is no output of job {id} called"), name, "its outputs are", &known)));
        };
        let place = match self.spec.sinks.get(name) {
            None => Err("is made by the pipeline itself"),
            Some(SinkSpec::Kafka(_)) => Err("goes to a topic of Kafka"),
            Some(SinkSpec::Postgres(_)) => Err("goes to a table of Postgres"),
            Some(SinkSpec::Blackhole) => Err("is only counted (`blackhole:`)"),
            Some(sink) => sink.path().map(|path| (sink, path)).ok_or("is no file"),
        };
        let (sink, path) = place.map_err(|where_to| {
            Unreadable::Elsewhere(format!("output `{name}` of job {id} {where_to}: what can be read here is in files, as by `--sink {name}=out.parquet` or `--sink {name}=out/`"))
        })?;
        let directory = PartsSink::names_directory(path);
        // what changes add up to is known at the end
        let grows = directory && self.keeps && !node.changes;
        let begun = self.row.attempt > 1 || !matches!(state, JobState::Submitted | JobState::Starting);
        let when = if grows { "with its checkpoints" } else { "when it has finished" };
        match state {
            JobState::Finished => {}
            _ if grows && begun => {}
            JobState::Suspended | JobState::Failed | JobState::Cancelled => {
                return Err(Unreadable::Gone(format!("job {id} is {state}: the rows of `{name}` would have come {when}")));
            }
            _ => return Err(Unreadable::NotYet(format!("job {id} is {state}: the rows of `{name}` come {when}"))),
        }
        if let Some(other) = self.jobs.iter().find(|other| self.overwritten_by(other, path, directory)) {
            let what = format!("{} of job {id} belongs to job {} since: read the output of that", path.display(), other.id);
            return Err(Unreadable::Gone(what));
        }
        Ok((Place { sink: sink.clone(), columns: node.columns.clone() }, &node.id))
    }
    /// Whether a later job has written to the same place.
    fn overwritten_by(&self, other: &Row, path: &std::path::Path, directory: bool) -> bool {
        let wrote = other.state == JobState::Finished || (directory && other.attempt > 0);
        let sinks = || other.spec.get("sinks").and_then(|s| s.as_object()).into_iter().flatten();
        let same = |sink: &serde_json::Value| sink.get("path").and_then(|p| p.as_str()).is_some_and(|p| std::path::Path::new(p) == path);
        other.id != self.row.id && other.created > self.row.created && wrote && sinks().any(|(_, sink)| same(sink))
    }
}

/// The outputs of a job.
pub(in crate::cluster) async fn views(core: &Core, row: &Row, spec: &JobSpec, options: &RunOptions) -> Result<Vec<OutputView>> {
    // where a job writes that goes on nobody else does; and this is asked for again and again
    let jobs = if row.state.is_over() { core.store.jobs().await? } else { Vec::new() };
    let outputs = Outputs { row, spec, keeps: options.checkpoint_dir.is_some(), jobs: &jobs };
    let view = |name: &str| OutputView {
        name: name.to_owned(),
        place: spec.sinks.get(name).and_then(SinkSpec::path).map(|p| p.display().to_string()),
        unreadable: outputs.readable(name).err().map(|why| why.sentence().to_owned()),
    };
    Ok(outputs.sinks().map(|(name, _)| view(name)).collect())
}

/// A ticket for an output, and who may have its rows.
///
/// # Errors
/// If there is no such job, the store does not answer; within: if the rows cannot be read.
pub(in crate::cluster) async fn ticket(
    core: &Arc<Core>,
    id: &str,
    name: &str,
    seconds: Option<u64>,
) -> Result<Result<TicketView, Unreadable>> {
    let row = core.row(id).await?;
    let spec: JobSpec = read(&row.spec, "a job's specification")?;
    let options: RunOptions = read(&row.options, "a job's options")?;
    let jobs = core.store.jobs().await?;
    let outputs = Outputs { row: &row, spec: &spec, keeps: options.checkpoint_dir.is_some(), jobs: &jobs };
    let (place, step) = match outputs.readable(name) {
        Ok(found) => found,
        Err(why) => return Ok(Err(why)),
    };
    let lasts = Duration::from_secs(seconds.unwrap_or(LASTS.0).min(LASTS.1));
    let grant = Grant::new(id, u64::from(row.attempt), place.purpose(name)?, lasts);
    Ok(Ok(TicketView {
        job: row.id.clone(),
        output: name.to_owned(),
        addresses: addresses(core, id, step).await?,
        ticket: core.face.key.sign(&grant)?,
        expires: now().saturating_add(i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX)),
    }))
}

/// Processes that may have the rows: first the agent that wrote them, then others of the job, then others, last the server.
async fn addresses(core: &Core, id: &str, step: &str) -> Result<Vec<String>> {
    let stage = core.hub.run_of(id).and_then(|run| run.shapes.iter().position(|s| s.nodes.iter().any(|n| n == step)));
    let mut nearness: BTreeMap<String, u8> = BTreeMap::new();
    for task in core.store.tasks(id, None).await? {
        let near = if Some(task.id.stage as usize) == stage { 0 } else { 1 };
        nearness.entry(task.placed.agent).and_modify(|n| *n = near.min(*n)).or_insert(near);
    }
    let members = core.hub.members_with_load();
    let there = members.iter().map(|(m, _)| m).filter(|m| m.standing == Standing::Alive && m.connected);
    let ordered: BTreeSet<(u8, &str, &str)> = there
        .map(|m| &m.registration)
        .map(|r| (nearness.get(&r.name).copied().unwrap_or(2), r.name.as_str(), r.address.as_str()))
        .collect();
    let scheme = if core.face.tls { "grpc+tls" } else { "grpc" };
    let all = ordered.into_iter().map(|(_, _, address)| address).chain([core.face.control.as_str()]);
    Ok(all.map(|address| format!("{scheme}://{address}")).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::Plan;
    use crate::stream::{Params, Settings};

    fn row(id: &str, state: JobState, attempt: u32, created: i64, sinks: &BTreeMap<String, SinkSpec>) -> Row {
        Row {
            id: id.into(),
            name: id.into(),
            build: "b".into(),
            spec: json!({ "pipeline": "p", "sinks": sinks }),
            options: json!({}),
            state,
            attempt,
            restarts: 0,
            error: None,
            created,
            updated: created,
        }
    }
    fn spec(sinks: &[(&str, Option<&str>, bool)]) -> JobSpec {
        let node = |(name, _, changes): &(&str, Option<&str>, bool)| Node {
            id: format!("p/{name}/sink"),
            op: Op::Sink { name: (*name).to_owned(), fixed: false },
            inputs: vec![],
            columns: vec![],
            keys: vec![],
            bounded: true,
            time: None,
            changes: *changes,
        };
        JobSpec {
            pipeline: "p".into(),
            params: Params::new(),
            plan: Plan { pipeline: "p".into(), nodes: sinks.iter().map(node).collect() },
            sources: BTreeMap::new(),
            sinks: sinks.iter().filter_map(|(n, uri, _)| Some(((*n).to_owned(), SinkSpec::from_uri((*uri)?).unwrap()))).collect(),
            settings: Settings::default(),
            build: "b".into(),
        }
    }
    /// What reading `name` says: the path, or why not.
    fn asked(spec: &JobSpec, keeps: bool, row: &Row, jobs: &[Row], name: &str) -> Result<String, Unreadable> {
        let outputs = Outputs { row, spec, keeps, jobs };
        outputs.readable(name).map(|(place, step)| format!("{} {step}", place.sink.path().unwrap().display()))
    }

    #[test]
    fn rows_can_be_read_once_they_are_committed() {
        use JobState as S;
        let spec = spec(&[("file", Some("/d/a.csv"), false), ("dir", Some("/d/out/"), false), ("sums", Some("/d/sums/"), true)]);
        let all = [S::Submitted, S::Starting, S::Running, S::Restarting, S::Stopping, S::Suspended, S::Finished, S::Failed, S::Cancelled];
        for state in all {
            for (attempt, keeps) in [(1, false), (1, true), (2, true)] {
                let row = row("j", state, attempt, 5, &spec.sinks);
                let of = |name| asked(&spec, keeps, &row, &[], name);
                // a file, and what changes add up to, come at the end
                for name in ["file", "sums"] {
                    match state {
                        S::Finished => assert!(of(name).is_ok()),
                        S::Suspended | S::Failed | S::Cancelled => assert!(matches!(of(name), Err(Unreadable::Gone(_)))),
                        _ => assert!(matches!(of(name), Err(Unreadable::NotYet(_)))),
                    }
                }
                let begins = attempt == 1 && matches!(state, S::Submitted | S::Starting);
                match (keeps, state) {
                    (_, S::Finished) => assert_eq!(of("dir").unwrap(), "/d/out/ p/dir/sink"),
                    (true, _) if begins => {
                        let told = format!("job j is {state}: the rows of `dir` come with its checkpoints");
                        assert_eq!(of("dir"), Err(Unreadable::NotYet(told)));
                    }
                    (true, _) => assert!(of("dir").is_ok(), "{state}"),
                    (false, _) => assert_eq!(of("dir").is_err(), of("file").is_err()),
                }
            }
        }
    }

    #[test]
    fn what_is_no_file_or_belongs_to_a_later_job_is_refused_with_the_reason() {
        use JobState as S;
        let spec = spec(&[
            ("file", Some("/d/a.csv"), false),
            ("none", Some("blackhole:"), false),
            ("own", None, false),
            ("dir", Some("/d/out/"), false),
        ]);
        let first = row("first", S::Finished, 1, 5, &spec.sinks);
        let of = |name, jobs: &[Row]| asked(&spec, true, &first, jobs, name);
        let told = of("fil", &[]).unwrap_err();
        assert_eq!(
            told,
            Unreadable::Unknown(
                "there is no output of job first called `fil`; did you mean `file`? (its outputs are `file`, `none`, `own`, `dir`)".into()
            )
        );
        assert!(
            matches!(of("none", &[]), Err(Unreadable::Elsewhere(why)) if why.contains("only counted") && why.contains("--sink none=out/"))
        );
        assert!(matches!(of("own", &[]), Err(Unreadable::Elsewhere(why)) if why.contains("made by the pipeline itself")));
        // a file is another's when that has finished, a directory when it has begun
        let other = |state, attempt, created| vec![first.clone(), row("other", state, attempt, created, &spec.sinks)];
        for (jobs, file, dir) in [
            (other(S::Running, 1, 6), true, false),
            (other(S::Finished, 1, 6), false, false),
            (other(S::Failed, 0, 6), true, true),
            (other(S::Finished, 1, 4), true, true),
        ] {
            assert_eq!((of("file", &jobs).is_ok(), of("dir", &jobs).is_ok()), (file, dir));
        }
        let gone = of("dir", &other(S::Running, 1, 6)).unwrap_err();
        assert_eq!(gone, Unreadable::Gone("/d/out/ of job first belongs to job other since: read the output of that".into()));
    }
}
