//! From a file to a checked job.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use mapreduce_api::ids::JobId;
use mapreduce_api::manifest::{MAX_BYTES, Manifest};
use mapreduce_api::v1alpha1::{Function, Phases};
use mapreduce_api::validate::validate;
use mapreduce_api::wire::JobFile;
use mapreduce_worker::error::{Error, Result};
use mapreduce_worker::function::wasm;
use mapreduce_worker::job::Job;
use mapreduce_worker::storage::GLOB_SIGNS;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::args::JobArgs;

/// A manifest, and the folder that its relative URLs are below.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub manifest: Manifest,
    folder: PathBuf,
}

/// Reads and checks a job's manifest. Its URLs that were given on the command line are relative to the current folder.
pub(crate) fn load_job(args: &JobArgs) -> Result<Loaded> {
    let mut loaded = load(&args.file)?;
    if !args.input.is_empty() {
        loaded.manifest.spec.input.urls =
            args.input.iter().map(|url| absolute(url)).collect::<Result<_>>()?;
    }
    if let Some(url) = &args.output {
        loaded.manifest.spec.output.url = absolute(url)?;
    }
    Ok(loaded)
}

/// Reads and checks a manifest.
pub(crate) fn load(file: &Path) -> Result<Loaded> {
    let name = file.display();
    let stdin = file == Path::new("-");
    let read = if stdin { read(std::io::stdin()) } else { std::fs::File::open(file).and_then(read) };
    let bytes = read.map_err(|e| Error::usage(format!("can't read {name}: {e}")))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Error::usage(format!("{name} is not valid UTF-8: see the byte at {at}"))
    })?;
    let manifest = validate(&text).map_err(|violations| {
        let mut lines = violations.iter().map(ToString::to_string);
        let first = lines.next().unwrap_or_default();
        lines.fold(Error::usage(format!("{name}: {first}")), Error::because)
    })?;
    let current =
        std::env::current_dir().map_err(|e| Error::usage(format!("there is no current folder: {e}")))?;
    let folder = match file.parent() {
        Some(parent) if !stdin => current.join(parent),
        _ => current,
    };
    Ok(Loaded { manifest, folder })
}

/// Reads a manifest; of a file that is too large, or has no end, only what shows that.
fn read(from: impl std::io::Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Loaded {
    /// The folder that the manifest's relative URLs are below.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The job, ready to run.
    pub(crate) fn job(self, runtime: Handle, cancel: CancellationToken) -> Result<Job> {
        self.check_can_run_here()?;
        let id = JobId::new(uuid::Uuid::new_v4().to_string());
        let file = JobFile { id, name: self.manifest.metadata.name, spec: self.manifest.spec };
        Job::new(file, &self.folder, runtime, cancel)
    }
}

impl Loaded {
    /// Refuses what only a cluster has, or another build.
    fn check_can_run_here(&self) -> Result<()> {
        let spec = &self.manifest.spec;
        let found = (0..spec.step_count()).find_map(|step| {
            let Phases { map, combine, reduce, .. } = spec.phases(step);
            let functions = [
                ("map", map.function.as_ref()),
                ("combine", combine.map(|combine| &combine.function)),
                ("reduce", reduce.and_then(|reduce| reduce.function.as_ref())),
            ];
            let path = Phases::path(spec, step);
            functions
                .into_iter()
                .find_map(|(phase, function)| Some((format!("{path}.{phase}.function"), why_not(function?)?)))
        });
        match found {
            None => Ok(()),
            Some((function, why)) => Err(Error::usage(format!("{function}.{why}"))),
        }
    }
}

/// Why a function can't run here: the field, and what to do.
fn why_not(function: &Function) -> Option<String> {
    if let Some(what) = function.only_on_a_cluster() {
        return Some(format!("{what} works on a cluster only: run it there, or use a value or a url"));
    }
    let is_left_out = function.wasm.is_some() && !wasm::IS_THERE;
    is_left_out.then(|| {
        "wasm: this command was built without WebAssembly: build it without `--no-default-features`".into()
    })
}

fn absolute(url: &str) -> Result<String> {
    match url.strip_prefix("file:") {
        Some(path) if !path.starts_with('/') => {
            let folder = std::env::current_dir()
                .map_err(|e| Error::usage(format!("there is no current folder: {e}")))?;
            let folder = folder
                .to_str()
                .ok_or_else(|| Error::usage("the current folder's name is not valid UTF-8"))?;
            if folder.contains(GLOB_SIGNS) {
                return Err(Error::usage(format!(
                    "`{url}` is relative to a folder whose name would be a pattern: {folder}: run it from another one"
                )));
            }
            Ok(format!("file://{folder}/{path}"))
        }
        _ => Ok(url.to_owned()),
    }
}
