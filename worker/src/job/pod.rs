//! The tasks of a job as pods run them: one call is one pod.
//!
//! ```text
//!  plan ──> plan.json ──> map × M ──> shuffle objects, commit records ──> index ──> reduce × R ──> parts
//! ```
//!
//! The last map task to commit writes the index (or, without reducers, finishes the job), the
//! last reduce task finishes the job. Of several steps each goes this way, planned by what the commit
//! records of the one before it say ([`super::chain`]). Each call first looks whether its task is committed already:
//! a pod that died after its commit is started again, and goes on where it was.

use std::sync::Arc;

use mapreduce_api::ids::{AttemptId, TaskId, TaskKind};
use mapreduce_api::wire::PlanSummary;

use super::chain;
use super::{Job, Resources};
use crate::commit::record::Commit;
use crate::error::{Error, Result};
use crate::machine::random;
use crate::machine::threads::in_parallel;
use crate::memory;
use crate::plan::completed::CompletedSteps;
use crate::plan::{self, Plan, Sampling};
use crate::record::block::BlockCodec;
use crate::record::skipped;
use crate::record::space::Space;
use crate::shuffle::index::{self, Index};
use crate::shuffle::object::{self, FanIn, Means, ShuffleObject, Shuffled};
use crate::shuffle::run::Run;
use crate::step::Places;
use crate::storage::once::create_once;
use crate::storage::{Created, is_stream};
use crate::task::finish::{self, Success};
use crate::task::{lost, map, reduce};

/// What the plan pod has to say.
#[derive(Debug)]
pub struct Planned {
    /// Numbers of tasks.
    pub summary: PlanSummary,
    /// Set when there was nothing to do: the job is finished.
    pub success: Option<Success>,
}

/// Plans a step: lists what it reads, divides it, writes the plan.
pub fn plan(job: &Job, resources: &Resources) -> Result<Planned> {
    plan_step(job, resources).map_err(|error| error.in_step(job.step().name()))
}

fn plan_step(job: &Job, resources: &Resources) -> Result<Planned> {
    if let Some(success) = finish::succeeded(&job.publication())? {
        return Ok(Planned { summary: PlanSummary::default(), success: Some(success) });
    }
    // A plan that is there is this run's own: its planner died before it could say so, and tasks may
    // have begun.
    if plan::is_there(&job.places().work)? {
        let summary = plan::load(&job.places().work)?.summary;
        chain::remove_used(job)?;
        return Ok(Planned { summary, success: None });
    }
    finish::check_output(&job.publication())?;
    if job.step_number() == 0 && job.places().output.base != job.places().work.base {
        plan::probe::is_conditional(&job.places().staging.join("probe"))?;
    }
    let attempt = AttemptId::new(format!("plan-{}", random::name()));
    let before = match job.step_number().checked_sub(1) {
        Some(before) => Some(chain::ended(&job.at_step(before), &attempt)?),
        None => None,
    };
    let mut planned = plan::for_pods(job.step(), before, Sampling::Take)?;
    if !job.alone {
        check_streams(&planned)?;
    }
    let mut success = None;
    if planned.plan.summary.map_tasks == 0 {
        success = nothing_to_read(job, &planned.plan, &attempt, resources)?;
    }
    if success.is_none() {
        planned.plan = plan::store(&job.places().work, &mut planned, &attempt)?;
        // A planner that was slow may come after the job's end, and another's plan.
        success = finish::succeeded(&job.publication())?;
    }
    if success.is_some() {
        finish::tidy_up(&job.publication())?;
    } else {
        chain::remove_used(job)?;
    }
    Ok(Planned { summary: planned.plan.summary, success })
}

/// A stream is read by the process that has found it, and the one that plans is none that maps.
fn check_streams(planned: &plan::Planned) -> Result<()> {
    let mut splits = planned.tasks.iter().flat_map(|task| &task.splits);
    match splits.find(|split| is_stream(split.version.as_deref())) {
        None => Ok(()),
        Some(split) => Err(Error::permanent(format!("{} is a stream, which pods can't share", split.url))
            .because("only `mapreduce run` reads a stream: write it to a file, and read that")),
    }
}

