//! Forgets what is over long since, now and then.

use std::sync::Arc;
use std::time::Duration;

use super::core::{Core, now};
use super::{flow_of, goes_on_of, take_over_of};
use crate::Result;
use crate::cluster::door::Ticks;
use crate::cluster::durable::{Filter, Workflows};
use crate::cluster::membership::SHOWN;
use crate::cluster::store::{Keep, Level};

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(600);

/// Forgets until the server ends: at once, and then every ten minutes.
pub(super) async fn forgets(core: Arc<Core>, keep: Keep) {
    let mut looks = Ticks::every(LOOK);
    loop {
        looks.tick().await;
        // what is not forgotten now is with the next look
        if let Err(error) = forget(&core, &keep).await {
            core.hub.say(Level::Warning, None, None, format!("what is over long since could not be forgotten: {error}"));
        }
    }
}

/// The workflows of operations, of which each may have begun others, to take a job over.
async fn with_take_overs(workflows: &dyn Workflows, mut operations: Vec<String>) -> Result<Vec<String>> {
    for n in 0..operations.len() {
        let Some(prefix) = operations.get(n).map(|id| take_over_of(id)) else { break };
        operations.extend(begun_with(workflows, prefix).await?);
    }
    Ok(operations)
}
/// The workflows whose ids begin so.
async fn begun_with(workflows: &dyn Workflows, prefix: String) -> Result<Vec<String>> {
    let filter = Filter { id_prefix: Some(prefix), ..Filter::default() };
    Ok(workflows.list(&filter).await?.into_iter().map(|w| w.id).collect())
}

/// Forgets what is over and need not be kept.
pub(in crate::cluster) async fn forget(core: &Core, keep: &Keep) -> Result<()> {
    // agents that are there are not those of long ago
    let at = now();
    let heard: Vec<(String, u64, i64)> =
        core.hub.members().all().filter(|m| m.standing.holds()).map(|m| (m.registration.name.clone(), m.epoch, at)).collect();
    core.store.heard(core.fence, &heard).await?;
    let workflows = core.workflows()?;
    let mut jobs = 0;
    loop {
        let mut some = 0;
        for job in core.store.jobs_to_forget(keep, at).await? {
            let operations = core.store.operations(Some(&job), u32::MAX).await?.into_iter().map(|o| o.id).collect();
            let mut flows = with_take_overs(workflows.as_ref(), operations).await?;
            flows.push(flow_of(&job));
            flows.extend(begun_with(workflows.as_ref(), goes_on_of(&job)).await?);
            // first the workflows: a job is known until nothing of it is left
            if workflows.forget(&flows).await? && core.store.forget_job(core.fence, &job).await? {
                core.hub.runs().retain(|(of, _), _| *of != job);
                some += 1;
            }
        }
        jobs += some;
        if some == 0 {
            break;
        }
    }
    loop {
        let some = core.store.operations_to_forget(keep, at).await?;
        if some.is_empty() || !workflows.forget(&with_take_overs(workflows.as_ref(), some.clone()).await?).await? {
            break;
        }
        core.store.forget_operations(core.fence, &some).await?;
    }
    core.store.forget_attempts(core.fence).await?;
    let day = i64::try_from(SHOWN.as_millis()).unwrap_or(i64::MAX);
    let agents = core.store.forget_agents(core.fence, at.saturating_sub(day)).await?;
    if jobs + agents > 0 {
        core.hub.say(Level::Info, None, None, format!("forgotten: {jobs} jobs that are over, {agents} agents that are gone"));
    }
    Ok(())
}
