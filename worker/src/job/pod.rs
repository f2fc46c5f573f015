//! The tasks of a job as pods run them: one call is one pod.
//!
//! The last map task to commit ends the map phase, the last reduce task the job.

use std::time::Duration;

use mapreduce_api::ids::{AttemptId, TaskId, TaskKind};
use mapreduce_api::v1alpha1::Cleanup;
use mapreduce_api::wire::PlanSummary;

use super::exchange::{Attempt, Exchange as _, InStore};
use super::tasks;
pub use super::tasks::PlanOutcome;
use super::{Job, Resources};
use crate::error::{Error, Result};
use crate::task::finish::{self, Fate, Success};

/// Plans a step.
pub fn plan(job: &Job, resources: &Resources) -> Result<PlanOutcome> {
    tasks::plan(job, &InStore, resources).or_else(|error| {
        let run = job.publication().uninterrupted();
        match finish::fate(&run) {
            // A planner that was slow, and then failed, takes away what it has written since the job's end.
            Ok(Fate::Succeeded(success)) => {
                finish::tidy_up(&run)?;
                Ok(PlanOutcome { summary: PlanSummary::default(), success: Some(success) })
            }
            Ok(Fate::Replaced(_)) => finish::tidy_up(&run).and(Err(error)),
            _ => Err(error.in_step(job.step().name())),
        }
    })
}

/// Says once more what the plan of a step has said, or the job's end, for somebody who has not heard it. Changes nothing.
pub fn report(job: &Job) -> Result<PlanOutcome> {
    if let Some(success) = InStore.finished(job)? {
        return Ok(PlanOutcome { summary: PlanSummary::default(), success: Some(success) });
    }
    Ok(PlanOutcome { summary: InStore.plan(job)?.summary.clone(), success: None })
}

/// Runs an attempt at a map task. Gives the job's result when this was its last task.
pub fn map(job: &Job, index: u32, attempt: &AttemptId, resources: &Resources) -> Result<Option<Success>> {
    run(job, TaskId::map(index), attempt, resources)
}

/// Runs an attempt at a reduce task. Gives the job's result when this was its last task.
pub fn reduce(job: &Job, index: u32, attempt: &AttemptId, resources: &Resources) -> Result<Option<Success>> {
    run(job, TaskId::reduce(index), attempt, resources)
}

/// Removes what a job left that has failed or was deleted; committed output stays. Gives the result of a job that
/// has succeeded after all.
pub fn cleanup(job: &Job) -> Result<Option<Success>> {
    tasks::cleanup(job, &InStore)
}

/// The pauses before a function that has failed is tried again. Kubernetes would make a new pod for it, after ten
/// seconds and more each time, and its author waits for the error.
const FUNCTION_PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

fn run(job: &Job, task: TaskId, attempt: &AttemptId, resources: &Resources) -> Result<Option<Success>> {
    run_attempts(job, task, attempt, resources).or_else(|error| {
        // What went wrong doesn't matter once the job is finished: of two tasks that both took themselves for
        // the last, one has removed what the other was reading.
        // It may be asked to stop because all is over.
        match finish::succeeded(&job.publication().uninterrupted()) {
            Ok(Some(success)) => tidy_up(job, success),
            _ => Err(error.in_task(task).in_step(job.step().name())),
        }
    })
}

/// Tries a function that fails as often as the job says. The same failure at the same record twice is final, and so is
/// the last one: another pod would fail in the same way.
fn run_attempts(
    job: &Job,
    task: TaskId,
    attempt: &AttemptId,
    resources: &Resources,
) -> Result<Option<Success>> {
    let retries = u64::try_from(job.spec().retries).unwrap_or_default();
    let before = job.run().failed_before;
    let (mut failed, mut last) = (0, None::<Error>);
    loop {
        let id = if failed == 0 { attempt.clone() } else { AttemptId::new(format!("{attempt}-{failed}")) };
        // The last of them says whether the job may go on without the task.
        let job = &job.clone().after_failures(before + failed);
        let error = match run_unfinished(job, task, &id, resources) {
            Err(error) if error.is_of_function() && error.is_retryable() => error,
            ended => return ended,
        };
        let recurs = last.as_ref().is_some_and(|last| error.recurs(last));
        if before + failed >= retries || (recurs && job.spec().max_failed_tasks.is_none()) {
            return Err(error.permanently().after_attempts(before + failed + 1));
        }
        let (causes, attempt) = (error.causes_text(), before + failed + 1);
        tracing::warn!(task = %task, attempt, %error, causes, "The function failed and is tried again.");
        let pause =
            FUNCTION_PAUSES[usize::try_from(failed).unwrap_or(usize::MAX).min(FUNCTION_PAUSES.len() - 1)];
        job.run().pause(pause)?;
        failed = if recurs { retries.saturating_sub(before) } else { failed + 1 };
        last = Some(error);
    }
}

fn run_unfinished(
    job: &Job,
    task: TaskId,
    attempt: &AttemptId,
    resources: &Resources,
) -> Result<Option<Success>> {
    if let Some(success) = InStore.finished(job)? {
        return tidy_up(job, success);
    }
    let plan = InStore.plan(job)?;
    let spill_store = &InStore.spill_store(job, resources);
    let this = Attempt { task, id: attempt, resources, spill_store };
    match task.kind {
        TaskKind::Map => {
            tasks::map(job, &InStore, &plan, this)?;
            tasks::end_map_phase(job, &InStore, &plan, attempt)
        }
        TaskKind::Reduce => {
            tasks::reduce(job, &InStore, &plan, this)?;
            tasks::end_reduce_phase(job, &InStore, &plan, attempt)
        }
    }
}

/// The job is finished, but perhaps not its cleaning up: the pod that did it has died.
fn tidy_up(job: &Job, success: Success) -> Result<Option<Success>> {
    if job.spec().cleanup != Cleanup::Never {
        finish::tidy_up(&job.publication())?;
    }
    Ok(Some(success))
}