/// Without a map task there are no pods: what is to be written of nothing the plan's pod writes.
fn nothing_to_read(
    job: &Job,
    plan: &Plan,
    attempt: &AttemptId,
    resources: &Resources,
) -> Result<Option<Success>> {
    let space = job.step().space(resources);
    let mut commits = Vec::new();
    for partition in 0..plan.summary.reduce_tasks {
        let task = TaskId::reduce(partition);
        let fan_in = FanIn::of(memory::merge(resources.memory, 1));
        let (written, counters) =
            reduce::run(job.step(), task, attempt, partition, Vec::new(), fan_in, &space)?;
        let mut record = Commit::new(attempt);
        written.add_to(&mut record, &counters);
        let record = Unfinished::new(job, record).completed(task)?;
        if !job.step().definition.is_last && job.log().commit(task, &record, &[])? == Created::Exists {
            discard(job, &record)?;
        }
        commits.push(record);
    }
    if job.step().definition.is_last { finish_job(job, plan, &[], commits, None).map(Some) } else { Ok(None) }
}

/// Runs an attempt at a map task. Gives the job's result when this was its last task.
pub fn map(job: &Job, index: u32, attempt: &AttemptId, resources: &Resources) -> Result<Option<Success>> {
    let task = TaskId::map(index);
    map_task(job, task, attempt, resources).or_else(|error| unless_finished(job, error.in_task(task)))
}

fn map_task(job: &Job, task: TaskId, attempt: &AttemptId, resources: &Resources) -> Result<Option<Success>> {
    if let Some(success) = finish::succeeded(&job.publication())? {
        return tidy_up(job, success);
    }
    let plan = plan::load(&job.places().work)?;
    if job.log().look(task)?.is_none() {
        let ran = lost::used_up(job.step())
            .and_then(|()| run_map(job, &plan, task, attempt, resources))
            .and_then(|(record, data)| Ok((Unfinished::new(job, record).completed(task)?, data)))
            .or_else(|error| {
                job.run().skipped.forget(task);
                Ok((lost::record(job.step(), task, attempt, error)?, Vec::new()))
            });
        commit_first(job, task, ran)?;
    }
    let summary = &plan.summary;
    let map_only = job.spec().is_map_only();
    if map_only && !job.step().definition.is_last {
        // Whoever plans the next step looks at the records.
        return Ok(None);
    }
    let Some(commits) = job.log().all(TaskKind::Map, summary.map_tasks, attempt)? else { return Ok(None) };
    if map_only {
        check_lost(job, &plan, &commits)?;
        return finish_job(job, &plan, &[], commits, Some(attempt)).map(Some);
    }
    let skipped = commits.iter().filter_map(|commit| commit.skipped.as_ref());
    skipped::check_budget(job.spec().skip_bad_records.max, plan.before.skipped.iter().chain(skipped))?;
    check_lost(job, &plan, &commits)?;
    let objects: Vec<ShuffleObject> = commits.into_iter().filter_map(|commit| commit.shuffle).collect();
    let bytes = index::encode(&objects, summary.partitions)?;
    // Whoever takes itself for the last writes the same.
    let index = job.places().work.join(index::NAME);
    create_once(&index, &bytes, 1, |_| true)?;
    if !plan::is_there(&job.places().work)? {
        // The job has ended meanwhile, and its folder has been removed.
        index.store.delete(std::slice::from_ref(&index.key))?;
    }
    Ok(None)
}

/// The record of an attempt at a map task, and the data that goes with it.
fn run_map(
    job: &Job,
    plan: &Plan,
    task: TaskId,
    attempt: &AttemptId,
    resources: &Resources,
) -> Result<(Commit, Vec<u8>)> {
    job.run().skipped.number_behind(plan.before.tasks, plan.summary.map_tasks);
    let splits = plan::load_task(job.step(), plan, task.index)?;
    let space = job.step().space(resources);
    if job.spec().is_map_only() {
        let (written, counters) = map::run_map_only(job.step(), task, attempt, &splits, &space)?;
        let mut record = Commit::new(attempt);
        written.add_to(&mut record, &counters);
        return Ok((record, Vec::new()));
    }
    let partitioner = plan.partitioner(job.step())?;
    let (runs, mut counters) =
        map::run_threads(job.step(), task, attempt, &splits, &partitioner, resources, &space)?;
    let codec = BlockCodec::of(job.spec().shuffle.compression, !job.places().work.is_local());
    let context = job.step().task_context(task, task.index, attempt, &space);
    let combiner = job.step().definition.functions.combine.as_ref().map(|combine| combine.combiner(&context));
    let fan_in = FanIn::of(memory::merge(resources.memory, 1));
    let name = format!("shuffle/{task}-{attempt}");
    // Commit records stay to the job's end, but the data of a step no longer than the next one needs it.
    let with_record = if job.step().definition.is_last { object::SMALL } else { 0 };
    let means =
        Means { codec, fan_in, space: &space, arrangement: &job.step().definition.arrangement, with_record };
    let Shuffled { object, data, combined } =
        object::write(&job.places().work, name, &runs, plan.summary.partitions, &means, combiner)?;
    context.counters.move_to(&mut counters)?;
    counters.combine_input_records += combined.input;
    counters.combine_output_records += combined.output;
    counters.shuffle_bytes = object.bytes();
    Ok((Commit { counters, shuffle: Some(object), ..Commit::new(attempt) }, data))
}

