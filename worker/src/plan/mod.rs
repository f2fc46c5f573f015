//! The plan: which task reads what, and into how many partitions the result goes.
//!
//! ```text
//!  plan.json            │ version, hash, partitions, number of tasks, where each map task is in the tasks
//!  plan.tasks-<attempt> │ one JSON line per map task: its splits
//! ```
//!
//! Of several planners the first to create `plan.json` has made the plan; the others take it as it is.
//! A map pod reads the first and one line of the second, so that a plan's size does not count M times.

pub mod completed;
pub mod cost;
pub mod overlap;
mod pairs;
pub(crate) mod probe;
mod sample;
mod splits;
mod trust;

use serde::{Deserialize, Serialize};

pub use self::splits::{MapTask, Unsplit};

use self::completed::{CompletedSteps, StepInput};
use crate::error::{Error, Result};
use crate::input::list;
use crate::record::split::Split;
use crate::shuffle::partition::{HASH, KeyPartitioner};
use crate::step::RunStep;
use crate::storage::once::{Won, create_once};
use crate::storage::{Location, is_stream};
use mapreduce_api::ids::AttemptId;
use mapreduce_api::wire::PlanSummary;

/// The number of the format that this program writes and reads.
const VERSION: u32 = 1;
/// The plan's name in the work folder.
pub(crate) const HEAD: &str = "plan.json";
const TASKS: &str = "plan.tasks-";

/// What was decided before the first task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    version: u32,
    hash: String,
    /// The digest of what the run does for which it was made; none where a run is in one process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    /// Numbers of tasks and partitions, and what the input is.
    pub summary: PlanSummary,
    /// The name of the map tasks' object.
    #[serde(default)]
    tasks: String,
    /// Where each map task's line begins in it, and where the last one ends.
    #[serde(default)]
    offsets: Vec<u64>,
    /// Where partitions begin, as stored keys in hexadecimal, for ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cuts: Vec<String>,
    /// What the steps before have done.
    #[serde(default, skip_serializing_if = "CompletedSteps::is_nothing")]
    pub before: CompletedSteps,
}

impl Plan {
    /// An error where the plan is of another revision of the step's run.
    pub fn check_revision(&self, step: &RunStep) -> Result<()> {
        match (&self.revision, &step.run.revision) {
            (Some(planned), Some(own)) if planned != own => Err(Error::permanent(format!(
                "the plan was made for revision {planned} of the job, and this pod for revision {own}: delete the \
                 job and apply it again"
            ))),
            _ => Ok(()),
        }
    }

    /// Which partition a key goes to.
    pub fn partitioner(&self, step: &RunStep) -> Result<KeyPartitioner> {
        let cuts = self.cuts.iter().map(|cut| from_hex(cut)).collect::<Option<Vec<_>>>();
        let cuts = cuts.ok_or_else(|| Error::permanent("the plan's ranges are damaged"))?;
        step.definition.shuffle_spec.partitioner(self.summary.partitions, &cuts)
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        text.extend([byte >> 4, byte & 15].map(|half| char::from_digit(half.into(), 16).unwrap_or_default()));
        text
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let halves: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).map(|half| half as u8)).collect::<Option<_>>()?;
    Some(halves.chunks(2).map(|pair| pair.iter().fold(0, |byte, half| byte << 4 | half)).collect())
}

/// A plan and all that went into it.
#[derive(Debug)]
pub struct PlannedStep {
    /// The plan.
    pub plan: Plan,
    /// The map tasks.
    pub tasks: Vec<MapTask>,
    /// Large objects that one task has to read whole.
    pub unsplit: Vec<Unsplit>,
    /// What is known of ranges of keys.
    pub ranges: RangeSampling,
}

/// What a plan knows of ranges of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSampling {
    /// The step doesn't partition by ranges, or has one partition.
    NotWanted,
    /// Where they begin shows only from what the map function emits, and it was not run.
    NotSampled,
    /// So many had keys in the sample.
    Sampled(usize),
}

/// Whether the map function is run for a sample of keys where ranges are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// It is.
    Take,
    /// Nothing of the user's is run: such a plan is to be looked at.
    LeaveOut,
}

/// Input that one pod is given at least, where there is enough of it.
const POD_BYTES: u64 = 1 << 30;
/// What one map task should have for one partition, if map output is as large as its input: a request
/// for less costs more than the bytes.
const MIN_BLOCK: u64 = 512 << 10;

