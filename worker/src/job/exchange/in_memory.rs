//! Plan, commit records and runs of a run that is this process alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mapreduce_api::ids::{AttemptId, TaskId, TaskKind};
use mapreduce_api::wire::Counters;

use super::{Attempt, Exchange, ReduceInput};
use crate::commit::record::Commit;
use crate::error::{Error, Result};
use crate::job::{Job, Resources};
use crate::output::StagedPart;
use crate::plan::completed::StepInput;
use crate::plan::{self, Division, MapTask, Plan, PlannedStep, Sampling};
use crate::record::skipped;
use crate::record::spill_store::SpillStore;
use crate::shuffle::object::ShuffleObject;
use crate::shuffle::run::{RUN_END_BYTES, Run, Spill};
use crate::storage::Created;
use crate::task::finish::Success;
use crate::task::lost;
use crate::task::map::Runs;

/// An exchange in this process.
#[derive(Debug)]
pub(in crate::job) struct InMemory {
    spill_store: Arc<SpillStore>,
    steps: Vec<Mutex<StepState>>,
}

/// What is there of a step.
#[derive(Debug, Default)]
struct StepState {
    plan: Option<Arc<Plan>>,
    tasks: Vec<MapTask>,
    commits: BTreeMap<(TaskKind, u32), Commit>,
    /// By map task, so that reducers see the same order whoever came first.
    runs: BTreeMap<u32, Runs>,
    /// By partition, what attempts at a reduce task that may fail have been given: a spill gives a run once.
    given: BTreeMap<u32, Vec<Run>>,
}

impl InMemory {
    pub(in crate::job) fn new(job: &Job, spill_store: &Arc<SpillStore>) -> Self {
        Self {
            spill_store: Arc::clone(spill_store),
            steps: (0..job.step_count()).map(|_| Mutex::default()).collect(),
        }
    }

    fn step(&self, job: &Job) -> MutexGuard<'_, StepState> {
        self.steps[job.step_number()].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StepState {
    /// An error as soon as more was left out or lost than the job may go on without.
    fn check_budgets(&self, job: &Job) -> Result<()> {
        let Some(plan) = &self.plan else { return Ok(()) };
        let skipped = self.commits.values().filter_map(|commit| commit.skipped.as_ref());
        skipped::check_budget(job.spec().skip_bad_records.max, plan.before.skipped.iter().chain(skipped))?;
        let lost = self.commits.values().filter_map(|commit| commit.lost.as_ref());
        lost::check(job.spec().max_failed_tasks, &plan.before.lost, lost, plan.summary.map_tasks)
    }
}

impl Exchange for InMemory {
    type Data = Runs;

    fn spill_store(&self, _job: &Job, _resources: &Resources) -> Arc<SpillStore> {
        Arc::clone(&self.spill_store)
    }

    fn finished(&self, _job: &Job) -> Result<Option<Success>> {
        Ok(None)
    }

    fn is_planned(&self, job: &Job) -> Result<bool> {
        Ok(self.step(job).plan.is_some())
    }

    fn divide(&self, job: &Job, resources: &Resources, before: Option<StepInput>) -> Result<PlannedStep> {
        divide(job, resources, before)
    }

    fn keep_plan(&self, job: &Job, planned: PlannedStep, _attempt: &AttemptId) -> Result<Arc<Plan>> {
        let plan = Arc::new(planned.plan);
        let mut step = self.step(job);
        (step.plan, step.tasks) = (Some(Arc::clone(&plan)), planned.tasks);
        Ok(plan)
    }

    fn plan(&self, job: &Job) -> Result<Arc<Plan>> {
        self.step(job).plan.clone().ok_or_else(|| Error::permanent("the step has no plan yet"))
    }

    fn map_task(&self, job: &Job, _plan: &Plan, index: u32) -> Result<MapTask> {
        let task = self.step(job).tasks.get(index as usize).cloned();
        task.ok_or_else(|| Error::permanent(format!("the plan has no map task {index}")))
    }

    fn keep_runs(
        &self,
        _job: &Job,
        _plan: &Plan,
        _attempt: Attempt<'_>,
        runs: Runs,
        counters: &mut Counters,
    ) -> Result<(Option<ShuffleObject>, Runs)> {
        counters.shuffle_bytes += runs.iter().map(Spill::bytes).sum::<u64>();
        Ok((None, runs))
    }

    fn is_committed(&self, job: &Job, task: TaskId) -> Result<bool> {
        Ok(self.step(job).commits.contains_key(&(task.kind, task.index)))
    }

