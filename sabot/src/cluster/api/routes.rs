//! The endpoints.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use sha2::{Digest, Sha256};

use super::guard::Guard;
use super::shapes::{
    AgentView, Begun, JobSummary, JobView, JoinView, Logs, OperationView, Refused, RescaleAsked, SavepointAsked, ServerView, StepView,
    Submission, TicketAsked, TicketView, UpgradeAsked,
};
use crate::cluster::door;
use crate::cluster::server::outputs::{self, Unreadable};
use crate::cluster::server::{
    Asked, Core, MOVES, Submitted, begin, begin_drain, begin_take_over, checkpoints_of, flow_of, upgradable, view, write,
};
use crate::cluster::store::{EventFilter, JobFilter, JobState, Level, Operation, OperationKind, OperationState};
use crate::cluster::{Build, server};
use crate::{Error, Result};

/// Specifications hold plans and parameters; more than this is no job.
const LARGEST: usize = 64 << 20;
/// A sentence about a request is not longer.
const LONGEST: usize = 16 << 10;
/// How many jobs a list has, if it does not say, and at most.
const LISTED: u32 = 100;
const MOST: u32 = 1000;
/// How long a submission may take until it is written down.
const PERSISTED: Duration = Duration::from_secs(10);

/// More operations than a job has.
const OPERATIONS: u32 = 10_000;

pub(in crate::cluster) type Shared = State<Arc<Core>>;

/// An error as an answer.
pub(in crate::cluster) struct Failed(StatusCode, pub(in crate::cluster) String);
impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        let status = match &error {
            Error::Usage(_) if text.starts_with("there is no ") => StatusCode::NOT_FOUND,
            Error::Usage(_) | Error::Plan(_) | Error::Schema { .. } => StatusCode::BAD_REQUEST,
            Error::Control(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Failed(status, text)
    }
}
impl From<Unreadable> for Failed {
    fn from(why: Unreadable) -> Self {
        let status = match why {
            Unreadable::Unknown(_) => StatusCode::NOT_FOUND,
            Unreadable::Elsewhere(_) => StatusCode::BAD_REQUEST,
            Unreadable::NotYet(_) => StatusCode::CONFLICT,
            Unreadable::Gone(_) => StatusCode::GONE,
        };
        Failed(status, why.sentence().to_owned())
    }
}
impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.0, Json(Refused { error: self.1 })).into_response()
    }
}
pub(in crate::cluster) type Answer<T> = Result<Json<T>, Failed>;

/// The API of a server, for those whom the guard lets in.
pub(in crate::cluster) fn routes(core: Arc<Core>, guard: Guard) -> Router {
    Router::new()
        .route("/v1/server", get(show_server))
        .route("/v1/join", post(join))
        .route("/v1/jobs", get(list_jobs).post(submit))
        .route("/v1/jobs/{id}", get(show_job))
        .route("/v1/jobs/{id}/cancel", post(cancel))
        .route("/v1/jobs/{id}/savepoint", post(savepoint))
        .route("/v1/jobs/{id}/rescale", post(rescale))
        .route("/v1/jobs/{id}/outputs/{name}/ticket", post(ticket))
        .route("/v1/jobs/{id}/upgrade", post(upgrade))
        .route("/v1/agents", get(list_agents))
        .route("/v1/agents/{name}/drain", post(drain))
        .route("/v1/operations", get(list_operations))
        .route("/v1/operations/{id}", get(show_operation))
        .route("/v1/logs", get(logs))
        .route("/metrics", get(metrics))
        .fallback(nothing)
        .layer(axum::extract::DefaultBodyLimit::max(LARGEST))
        .layer(middleware::from_fn(worded))
        .layer(middleware::from_fn(move |request: Request, next: Next| {
            let refused = guard.refuses(&request);
            async move {
                match refused {
                    Some(refused) => refused,
                    None => next.run(request).await,
                }
            }
        }))
        .with_state(core)
}

