//! A job, ready to run: its functions, formats and places checked.

use std::path::Path;
use std::sync::Arc;

use mapreduce_api::v1alpha1::MapReduceJobSpec;
use mapreduce_api::wire::JobFile;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::function::Functions;
use crate::input::format::Format;
use crate::input::list::check_urls;
use crate::shuffle::arrange::Arrangement;
use crate::shuffle::gain::Gain;
use crate::storage::{Location, Stores};

pub mod local;
pub mod pod;

/// Memory and processors for the tasks of one process.
#[derive(Clone, Debug)]
pub struct Resources {
    /// Bytes that buffers may take, all tasks together.
    pub memory: u64,
    /// Tasks at once.
    pub threads: usize,
    /// Where scratch files go.
    pub scratch: std::path::PathBuf,
}

/// A checked job.
#[derive(Debug)]
pub struct Job {
    /// What the user wrote, and which run of it this is.
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
    /// The prefix of intermediate data: the plan, shuffle objects, commit records.
    pub work: Location,
    /// The prefix of parts that are not visible yet, in the output's own store.
    pub staging: Location,
    /// Asks all work to stop.
    pub cancel: CancellationToken,
    /// Whether adding up before the shuffle has paid so far.
    pub gain: Arc<Gain>,
}

impl Job {
    /// Checks a job. Relative `file:` URLs are below `folder`.
    ///
    /// # Errors
    ///
    /// Usage errors for what the manifest alone shows; nothing has been reached by then.
    pub fn new(file: JobFile, folder: &Path, runtime: Handle, cancel: CancellationToken) -> Result<Self> {
        let Checked { functions, arrangement, format } = check(&file.spec)?;
        let spec = &file.spec;
        let stores = Arc::new(Stores::new(spec.storage.clone(), folder, runtime, cancel.clone()));
        let output = stores.locate(&spec.output.url)?.as_prefix();
        let staging = output.join(&format!("{WORK}{}/", file.id));
        let work = match &spec.shuffle.url {
            Some(url) => stores.locate(url)?.as_prefix().join(&format!("{}/", file.id)),
            None => staging.clone(),
        };
        let gain = Arc::default();
        Ok(Self { file, functions, arrangement, format, stores, output, work, staging, cancel, gain })
    }

    /// An error once somebody has asked to stop.
    pub fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }
}

/// What can be made of a manifest alone.
#[derive(Debug)]
pub struct Checked {
    functions: Functions,
    arrangement: Arrangement,
    format: Format,
}

/// Checks a manifest without reaching anything, or asking for credentials.
pub fn check(spec: &MapReduceJobSpec) -> Result<Checked> {
    check_urls(&spec.input).map_err(|e| e.context_usage("spec.input.urls"))?;
    Stores::parse_writable(&spec.output.url).map_err(|e| e.context_usage("spec.output.url"))?;
    if let Some(url) = &spec.shuffle.url {
        Stores::parse_writable(url).map_err(|e| e.context_usage("spec.shuffle.url"))?;
    }
    if spec.input.split_size.0 == 0 {
        return Err(Error::usage("spec.input.splitSize: a split has at least one byte"));
    }
    Ok(Checked {
        functions: Functions::new(spec)?,
        arrangement: Arrangement::new(spec.reduce.as_ref())?,
        format: Format::new(&spec.input),
    })
}

/// What the names of work folders under an output prefix begin with: hidden, so that a job that
/// reads the prefix does not see them.
pub const WORK: &str = "_mapreduce-";
