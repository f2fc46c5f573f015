//! A whole job in this process: the same plan, tasks and commit as in pods, with the intermediate
//! data in memory and scratch files (`here`).
//!
//! With `shuffle.url` the intermediate data takes the pods' way through that place instead (`as_pods`).

mod as_pods;
mod here;
mod leftovers;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use mapreduce_api::wire::PlanSummary;

use super::folders::NewFolders;
use super::{Job, Resources, pod};
use crate::error::{Kind, Result};
use crate::plan::completed::StepInput;
use crate::plan::{self, Division, Planned, Sampling};
use crate::task::finish::{self, Success};

/// How far a run is, for whoever wants to show it.
#[derive(Debug, Default)]
pub struct Progress {
    /// The number of the step that runs, from 0; the tasks are its.
    pub step: AtomicU32,
    /// Map tasks there are, once there is a plan.
    pub map_tasks: AtomicU32,
    /// Map tasks that are done.
    pub maps_done: AtomicU32,
    /// Reduce tasks there are, once there is a plan.
    pub reduce_tasks: AtomicU32,
    /// Reduce tasks that are done.
    pub reduces_done: AtomicU32,
    /// Bytes of input, once there is a plan.
    pub input_bytes: AtomicU64,
}

impl Progress {
    /// Begins a step.
    fn begin(&self, job: &Job, summary: &PlanSummary) {
        if job.step_number() == 0 {
            self.input_bytes.store(summary.input_bytes, Ordering::Relaxed);
        }
        self.maps_done.store(0, Ordering::Relaxed);
        self.reduces_done.store(0, Ordering::Relaxed);
        self.reduce_tasks.store(summary.reduce_tasks, Ordering::Relaxed);
        self.step.store(job.step_number() as u32, Ordering::Relaxed);
        self.map_tasks.store(summary.map_tasks, Ordering::Relaxed);
    }
}

/// Tasks that there may be, as on a cluster. However small `splitSize` is, splits become larger instead.
const MAX_TASKS: usize = 10_000;
/// What is left of a task in memory until its reducers have run, at most: there are fewer tasks with less memory, so
/// that it is for the data and not for the number of tasks.
const TASK_BYTES: u64 = 64 << 10;
/// With so many there is work for all threads whatever the memory is.
const ENOUGH_TASKS: usize = 1000;

/// Divides a step of a job for this process.
fn plan(job: &Job, resources: &Resources, before: Option<StepInput>) -> Result<Planned> {
    // Four tasks a thread: the last ones to end don't leave the others idle for long. Without
    // reducers tasks are parts, whose number is not the machine's to choose.
    let are_parts = job.spec().is_map_only() && job.step().definition.is_last;
    let (least_tasks, most_tasks) = if are_parts {
        (1, MAX_TASKS)
    } else {
        let fit = usize::try_from(resources.memory / TASK_BYTES).unwrap_or(MAX_TASKS);
        (resources.threads * 4, fit.clamp(ENOUGH_TASKS, MAX_TASKS))
    };
    let division = Division { least_tasks, most_tasks, sampling: Sampling::Take };
    match before {
        Some(before) => plan::make_next(job.step(), before, division),
        None => plan::make(job.step(), division),
    }
}

/// Runs a job. Nothing is left at the output prefix when it fails.
pub fn run(job: &Job, resources: &Resources, progress: &Progress) -> Result<Success> {
    let job = &job.alone();
    leftovers::remove(job);
    finish::check_output(&job.publication())?;
    let new = NewFolders::of(&[&job.places().output, &job.places().folder]);
    // A run's own error says more than one of cleaning up after it.
    let signed = leftovers::sign(job).inspect_err(|_| drop(finish::abandon(&job.publication(), &[])));
    let ran = signed.and_then(|()| {
        if job.spec().shuffle.url.is_some() {
            as_pods::run(job, resources, progress).or_else(|error| {
                job.run().skipped.clear();
                match pod::cleanup(job) {
                    Ok(Some(success)) if error.kind() == Kind::Cancelled => Ok(success),
                    _ => Err(error),
                }
            })
        } else {
            here::run(job, resources, progress)
        }
    });
    ran.inspect_err(|_| new.remove())
}
