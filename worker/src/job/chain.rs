//! A job of several steps: going from one to the next.
//!
//! ```text
//!  step 0                 step 1                              last step
//!  list input ─> plan     commit records of step 0 ─> plan    …
//!  map, reduce ─> pairs   map, reduce ─> pairs                map, reduce ─> parts, _SUCCESS
//! ```
//!
//! Commit records are a step's own, and stay to the end of the job, so that an attempt that comes late,
//! at a task of a step long done, finds that it is. The data goes as soon as nobody can need it: with the
//! plan of a step, which is made when the step before is complete, the shuffle objects of that one, and
//! the pairs that it has read.

use mapreduce_api::ids::{AttemptId, TaskKind};
use mapreduce_api::wire::{Counters, PlanSummary};

use super::Job;
use super::exchange::Exchange;
use crate::error::{Error, Result};
use crate::plan::completed::StepInput;
use crate::record::skipped;
use crate::step::RunStep;
use crate::task::lost;

/// What the plan of a step counts: objects of the job's input, and not of pairs.
pub(super) fn input_counters(step: &RunStep, summary: &PlanSummary) -> Counters {
    if step.definition.number > 0 {
        return Counters::default();
    }
    Counters { input_objects: summary.input_objects, input_bytes: summary.input_bytes, ..Counters::default() }
}

/// What a step that is complete has left, by its commit records. What is wrong with it is that step's, and not the
/// next one's that asks.
pub(super) fn ended<E: Exchange>(job: &Job, exchange: &E, attempt: &AttemptId) -> Result<StepInput> {
    left(job, exchange, attempt).map_err(|error| error.in_step(job.step().name()))
}

fn left<E: Exchange>(job: &Job, exchange: &E, attempt: &AttemptId) -> Result<StepInput> {
    let plan = exchange.plan(job)?;
    let summary = &plan.summary;
    let all = |kind, tasks| {
        exchange
            .all(job, kind, tasks, attempt)?
            .ok_or_else(|| Error::retry("a commit record of the step before is missing"))
    };
    let maps = all(TaskKind::Map, summary.map_tasks)?;
    let reduces = all(TaskKind::Reduce, summary.reduce_tasks)?;
    let mut counters = input_counters(job.step(), summary);
    let mut objects = Vec::new();
    let mut done = plan.before.clone();
    lost::check(
        job.spec().max_failed_tasks,
        &done.lost,
        maps.iter().filter_map(|commit| commit.lost.as_ref()),
        summary.map_tasks,
    )?;
    for commit in maps.into_iter().chain(reduces) {
        counters.add(&commit.counters);
        objects.extend(commit.pairs);
        done.skipped.extend(commit.skipped);
        done.lost.extend(commit.lost);
    }
    done.add(job.step().name(), counters);
    done.tasks += summary.map_tasks + summary.reduce_tasks;
    skipped::check_budget(job.spec().skip_bad_records.max, &done.skipped)?;
    Ok(StepInput { objects, done })
}
