//! A whole job in this process: the same plan, tasks and commit as in pods, with the intermediate
//! data in memory and scratch files.
//!
//! With `shuffle.url` the intermediate data takes the pods' way through that place instead.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use mapreduce_api::ids::{AttemptId, TaskId};
use mapreduce_api::wire::Counters;

use super::{Job, Resources, pod};
use crate::error::{Error, Result};
use crate::output::StagedPart;
use crate::plan::{self, Division, Planned};
use crate::shuffle::object::FanIn;
use crate::shuffle::run::Run;
use crate::shuffle::space::Space;
use crate::task::finish::{self, Success};
use crate::task::{attempts, map, reduce};

/// How far a run is, for whoever wants to show it.
#[derive(Debug, Default)]
pub struct Progress {
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

/// Divides a job for this process.
pub fn plan(job: &Job, resources: &Resources) -> Result<Planned> {
    // Four tasks a thread: the last ones to end don't leave the others idle for long. Without
    // reducers tasks are parts, whose number is not the machine's to choose.
    let least_tasks = if job.file.spec.is_map_only() { 1 } else { resources.threads * 4 };
    plan::make(job, Division { least_tasks, most_tasks: 100_000 })
}

/// Runs a job. Nothing is left at the output prefix when it fails.
pub fn run(job: &Job, resources: &Resources, progress: &Progress) -> Result<Success> {
    finish::check_output(job)?;
    let ran = if job.file.spec.shuffle.url.is_some() {
        run_as_pods(job, resources, progress)
    } else {
        run_here(job, resources, progress)
    };
    if ran.is_err() {
        let staged = finish::committed_parts(job).unwrap_or_default();
        // The run's own error says more than one of cleaning up after it.
        let _ = finish::abandon(job, &staged);
    }
    ran
}

fn run_here(job: &Job, resources: &Resources, progress: &Progress) -> Result<Success> {
    let planned = plan(job, resources)?;
    let summary = &planned.plan.summary;
    progress.input_bytes.store(summary.input_bytes, Ordering::Relaxed);
    progress.map_tasks.store(summary.map_tasks, Ordering::Relaxed);
    progress.reduce_tasks.store(summary.reduce_tasks, Ordering::Relaxed);

    let spec = &job.file.spec;
    let map_threads = threads(resources, spec.map.parallelism, planned.tasks.len());
    // Half the memory for what tasks collect, a quarter for runs, the rest for reading and merging.
    let collect = (resources.memory / 2 / map_threads as u64) as usize;
    let space = Space::new(resources.memory / 4, resources.scratch.clone());
    let totals = Mutex::new(Counters {
        input_objects: summary.input_objects,
        input_bytes: summary.input_bytes,
        ..Counters::default()
    });
    let count = |counters: &Counters, failed: u32| {
        let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.add(counters);
        totals.failed_tasks += u64::from(failed);
    };

    let mut parts: Vec<StagedPart> = Vec::new();
    let outcome = (|| {
        if spec.is_map_only() {
            let done = in_threads(map_threads, planned.tasks.len(), |i| {
                let task = TaskId::map(i as u32);
                let attempt =
                    |failed| map::run_map_only(job, task, &number(failed), &planned.tasks[i], &space);
                let ((part, counters), failed) = attempts(spec.retries, attempt)?;
                count(&counters, failed);
                progress.maps_done.fetch_add(1, Ordering::Relaxed);
                Ok(part)
            });
            return keep(&mut parts, done);
        }
        let partitioner = planned.plan.partitioner(job)?;
        let done = in_threads(map_threads, planned.tasks.len(), |i| {
            let task = TaskId::map(i as u32);
            let attempt = |failed| {
                map::run(job, task, &number(failed), &planned.tasks[i], &partitioner, collect, &space)
            };
            let ((runs, counters), failed) = attempts(spec.retries, attempt)?;
            count(&counters, failed);
            progress.maps_done.fetch_add(1, Ordering::Relaxed);
            Ok(runs)
        });
        let by_partition = transpose(done, summary.partitions as usize)?;
        count(&Counters { shuffle_bytes: total_bytes(&by_partition), ..Counters::default() }, 0);
        let by_partition: Vec<_> = by_partition.into_iter().map(|runs| Mutex::new(Some(runs))).collect();
        let threads =
            threads(resources, spec.reduce.as_ref().and_then(|r| r.parallelism), by_partition.len());
        let fan_in = FanIn::of(resources.memory / 4 / threads as u64);
        let done = in_threads(threads, by_partition.len(), |i| {
            let partition = i as u32;
            let runs =
                by_partition[i].lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
            let mut runs = Some(runs);
            let attempt = |failed: u32| {
                // The runs are given back as they are read: only an attempt that nobody follows may have them.
                let last = i64::from(failed) >= i64::from(spec.retries);
                let runs = if last { runs.take() } else { runs.clone() };
                reduce::run(
                    job,
                    TaskId::reduce(partition),
                    &number(failed),
                    partition,
                    runs.unwrap_or_default(),
                    fan_in,
                    &space,
                )
            };
            let ((part, counters), failed) = attempts(spec.retries, attempt)?;
            count(&counters, failed);
            progress.reduces_done.fetch_add(1, Ordering::Relaxed);
            Ok(part)
        });
        keep(&mut parts, done)
    })();
    let totals = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    let finished =
        outcome.and_then(|()| job.check_cancelled()).and_then(|()| finish::finish(job, totals, &parts));
    if finished.is_err() {
        let _ = finish::abandon(job, &parts);
    }
    finished
}

/// The attempt after so many that failed.
fn number(failed: u32) -> AttemptId {
    AttemptId::new(failed.to_string())
}

/// Takes the parts of all tasks that are done, so that they can be removed if one is not.
fn keep(parts: &mut Vec<StagedPart>, done: Vec<Result<StagedPart>>) -> Result<()> {
    let mut failure = Ok(());
    for part in done {
        match part {
            Ok(part) => parts.push(part),
            Err(error) => failure = Err(worse(failure, error)),
        }
    }
    failure
}

/// Of two errors the one that says why: that work was cancelled is only what followed.
fn worse(first: Result<()>, second: Error) -> Error {
    match first {
        Err(first) if first.kind() != crate::error::Kind::Cancelled => first,
        _ => second,
    }
}

fn transpose(done: Vec<Result<map::Runs>>, partitions: usize) -> Result<Vec<Vec<Run>>> {
    let mut by_partition: Vec<Vec<Run>> = (0..partitions).map(|_| Vec::new()).collect();
    let mut failure = Ok(());
    for runs in done {
        match runs {
            Ok(runs) => by_partition.iter_mut().zip(runs).for_each(|(all, mut runs)| all.append(&mut runs)),
            Err(error) => failure = Err(worse(failure, error)),
        }
    }
    failure.map(|()| by_partition)
}

fn total_bytes(by_partition: &[Vec<Run>]) -> u64 {
    by_partition.iter().flatten().map(Run::bytes).sum()
}

fn threads(resources: &Resources, parallelism: Option<i32>, tasks: usize) -> usize {
    let most = parallelism.map_or(resources.threads, |most| resources.threads.min(most.max(1) as usize));
    most.min(tasks).max(1)
}

/// Runs `work` for 0, 1, … `tasks` - 1 in threads, in that order. After a failure no further one is begun.
fn in_threads<T: Send>(
    threads: usize,
    tasks: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
) -> Vec<Result<T>> {
    let next = AtomicU32::new(0);
    let stop = AtomicBool::new(false);
    let done: Mutex<Vec<(usize, Result<T>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let i = next.fetch_add(1, Ordering::Relaxed) as usize;
                    if i >= tasks {
                        return;
                    }
                    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(i)))
                        .unwrap_or_else(|_| {
                            Err(Error::permanent("a task has panicked: this is a defect, please report it"))
                        });
                    if result.is_err() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((i, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The pods' way, one process being all of them.
fn run_as_pods(job: &Job, resources: &Resources, progress: &Progress) -> Result<Success> {
    let attempt = || AttemptId::new(uuid::Uuid::new_v4().to_string());
    let share = |threads: usize| Resources {
        memory: resources.memory / threads as u64,
        threads: 1,
        scratch: resources.scratch.clone(),
    };
    let planned = pod::plan(job, resources)?;
    let summary = planned.summary;
    progress.input_bytes.store(summary.input_bytes, Ordering::Relaxed);
    progress.map_tasks.store(summary.map_tasks, Ordering::Relaxed);
    progress.reduce_tasks.store(summary.reduce_tasks, Ordering::Relaxed);
    let retries = job.file.spec.retries;
    let failed_attempts = AtomicU64::new(0);
    let mut success = planned.success;
    let phases = [
        (summary.map_tasks, job.file.spec.map.parallelism, &progress.maps_done),
        (
            summary.reduce_tasks,
            job.file.spec.reduce.as_ref().and_then(|r| r.parallelism),
            &progress.reduces_done,
        ),
    ];
    for (phase, (tasks, parallelism, progress)) in phases.into_iter().enumerate() {
        if success.is_some() {
            break;
        }
        let threads = threads(resources, parallelism, tasks as usize);
        let done = in_threads(threads, tasks as usize, |i| {
            let (finished, failed) = attempts(retries, |_| match phase {
                0 => pod::map(job, i as u32, &attempt(), &share(threads)),
                _ => pod::reduce(job, i as u32, &attempt(), &share(threads)),
            })?;
            failed_attempts.fetch_add(u64::from(failed), Ordering::Relaxed);
            progress.fetch_add(1, Ordering::Relaxed);
            Ok(finished)
        });
        for finished in done {
            if let Some(finished) = finished? {
                success = Some(finished);
            }
        }
    }
    let mut success = success.ok_or_else(|| Error::permanent("the last task did not finish the job"))?;
    success.counters.failed_tasks += failed_attempts.into_inner();
    Ok(success)
}