/// Says refusals that come of the request's form, and not of an endpoint, as all others: with their status and a sentence.
async fn worded(request: Request, next: Next) -> Response {
    let asked = format!("{} {}", request.method(), request.uri().path());
    let answer = next.run(request).await;
    let status = answer.status();
    let is_json = answer.headers().get(header::CONTENT_TYPE).is_some_and(|t| t == "application/json");
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return answer;
    }
    let said = axum::body::to_bytes(answer.into_body(), LONGEST).await.unwrap_or_default();
    let said = match status {
        StatusCode::METHOD_NOT_ALLOWED => "it takes other methods, which the header `Allow` names".to_owned(),
        StatusCode::PAYLOAD_TOO_LARGE => format!("the body has more than {} MiB", LARGEST >> 20),
        _ if said.is_empty() => status.to_string(),
        _ => String::from_utf8_lossy(&said).into_owned(),
    };
    (status, Json(Refused { error: format!("{asked}: {said}; docs/cluster.md says what is asked how") })).into_response()
}

async fn nothing(request: Request) -> Response {
    let error = format!("there is no {} {}; docs/cluster.md lists what there is", request.method(), request.uri().path());
    (StatusCode::NOT_FOUND, Json(Refused { error })).into_response()
}

async fn show_server(State(core): Shared) -> Json<ServerView> {
    Json(view::server(&core))
}

/// What an agent needs to know before it can join.
async fn join(State(core): Shared, Json(build): Json<Build>) -> Answer<JoinView> {
    if let Some(why) = core.build.refusal(&build) {
        return Err(Error::Usage(format!("the agent is refused: {why}")).into());
    }
    Ok(Json(JoinView { control: core.face.control.clone(), ticket_key: core.face.ticket_key.clone(), tls: core.face.tls }))
}