impl PlannedStep {
    /// Gives neighbouring tasks to one pod, as long as there are `wanted` pods or each has enough to
    /// do: starting a pod takes longer than mapping a split. With many partitions there are fewer pods,
    /// so that what reducers fetch does not become too small. Without reducers a task stays a part.
    pub(crate) fn group(&mut self, wanted: usize) {
        let summary = &mut self.plan.summary;
        let pods_of = |bytes: u64| usize::try_from(summary.input_bytes / bytes).unwrap_or(usize::MAX);
        let most = pods_of(MIN_BLOCK * u64::from(summary.partitions.max(1))).max(MIN_PODS);
        let enough = wanted.max(pods_of(POD_BYTES)).min(most);
        if summary.reduce_tasks == 0 || self.tasks.len() <= enough {
            return;
        }
        let tasks = std::mem::take(&mut self.tasks);
        let total = tasks.len();
        for (i, task) in tasks.into_iter().enumerate() {
            if i * enough / total == self.tasks.len() {
                self.tasks.push(MapTask::default());
            }
            if let Some(pod) = self.tasks.last_mut() {
                pod.splits.extend(task.splits);
            }
        }
        summary.map_tasks = self.tasks.len() as u32;
    }
}

/// How the work is divided.
#[derive(Clone, Copy, Debug)]
pub struct Division {
    /// Tasks that there should be at least, where the input is large enough for more than one.
    pub least_tasks: usize,
    /// Tasks that there may be at most.
    pub most_tasks: usize,
    /// Whether the map function is run for a sample.
    pub sampling: Sampling,
}

/// Bytes of input per output partition, where the manifest does not say how many there are.
const PARTITION_BYTES: u64 = 128 << 20;
const MAX_PARTITIONS: u64 = 4000;
/// Partitions that a reduce pod then has on average: it is known how large they are when they are
/// distributed, so that large and small ones make up for each other.
const PARTITIONS_PER_POD: u32 = 4;

/// Plans the first step: lists the input and divides it.
pub fn make(step: &RunStep, division: Division) -> Result<PlannedStep> {
    let objects = list::list(&step.spec().input, &step.places.stores)?;
    overlap::check_links(step.spec(), step.places.stores.folder(), &objects)?;
    // Nobody knows the size of a stream.
    let sized = objects.iter().filter(|object| !is_stream(object.entry.version.as_deref()));
    let input_bytes: u64 = sized.map(|object| object.entry.size).sum();
    let (tasks, unsplit) = splits::divide(&objects, step, division)?;
    let sample = || sample::pieces(step, &tasks);
    let (plan, ranges) = assemble(step, &tasks, objects.len(), input_bytes, division, sample)?;
    Ok(PlannedStep { plan, tasks, unsplit, ranges })
}

/// Plans a later step: divides what the one before it has written.
pub fn make_next(step: &RunStep, before: StepInput, division: Division) -> Result<PlannedStep> {
    let objects = before.objects;
    let tasks = pairs::divide(&objects, step, division);
    let bytes = objects.iter().map(|object| object.bytes).sum();
    let sample = || Ok(pairs::pieces(&objects, step, sample::PIECES));
    let (mut plan, ranges) = assemble(step, &tasks, objects.len(), bytes, division, sample)?;
    plan.summary.before = before.done.last();
    plan.before = before.done;
    Ok(PlannedStep { plan, tasks, unsplit: Vec::new(), ranges })
}

fn assemble(
    step: &RunStep,
    tasks: &[MapTask],
    input_objects: usize,
    input_bytes: u64,
    division: Division,
    sample: impl FnOnce() -> Result<Vec<Split>>,
) -> Result<(Plan, RangeSampling)> {
    let spec = &step.spec();
    let chosen = match input_bytes.div_ceil(PARTITION_BYTES).min(MAX_PARTITIONS) as u32 {
        0 | 1 => 1,
        // So that each of two or four threads has as many as the others.
        several => several.next_multiple_of(PARTITIONS_PER_POD),
    };
    let partitions = match &spec.reduce {
        _ if spec.is_map_only() => tasks.len() as u32,
        Some(reduce) => reduce.tasks.map_or(chosen, |tasks| tasks.max(1) as u32),
        None => 0,
    };
    let summary = PlanSummary {
        map_tasks: tasks.len() as u32,
        reduce_tasks: if spec.is_map_only() { 0 } else { partitions },
        partitions,
        input_objects: input_objects as u64,
        input_bytes,
        before: None,
    };
    let wants_sample = step.definition.shuffle_spec.wants_sample() && summary.reduce_tasks > 1;
    let (cuts, ranges) = match division.sampling {
        Sampling::Take if wants_sample => {
            let cuts = sample::range_bounds(step, &sample()?, partitions)?;
            (cuts.iter().map(|cut| to_hex(cut)).collect(), RangeSampling::Sampled(cuts.len() + 1))
        }
        Sampling::LeaveOut if wants_sample => (Vec::new(), RangeSampling::NotSampled),
        _ => (Vec::new(), RangeSampling::NotWanted),
    };
    let before = CompletedSteps::default();
    let plan = Plan {
        version: VERSION,
        hash: HASH.to_owned(),
        revision: step.run.revision.clone(),
        summary,
        tasks: String::new(),
        offsets: Vec::new(),
        cuts,
        before,
    };
    Ok((plan, ranges))
}

