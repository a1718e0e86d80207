//! Running a share on threads of this process.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::member::{BEAT, Member, OpenSinks};
use super::{Carrier, FromShare, Share, ShareReport, ToShare};
use crate::operator::{BoundSink, PhysicalPlan};
use crate::runtime::{Executor, Pool, RunOptions};
use crate::{Error, Result};

/// How long it takes at most until a share that failed by itself is over for its listener too.
const LOOK: Duration = Duration::from_millis(50);

/// Runs a share of a job to its end, on the workers of `pool`, which other shares may use too, while the calling thread waits. `sinks` opens the sinks of
/// these nodes, those that are here. `up` tells the lead, and must not block; `down` is what the lead says: if it hangs up, the share
/// ends with an error.
///
/// # Errors
/// The first error of any step that is here, which the lead is told; that with which the lead aborts it; if the lead is not heard for
/// [`Share::lease`].
pub fn run_share(
    (plan, options): (Arc<PhysicalPlan>, &RunOptions),
    pool: &Pool,
    sinks: &(dyn Fn(&[usize]) -> Result<Vec<BoundSink>> + Sync),
    share: Share,
    carrier: Arc<dyn Carrier>,
    up: Arc<dyn Fn(FromShare) + Send + Sync>,
    down: Receiver<ToShare>,
) -> Result<ShareReport> {
    let executor: Arc<dyn Executor> = Arc::new(pool.beside());
    let open: OpenSinks<'_> = Box::new(sinks);
    let member = Member::new(executor, (plan, options), open, share, carrier, up);
    let heard = &member;
    std::thread::scope(|scope| {
        let listener = std::thread::Builder::new().name("sabot-share".into()).spawn_scoped(scope, move || listen(heard, &down));
        if let Err(e) = &listener {
            member.fail(Error::usage(format!("cannot start a thread: {e}")));
        }
        member.look();
        member.wait();
        member.prepare();
        if let Some(job) = member.job() {
            job.executor.drive(&job.done);
        }
        member.end()
    })
}

/// Hears the lead, and lets it hear this share, until the share is over. A thread of its own, so that busy workers keep nobody waiting.
fn listen(member: &Member<'_>, down: &Receiver<ToShare>) {
    let mut due = Instant::now() + BEAT;
    while !member.is_over() {
        if due.saturating_duration_since(Instant::now()).is_zero() {
            due = Instant::now() + BEAT;
            member.beat();
        }
        match down.recv_timeout(due.saturating_duration_since(Instant::now()).min(LOOK)) {
            Ok(message) => {
                let last = matches!(message, ToShare::Abort(_) | ToShare::End);
                member.on(message);
                if last {
                    return;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return member.fail(Error::usage("the lead of the job has hung up")),
        }
    }
}
