//! Where the tasks of a run leave what others of them need: the one thing in which a run in this process and a
//! run in pods differ.
//!
//! ```text
//!  plan ──> Exchange ──> map × M ──> Exchange ──> reduce × R ──> parts
//!           plan                     runs, commit records
//!
//!  InMemory   this process's memory and scratch files
//!  InStore    objects: any process that reaches the store goes on where another was
//! ```

use std::ops::Range;
use std::sync::Arc;

use mapreduce_api::ids::{AttemptId, TaskId, TaskKind};
use mapreduce_api::wire::Counters;

use super::{Job, Resources};
use crate::commit::record::Commit;
use crate::error::Result;
use crate::output::StagedPart;
use crate::plan::completed::StepInput;
use crate::plan::{MapTask, Plan, PlannedStep};
use crate::record::spill_store::SpillStore;
use crate::shuffle::fetch::FetchAhead;
use crate::shuffle::object::ShuffleObject;
use crate::shuffle::run::Run;
use crate::storage::Created;
use crate::task::finish::Success;
use crate::task::map::Runs;

mod in_memory;
mod in_store;

pub(super) use self::in_memory::InMemory;
pub(super) use self::in_store::InStore;

/// An attempt at a task, and what it may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt<'a> {
    pub task: TaskId,
    pub id: &'a AttemptId,
    pub resources: &'a Resources,
    pub spill_store: &'a Arc<SpillStore>,
}

/// The runs that a reduce task merges.
#[derive(Debug)]
pub(super) struct ReduceInput {
    /// The partitions.
    pub partitions: Range<u32>,
    /// Of each its runs, in the order of the map tasks.
    pub runs: Vec<Vec<Run>>,
    /// What fetches them while they are merged.
    pub ahead: FetchAhead,
}

impl ReduceInput {
    /// The runs of a partition, where nothing has to be fetched.
    pub(super) fn of_partition(partition: u32, runs: Vec<Run>) -> Self {
        Self { partitions: partition..partition + 1, runs: vec![runs], ahead: FetchAhead::nothing() }
    }
}

/// What a job's tasks leave for each other. The job is always seen at the step that it is about.
pub(super) trait Exchange: Sync {
    /// What of a map task's output is not in its commit record.
    type Data: Default;

    /// Where tasks of this process keep intermediate data.
    fn spill_store(&self, job: &Job, resources: &Resources) -> Arc<SpillStore>;

    /// The job's result, where another process may have finished it and has.
    fn finished(&self, job: &Job) -> Result<Option<Success>>;

    /// Whether the step has a plan already.
    fn is_planned(&self, job: &Job) -> Result<bool>;

    /// Looks whether the job may write where it will, unless somebody has.
    fn check_places(&self, job: &Job) -> Result<()> {
        let _ = job;
        Ok(())
    }

    /// Divides what the step reads.
    fn divide(&self, job: &Job, resources: &Resources, before: Option<StepInput>) -> Result<PlannedStep>;

    /// Keeps a plan, unless another planner was first: the plan that stands.
    fn keep_plan(&self, job: &Job, planned: PlannedStep, attempt: &AttemptId) -> Result<Arc<Plan>>;

    /// The step's plan.
    fn plan(&self, job: &Job) -> Result<Arc<Plan>>;

    /// What a map task reads.
    fn map_task(&self, job: &Job, plan: &Plan, index: u32) -> Result<MapTask>;

    /// Keeps the runs of an attempt at a map task, and counts what that was.
    fn keep_runs(
        &self,
        job: &Job,
        plan: &Plan,
        attempt: Attempt<'_>,
        runs: Runs,
        counters: &mut Counters,
    ) -> Result<(Option<ShuffleObject>, Self::Data)>;

    /// Whether a task is committed.
    fn is_committed(&self, job: &Job, task: TaskId) -> Result<bool>;

    /// Commits what an attempt has done, unless another one was first.
    ///
    /// # Errors
    ///
    /// Where it isn't known who was, and where the job can't go on with that.
    fn commit(&self, job: &Job, task: TaskId, record: &mut Commit, data: Self::Data) -> Result<Created>;

    /// The commit records of all tasks of a phase, by their numbers; none where some are missing.
    fn all(&self, job: &Job, kind: TaskKind, tasks: u32, attempt: &AttemptId) -> Result<Option<Vec<Commit>>>;

    /// Says where each partition is, once all map tasks are committed.
    fn index(&self, job: &Job, plan: &Plan, maps: Vec<Commit>) -> Result<()>;

    /// What an attempt at a reduce task merges. The last one may have it for itself.
    fn reduce_input(
        &self,
        job: &Job,
        plan: &Plan,
        attempt: Attempt<'_>,
        is_last: bool,
    ) -> Result<ReduceInput>;

    /// Removes what no task of the step can need any more, now that the step before it is complete.
    fn remove_used(&self, job: &Job) -> Result<()>;

    /// All that committed tasks of all steps have staged.
    fn staged(&self, job: &Job) -> Result<Vec<StagedPart>>;

    /// Whether those who find all tasks committed have to agree who publishes.
    fn has_others(&self) -> bool;
}
