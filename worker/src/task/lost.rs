//! Map tasks that have failed for good, and that the job goes on without: `spec.maxFailedTasks`.
//!
//! In pods the last attempt at a task says so itself, by a commit record without data; so whoever waits
//! for the records of all tasks finds one. Where the last attempt can't say it, as one that is killed,
//! Kubernetes starts one more, which knows by the number of failures that it has nothing else to do.

use mapreduce_api::ids::{AttemptId, TaskId};
use mapreduce_api::v1alpha1::{MapReduceJobSpec, MaxFailedTasks};
use mapreduce_api::wire::ErrorReport;

use crate::commit::record::Commit;
use crate::error::{Error, ErrorKind, Result};
use crate::step::RunStep;

/// Tasks that an error names.
const NAMED: usize = 10;

/// Whether the job may go on without a task that has failed like this after its last attempt.
pub fn may_go(spec: &MapReduceJobSpec, error: &Error) -> bool {
    !spec.max_failed_tasks.is_none() && matches!(error.kind(), ErrorKind::Retry | ErrorKind::Permanent)
}

/// Fails the extra attempt, which only records the loss.
pub fn used_up(step: &RunStep) -> Result<()> {
    let attempts = i64::from(step.spec().retries) + 1;
    if !step.spec().max_failed_tasks.is_none()
        && i64::try_from(step.run.failed_before).is_ok_and(|n| n >= attempts)
    {
        return Err(Error::permanent(format!(
            "all {attempts} attempts have failed without reporting an error"
        )));
    }
    Ok(())
}

/// The record of a task that the job goes on without; the error where there are attempts left.
pub fn record(step: &RunStep, task: TaskId, attempt: &AttemptId, error: Error) -> Result<Commit> {
    let is_last = !error.is_retryable()
        || i64::try_from(step.run.failed_before).is_ok_and(|failed| failed >= i64::from(step.spec().retries));
    if !is_last || !may_go(step.spec(), &error) {
        return Err(error);
    }
    let error = error.in_task(task);
    tracing::warn!(%error, causes = error.causes_text(), "The job goes on without this task.");
    let mut record = Commit::new(attempt);
    // The extra attempt ran nothing.
    let attempts = u64::try_from(step.spec().retries).unwrap_or_default() + 1;
    record.counters.failed_tasks = (step.run.failed_before + 1).min(attempts);
    record.lost = Some(error.report());
    Ok(record)
}

/// An error when more tasks have failed than a job may go on without: in the steps before, and of the map tasks of
/// this one.
pub fn check<'a>(
    most: MaxFailedTasks,
    before: &'a [ErrorReport],
    lost: impl IntoIterator<Item = &'a ErrorReport>,
    map_tasks: u32,
) -> Result<()> {
    let mut lost: Vec<_> = lost.into_iter().collect();
    let (may_be_lost, says) = match most {
        MaxFailedTasks::Number(number) => {
            lost.splice(0..0, before);
            (u64::from(number), most.to_string())
        }
        MaxFailedTasks::Percent(percent) => {
            (u64::from(map_tasks) * u64::from(percent) / 100, format!("{most} of {map_tasks}"))
        }
    };
    if lost.len() as u64 <= may_be_lost {
        return Ok(());
    }
    let tasks = if lost.len() == 1 { "task" } else { "tasks" };
    let message =
        format!("{} map {tasks} or more have failed, and spec.maxFailedTasks is {says}", lost.len());
    Err(lost.iter().take(NAMED).fold(Error::permanent(message), |error, report| {
        let task = report.task.as_deref().unwrap_or("a task");
        let error = error.because(format!("{task}: {}", report.message));
        report.causes.iter().fold(error, Error::because)
    }))
}
