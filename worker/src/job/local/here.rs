//! A job in this process alone: runs and pairs are in memory and scratch files.

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mapreduce_api::ids::{AttemptId, TaskId};
use mapreduce_api::wire::{Counters, ErrorReport};

use super::{Progress, plan};
use crate::error::{Error, Kind, Result};
use crate::job::chain;
use crate::job::threads::{in_threads, threads, worse};
use crate::job::{Job, Resources};
use crate::memory;
use crate::output::StagedPart;
use crate::plan::Planned;
use crate::plan::completed::{CompletedSteps, StepInput};
use crate::record::pairs::{KeptPairs, PairsObject, PairsPlace};
use crate::record::skipped::{self, SkippedRecords};
use crate::record::space::Space;
use crate::shuffle::object::FanIn;
use crate::shuffle::run::Spill;
use crate::task::finish::{self, Success};
use crate::task::result::Written;
use crate::task::{attempts, lost, map, reduce};

pub(super) fn run(job: &Job, resources: &Resources, progress: &Progress) -> Result<Success> {
    let space = job.step().space(resources);
    let job = job.keeping_pairs_in(PairsPlace::Space(KeptPairs::new(&space)));
    let mut written = Vec::new();
    let kept = Kept::default();
    let finished = run_steps(&job, resources, progress, &space, &mut written, &kept).and_then(|mut done| {
        job.run().check_cancelled()?;
        done.skipped.clone_from(&kept.skipped());
        done.lost.clone_from(&kept.lost());
        finish::finish(&job.publication(), &done, &parts(&written), None)
    });
    finished.or_else(|error| {
        job.run().skipped.clear();
        let mut staged = parts(&written);
        staged.extend(kept.skipped().iter().map(|skipped| skipped.part.clone()));
        match finish::abandon(&job.publication(), &staged) {
            // It had succeeded already when somebody asked to stop.
            Ok(Some(success)) if error.kind() == Kind::Cancelled => Ok(success),
            _ => Err(error),
        }
    })
}

/// Runs one step after the other. What the last one has written, all of it or not, is in `written`.
fn run_steps(
    job: &Job,
    resources: &Resources,
    progress: &Progress,
    space: &Arc<Space>,
    written: &mut Vec<Written>,
    kept: &Kept,
) -> Result<CompletedSteps> {
    let mut before = None;
    for number in 0..job.step_count() {
        let job = job.at_step(number);
        let run = || {
            let planned = plan(&job, resources, before.take())?;
            progress.begin(&job, &planned.plan.summary);
            let counters = Mutex::new(chain::input_counters(job.step(), &planned.plan.summary));
            let summary = &planned.plan.summary;
            job.run().skipped.number_behind(planned.plan.before.tasks, summary.map_tasks);
            let lost_before = kept.lost().len();
            let step = StepRun {
                job: &job,
                planned: &planned,
                resources,
                progress,
                space,
                counters,
                kept,
                lost_before,
            };
            written.clear();
            step.run(written)?;
            let mut done = planned.plan.before.clone();
            done.add(job.step().name(), step.counters.into_inner().unwrap_or_else(PoisonError::into_inner));
            done.tasks += summary.map_tasks + summary.partitions;
            Ok(done)
        };
        let done = in_step(&job, run)?;
        if number > 0 {
            job.places().pairs.delete_below(&job.at_step(number - 1).step().pairs_prefix())?;
        }
        before = Some(StepInput { objects: pairs(written), done });
    }
    Ok(before.unwrap_or_default().done)
}

fn in_step<T>(job: &Job, run: impl FnOnce() -> Result<T>) -> Result<T> {
    run().map_err(|error| error.in_step(job.step().name()))
}

fn parts(written: &[Written]) -> Vec<StagedPart> {
    let part = |written: &Written| match written {
        Written::Part(part) => Some(part.clone()),
        Written::Pairs(_) => None,
    };
    written.iter().filter_map(part).collect()
}

fn pairs(written: &[Written]) -> Vec<PairsObject> {
    let pairs = |written: &Written| match written {
        Written::Pairs(pairs) => Some(pairs.clone()),
        Written::Part(_) => None,
    };
    written.iter().filter_map(pairs).collect()
}

/// What tasks of all steps so far have left out, and those that the job goes on without.
#[derive(Default)]
struct Kept {
    skipped: Mutex<Vec<SkippedRecords>>,
    lost: Mutex<Vec<ErrorReport>>,
}

impl Kept {
    fn skipped(&self) -> MutexGuard<'_, Vec<SkippedRecords>> {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost(&self) -> MutexGuard<'_, Vec<ErrorReport>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A step that runs.
struct StepRun<'a> {
    job: &'a Job,
    planned: &'a Planned,
    resources: &'a Resources,
    progress: &'a Progress,
    space: &'a Arc<Space>,
    counters: Mutex<Counters>,
    kept: &'a Kept,
    /// Tasks that were lost in the steps before.
    lost_before: usize,
}

