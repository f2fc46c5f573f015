//! Plan, commit records and shuffle data as objects, which any process that reaches the store goes on with.

use std::sync::Arc;

use mapreduce_api::ids::{AttemptId, TaskId, TaskKind};
use mapreduce_api::v1alpha1::Cleanup;
use mapreduce_api::wire::Counters;

use super::{Attempt, Exchange, ReduceInput};
use crate::commit::record::Commit;
use crate::commit::{lock, sign};
use crate::error::{Error, Result};
use crate::job::{Job, Resources};
use crate::memory;
use crate::output::StagedPart;
use crate::plan::completed::StepInput;
use crate::plan::{self, MapTask, Plan, PlannedStep, Sampling};
use crate::record::block::BlockCodec;
use crate::record::spill_store::SpillStore;
use crate::shuffle::object::{self, ShuffleObject};
use crate::shuffle::write::{Shuffled, WriteOptions, write};
use crate::shuffle::{fetch, index};
use crate::storage::once::create_once;
use crate::storage::{Created, is_stream};
use crate::task::finish::{self, Fate, Success};
use crate::task::map::Runs;

/// An exchange below the job's work folder.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::job) struct InStore;

impl Exchange for InStore {
    /// Shuffle data that is small enough to go with the commit record.
    type Data = Vec<u8>;

    fn spill_store(&self, job: &Job, resources: &Resources) -> Arc<SpillStore> {
        job.step().spill_store(resources)
    }

    fn finished(&self, job: &Job) -> Result<Option<Success>> {
        match finish::fate(&job.publication())? {
            Fate::Open => Ok(None),
            Fate::Succeeded(success) => Ok(Some(success)),
            Fate::Replaced(by) => Err(Error::permanent(format!(
                "the job had succeeded, and run {by} has replaced its result since"
            ))),
        }
    }

    fn is_planned(&self, job: &Job) -> Result<bool> {
        // Who has committed looks whether the job has ended meanwhile, whoever wishes that he stops.
        plan::is_there(&job.places().work.uninterrupted())
    }

    fn check_places(&self, job: &Job) -> Result<()> {
        let run = job.publication();
        let later = |error: Error| match job.step_number() {
            0 => error,
            _ => error.because("it was not there when the job began: another run or program was first"),
        };
        if finish::check_output(&run).map_err(later)? {
            // While a result is replaced there is no `_SUCCESS` to tell the fate of the run that it was of.
            lock::wait(&run.output, || run.check_cancelled())?;
            self.finished(job)?;
        }
        if job.step_number() == 0 && !job.alone {
            let plan = job.places().work.join(plan::HEAD);
            sign::put_up(run.run_places(), run.owner.clone(), Some(&plan))?;
        }
        Ok(())
    }

    fn divide(&self, job: &Job, _resources: &Resources, before: Option<StepInput>) -> Result<PlannedStep> {
        let planned = plan::for_pods(job.step(), before, Sampling::Take)?;
        if !job.alone {
            check_streams(&planned)?;
        }
        Ok(planned)
    }

    fn keep_plan(&self, job: &Job, mut planned: PlannedStep, attempt: &AttemptId) -> Result<Arc<Plan>> {
        let plan = plan::store(&job.places().work, &mut planned, attempt)?;
        plan.check_revision(job.step())?;
        Ok(Arc::new(plan))
    }

    fn plan(&self, job: &Job) -> Result<Arc<Plan>> {
        let plan = plan::load(&job.places().work)?;
        plan.check_revision(job.step())?;
        Ok(Arc::new(plan))
    }

    fn map_task(&self, job: &Job, plan: &Plan, index: u32) -> Result<MapTask> {
        plan::load_task(job.step(), plan, index)
    }

