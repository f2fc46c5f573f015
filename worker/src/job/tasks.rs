//! The tasks of a job, wherever they run: planning, a map task, a reduce task, and what the last of a phase does.
//!
//! ```text
//!  plan ──> map × M ──> end_map_phase ──> reduce × R ──> end_reduce_phase ──> parts, _SUCCESS
//! ```
//!
//! Of several steps each goes this way, planned by what the commit records of the one before it say
//! ([`super::chain`]). What tasks leave for each other is in an [`Exchange`]. Each first looks whether it is done
//! already: a process that died after its commit is started again, and goes on where it was.

use std::sync::{Mutex, PoisonError};

use mapreduce_api::ids::{AttemptId, TaskId, TaskKind};
use mapreduce_api::wire::PlanSummary;

use super::chain;
use super::exchange::{Attempt, Exchange, ReduceInput};
use super::threads::{self, in_threads};
use super::unfinished::{Unfinished, discard};
use super::{Job, Resources};
use crate::commit::record::Commit;
use crate::error::{Error, Result};
use crate::machine::random;
use crate::memory;
use crate::plan::Plan;
use crate::plan::completed::CompletedSteps;
use crate::record::skipped;
use crate::shuffle::merge::FanIn;
use crate::storage::Created;
use crate::task::finish::{self, Success};
use crate::task::{attempts, lost, map as map_task, patiently, reduce as reduce_task};

/// What planning a step has to say.
#[derive(Debug)]
pub struct PlanOutcome {
    /// Numbers of tasks.
    pub summary: PlanSummary,
    /// Set when there was nothing to do: the job is finished.
    pub success: Option<Success>,
}

/// Plans a step: lists what it reads, divides it, keeps the plan.
pub(super) fn plan<E: Exchange>(job: &Job, exchange: &E, resources: &Resources) -> Result<PlanOutcome> {
    if let Some(success) = exchange.finished(job)? {
        return Ok(PlanOutcome { summary: PlanSummary::default(), success: Some(success) });
    }
    // A plan that is there is this run's own: its planner died before it could say so, and tasks may
    // have begun.
    if exchange.is_planned(job)? {
        let summary = exchange.plan(job)?.summary.clone();
        exchange.remove_used(job)?;
        return Ok(PlanOutcome { summary, success: None });
    }
    exchange.check_places(job)?;
    let attempt = AttemptId::new(format!("plan-{}", random::name()));
    let before = match job.step_number().checked_sub(1) {
        Some(before) => Some(chain::ended(&job.at_step(before), exchange, &attempt)?),
        None => None,
    };
    let planned = exchange.divide(job, resources, before)?;
    let mut summary = planned.plan.summary.clone();
    let mut success = None;
    if summary.map_tasks == 0 {
        success = nothing_to_read(job, exchange, &planned.plan, &attempt, resources)?;
    }
    if success.is_none() {
        summary = exchange.keep_plan(job, planned, &attempt)?.summary.clone();
        // A planner that was slow may come after the job's end, and another's plan.
        success = exchange.finished(job)?;
    }
    if success.is_some() {
        finish::tidy_up(&job.publication())?;
    } else {
        exchange.remove_used(job)?;
    }
    Ok(PlanOutcome { summary, success })
}

/// Without input there are no map tasks; whoever plans writes the empty output.
fn nothing_to_read<E: Exchange>(
    job: &Job,
    exchange: &E,
    plan: &Plan,
    attempt: &AttemptId,
    resources: &Resources,
) -> Result<Option<Success>> {
    let spill_store = &exchange.spill_store(job, resources);
    let parallelism = job.spec().reduce.as_ref().and_then(|reduce| reduce.parallelism);
    let tasks = plan.summary.reduce_tasks as usize;
    let at_once = threads::threads(resources, parallelism, tasks);
    let resources = &resources.shared_by(at_once);
    let is_last = job.step().definition.is_last;
    let (commits, failure) = in_threads(at_once, tasks, |i| {
        let task = TaskId::reduce(i as u32);
        let ran = attempts(job.spec().retries, |failed| {
            let job = &job.clone().after_failures(failed.into());
            let id = &AttemptId::new(format!("{attempt}-{failed}"));
            let attempt = Attempt { task, id, resources, spill_store };
            reduce_partitions(job, attempt, ReduceInput::of_partition(task.index, Vec::new()))
        });
        let (mut record, _) = ran.map_err(|error| error.in_task(task))?;
        if !is_last && exchange.commit(job, task, &mut record, E::Data::default())? == Created::Exists {
            discard(job, &record)?;
        }
        Ok(record)
    });
    if let Some(error) = failure {
        // Those of the last step are in no log of which somebody could know.
        for record in commits.iter().filter(|_| is_last) {
            if let Err(error) = discard(job, record) {
                tracing::warn!(%error, causes = error.causes_text(), "A part of an empty output is left.");
            }
        }
        return Err(error);
    }
    if !is_last {
        return Ok(None);
    }
    publish(job, plan, &[], commits, None).map(Some)
}