impl StepRun<'_> {
    fn run(&self, written: &mut Vec<Written>) -> Result<()> {
        if self.job.spec().is_map_only() {
            return keep(written, self.map_only());
        }
        let spills = self.map()?;
        keep(written, self.reduce(&spills))
    }

    fn count(&self, counters: &Counters, failed: u32) {
        let mut sum = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        sum.add(counters);
        sum.failed_tasks += u64::from(failed);
    }

    /// Ends a task. What it has left out counts as soon as it has succeeded: the budget is the job's.
    fn end_task(&self, task: TaskId, counters: &Counters, failed: u32) -> Result<()> {
        self.count(counters, failed);
        let Some(more) = self.job.run().skipped.finish(task, &number(failed))? else { return Ok(()) };
        self.count(&Counters { skipped_records: more.part.records, ..Counters::default() }, 0);
        let mut skipped = self.kept.skipped();
        skipped.push(more);
        skipped::check_budget(self.job.spec().skip_bad_records.max, &*skipped)
    }

    /// Goes on without a map task whose last attempt has failed, where the job may.
    fn lose(&self, task: TaskId, error: Error, attempts: u32) -> Result<()> {
        if !lost::may_go(self.job.spec(), &error) {
            return Err(error);
        }
        tracing::warn!(%error, causes = ?error.causes(), "The job goes on without this task.");
        self.job.run().skipped.forget(task);
        self.count(&Counters::default(), attempts);
        let mut lost = self.kept.lost();
        lost.push(error.in_task(task).report());
        let (before, now) = lost.split_at(self.lost_before);
        lost::check(self.job.spec().max_failed_tasks, before, now, self.planned.plan.summary.map_tasks)
    }

    /// Ends a task with a result, which goes if that can't be: nobody else knows of it.
    fn end_with(&self, result: Written, task: TaskId, counters: &Counters, failed: u32) -> Result<Written> {
        self.end_task(task, counters, failed).inspect_err(|_| {
            if let Written::Part(part) = &result {
                let output = &self.job.places().output;
                let _ = output.store.abort(&output.join(&part.name).key, &part.staged);
            }
        })?;
        Ok(result)
    }

    fn map_threads(&self) -> usize {
        threads(self.resources, self.job.spec().map.parallelism, self.planned.tasks.len())
    }

    fn map_only(&self) -> Vec<Result<Option<Written>>> {
        let tasks = &self.planned.tasks;
        in_threads(self.map_threads(), tasks.len(), |i| {
            let task = TaskId::map(i as u32);
            let tried = Cell::new(0);
            let attempt = |failed| {
                tried.set(failed + 1);
                map::run_map_only(self.job.step(), task, &number(failed), &tasks[i], self.space)
            };
            let ((result, counters), failed) = match attempts(self.job.spec().retries, attempt) {
                Ok(done) => done,
                Err(error) => return self.lose(task, error, tried.get()).map(|()| None),
            };
            let result = self.end_with(result, task, &counters, failed)?;
            self.progress.maps_done.fetch_add(1, Ordering::Relaxed);
            Ok(Some(result))
        })
    }

    /// Maps, and gives the runs, in the order of the tasks.
    fn map(&self) -> Result<map::Runs> {
        let (job, plan, tasks) = (self.job, &self.planned.plan, &self.planned.tasks);
        let partitioner = plan.partitioner(job.step())?;
        let threads = self.map_threads();
        let collect = memory::collect(self.resources.memory, threads);
        let done = in_threads(threads, tasks.len(), |i| {
            let task = TaskId::map(i as u32);
            let tried = Cell::new(0);
            let attempt = |failed| {
                tried.set(failed + 1);
                map::run(job.step(), task, &number(failed), &tasks[i], &partitioner, collect, self.space)
            };
            let ((runs, counters), failed) = match attempts(job.spec().retries, attempt) {
                Ok(done) => done,
                Err(error) => return self.lose(task, error, tried.get()).map(|()| Vec::new()),
            };
            self.end_task(task, &counters, failed)?;
            self.progress.maps_done.fetch_add(1, Ordering::Relaxed);
            Ok(runs)
        });
        let spills = all(done)?;
        let shuffle_bytes = spills.iter().map(Spill::bytes).sum();
        self.count(&Counters { shuffle_bytes, ..Counters::default() }, 0);
        Ok(spills)
    }

    fn reduce(&self, spills: &[Spill]) -> Vec<Result<Option<Written>>> {
        let (job, space) = (self.job, self.space);
        let spec = &job.spec();
        let partitions = self.planned.plan.summary.partitions as usize;
        let parallelism = spec.reduce.as_ref().and_then(|r| r.parallelism);
        let threads = threads(self.resources, parallelism, partitions);
        let fan_in = FanIn::of(memory::merge(self.resources.memory, threads));
        in_threads(threads, partitions, |i| {
            let partition = i as u32;
            let mut runs: Option<Vec<_>> =
                Some(spills.iter().filter_map(|spill| spill.run(partition)).collect());
            let attempt = |failed: u32| {
                // The runs are given back as they are read: only an attempt that nobody follows may have them.
                let last = i64::from(failed) >= i64::from(spec.retries);
                let runs = if last { runs.take() } else { runs.clone() }.unwrap_or_default();
                let task = TaskId::reduce(partition);
                reduce::run(job.step(), task, &number(failed), partition, runs, fan_in, space)
            };
            let ((result, counters), failed) = attempts(spec.retries, attempt)?;
            let result = self.end_with(result, TaskId::reduce(partition), &counters, failed)?;
            self.progress.reduces_done.fetch_add(1, Ordering::Relaxed);
            Ok(Some(result))
        })
    }
}

/// The attempt after so many that failed.
fn number(failed: u32) -> AttemptId {
    AttemptId::new(failed.to_string())
}

/// Takes the results of all tasks that are done, so that they can be removed if one is not.
fn keep(written: &mut Vec<Written>, done: Vec<Result<Option<Written>>>) -> Result<()> {
    let mut failure = Ok(());
    for result in done {
        match result {
            Ok(result) => written.extend(result),
            Err(error) => failure = Err(worse(failure, error)),
        }
    }
    failure
}

fn all(done: Vec<Result<map::Runs>>) -> Result<map::Runs> {
    let (mut all, mut failure) = (map::Runs::new(), Ok(()));
    for runs in done {
        match runs {
            Ok(runs) => all.extend(runs),
            Err(error) => failure = Err(worse(failure, error)),
        }
    }
    failure.map(|()| all)
}