    fn keep_runs(
        &self,
        job: &Job,
        plan: &Plan,
        attempt: Attempt<'_>,
        runs: Runs,
        counters: &mut Counters,
    ) -> Result<(Option<ShuffleObject>, Vec<u8>)> {
        let Attempt { task, id, resources, spill_store } = attempt;
        let (step, work) = (job.step(), &job.places().work);
        let codec = BlockCodec::of(job.spec().shuffle.compression, !work.is_local());
        let context = step.task_context(task, task.index, id, spill_store);
        let combine = step.definition.functions.combine.as_ref();
        let combiner = || combine.map(|combine| combine.combiner(&context));
        let name = format!("shuffle/{task}-{id}");
        // Commit records stay to the job's end, but the data of a step no longer than the next one needs it.
        let with_record = if step.definition.is_last { object::SMALL } else { 0 };
        let options = WriteOptions {
            codec,
            threads: resources.threads,
            memory: memory::merge(resources.memory, 1),
            spill_store,
            shuffle_spec: &step.definition.shuffle_spec,
            with_record,
        };
        let Shuffled { object, data, combined } =
            write(work, name, &runs, plan.summary.partitions, &options, combiner)?;
        context.counters.move_to(counters)?;
        counters.combine_input_records += combined.input;
        counters.combine_output_records += combined.output;
        counters.shuffle_bytes += object.bytes();
        Ok((Some(object), data))
    }

    fn is_committed(&self, job: &Job, task: TaskId) -> Result<bool> {
        Ok(job.log().look(task)?.is_some())
    }

    fn commit(&self, job: &Job, task: TaskId, record: &mut Commit, data: Vec<u8>) -> Result<Created> {
        job.run().count_requests(&mut record.counters);
        // The commit is a request too, which its own record can only say beforehand.
        record.counters.shuffle_writes += u64::from(!job.places().work.is_local());
        record.staged().for_each(|part| job.run().ending.staged(part));
        // Cut off by a wish to stop, nobody would know whether it stands, and what it names would stay.
        let created = job.log().uninterrupted().commit(task, record, &data)?;
        // It has been counted.
        job.run().requests.take();
        Ok(created)
    }

    fn all(&self, job: &Job, kind: TaskKind, tasks: u32, attempt: &AttemptId) -> Result<Option<Vec<Commit>>> {
        job.log().all(kind, tasks, attempt)
    }

    fn index(&self, job: &Job, plan: &Plan, maps: Vec<Commit>) -> Result<()> {
        let objects: Vec<ShuffleObject> = maps.into_iter().filter_map(|commit| commit.shuffle).collect();
        let bytes = index::encode(&objects, plan.summary.partitions)?;
        // Whoever takes itself for the last writes the same.
        let index = job.places().work.join(index::NAME);
        create_once(&index, &bytes, 1, |_| true)?;
        if !self.is_planned(job)? {
            // The job has ended meanwhile, and its folder has been removed.
            index.store.delete(std::slice::from_ref(&index.key))?;
        }
        Ok(())
    }

    fn reduce_input(
        &self,
        job: &Job,
        plan: &Plan,
        attempt: Attempt<'_>,
        _is_last: bool,
    ) -> Result<ReduceInput> {
        let work = &job.places().work;
        let shuffle = index::read(work, attempt.task.index, plan.summary.reduce_tasks)?;
        let run = job.run().clone();
        let (runs, ahead) = fetch::runs(&shuffle, work, move || run.check_cancelled(), attempt.spill_store);
        Ok(ReduceInput { partitions: shuffle.range, runs, ahead })
    }

    fn remove_used(&self, job: &Job) -> Result<()> {
        let number = job.step_number();
        // After a failure there may be somebody who wants to look at it.
        if number == 0 || job.spec().cleanup != Cleanup::Always {
            return Ok(());
        }
        let before = job.at_step(number - 1);
        let before = &before.places().work;
        before.store.delete_prefix(&before.join("shuffle/").key)?;
        match number {
            1 => Ok(()),
            _ => job.places().pairs.delete_below(&job.at_step(number - 2).step().pairs_prefix()),
        }
    }

    fn staged(&self, job: &Job) -> Result<Vec<StagedPart>> {
        finish::committed_parts(&job.publication().uninterrupted())
    }

    fn has_others(&self) -> bool {
        true
    }
}

/// A stream is read by the process that has found it, and the one that plans is none that maps.
fn check_streams(planned: &PlannedStep) -> Result<()> {
    let mut splits = planned.tasks.iter().flat_map(|task| &task.splits);
    match splits.find(|split| is_stream(split.version.as_deref())) {
        None => Ok(()),
        Some(split) => Err(Error::permanent(format!("{} is a stream, which pods can't share", split.url))
            .because("only `mapreduce run` reads a stream: write it to a file, and read that")),
    }
}
