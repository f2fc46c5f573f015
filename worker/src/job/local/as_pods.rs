//! The pods' way, one process being all of them.

use std::sync::atomic::Ordering;

use mapreduce_api::ids::AttemptId;

use super::Progress;
use crate::error::{Error, Result};
use crate::job::threads::{in_threads, threads};
use crate::job::{Job, Resources, pod};
use crate::machine::random;
use crate::task::attempts;
use crate::task::finish::Success;

pub(super) fn run(job: &Job, resources: &Resources, progress: &Progress) -> Result<Success> {
    for step in 0..job.step_count() {
        if let Some(success) = run_step(&job.at_step(step), resources, progress)? {
            return Ok(success);
        }
    }
    Err(Error::permanent("the last task did not finish the job"))
}

/// Runs a step. Gives the job's result, where that is the end of the job.
fn run_step(job: &Job, resources: &Resources, progress: &Progress) -> Result<Option<Success>> {
    let attempt = || AttemptId::new(random::name().to_string());
    let share = |threads: usize| Resources {
        memory: resources.memory / threads as u64,
        threads: 1,
        scratch: resources.scratch.clone(),
    };
    let planned = pod::plan(job, resources)?;
    let summary = planned.summary;
    progress.begin(job, &summary);
    let spec = &job.spec();
    let mut success = planned.success;
    // Where there is nothing to read, planning has done all of it.
    let reduce_tasks = if summary.map_tasks == 0 { 0 } else { summary.reduce_tasks };
    let phases = [
        (summary.map_tasks, spec.map.parallelism, &progress.maps_done),
        (reduce_tasks, spec.reduce.as_ref().and_then(|r| r.parallelism), &progress.reduces_done),
    ];
    for (phase, (tasks, parallelism, progress)) in phases.into_iter().enumerate() {
        if success.is_some() {
            break;
        }
        let threads = threads(resources, parallelism, tasks as usize);
        let done = in_threads(threads, tasks as usize, |i| {
            let (finished, _) = attempts(spec.retries, |failed| {
                let job = job.clone().after_failures(failed.into());
                match phase {
                    0 => pod::map(&job, i as u32, &attempt(), &share(threads)),
                    _ => pod::reduce(&job, i as u32, &attempt(), &share(threads)),
                }
            })?;
            progress.fetch_add(1, Ordering::Relaxed);
            Ok(finished)
        });
        for finished in done {
            if let Some(finished) = finished? {
                success = Some(finished);
            }
        }
    }
    Ok(success)
}
