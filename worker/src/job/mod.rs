//! A job, ready to run: its functions, formats and places checked.

use std::path::Path;
use std::sync::Arc;

use mapreduce_api::v1alpha1::{MapReduceJobSpec, Phases};
use mapreduce_api::wire::JobFile;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::commit::owner::Owner;
use crate::commit::record::CommitLog;
use crate::error::{Error, Result};
use crate::function::LastResort;
use crate::input::list::check_urls;
pub use crate::memory::Resources;
use crate::output::replaceable::WORK;
use crate::plan::overlap;
use crate::record::format::{Format, check_record_limits};
use crate::record::pairs::PairsPlace;
use crate::step::{Places, RunContext, RunStep, StepDefinition};
use crate::storage::{Stores, parse_writable_url, s3};
use crate::task::publication::Publication;

mod chain;
mod exchange;
pub mod folders;
pub mod local;
pub mod pod;
pub mod small;
mod tasks;
mod threads;
mod unfinished;

/// A checked job, seen at one of its steps.
#[derive(Clone, Debug)]
pub struct Job {
    step: RunStep,
    definitions: Arc<[Arc<StepDefinition>]>,
    /// Whether this process is all of the run, and no pods are.
    alone: bool,
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
        let JobFile { id, name, spec } = file;
        let definitions: Arc<[_]> = check(&spec, stores.folder())?.0.into_iter().map(Arc::new).collect();
        let output = stores.locate(&spec.output.url)?.as_prefix();
        let staging = output.join(&format!("{WORK}{id}/"));
        let mut folder = match &spec.shuffle.url {
            Some(url) => stores.locate(url)?.as_prefix().join(&format!("{id}/")),
            None => staging.clone(),
        };
        let requests = Arc::default();
        if let Some(store) = folder.store.counting(&requests) {
            folder.store = store;
        }
        let pairs = PairsPlace::Folder(folder.clone());
        let places =
            Places { stores: Arc::new(stores), output, staging, work: folder.clone(), folder, pairs };
        let run = RunContext {
            id,
            name,
            revision: None,
            cancel,
            last_resort: LastResort::default(),
            skipped: Arc::default(),
            failed_before: 0,
            requests,
            ending: Arc::default(),
        };
        let definition = Arc::clone(&definitions[0]);
        let format = Format::new(&spec.input);
        let step = RunStep { definition, format, places, run, combine_stats: Arc::default() };
        Ok(Self { step, definitions, alone: false }.at_step(0))
    }

    /// The step that it is seen at.
    pub fn step(&self) -> &RunStep {
        &self.step
    }

    /// What the user wrote, as if the step were all of it.
    pub fn spec(&self) -> &MapReduceJobSpec {
        self.step.spec()
    }

    /// The run, and who asks it to stop.
    pub fn run(&self) -> &RunContext {
        &self.step.run
    }

    /// Where it reads and writes.
    pub fn places(&self) -> &Places {
        &self.step.places
    }

    /// The job at another of its steps; past the last one it is at the last.
    #[must_use]
    pub fn at_step(&self, number: usize) -> Self {
        let definition = &self.definitions[number.min(self.definitions.len() - 1)];
        let Places { folder, pairs, .. } = self.places();
        let format = match definition.number {
            0 => Format::new(&definition.spec.input),
            _ => Format::pairs(pairs.clone()),
        };
        let work = folder.join(&definition.folder());
        let step = RunStep {
            definition: Arc::clone(definition),
            format,
            places: Places { work, ..self.places().clone() },
            run: self.run().clone(),
            // What pays in one step need not in another.
            combine_stats: Arc::default(),
        };
        Self { step, ..self.clone() }
    }

    /// The job with the pairs between steps kept elsewhere.
    #[must_use]
    pub fn keeping_pairs_in(&self, place: PairsPlace) -> Self {
        let mut job = self.clone();
        job.step.places.pairs = place;
        job.at_step(self.step_number())
    }

    /// The job of which this process is all.
    #[must_use]
    pub fn alone(&self) -> Self {
        Self { alone: true, ..self.clone() }
    }

    /// The job after so many failed attempts at the task at hand.
    #[must_use]
    pub fn after_failures(mut self, failed_before: u64) -> Self {
        self.step.run.failed_before = failed_before;
        self
    }

    /// The job in the revision of this digest.
    #[must_use]
    pub fn of_revision(mut self, digest: String) -> Self {
        self.step.run.revision = Some(digest);
        self
    }

    /// The job with something to be done about a function that can't be stopped.
    #[must_use]
    pub fn with_last_resort(mut self, last_resort: LastResort) -> Self {
        self.step.run.last_resort = last_resort;
        self
    }

    /// How many steps there are.
    pub fn step_count(&self) -> usize {
        self.definitions.len()
    }

    /// The number of the step that the job is seen at, from 0.
    pub fn step_number(&self) -> usize {
        self.step.definition.number
    }

    /// The name of any step.
    pub fn name_of(&self, number: usize) -> Option<&str> {
        self.definitions.get(number).and_then(|step| step.name.as_deref())
    }

    /// The commit log of the step.
    pub fn log(&self) -> CommitLog {
        CommitLog { work: self.places().work.clone(), staging: self.places().staging.clone() }
    }

    /// What makes its result visible, and removes what it leaves.
    pub fn publication(&self) -> Publication {
        let Places { output, staging, folder, .. } = self.places().clone();
        Publication {
            last_step: Arc::clone(&self.definitions[self.definitions.len() - 1]),
            owner: Owner::new(&self.run().id, &self.run().name, self.alone),
            context: self.run().clone(),
            output,
            staging,
            works: self.definitions.iter().map(|step| folder.join(&step.folder())).collect(),
            folder,
        }
    }
}

/// What can be made of a manifest alone: its steps.
#[derive(Debug)]
pub struct CheckedSteps(Vec<StepDefinition>);

/// Bytes that a split may be told to have: more than any store takes for an object.
const MAX_SPLIT_BYTES: u64 = 1 << 50;

/// Checks a manifest without reaching anything, or asking for credentials. Relative `file:` URLs are below
/// `folder`.
pub fn check(spec: &MapReduceJobSpec, folder: &Path) -> Result<CheckedSteps> {
    check_urls(&spec.input).map_err(|e| e.context_usage("spec.input.urls"))?;
    parse_writable_url(&spec.output.url).map_err(|e| e.context_usage("spec.output.url"))?;
    if let Some(url) = &spec.shuffle.url {
        parse_writable_url(url).map_err(|e| e.context_usage("spec.shuffle.url"))?;
    }
    overlap::check(spec, folder)?;
    spec.storage.s3.as_ref().map_or(Ok(()), s3::check)?;
    if !(1..=MAX_SPLIT_BYTES).contains(&spec.input.split_size.0) {
        return Err(Error::usage("spec.input.splitSize: a split has from 1 byte to 1Pi"));
    }
    if spec.small.max_bytes.0 > MAX_SPLIT_BYTES {
        return Err(Error::usage("spec.small.maxBytes: a small job has at most 1Pi of input"));
    }
    check_record_limits(&spec.input.format)?;
    (0..spec.step_count())
        .map(|number| {
            StepDefinition::new(spec, number).map_err(|error| error.below(&Phases::path(spec, number)))
        })
        .collect::<Result<_>>()
        .map(CheckedSteps)
}
