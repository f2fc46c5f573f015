//! A step of a run, as whoever plans it and whoever does its tasks knows it.
//!
//! ```text
//!  Step ─┬─ StepDefinition   what is done: functions, order, formats
//!        ├─ Places           where: input, output, intermediate data
//!        └─ RunContext       for which run, and who asks it to stop
//! ```
//!
//! A job without `spec.steps` is one step.

mod context;
mod ending;

use std::sync::Arc;
use std::time::Duration;

use mapreduce_api::ids::{AttemptId, JobId, TaskId};
use mapreduce_api::v1alpha1::MapReduceJobSpec;
use mapreduce_api::wire::Counters;
use tokio_util::sync::CancellationToken;

pub use self::ending::Ending;
use crate::error::{Error, Result};
use crate::function::{Functions, LastResort, ReduceFunction};
use crate::machine::clock;
use crate::memory;
use crate::record::block::BlockCodec;
use crate::record::format::Format;
use crate::record::pairs::PairsPlace;
use crate::record::skipped::{self, Skipping};
use crate::record::spill_store::SpillStore;
use crate::shuffle::combine_stats::CombineStats;
use crate::shuffle::spec::ShuffleSpec;
use crate::storage::{Location, RequestCounter, RequestCounts, Stores};

/// What a step does: checked, and the same for every process.
#[derive(Clone, Debug)]
pub struct StepDefinition {
    /// The number, from 0.
    pub number: usize,
    /// The name; none in a job without `spec.steps`.
    pub name: Option<String>,
    /// Whether its result is the output.
    pub is_last: bool,
    /// What the user wrote, as if this step were all of it.
    pub spec: MapReduceJobSpec,
    /// The functions.
    pub functions: Functions,
    /// How it sorts and partitions.
    pub shuffle_spec: ShuffleSpec,
}

impl StepDefinition {
    /// Checks a step of a manifest.
    ///
    /// # Errors
    ///
    /// Usage errors for what the step alone shows.
    pub fn new(spec: &MapReduceJobSpec, number: usize) -> Result<Self> {
        let name = spec.phases(number).name.map(str::to_owned);
        let is_last = number + 1 == spec.step_count();
        let spec = spec.of_step(number);
        let functions = Functions::new(&spec)?;
        let mut shuffle_spec = ShuffleSpec::new(spec.reduce.as_ref())?;
        shuffle_spec.values_sorted |=
            functions.reduce.as_ref().is_some_and(ReduceFunction::wants_sorted_values);
        Ok(Self { number, name, is_last, spec, functions, shuffle_spec })
    }

    /// The folder below the run's.
    pub fn folder(&self) -> String {
        self.name.as_ref().map_or_else(String::new, |name| format!("steps/{name}/"))
    }
}

/// Where a step reads and writes.
///
/// ```text
///  <folder>/                  one step: plan, commit records, shuffle objects
///  <folder>/steps/<name>/     of several each has its own, and the pairs that it hands on
/// ```
#[derive(Clone, Debug)]
pub struct Places {
    /// The stores that the job reaches.
    pub stores: Arc<Stores>,
    /// The output prefix.
    pub output: Location,
    /// The prefix of parts that are not visible yet, in the output's own store.
    pub staging: Location,
    /// The prefix of all intermediate data of the run.
    pub folder: Location,
    /// The prefix of the step's: its plan, shuffle objects, commit records.
    pub work: Location,
    /// Where pairs are kept between steps.
    pub pairs: PairsPlace,
}

impl Places {
    /// The same with stores that cancelling doesn't touch: for what has to be done last.
    #[must_use]
    pub fn uninterrupted(&self) -> Self {
        let pairs = match &self.pairs {
            PairsPlace::Folder(folder) => PairsPlace::Folder(folder.uninterrupted()),
            PairsPlace::Local(pairs) => PairsPlace::Local(Arc::clone(pairs)),
        };
        Self {
            stores: Arc::clone(&self.stores),
            output: self.output.uninterrupted(),
            staging: self.staging.uninterrupted(),
            folder: self.folder.uninterrupted(),
            work: self.work.uninterrupted(),
            pairs,
        }
    }
}

/// The run that a process works for.
#[derive(Clone, Debug)]
pub struct RunContext {
    /// The run.
    pub id: JobId,
    /// The job's name.
    pub name: String,
    /// The digest of what the run does; none of a run that is in one process.
    pub revision: Option<String>,
    /// Asks all work to stop.
    pub cancel: CancellationToken,
    /// What is done about a function that can't be stopped.
    pub last_resort: LastResort,
    /// What its attempts have left out.
    pub skipped: Arc<skipped::Attempts>,
    /// Attempts at this pod's task that have failed before.
    pub failed_before: u64,
    /// Requests to the store of intermediate data.
    pub requests: Arc<RequestCounter>,
    /// How it ends.
    pub ending: Arc<Ending>,
}

impl RunContext {
    /// An error once somebody has asked to stop.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }

    /// Waits, and no longer than until somebody asks to stop.
    pub fn pause(&self, time: Duration) -> Result<()> {
        let end = clock::now() + time;
        while clock::now() < end {
            self.check_cancelled()?;
            clock::sleep(Duration::from_millis(20));
        }
        self.check_cancelled()
    }

    /// Adds the requests for intermediate data since it was last called.
    pub(crate) fn count_requests(&self, counters: &mut Counters) {
        let RequestCounts { reads, writes } = self.requests.take();
        counters.shuffle_reads += reads;
        counters.shuffle_writes += writes;
    }
}

/// A step of a run.
#[derive(Clone, Debug)]
pub struct RunStep {
    /// What is done.
    pub definition: Arc<StepDefinition>,
    /// What its records are.
    pub format: Format,
    /// Where it reads and writes.
    pub places: Places,
    /// The run.
    pub run: RunContext,
    /// Whether adding up before the shuffle has paid so far.
    pub combine_stats: Arc<CombineStats>,
}

impl RunStep {
    /// What the user wrote, as if this step were all of it.
    pub fn spec(&self) -> &MapReduceJobSpec {
        &self.definition.spec
    }

    /// The name; none in a job without `spec.steps`.
    pub fn name(&self) -> Option<&str> {
        self.definition.name.as_deref()
    }

    /// What the names of the pairs that it writes begin with.
    pub fn pairs_prefix(&self) -> String {
        format!("{}pairs/", self.definition.folder())
    }

    /// Takes the bad records of an attempt, where they are left out.
    pub fn skipping(&self, task: TaskId, attempt: &AttemptId) -> Option<Skipping> {
        let Places { output, staging, .. } = &self.places;
        let places = skipped::SkippedPlaces { output, staging, format: &self.format };
        let max = self.spec().skip_bad_records.max;
        self.spec().skips().then(|| self.run.skipped.of(task, attempt, max, &places))
    }

    /// Where tasks of this process keep intermediate data: in its share of the memory, then in scratch files.
    pub(crate) fn spill_store(&self, resources: &memory::Resources) -> Arc<SpillStore> {
        let codec = BlockCodec::of(self.spec().shuffle.compression, false);
        SpillStore::new(memory::kept(resources.memory), resources.scratch.clone(), codec)
    }
}