/// Commits what an attempt has done. That it has failed is no matter where another one has done it: the
/// data that it was to read may have been removed since.
fn commit_first(job: &Job, task: TaskId, ran: Result<(Commit, Vec<u8>)>) -> Result<()> {
    let (mut record, data) = match ran {
        Ok(ran) => ran,
        Err(_) if job.log().look(task)?.is_some() => return Ok(()),
        Err(error) => return Err(error),
    };
    job.run().count_requests(&mut record.counters);
    // The commit is a request too, which its own record can only say beforehand.
    record.counters.shuffle_writes += u64::from(!job.places().work.is_local());
    // An error says that it isn't known who won: then the record may stand, and all that it names has to stay.
    let created = job.log().commit(task, &record, &data)?;
    // It has been counted.
    job.run().requests.take();
    if created == Created::Exists {
        return discard(job, &record);
    }
    if plan::is_there(&job.places().work)? {
        return Ok(());
    }
    // The job has ended meanwhile, and its folder has been removed: it must not come back.
    job.log().remove(task)?;
    discard(job, &record)?;
    Err(Error::permanent("the job has ended, and its intermediate data was removed"))
}

/// Removes what an attempt has written that will not count.
fn discard(job: &Job, record: &Commit) -> Result<()> {
    let Places { output, work, pairs, .. } = job.places().uninterrupted();
    if let Some(object) = record.shuffle.as_ref().filter(|object| !object.is_with_record()) {
        work.store.delete(&[work.join(&object.name).key])?;
    }
    record.pairs.iter().try_for_each(|object| pairs.delete(&object.name))?;
    record.staged().try_for_each(|part| output.store.abort(&output.join(&part.name).key, &part.staged))
}

/// What an attempt has written so far: it goes when the attempt fails.
struct Unfinished<'a> {
    job: &'a Job,
    record: Option<Commit>,
}

impl<'a> Unfinished<'a> {
    fn new(job: &'a Job, record: Commit) -> Self {
        Self { job, record: Some(record) }
    }

    /// The record of an attempt that has succeeded, with what is known now.
    fn completed(mut self, task: TaskId) -> Result<Commit> {
        if let Some(record) = &mut self.record {
            record.skipped = self.job.run().skipped.finish(task, &record.attempt)?;
            record.counters.skipped_records =
                record.skipped.as_ref().map_or(0, |skipped| skipped.part.records);
            record.counters.failed_tasks = self.job.run().failed_before;
        }
        self.record.take().ok_or_else(|| Error::retry("an attempt has ended twice"))
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(record) = self.record.take()
            && let Err(error) = discard(self.job, &record)
        {
            tracing::warn!(%error, causes = ?error.causes(), "What a failed attempt had written is left.");
        }
    }
}

/// Runs an attempt at a reduce task. Gives the job's result when this was its last task.
pub fn reduce(job: &Job, index: u32, attempt: &AttemptId, resources: &Resources) -> Result<Option<Success>> {
    let task = TaskId::reduce(index);
    reduce_task(job, task, attempt, resources).or_else(|error| unless_finished(job, error.in_task(task)))
}

fn reduce_task(
    job: &Job,
    task: TaskId,
    attempt: &AttemptId,
    resources: &Resources,
) -> Result<Option<Success>> {
    if let Some(success) = finish::succeeded(&job.publication())? {
        return tidy_up(job, success);
    }
    let plan = plan::load(&job.places().work)?;
    let summary = &plan.summary;
    if job.log().look(task)?.is_none() {
        let ran = run_reduce(job, &plan, task, attempt, resources);
        commit_first(job, task, ran.map(|record| (record, Vec::new())))?;
    }
    if !job.step().definition.is_last {
        return Ok(None);
    }
    let Some(reduces) = job.log().all(TaskKind::Reduce, summary.reduce_tasks, attempt)? else {
        return Ok(None);
    };
    let maps = job
        .log()
        .all(TaskKind::Map, summary.map_tasks, attempt)?
        .ok_or_else(|| Error::retry("a map task's commit record is missing"))?;
    finish_job(job, &plan, &maps, reduces, Some(attempt)).map(Some)
}

