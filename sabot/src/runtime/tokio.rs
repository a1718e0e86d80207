//! Where futures run in production: on the tokio runtime that the job was started in, else on one of its own.
//!
//! A runtime with a single worker cannot be used: if a job is run on that worker, it waits there for futures that only
//! this worker could poll.

use std::sync::Mutex;

use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};

use super::util::lock;
use crate::operator::{Beside, Flight};
use crate::{Error, Result};

/// Threads of an own runtime. Calls wait, they do not compute: two threads poll some 10^5 calls a second.
const WORKERS: usize = 2;

pub(super) struct Tokio {
    caller: Option<Handle>,
    own: Mutex<Option<Runtime>>,
}

impl Tokio {
    pub(super) fn new() -> Self {
        let usable = |h: &Handle| h.runtime_flavor() == RuntimeFlavor::MultiThread && h.metrics().num_workers() > 1;
        Tokio { caller: Handle::try_current().ok().filter(usable), own: Mutex::new(None) }
    }
    pub(super) fn run(&self, future: Beside) -> Result<Flight> {
        let task = match &self.caller {
            Some(handle) => handle.spawn(future),
            None => {
                let mut own = lock(&self.own);
                let runtime = match &mut *own {
                    Some(runtime) => runtime,
                    none => none.insert(start()?),
                };
                runtime.spawn(future)
            }
        };
        Ok(Flight::new(move || task.abort()))
    }
}

impl Drop for Tokio {
    fn drop(&mut self) {
        if let Some(runtime) = lock(&self.own).take() {
            // a job may end inside another runtime, where nothing may wait
            runtime.shutdown_background();
        }
    }
}

fn start() -> Result<Runtime> {
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).thread_name("sabot-async").enable_all().build();
    runtime.map_err(|e| Error::usage(format!("cannot start the threads of async operators: {e}")))
}
