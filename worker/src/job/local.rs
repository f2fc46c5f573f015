//! A whole job in this process: the same tasks and commit as in pods, on an exchange in memory; with
//! `shuffle.url` on the pods' own.

mod leftovers;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use mapreduce_api::ids::{AttemptId, TaskId, TaskKind};
use mapreduce_api::wire::PlanSummary;

use super::exchange::{Attempt, Exchange, InMemory, InStore};
use super::folders::NewFolders;
use super::threads::{in_threads, threads};
use super::{Job, Resources, tasks};
use crate::commit::sign;
use crate::error::{Error, Result};
use crate::function::remove_folders_of_dead;
use crate::plan::Plan;
use crate::record::pairs::{LocalPairs, PairsPlace};
use crate::task::attempts;
use crate::task::finish::{self, Success};

/// How far a run is, for whoever wants to show it.
#[derive(Debug, Default)]
pub struct RunProgress {
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

impl RunProgress {
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

/// Runs a job. Nothing is left at the output prefix when it fails.
pub fn run(job: &Job, resources: &Resources, progress: &RunProgress) -> Result<Success> {
    let job = &job.alone();
    leftovers::remove(job);
    remove_folders_of_dead(&resources.scratch);
    finish::check_output(&job.publication())?;
    let new = NewFolders::of(&[&job.places().output, &job.places().folder]);
    // A run's own error says more than one of cleaning up after it.
    let publication = job.publication();
    let signed = sign::put_up(publication.run_places(), publication.owner.clone(), None)
        .inspect_err(|_| drop(finish::abandon(&publication, || Ok(Vec::new()))));
    let ran = signed.and_then(|()| {
        if job.spec().shuffle.url.is_some() {
            return run_on(job, &InStore, resources, progress);
        }
        let spill_store = job.step().spill_store(resources);
        let job = job.keeping_pairs_in(PairsPlace::Local(LocalPairs::new(&spill_store)));
        run_on(&job, &InMemory::new(&job, &spill_store), resources, progress)
    });
    ran.inspect_err(|_| new.remove())
}

fn run_on<E: Exchange>(
    job: &Job,
    exchange: &E,
    resources: &Resources,
    progress: &RunProgress,
) -> Result<Success> {
    run_steps(job, exchange, resources, progress).or_else(|error| {
        job.run().skipped.clear();
        match tasks::cleanup(job, exchange) {
            // Its last words were lost, or somebody asked to stop when it had succeeded already.
            Ok(Some(success)) => return Ok(success),
            Ok(None) => {}
            Err(left) => finish::tell_what_is_left(&job.publication(), &left),
        }
        // The wish to stop has ended the wait for a store that is away, say.
        if error.is_retryable() {
            job.run().check_cancelled()?;
        }
        Err(error)
    })
}

fn run_steps<E: Exchange>(
    job: &Job,
    exchange: &E,
    resources: &Resources,
    progress: &RunProgress,
) -> Result<Success> {
    for number in 0..job.step_count() {
        let job = job.at_step(number);
        let run = StepRun { job: &job, exchange, resources, progress };
        if let Some(success) = run.run().map_err(|error| error.in_step(job.step().name()))? {
            return Ok(success);
        }
    }
    Err(Error::permanent("the last task did not finish the job"))
}

/// A step that runs in this process.
struct StepRun<'a, E> {
    job: &'a Job,
    exchange: &'a E,
    resources: &'a Resources,
    progress: &'a RunProgress,
}

impl<E: Exchange> StepRun<'_, E> {
    /// Plans the step and runs its tasks. Gives the job's result, where that is the end of the job.
    fn run(&self) -> Result<Option<Success>> {
        let Self { job, exchange, .. } = *self;
        let planned = tasks::plan(job, exchange, self.resources)?;
        self.progress.begin(job, &planned.summary);
        if planned.success.is_some() || planned.summary.map_tasks == 0 {
            // Where there is nothing to read, planning has done all of it.
            return Ok(planned.success);
        }
        let plan = exchange.plan(job)?;
        let success = self.run_phase(&plan, TaskKind::Map)?;
        if success.is_some() || job.spec().is_map_only() {
            return Ok(success);
        }
        self.run_phase(&plan, TaskKind::Reduce)
    }

    /// Runs the tasks of a phase in threads, then ends it.
    fn run_phase(&self, plan: &Plan, kind: TaskKind) -> Result<Option<Success>> {
        let Self { job, exchange, resources, progress } = *self;
        let spec = job.spec();
        let (tasks, parallelism, done) = match kind {
            TaskKind::Map => (plan.summary.map_tasks, spec.map.parallelism, &progress.maps_done),
            TaskKind::Reduce => {
                let parallelism = spec.reduce.as_ref().and_then(|reduce| reduce.parallelism);
                (plan.summary.reduce_tasks, parallelism, &progress.reduces_done)
            }
        };
        let threads = threads(resources, parallelism, tasks as usize);
        let share = resources.shared_by(threads);
        let spill_store = exchange.spill_store(job, resources);
        let (_, failure) = in_threads(threads, tasks as usize, |i| {
            attempts(spec.retries, |failed| {
                let job = &job.clone().after_failures(failed.into());
                let id = AttemptId::new(failed.to_string());
                let task = TaskId { kind, index: i as u32 };
                let attempt = Attempt { task, id: &id, resources: &share, spill_store: &spill_store };
                let done = match kind {
                    TaskKind::Map => tasks::map(job, exchange, plan, attempt),
                    TaskKind::Reduce => tasks::reduce(job, exchange, plan, attempt),
                };
                done.map_err(|error| error.after_attempts(u64::from(failed) + 1))
            })?;
            done.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        failure.map_or(Ok(()), Err)?;
        job.run().check_cancelled()?;
        let last = AttemptId::new("last");
        let (ended, _) = attempts(spec.retries, |_| match kind {
            TaskKind::Map => tasks::end_map_phase(job, exchange, plan, &last),
            TaskKind::Reduce => tasks::end_reduce_phase(job, exchange, plan, &last),
        })?;
        Ok(ended)
    }
}
