//! A job, ready to run: its functions, formats and places checked.
//!
//! A [`Job`] is seen at one of its steps: what a task is told of the manifest is that step's, and where
//! it works is that step's folder. A job without `spec.steps` is one step.
//!
//! ```text
//!  <work folder>/                  one step: plan, commit records, shuffle objects
//!  <work folder>/steps/<name>/     of several each has its own, and the pairs that it hands on
//! ```

use std::path::Path;
use std::sync::Arc;

use mapreduce_api::ids::{AttemptId, TaskId};
use mapreduce_api::v1alpha1::{MapReduceJobSpec, Phases};
use mapreduce_api::wire::{Counters, JobFile};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::commit::owner::Owner;
use crate::commit::record::CommitLog;
use crate::error::{Error, Result};
use crate::function::{Functions, LastResort, ReduceFunction};
use crate::input::list::check_urls;
use crate::memory;
use crate::output::replaceable::WORK;
use crate::plan::overlap;
use crate::record::block::BlockCodec;
use crate::record::format::Format;
use crate::record::pairs::PairsPlace;
use crate::record::skipped::{self, Skipping};
use crate::record::space::Space;
use crate::shuffle::arrange::Arrangement;
use crate::shuffle::gain::Gain;
use crate::storage::s3;
use crate::storage::{Location, Made, Requests, Stores, parse_writable_url};

pub mod chain;
mod context;
pub mod folders;
pub mod local;
pub mod pod;
pub(crate) mod threads;

/// Memory and processors for the tasks of one process.
#[derive(Clone, Debug)]
pub struct Resources {
    /// Bytes that buffers may take, all tasks together: see [`memory`].
    pub memory: u64,
    /// Tasks at once.
    pub threads: usize,
    /// Where scratch files go.
    pub scratch: std::path::PathBuf,
}

/// A checked job.
#[derive(Debug)]
pub struct Job {
    /// What the user wrote, as if this step were all of it, and which run of it this is.
    pub file: JobFile,
    /// Its functions.
    pub functions: Functions,
    /// How it sorts and partitions.
    pub arrangement: Arrangement,
    /// What its records are.
    pub format: Format,
    /// The stores that it reaches.
    pub stores: Arc<Stores>,
    /// The output prefix.
    pub output: Location,
    /// The prefix of all intermediate data.
    pub folder: Location,
    /// The prefix of this step's: its plan, shuffle objects, commit records.
    pub work: Location,
    /// Where pairs are kept between steps.
    pub pairs: PairsPlace,
    /// The prefix of parts that are not visible yet, in the output's own store.
    pub staging: Location,
    /// Requests to the store of intermediate data.
    pub requests: Arc<Requests>,
    /// What its attempts have left out.
    pub skipped: Arc<skipped::Attempts>,
    /// Attempts at this pod's task that have failed before.
    pub failed_before: u64,
    /// Asks all work to stop.
    pub cancel: CancellationToken,
    /// What is done about a function that can't be stopped.
    pub last_resort: LastResort,
    /// Whether this process is all of the run, and no pods are.
    pub alone: bool,
    /// Whether adding up before the shuffle has paid so far.
    pub gain: Arc<Gain>,
    steps: Arc<[Step]>,
    number: usize,
}

/// A step of a job, checked.
#[derive(Debug)]
struct Step {
    name: Option<String>,
    spec: MapReduceJobSpec,
    functions: Functions,
    arrangement: Arrangement,
}

impl Job {
    /// Checks a job, and sees it at its first step. Relative `file:` URLs are below `folder`.
    ///
    /// # Errors
    ///
    /// Usage errors for what the manifest alone shows; nothing has been reached by then.
    pub fn new(file: JobFile, folder: &Path, runtime: Handle, cancel: CancellationToken) -> Result<Self> {
        let stores = Stores::new(file.spec.storage.clone(), folder, runtime, cancel.clone());
        Self::with_stores(file, stores, cancel)
    }

    /// Checks a job that reaches its data by these stores.
    pub fn with_stores(file: JobFile, stores: Stores, cancel: CancellationToken) -> Result<Self> {
        let steps: Arc<[Step]> = check(&file.spec, stores.folder())?.0.into();
        let (spec, stores) = (&file.spec, Arc::new(stores));
        let output = stores.locate(&spec.output.url)?.as_prefix();
        let staging = output.join(&format!("{WORK}{}/", file.id));
        let mut folder = match &spec.shuffle.url {
            Some(url) => stores.locate(url)?.as_prefix().join(&format!("{}/", file.id)),
            None => staging.clone(),
        };
        let requests = Arc::default();
        if let Some(store) = folder.store.counting(&requests) {
            folder.store = store;
        }
        let pairs = PairsPlace::Folder(folder.clone());
        let Step { functions, arrangement, .. } = &steps[0];
        let first = Self {
            functions: functions.clone(),
            arrangement: arrangement.clone(),
            format: Format::new(&spec.input),
            work: folder.clone(),
            file,
            stores,
            output,
            folder,
            pairs,
            staging,
            requests,
            skipped: Arc::default(),
            failed_before: 0,
            cancel,
            last_resort: LastResort::default(),
            alone: false,
            gain: Arc::default(),
            steps,
            number: 0,
        };
        Ok(first.at_step(0))
    }