fn run_reduce(
    job: &Job,
    plan: &Plan,
    task: TaskId,
    attempt: &AttemptId,
    resources: &Resources,
) -> Result<Commit> {
    job.run().skipped.number_behind(plan.before.tasks, plan.summary.map_tasks);
    let shuffle = index::read(&job.places().work, task.index, plan.summary.reduce_tasks)?;
    let space = job.step().space(resources);
    let fan_in = FanIn::of(memory::merge(resources.memory, 1));
    let runs = fetch_all(job, &shuffle, &space)?;
    let mut unfinished = Unfinished::new(job, Commit::new(attempt));
    for (partition, runs) in shuffle.range.zip(runs) {
        let (written, counters) = reduce::run(job.step(), task, attempt, partition, runs, fan_in, &space)?;
        if let Some(record) = &mut unfinished.record {
            written.add_to(record, &counters);
        }
    }
    unfinished.completed(task)
}

/// Fetches the runs of a task's partitions, from several objects at once, in the order of the map tasks.
fn fetch_all(job: &Job, shuffle: &Index, space: &Arc<Space>) -> Result<Vec<Vec<Run>>> {
    let objects: Vec<(usize, &String)> = shuffle.names.iter().enumerate().collect();
    let fetched = in_parallel(&objects, |&(object, name)| {
        job.run().check_cancelled()?;
        let extents: Vec<_> = shuffle.partitions.iter().map(|partition| partition[object]).collect();
        object::fetch(&job.places().work, name, &extents, space)
    })?;
    let mut by_partition: Vec<Vec<Run>> = shuffle.partitions.iter().map(|_| Vec::new()).collect();
    for (partition, run) in fetched.into_iter().flatten() {
        by_partition[partition].push(run);
    }
    Ok(by_partition)
}

fn check_lost(job: &Job, plan: &Plan, maps: &[Commit]) -> Result<()> {
    let lost = maps.iter().filter_map(|commit| commit.lost.as_ref());
    lost::check(job.spec().max_failed_tasks, &plan.before.lost, lost, plan.summary.map_tasks)
}

fn finish_job(
    job: &Job,
    plan: &Plan,
    maps: &[Commit],
    last: Vec<Commit>,
    attempt: Option<&AttemptId>,
) -> Result<Success> {
    let mut counters = chain::input_counters(job.step(), &plan.summary);
    maps.iter().chain(&last).for_each(|commit| counters.add(&commit.counters));
    job.run().count_requests(&mut counters);
    let skipped: Vec<_> = maps.iter().chain(&last).filter_map(|commit| commit.skipped.clone()).collect();
    let lost: Vec<_> = maps.iter().chain(&last).filter_map(|commit| commit.lost.clone()).collect();
    let mut parts: Vec<_> = last.into_iter().flat_map(|commit| commit.parts).collect();
    parts.sort_by(|a, b| a.name.cmp(&b.name));
    let mut done: CompletedSteps = plan.before.clone();
    done.skipped.extend(skipped);
    done.lost.extend(lost);
    done.add(job.step().name(), counters);
    finish::finish(&job.publication(), &done, &parts, attempt)
}

/// What went wrong is no matter once the job is finished: of two tasks that both took themselves for the
/// last, one has removed what the other was reading.
fn unless_finished(job: &Job, error: Error) -> Result<Option<Success>> {
    match finish::succeeded(&job.publication()) {
        Ok(Some(success)) => tidy_up(job, success),
        _ => Err(error.in_step(job.step().name())),
    }
}

/// The job is finished, but perhaps not its cleaning up: the pod that did it has died.
fn tidy_up(job: &Job, success: Success) -> Result<Option<Success>> {
    if job.spec().cleanup != mapreduce_api::v1alpha1::Cleanup::Never {
        finish::tidy_up(&job.publication())?;
    }
    Ok(Some(success))
}

/// Removes what a job left that has failed or was deleted; committed output stays. Gives the result of a job that
/// has succeeded after all.
pub fn cleanup(job: &Job) -> Result<Option<Success>> {
    let run = &job.publication().uninterrupted();
    if let Some(success) = finish::succeeded(run)? {
        return finish::tidy_up(run).map(|()| Some(success));
    }
    let parts = finish::committed_parts(run)?;
    finish::abandon(run, &parts)
}
