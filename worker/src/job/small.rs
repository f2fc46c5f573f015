//! A small job, whole in its planner's pod.
//!
//! Its tasks are those of any job, with their commits in the store: a pod that dies is followed by one that goes on
//! where it was.

use mapreduce_api::ids::AttemptId;
use mapreduce_api::wire::PlanSummary;

use super::{Job, Resources, pod};
use crate::error::Result;
use crate::task::finish::Success;

/// With more tasks than this the pods that run them at once are worth their start.
const MAX_TASKS: u32 = 64;

/// Runs all tasks of a job whose plan is small. Gives none where it is not.
pub fn run(
    job: &Job,
    plan: &PlanSummary,
    attempt: &AttemptId,
    resources: &Resources,
) -> Result<Option<Success>> {
    let tasks = plan.map_tasks.saturating_add(plan.reduce_tasks);
    if tasks > MAX_TASKS || !job.spec().is_small(plan.input_bytes) {
        return Ok(None);
    }
    for index in 0..plan.map_tasks {
        let attempt = AttemptId::new(format!("{attempt}-m{index}"));
        if let Some(success) = pod::map(job, index, &attempt, resources)? {
            return Ok(Some(success));
        }
    }
    for index in 0..plan.reduce_tasks {
        let attempt = AttemptId::new(format!("{attempt}-r{index}"));
        if let Some(success) = pod::reduce(job, index, &attempt, resources)? {
            return Ok(Some(success));
        }
    }
    Ok(None)
}