#[derive(Deserialize)]
struct Jobs {
    state: Option<String>,
    find: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

async fn list_jobs(State(core): Shared, Query(asked): Query<Jobs>) -> Answer<Vec<JobSummary>> {
    let limit = match asked.limit.unwrap_or(LISTED) {
        limit @ 1..=MOST => limit,
        limit => {
            return Err(Error::Usage(format!("`limit={limit}`: a list has 1 to {MOST} jobs; `after=ID` goes on behind the last")).into());
        }
    };
    let states = asked.state.as_deref().map_or(Ok(Vec::new()), states)?;
    Ok(Json(view::jobs(&core, &JobFilter { states, find: asked.find, after: asked.after, limit }).await?))
}

/// The states that words with commas between them name.
fn states(words: &str) -> Result<Vec<JobState>> {
    let mut all = Vec::new();
    for word in words.split(',').map(str::trim) {
        match (word, JobState::of(word)) {
            ("over", _) => all.extend(JobState::ALL.iter().filter(|s| s.is_over())),
            ("open", _) => all.extend(JobState::ALL.iter().filter(|s| !s.is_over())),
            (_, Some(state)) => all.push(state),
            (_, None) => {
                let mut known = vec!["open", "over"];
                known.extend(JobState::ALL.iter().map(|s| s.word()));
                return Err(Error::Usage(crate::words::unknown("no job has the state", word, "states are", &known)));
            }
        }
    }
    Ok(all)
}

async fn show_job(State(core): Shared, Path(id): Path<String>) -> Answer<JobView> {
    Ok(Json(view::job(&core, &id).await?))
}

/// A job's id: its pipeline's name, a hyphen (lists take the name from there), and digits of the request's key.
fn id_of(submission: &Submission) -> String {
    let digest = Sha256::digest(format!("{} {}", submission.spec.pipeline, submission.key));
    let digits: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("{}-{digits}", submission.spec.pipeline)
}

pub(in crate::cluster) async fn submit(State(core): Shared, Json(submission): Json<Submission>) -> Answer<Begun> {
    if submission.spec.build != core.build.id {
        let (theirs, ours) = (&submission.spec.build, &core.build.id);
        return Err(Error::Usage(format!("the job is of build {theirs}, this server is build {ours}: use one executable for all")).into());
    }
    let job = id_of(&submission);
    let operation = flow_of(&job);
    let input = Submitted { job: job.clone(), submission };
    let input = write(&input, "a submission")?;
    core.workflows()?.start(&operation, "submit", input.clone()).await?;
    let there = core.workflows()?.show(&operation).await?;
    if there.is_some_and(|w| w.input != input) {
        return Err(Error::Usage(format!(
            "the key of this submission is that of job {job}, which is another: give each submission a key of its own"
        ))
        .into());
    }
    // once it is written down, others see it
    let since = door::now();
    while core.store.job(&job).await?.is_none() {
        if door::now().saturating_sub(since) > PERSISTED {
            return Err(Error::Control(format!("job {job} was not written down within {} s", PERSISTED.as_secs())).into());
        }
        door::sleep(Duration::from_millis(3)).await;
    }
    Ok(Json(Begun { job, operation }))
}

/// Begins an operation on a job.
pub(in crate::cluster) async fn operate(
    core: &Arc<Core>,
    kind: OperationKind,
    name: &str,
    id: &str,
    asked: Asked,
    key: &str,
) -> Answer<Begun> {
    let row = core.row(id).await?;
    let operation = format!("{name}-{id}-{key}");
    let input = write(&asked, "an operation")?;
    core.workflows()?.start(&operation, name, input.clone()).await?;
    // the workflow writes it down too: a server that is killed here leaves no operation that nobody does
    begin(core, &operation, kind, Some(&row.id), &input).await?;
    Ok(Json(Begun { job: row.id, operation }))
}

/// Digits that tell this request from others.
fn digits() -> String {
    format!("{:x}", door::time_of_day().as_nanos())
}

pub(in crate::cluster) async fn cancel(State(core): Shared, Path(id): Path<String>) -> Answer<Begun> {
    let asked = Asked::of(&id);
    operate(&core, OperationKind::Cancel, "cancel", &id, asked, &digits()).await
}

pub(in crate::cluster) async fn savepoint(State(core): Shared, Path(id): Path<String>, Json(body): Json<SavepointAsked>) -> Answer<Begun> {
    let dir = checkpoints_of(&core, &id).await?;
    if body.name.starts_with(MOVES) {
        return Err(Error::Usage(format!("savepoints whose names begin with `{MOVES}` are the server's own: choose another name")).into());
    }
    let name = body.name.clone();
    let known = door::blocking(move || crate::runtime::savepoints(&dir)).await?;
    if known.into_iter().flatten().any(|s| s.name == name) {
        return Err(Error::Usage(format!("job {id} has a savepoint `{name}` already: delete it, or choose another name")).into());
    }
    let kind = if body.stop { OperationKind::Suspend } else { OperationKind::Savepoint };
    let asked = Asked { name: body.name.clone(), stop: body.stop, ..Asked::of(&id) };
    operate(&core, kind, "savepoint", &id, asked, &format!("{}-{}", body.name, digits())).await
}

pub(in crate::cluster) async fn rescale(State(core): Shared, Path(id): Path<String>, Json(body): Json<RescaleAsked>) -> Answer<Begun> {
    if body.parallelism == 0 {
        return Err(Error::usage("a job has a parallelism of at least 1").into());
    }
    checkpoints_of(&core, &id).await?;
    let asked = Asked { parallelism: body.parallelism, ..Asked::of(&id) };
    operate(&core, OperationKind::Rescale, "rescale", &id, asked, &digits()).await
}

/// A ticket for the rows of an output.
async fn ticket(State(core): Shared, Path((id, name)): Path<(String, String)>, Json(body): Json<TicketAsked>) -> Answer<TicketView> {
    Ok(Json(outputs::ticket(&core, &id, &name, body.seconds).await??))
}

pub(in crate::cluster) async fn upgrade(State(core): Shared, Path(id): Path<String>, Json(body): Json<UpgradeAsked>) -> Answer<Begun> {
    let row = core.row(&id).await?;
    upgradable(&row)?;
    // asked twice, it is one
    let known = core.store.operations(Some(&id), OPERATIONS).await?;
    if let Some(known) = known.into_iter().find(|o| o.kind == OperationKind::Upgrade && o.state == OperationState::Running) {
        return Ok(Json(Begun { job: id, operation: known.id }));
    }
    let time = crate::clock::utc(i64::try_from(door::time_of_day().as_secs()).unwrap_or(0) * 1000);
    let default = format!("upgrade-{}", time.replace(' ', "-").replace(':', ""));
    let asked = Asked { name: body.savepoint.unwrap_or(default), stop: true, drop_state: body.allow_dropped_state, ..Asked::of(&id) };
    if row.build == core.build.id {
        return operate(&core, OperationKind::Upgrade, "upgrade", &id, asked, &digits()).await;
    }
    // its own server is gone: this one takes it over
    let operation = format!("upgrade-{id}-{}", digits());
    let input = write(&asked, "an operation")?;
    begin(&core, &operation, OperationKind::Upgrade, Some(&id), &input).await?;
    begin_take_over(&core, &operation, &asked).await?;
    Ok(Json(Begun { job: id, operation }))
}

async fn list_agents(State(core): Shared) -> Json<Vec<AgentView>> {
    Json(view::agents(&core))
}

pub(in crate::cluster) async fn drain(State(core): Shared, Path(name): Path<String>) -> Answer<Begun> {
    let epoch = {
        let found = core.hub.members().named(&name).filter(|m| m.standing.holds()).map(|m| m.epoch);
        if let Some(why) = found.and_then(|epoch| core.hub.no_room(epoch, None)) {
            return Err(Error::Usage(format!("agent `{name}` cannot leave: {why}")).into());
        }
        found.filter(|epoch| core.hub.members().drain(*epoch))
    };
    let Some(epoch) = epoch else {
        let known: Vec<String> = view::agents(&core).into_iter().filter(|a| a.standing.holds()).map(|a| a.name).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        return Err(Error::Usage(crate::words::unknown("there is no agent", &name, "those that are there are", &known)).into());
    };
    core.hub.say(Level::Info, None, Some(&name), format!("agent `{name}` was asked to leave: its tasks move"));
    let operation = begin_drain(&core, &name, epoch, Some(&digits())).await?;
    Ok(Json(Begun { job: String::new(), operation }))
}

#[derive(Deserialize)]
struct Listed {
    job: Option<String>,
    limit: Option<u32>,
}

async fn list_operations(State(core): Shared, Query(asked): Query<Listed>) -> Answer<Vec<Operation>> {
    Ok(Json(core.store.operations(asked.job.as_deref(), asked.limit.unwrap_or(100)).await?))
}

async fn show_operation(State(core): Shared, Path(id): Path<String>) -> Answer<OperationView> {
    let operation = core.store.operation(&id).await?.ok_or_else(|| Error::Usage(format!("there is no operation `{id}`")))?;
    let steps = core.workflows()?.steps(&id).await?;
    let steps = steps.into_iter().map(|s| StepView { name: s.name, error: s.error, started: s.started, finished: s.finished }).collect();
    Ok(Json(OperationView { operation, steps }))
}

#[derive(Deserialize)]
struct Wanted {
    job: Option<String>,
    agent: Option<String>,
    after: Option<u64>,
    limit: Option<u32>,
}

async fn logs(State(core): Shared, Query(asked): Query<Wanted>) -> Answer<Logs> {
    let filter = EventFilter { job: asked.job, agent: asked.agent, after: asked.after, limit: asked.limit.unwrap_or(100) };
    Ok(Json(Logs { events: core.store.events(&filter).await? }))
}

async fn metrics(State(core): Shared) -> Result<Response, Failed> {
    let text = server::view::metrics(&core).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}