    fn commit(&self, job: &Job, task: TaskId, record: &mut Commit, runs: Runs) -> Result<Created> {
        let mut step = self.step(job);
        let may_exceed = record.skipped.is_some() || record.lost.is_some();
        step.commits.insert((task.kind, task.index), record.clone());
        record.staged().for_each(|part| job.run().ending.staged(part));
        if task.kind == TaskKind::Reduce {
            step.given.remove(&task.index);
        }
        if !runs.is_empty() {
            step.runs.insert(task.index, runs);
        }
        if may_exceed {
            step.check_budgets(job)?;
        }
        Ok(Created::New)
    }

    fn all(
        &self,
        job: &Job,
        kind: TaskKind,
        tasks: u32,
        _attempt: &AttemptId,
    ) -> Result<Option<Vec<Commit>>> {
        let step = self.step(job);
        let commits: Vec<Commit> =
            step.commits.range((kind, 0)..=(kind, u32::MAX)).map(|(_, commit)| commit.clone()).collect();
        Ok((commits.len() == tasks as usize).then_some(commits))
    }

    fn index(&self, _job: &Job, _plan: &Plan, _maps: Vec<Commit>) -> Result<()> {
        Ok(())
    }

    fn reduce_input(
        &self,
        job: &Job,
        _plan: &Plan,
        attempt: Attempt<'_>,
        is_last: bool,
    ) -> Result<ReduceInput> {
        let partition = attempt.task.index;
        let mut step = self.step(job);
        let runs = match step.given.remove(&partition) {
            Some(runs) => runs,
            None => Spill::runs(step.runs.values().flatten(), partition)?,
        };
        if !is_last {
            step.given.insert(partition, runs.clone());
        }
        Ok(ReduceInput::of_partition(partition, runs))
    }

    fn remove_used(&self, job: &Job) -> Result<()> {
        let Some(before) = job.step_number().checked_sub(1) else { return Ok(()) };
        let before = job.at_step(before);
        self.step(&before).runs.clear();
        let Some(read) = before.step_number().checked_sub(1) else { return Ok(()) };
        job.places().pairs.delete_below(&job.at_step(read).step().pairs_prefix())
    }

    fn staged(&self, _job: &Job) -> Result<Vec<StagedPart>> {
        let staged = self.steps.iter().flat_map(|step| {
            let step = step.lock().unwrap_or_else(PoisonError::into_inner);
            step.commits.values().flat_map(Commit::staged).cloned().collect::<Vec<_>>()
        });
        Ok(staged.collect())
    }

    fn has_others(&self) -> bool {
        false
    }
}

/// Tasks that there may be, as on a cluster. However small `splitSize` is, splits become larger instead.
const MAX_TASKS: usize = 10_000;
/// What is left of a task in memory until its reducers have run, at most: there are fewer tasks with less memory, so
/// that it is for the data and not for the number of tasks.
const TASK_BYTES: u64 = 64 << 10;
/// What a task leaves to say where each partition is, four times: a quarter of the memory is for what tasks leave.
const PER_PARTITION: u64 = 4 * RUN_END_BYTES as u64;
/// With so many there is work for all threads whatever the memory is.
const ENOUGH_TASKS: usize = 1000;

/// Divides a step of a job for this process.
fn divide(job: &Job, resources: &Resources, before: Option<StepInput>) -> Result<PlannedStep> {
    if !job.spec().max_failed_tasks.is_none() {
        // What is lost with a task, and what share of all it is, is not the machine's to choose either.
        return plan::with_tasks_of_pods(job.step(), before, Sampling::Take);
    }
    // Four tasks a thread: the last ones to end don't leave the others idle for long. Without
    // reducers tasks are parts, whose number is not the machine's to choose.
    let are_parts = job.spec().is_map_only() && job.step().definition.is_last;
    let (least_tasks, most_tasks) = if are_parts {
        (1, MAX_TASKS)
    } else {
        let least = resources.threads * 4;
        let fit = |bytes: u64| usize::try_from(resources.memory / bytes).unwrap_or(MAX_TASKS);
        let partitions = job.spec().reduce.as_ref().and_then(|reduce| reduce.tasks).unwrap_or(1).max(1);
        let most_with_partitions = fit(u64::from(partitions.unsigned_abs()) * PER_PARTITION).max(least);
        (least, fit(TASK_BYTES).clamp(ENOUGH_TASKS, MAX_TASKS).min(most_with_partitions))
    };
    let division = Division { least_tasks, most_tasks, sampling: Sampling::Take };
    match before {
        Some(before) => plan::make_next(job.step(), before, division),
        None => plan::make(job.step(), division),
    }
}