/// Pods that there should be at least, where the input is large enough.
const MIN_PODS: usize = 20;
/// Pods of a phase that Kubernetes manages well.
const MAX_PODS: usize = 10_000;

/// Divides among pods what the job's step reads: the input, or what the step before has left.
pub fn for_pods(step: &RunStep, before: Option<StepInput>, sampling: Sampling) -> Result<PlannedStep> {
    let mut planned = with_tasks_of_pods(step, before, sampling)?;
    if step.spec().reduce.as_ref().is_some_and(|reduce| reduce.tasks.is_none()) {
        let summary = &mut planned.plan.summary;
        summary.reduce_tasks = summary.reduce_tasks.div_ceil(PARTITIONS_PER_POD);
    }
    Ok(planned)
}

/// Divides what a step reads into the map tasks that pods would have, wherever they run.
pub(crate) fn with_tasks_of_pods(
    step: &RunStep,
    before: Option<StepInput>,
    sampling: Sampling,
) -> Result<PlannedStep> {
    let wanted = step.spec().map.parallelism.map_or(MIN_PODS, |pods| pods as usize);
    let division = Division { least_tasks: 1, most_tasks: MAX_PODS, sampling };
    let mut planned = match before {
        Some(before) => make_next(step, before, division)?,
        None => make(step, division)?,
    };
    planned.group(wanted);
    Ok(planned)
}

/// Writes a plan into a step's work folder, unless another planner was first: the plan that stands.
pub fn store(work: &Location, planned: &mut PlannedStep, attempt: &AttemptId) -> Result<Plan> {
    let fail = |e: serde_json::Error| Error::permanent("can't write the plan").because(e);
    let (mut lines, mut offsets) = (Vec::new(), vec![0]);
    for task in &planned.tasks {
        serde_json::to_writer(&mut lines, task).map_err(fail)?;
        lines.push(b'\n');
        offsets.push(lines.len() as u64);
    }
    planned.plan.offsets = offsets;
    planned.plan.tasks = format!("{TASKS}{attempt}");
    let tasks = work.join(&planned.plan.tasks);
    tasks.store.put(&tasks.key, lines)?;
    // The head comes last: where it is, the plan is whole.
    let (place, head) = (work.join(HEAD), serde_json::to_vec(&planned.plan).map_err(fail)?);
    match create_once(&place, &head, u64::MAX, |there| there == head)? {
        // What stands is written once more, and refused: a store that takes it knows no condition.
        Won::Ours => probe::refuses(&place, &head).map(|()| planned.plan.clone()),
        Won::Theirs(_) => {
            tasks.store.delete(std::slice::from_ref(&tasks.key))?;
            load(work)
        }
    }
}

/// Whether an object is a plan of this format.
pub(crate) fn is_one(place: &Location) -> Result<bool> {
    // One that has gone since the listing was of a job that has just ended by itself.
    let Some(bytes) = place.store.get(&place.key)? else { return Ok(true) };
    Ok(serde_json::from_slice::<Plan>(&bytes).is_ok_and(|plan| plan.version == VERSION))
}

/// Whether a step has a plan: it has from its beginning to the job's end.
pub fn is_there(work: &Location) -> Result<bool> {
    Ok(work.store.head(&work.join(HEAD).key)?.is_some())
}

/// Reads the plan of a step.
pub fn load(work: &Location) -> Result<Plan> {
    let place = work.join(HEAD);
    let url = place.url(&place.key);
    let Some(bytes) = place.store.get(&place.key)? else {
        return Err(Error::permanent(format!(
            "there is no plan {url}: was the job's intermediate data removed?"
        )));
    };
    let plan: Plan = serde_json::from_slice(&bytes)
        .map_err(|e| Error::permanent(format!("can't read the plan {url}")).because(e))?;
    if plan.version != VERSION || plan.hash != HASH {
        return Err(Error::permanent(format!(
            "the plan {url} has version {} and hash {}, this worker has {VERSION} and {HASH}: \
             operator and workers must be of one release",
            plan.version, plan.hash
        )));
    }
    Ok(plan)
}

/// Reads one map task of a plan.
pub fn load_task(step: &RunStep, plan: &Plan, index: u32) -> Result<MapTask> {
    if !plan.tasks.starts_with(TASKS) || plan.tasks.contains('/') {
        return Err(Error::permanent(format!("the plan names `{}` for its tasks", plan.tasks)));
    }
    let place = step.places.work.join(&plan.tasks);
    let i = index as usize;
    let (Some(&from), Some(&to)) = (plan.offsets.get(i), plan.offsets.get(i + 1)) else {
        return Err(Error::permanent(format!("the plan has no map task {index}")));
    };
    let line = place.store.read(&place.key, from..to)?;
    let task: MapTask = serde_json::from_slice(&line).map_err(|e| {
        Error::permanent(format!("can't read map task {index} of the plan {}", place.url(&place.key)))
            .because(e)
    })?;
    trust::check(step, &task)?;
    Ok(task)
}