/// Runs an attempt at a map task, and commits it.
pub(super) fn map<E: Exchange>(job: &Job, exchange: &E, plan: &Plan, attempt: Attempt<'_>) -> Result<()> {
    let Attempt { task, id, .. } = attempt;
    if exchange.is_committed(job, task)? {
        return Ok(());
    }
    let ran =
        lost::used_up(job.step()).and_then(|()| run_map(job, exchange, plan, attempt)).or_else(|error| {
            job.run().skipped.forget(task);
            Ok((lost::record(job.step(), task, id, error)?, E::Data::default()))
        });
    commit(job, exchange, task, ran)
}

/// The record of an attempt at a map task, and the data that goes with it.
fn run_map<E: Exchange>(
    job: &Job,
    exchange: &E,
    plan: &Plan,
    attempt: Attempt<'_>,
) -> Result<(Commit, E::Data)> {
    let Attempt { task, id, resources, spill_store } = attempt;
    job.run().skipped.number_behind(plan.before.tasks, plan.summary.map_tasks);
    let splits = exchange.map_task(job, plan, task.index)?;
    let mut unfinished = Unfinished::new(job, id);
    if job.spec().is_map_only() {
        let (written, counters) = map_task::run_map_only(job.step(), task, id, &splits, spill_store)?;
        unfinished.add(written, &counters);
        return Ok((unfinished.completed(task)?, E::Data::default()));
    }
    let partitioner = plan.partitioner(job.step())?;
    let (runs, mut counters) =
        map_task::run_threads(job.step(), task, id, &splits, &partitioner, resources, spill_store)?;
    let (shuffle, data) = exchange.keep_runs(job, plan, attempt, runs, &mut counters)?;
    unfinished.set_shuffle(shuffle, &counters);
    Ok((unfinished.completed(task)?, data))
}

/// Runs an attempt at a reduce task, and commits it.
pub(super) fn reduce<E: Exchange>(job: &Job, exchange: &E, plan: &Plan, attempt: Attempt<'_>) -> Result<()> {
    if exchange.is_committed(job, attempt.task)? {
        return Ok(());
    }
    let ran = run_reduce(job, exchange, plan, attempt).map(|record| (record, E::Data::default()));
    commit(job, exchange, attempt.task, ran)
}

fn run_reduce<E: Exchange>(job: &Job, exchange: &E, plan: &Plan, attempt: Attempt<'_>) -> Result<Commit> {
    job.run().skipped.number_behind(plan.before.tasks, plan.summary.map_tasks);
    let is_last =
        i64::try_from(job.run().failed_before).is_ok_and(|failed| failed >= job.spec().retries.into());
    reduce_partitions(job, attempt, exchange.reduce_input(job, plan, attempt, is_last)?)
}

/// Reduces the partitions of a task, some at once, while what they merge is fetched. Gives the attempt's record.
fn reduce_partitions(job: &Job, attempt: Attempt<'_>, input: ReduceInput) -> Result<Commit> {
    let Attempt { task, id, resources, spill_store } = attempt;
    let ReduceInput { partitions, runs, ahead } = input;
    let partitions: Vec<_> = partitions.zip(runs.into_iter().map(Mutex::new)).collect();
    let at_once = resources.threads.min(partitions.len()).max(1);
    let fan_in = FanIn::for_memory(memory::merge(resources.memory, at_once));
    let reduce = |i: usize| {
        let (partition, runs) = &partitions[i];
        let runs = std::mem::take(&mut *runs.lock().unwrap_or_else(PoisonError::into_inner));
        reduce_task::run(job.step(), task, id, *partition, runs, fan_in, spill_store)
    };
    let (written, failure) = ahead.during(|| in_threads(at_once, partitions.len(), reduce));
    // What has been written goes with the attempt, also where another partition has failed.
    let mut unfinished = Unfinished::new(job, id);
    written.into_iter().for_each(|(part, counters)| unfinished.add(part, &counters));
    failure.map_or_else(|| unfinished.completed(task), Err)
}