    /// Where tasks of this process keep intermediate data: in its share of the memory, then in scratch files.
    pub(crate) fn space(&self, resources: &Resources) -> Arc<Space> {
        let codec = BlockCodec::of(self.file.spec.shuffle.compression, false);
        Space::new(memory::kept(resources.memory), resources.scratch.clone(), codec)
    }

    /// The job with stores that cancelling doesn't touch: for what has to be done last.
    #[must_use]
    pub fn uninterrupted(&self) -> Self {
        let calm = |place: &Location| match place.store.uninterrupted() {
            Some(store) => Location { store, ..place.clone() },
            None => place.clone(),
        };
        let mut job = self.at_step(self.number);
        for place in [&mut job.output, &mut job.staging, &mut job.folder, &mut job.work] {
            *place = calm(place);
        }
        if let PairsPlace::Folder(folder) = &mut job.pairs {
            *folder = calm(folder);
        }
        job.at_step(self.number)
    }

    /// The run as locks and work folders name it.
    pub fn owner(&self) -> Owner {
        Owner::new(&self.file.id, &self.file.name, self.alone)
    }

    /// Its commit log.
    pub fn log(&self) -> CommitLog {
        CommitLog { work: self.work.clone(), staging: self.staging.clone() }
    }

    /// Adds the requests for intermediate data since it was last called.
    pub(crate) fn count_requests(&self, counters: &mut Counters) {
        let Made { reads, writes } = self.requests.take();
        counters.shuffle_reads += reads;
        counters.shuffle_writes += writes;
    }

    /// Takes the bad records of an attempt, where they are left out.
    pub fn skipping(&self, task: TaskId, attempt: &AttemptId) -> Option<Skipping> {
        let places = skipped::Places { output: &self.output, staging: &self.staging, format: &self.format };
        let most = self.file.spec.skip_bad_records.max;
        self.file.spec.skips().then(|| self.skipped.of(task, attempt, most, &places))
    }

    /// An error once somebody has asked to stop.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }
}

/// What can be made of a manifest alone: its steps.
#[derive(Debug)]
pub struct Checked(Vec<Step>);

/// What a record may be told to have at most: it is whole in memory.
const MAX_RECORD_BYTES: u64 = 1 << 30;

/// Checks a manifest without reaching anything, or asking for credentials. Relative `file:` URLs are below
/// `folder`.
pub fn check(spec: &MapReduceJobSpec, folder: &Path) -> Result<Checked> {
    check_urls(&spec.input).map_err(|e| e.context_usage("spec.input.urls"))?;
    parse_writable_url(&spec.output.url).map_err(|e| e.context_usage("spec.output.url"))?;
    if let Some(url) = &spec.shuffle.url {
        parse_writable_url(url).map_err(|e| e.context_usage("spec.shuffle.url"))?;
    }
    overlap::check(spec, folder)?;
    spec.storage.s3.as_ref().map_or(Ok(()), s3::check)?;
    if spec.input.split_size.0 == 0 {
        return Err(Error::usage("spec.input.splitSize: a split has at least one byte"));
    }
    let max_record = spec.input.format.lines.as_ref().and_then(|lines| lines.max_record_bytes);
    if max_record.is_some_and(|max| max.0 == 0 || max.0 > MAX_RECORD_BYTES) {
        return Err(Error::usage("spec.input.format.lines.maxRecordBytes: a record has from 1 to 1Gi bytes"));
    }
    (0..spec.step_count())
        .map(|number| check_step(spec, number).map_err(|error| error.below(&Phases::path(spec, number))))
        .collect::<Result<_>>()
        .map(Checked)
}

fn check_step(spec: &MapReduceJobSpec, number: usize) -> Result<Step> {
    let name = spec.phases(number).name.map(str::to_owned);
    let spec = spec.of_step(number);
    let functions = Functions::new(&spec)?;
    let mut arrangement = Arrangement::new(spec.reduce.as_ref())?;
    arrangement.values_sorted |= functions.reduce.as_ref().is_some_and(ReduceFunction::wants_sorted_values);
    Ok(Step { name, spec, functions, arrangement })
}
