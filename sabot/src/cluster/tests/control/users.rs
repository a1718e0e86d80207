//! People who submit, cancel, rescale and drain, also twice.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::extract::{Json, Path, State};

use super::super::world::World;
use super::board::Board;
use super::net::Net;
use super::{sim_endless, sim_ends};
use crate::cluster::api::{Begun, Submission, UpgradeAsked, routes};
use crate::cluster::server::{Asked, Core};
use crate::cluster::store::OperationKind;
use crate::sync::lock;

/// What was asked for, and answered.
#[derive(Default)]
pub(super) struct Known {
    /// Jobs of which the server has said that they are written down, or that were asked for at least.
    pub(super) jobs: Vec<String>,
    /// Operations that the server has said to have begun.
    pub(super) operations: Vec<String>,
}

pub(super) struct Users {
    world: Arc<World>,
    net: Arc<Net>,
    board: Arc<Board>,
    dir: PathBuf,
    pub(super) known: Arc<Mutex<Known>>,
    submitted: u64,
    /// How often a job was to be upgraded.
    pub(super) upgraded: u64,
    asked: u64,
}

impl Users {
    pub(super) fn new(world: Arc<World>, net: Arc<Net>, board: Arc<Board>, dir: PathBuf) -> Users {
        Users { world, net, board, dir, known: Arc::default(), submitted: 0, upgraded: 0, asked: 0 }
    }
    /// Asks the server, if it is up; what it answers is known if it lives until then.
    fn ask<Fut>(&self, what: String, ask: impl FnOnce(Arc<Core>) -> Fut)
    where
        Fut: Future<Output = routes::Answer<Begun>> + Send + 'static,
    {
        let Some((process, core)) = self.net.server() else { return };
        self.world.note(&format!("USER    {what}"));
        let (known, board, world) = (Arc::clone(&self.known), Arc::clone(&self.board), Arc::clone(&self.world));
        let asked = ask(core);
        self.world.spawn_in(process, async move {
            match asked.await {
                Ok(Json(begun)) => {
                    board.count(|t| t.operations += 1);
                    let mut known = lock(&known);
                    if !known.operations.contains(&begun.operation) {
                        known.operations.push(begun.operation);
                    }
                    if !begun.job.is_empty() && !known.jobs.contains(&begun.job) {
                        known.jobs.push(begun.job);
                    }
                }
                Err(failed) => world.note(&format!("USER    {what}: refused: {}", failed.1)),
            }
        });
    }
    /// Somebody wants something.
    pub(super) fn act(&mut self) {
        let jobs = lock(&self.known).jobs.clone();
        let few = self.submitted < 3 && (jobs.is_empty() || self.world.chance(30));
        if few {
            return self.submit();
        }
        let Some(job) = jobs.get(self.world.below(jobs.len() as u64) as usize).cloned() else { return };
        self.asked += 1;
        let n = self.asked;
        // the same request may come twice
        let times = 1 + usize::from(self.world.chance(30));
        let which = self.world.below(100);
        let parallelism = 1 + self.world.below(5) as usize;
        for _ in 0..times {
            let (job, key) = (job.clone(), format!("k{n}"));
            match which {
                0..8 => self.upgrade(&job),
                8..20 => self.ask(format!("cancel {job}"), |core| async move {
                    let asked = Asked::of(&job);
                    routes::operate(&core, OperationKind::Cancel, "cancel", &job, asked, &key).await
                }),
                20..45 => {
                    let stop = which < 27;
                    self.ask(format!("savepoint s{n} of {job}, stop {stop}"), move |core| async move {
                        let body = crate::cluster::api::SavepointAsked { name: format!("s{n}"), stop };
                        routes::savepoint(State(core), Path(job), Json(body)).await
                    });
                }
                45..55 => self.ask(format!("rescale {job} to {parallelism} by key"), |core| async move {
                    let asked = Asked { parallelism, ..Asked::of(&job) };
                    routes::operate(&core, OperationKind::Rescale, "rescale", &job, asked, &key).await
                }),
                _ => self.ask(format!("rescale {job} to {parallelism}"), move |core| async move {
                    routes::rescale(State(core), Path(job), Json(crate::cluster::api::RescaleAsked { parallelism })).await
                }),
            }
        }
    }
    fn submit(&mut self) {
        let Some((server, _)) = self.net.server() else { return };
        self.submitted += 1;
        let ends = self.world.chance(35);
        let kept = self.world.chance(80);
        let parallelism = if self.world.chance(15) { 0 } else { 1 + self.world.below(4) as usize };
        let job = if ends { sim_ends() } else { sim_endless() };
        let dir = self.dir.join(format!("job-{}", self.submitted));
        let job = job.options(move |o| {
            o.threads = parallelism;
            o.checkpoint_dir = kept.then_some(dir);
            o.checkpoint_every = std::time::Duration::from_secs(2);
        });
        let submission = Submission {
            key: format!("key {}", self.submitted),
            name: None,
            // of the build of its server
            spec: self.world.within(server, || job.spec()).unwrap(),
            options: job.options.clone(),
            restarts: Some(1000),
        };
        // one whose answer is lost is sent again
        for _ in 0..1 + usize::from(self.world.chance(30)) {
            let submission = submission.clone();
            let what = format!("submit {} with parallelism {parallelism}, checkpoints {kept}", submission.spec.pipeline);
            self.ask(what, |core| async move { routes::submit(State(core), Json(submission)).await });
        }
    }
    /// Wants a job to go on with the next build.
    pub(super) fn upgrade(&mut self, job: &str) {
        self.upgraded += 1;
        let job = job.to_owned();
        let body = UpgradeAsked { savepoint: None, allow_dropped_state: false };
        self.ask(format!("upgrade {job}"), |core| async move { routes::upgrade(State(core), Path(job), Json(body)).await });
    }
    pub(super) fn drain(&self, agent: &str) {
        let name = agent.to_owned();
        self.ask(format!("drain {agent}"), |core| async move { routes::drain(State(core), Path(name)).await });
    }
    /// Cancels everything.
    pub(super) fn cancel(&self, job: &str) {
        let job = job.to_owned();
        self.ask(format!("cancel {job} at last"), |core| async move { routes::cancel(State(core), Path(job)).await });
    }
}