/// Commits what an attempt has done. Our failure doesn't matter if another attempt has committed: the data that
/// this one was to read may have been removed since.
fn commit<E: Exchange>(job: &Job, exchange: &E, task: TaskId, ran: Result<(Commit, E::Data)>) -> Result<()> {
    let (mut record, data) = match ran {
        Ok(ran) => ran,
        Err(_) if exchange.is_committed(job, task)? => return Ok(()),
        Err(error) => return Err(error),
    };
    // An error says that it isn't known who won: then the record may stand, and all that it names has to stay.
    // But where the run is over, nobody reads it.
    let created = match exchange.commit(job, task, &mut record, data) {
        Err(error) if matches!(exchange.is_planned(job), Ok(false)) => {
            discard(job, &record)?;
            return Err(error);
        }
        created => created?,
    };
    if created == Created::Exists {
        return discard(job, &record);
    }
    if exchange.is_planned(job)? {
        return Ok(());
    }
    // The job has ended meanwhile, and its folder has been removed: it must not come back.
    let log = job.log().uninterrupted();
    patiently(|| log.remove(task))?;
    discard(job, &record)?;
    Err(Error::permanent("the job has ended, and its intermediate data was removed"))
}

/// Ends the map phase, if this is the moment that all its tasks are committed: says where each partition is, or
/// without reducers finishes the job, whose result it then gives.
pub(super) fn end_map_phase<E: Exchange>(
    job: &Job,
    exchange: &E,
    plan: &Plan,
    attempt: &AttemptId,
) -> Result<Option<Success>> {
    let map_only = job.spec().is_map_only();
    if map_only && !job.step().definition.is_last {
        // Whoever plans the next step looks at the records.
        return Ok(None);
    }
    let Some(maps) = exchange.all(job, TaskKind::Map, plan.summary.map_tasks, attempt)? else {
        return Ok(None);
    };
    check_lost(job, plan, &maps)?;
    if map_only {
        return publish(job, plan, &[], maps, exchange.has_others().then_some(attempt)).map(Some);
    }
    let skipped = maps.iter().filter_map(|commit| commit.skipped.as_ref());
    skipped::check_budget(job.spec().skip_bad_records.max, plan.before.skipped.iter().chain(skipped))?;
    exchange.index(job, plan, maps)?;
    Ok(None)
}

/// Ends the reduce phase, if this is the moment that all its tasks are committed; of the last step the job, whose
/// result it then gives.
pub(super) fn end_reduce_phase<E: Exchange>(
    job: &Job,
    exchange: &E,
    plan: &Plan,
    attempt: &AttemptId,
) -> Result<Option<Success>> {
    if !job.step().definition.is_last {
        return Ok(None);
    }
    let summary = &plan.summary;
    let Some(reduces) = exchange.all(job, TaskKind::Reduce, summary.reduce_tasks, attempt)? else {
        return Ok(None);
    };
    let maps = exchange
        .all(job, TaskKind::Map, summary.map_tasks, attempt)?
        .ok_or_else(|| Error::retry("a map task's commit record is missing"))?;
    publish(job, plan, &maps, reduces, exchange.has_others().then_some(attempt)).map(Some)
}

fn check_lost(job: &Job, plan: &Plan, maps: &[Commit]) -> Result<()> {
    let lost = maps.iter().filter_map(|commit| commit.lost.as_ref());
    lost::check(job.spec().max_failed_tasks, &plan.before.lost, lost, plan.summary.map_tasks)
}

/// Makes the result visible, by the commit records of the last step. `attempt` is the one that has found all of them
/// where others may find them too.
fn publish(
    job: &Job,
    plan: &Plan,
    maps: &[Commit],
    last: Vec<Commit>,
    attempt: Option<&AttemptId>,
) -> Result<Success> {
    let mut counters = chain::input_counters(job.step(), &plan.summary);
    maps.iter().chain(&last).for_each(|commit| counters.add(&commit.counters));
    job.run().count_requests(&mut counters);
    let mut done: CompletedSteps = plan.before.clone();
    for commit in maps.iter().chain(&last) {
        done.skipped.extend(commit.skipped.clone());
        done.lost.extend(commit.lost.clone());
    }
    done.add(job.step().name(), counters);
    let is_reduced = !job.spec().is_map_only();
    done.skew_percent =
        skew_percent(last.iter().filter(|_| is_reduced).map(|commit| commit.counters.reduce_input_records));
    let mut parts: Vec<_> = last.into_iter().flat_map(|commit| commit.parts).collect();
    parts.sort_by(|a, b| a.name.cmp(&b.name));
    finish::finish(&job.publication(), &done, &parts, attempt)
}

/// What the largest share is in percent of the median; none where there is nothing to compare.
fn skew_percent(shares: impl Iterator<Item = u64>) -> Option<u64> {
    let mut shares: Vec<u64> = shares.collect();
    shares.sort_unstable();
    let (largest, median) = (*shares.last()?, shares[shares.len() / 2]);
    (shares.len() > 1).then(|| largest.saturating_mul(100).checked_div(median)).flatten()
}

/// Removes what a job left that has failed or was deleted; committed output stays. Gives the result of a job that
/// has succeeded after all.
pub(super) fn cleanup<E: Exchange>(job: &Job, exchange: &E) -> Result<Option<Success>> {
    finish::abandon(&job.publication(), || exchange.staged(job))
}
