//! The shares that an agent runs, all on the workers of one pool, each waited for by a thread.

use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc::UnboundedSender;

use super::session::Work;
use super::without_exchange;
use crate::cluster::wire::{Deployment, ShareId, ToServer};
use crate::kernel::catch;
use crate::runtime::Pool;
use crate::runtime::share::{Carrier, Fault, FromShare, ToShare};
use crate::stream::{Job, JobSpec};
use crate::sync::lock;
use crate::{Error, Result};

/// Makes what carries a share's rows to other agents.
pub(super) type Carriers = Arc<dyn Fn(&Deployment) -> Result<Arc<dyn Carrier>> + Send + Sync>;

/// The shares that run.
pub(super) struct Shares {
    running: Arc<Mutex<BTreeMap<ShareId, One>>>,
    carriers: Carriers,
    /// A worker for each slot.
    pool: Arc<Pool>,
}

struct One {
    down: Option<Sender<ToShare>>,
    tasks: usize,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Shares {
    /// None yet, of so many slots.
    ///
    /// # Errors
    /// If the system refuses threads.
    pub(super) fn new(slots: usize, carriers: Carriers) -> Result<Self> {
        Ok(Shares { running: Arc::default(), carriers, pool: Arc::new(Pool::new(slots.max(1))?) })
    }
    /// Ends all of them, as nobody leads them any more, and waits until they have.
    pub(super) fn abandon(&self) {
        let threads: Vec<_> = self
            .lock()
            .values_mut()
            .filter_map(|one| {
                one.down = None;
                one.thread.take()
            })
            .collect();
        for thread in threads {
            let _ = thread.join();
        }
    }
    /// The jobs that they are of.
    pub(super) fn jobs(&self) -> Vec<String> {
        let mut jobs: Vec<String> = self.lock().keys().map(|id| format!("job {}", id.job)).collect();
        jobs.dedup();
        jobs
    }
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ShareId, One>> {
        lock(&self.running)
    }
}

impl Work for Shares {
    fn begin(&self, deployment: Deployment, up: UnboundedSender<ToServer>) {
        let id = deployment.id.clone();
        let (sender, receiver) = channel();
        let mut running = self.lock();
        if running.contains_key(&id) {
            return; // told twice
        }
        let tasks = deployment.share.placement.stages.iter().flatten().filter(|s| **s == id.share).count();
        let (carriers, pool) = (Arc::clone(&self.carriers), Arc::clone(&self.pool));
        let (own, all) = (id.clone(), Arc::clone(&self.running));
        let (ended, tell) = (up.clone(), up.clone());
        let body = move || {
            let id = own.clone();
            let say = move |message: FromShare| drop(tell.send(ToServer::Share(id.clone(), message)));
            let told = Arc::new(Mutex::new(false));
            let first = Arc::clone(&told);
            let say: Arc<dyn Fn(FromShare) + Send + Sync> = Arc::new(move |message| {
                if matches!(message, FromShare::Failed(_) | FromShare::Over(_)) {
                    *lock(&first) = true;
                }
                say(message);
            });
            // whatever happens, the server is told that it has ended
            let result = catch(|| run(&deployment, (&carriers, &pool), Arc::clone(&say), receiver))
                .unwrap_or_else(|panic| Err(Error::internal(format!("a share of the job panicked: {}", panic.message))));
            // what failed before it was a share
            if let Err(error) = &result
                && !*lock(&told)
            {
                say(FromShare::Failed(Fault::from(error)));
            }
            lock(&all).remove(&own);
            let _ = ended.send(ToServer::Ended(own));
        };
        match std::thread::Builder::new().name(format!("share-{}", id.job)).spawn(body) {
            Ok(thread) => drop(running.insert(id, One { down: Some(sender), tasks, thread: Some(thread) })),
            Err(e) => {
                let fault = Fault::from(&Error::io("a thread", "cannot start it for a share of a job", e));
                let _ = up.send(ToServer::Share(id.clone(), FromShare::Failed(fault)));
                let _ = up.send(ToServer::Ended(id));
            }
        }
    }
    fn tell(&self, id: &ShareId, message: ToShare) {
        if let Some(down) = self.lock().get(id).and_then(|one| one.down.as_ref()) {
            let _ = down.send(message);
        }
    }
    fn tasks(&self) -> usize {
        self.lock().values().map(|one| one.tasks).sum()
    }
}

fn run(
    deployment: &Deployment,
    (carriers, pool): (&Carriers, &Pool),
    up: Arc<dyn Fn(FromShare) + Send + Sync>,
    down: std::sync::mpsc::Receiver<ToShare>,
) -> Result<()> {
    let spec: JobSpec = serde_json::from_str(&deployment.spec).map_err(|e| Error::internal(format!("a job's specification: {e}")))?;
    let options = without_exchange(&deployment.options);
    let job = Job::from_spec(&spec)?.options(move |o| *o = options);
    job.run_share(pool, deployment.share.clone(), carriers(deployment)?, up, down)?;
    Ok(())
}
