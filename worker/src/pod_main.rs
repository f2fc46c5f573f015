//! The worker's command line, its surroundings in a pod, and its last words.

mod termination_log;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mapreduce_api::ids::AttemptId;
use mapreduce_api::wire::{
    Counters, ErrorReport, JobFile, JobSummary, PlanSummary, Termination, digest, env, exit,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use self::termination_log::TerminationLog;
use crate::error::{Error, ErrorKind, IoContext as _, Result};
use crate::function::LastResort;
use crate::job::pod::PlanOutcome;
use crate::job::{Job, Resources, pod, small};
use crate::machine::{random, variables};
use crate::memory;
use crate::storage::{self, AwayStores, Stores, authorities};
use crate::task::finish::Success;

/// A pod's task of a MapReduceJob.
#[derive(Debug, Parser)]
#[command(name = "mapreduce-worker", version)]
pub struct Args {
    #[command(subcommand)]
    command: PodCommand,
    /// Where the last words go.
    #[arg(long, default_value = "/dev/termination-log", global = true)]
    termination_log: PathBuf,
}

#[derive(Debug, Subcommand)]
enum PodCommand {
    /// Lists the input, or what the step before has written, and divides it.
    Plan(PodJobArgs),
    /// Runs the map task whose number is in `JOB_COMPLETION_INDEX`.
    Map(PodJobArgs),
    /// Runs the reduce task whose number is in `JOB_COMPLETION_INDEX`.
    Reduce(PodJobArgs),
    /// Says once more what the plan said, or the last task; changes nothing.
    Report(PodJobArgs),
    /// Removes what a failed or deleted job has left.
    Cleanup(PodJobArgs),
    /// Says whether the worker of this container gets on: fails, and says why, while it waits for a store.
    Ready,
    /// Copies this program to a file, for a container whose image does not have it.
    Install {
        /// The file.
        to: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct PodJobArgs {
    /// The job, as the operator describes it.
    #[arg(long, value_name = "FILE")]
    job: PathBuf,
    /// The step's number, from 1.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    step: u8,
}

impl Args {
    /// Runs the task; the exit code says whether another attempt may do better.
    pub fn run(self) -> ExitCode {
        let log = TerminationLog::new(self.termination_log);
        if matches!(self.command, PodCommand::Ready) {
            return ready(&log);
        }
        let filter = tracing_subscriber::EnvFilter::try_from_default_env();
        tracing_subscriber::fmt()
            .json()
            .with_env_filter(filter.unwrap_or_else(|_| "info".into()))
            .with_writer(std::io::stderr)
            .init();
        let done = perform(&self.command, &log);
        ExitCode::from(last_words(done, &log))
    }
}

/// The answer to a readiness probe, which is asked by a process of its own.
fn ready(log: &TerminationLog) -> ExitCode {
    match log.waits() {
        None => ExitCode::SUCCESS,
        Some(line) => {
            println!("{line}");
            ExitCode::FAILURE
        }
    }
}

/// Writes how the attempt has ended; the exit code.
fn last_words(done: Result<Termination>, log: &TerminationLog) -> u8 {
    let is_store_away = done.as_ref().is_err_and(|error| error.kind() == ErrorKind::StoreUnavailable);
    let last_words = done.unwrap_or_else(|error| {
        let report = error.report();
        let attempt = report.attempts.max(failed_before() + 1);
        let causes = error.causes_text();
        tracing::error!(task = report.task, attempt, %error, causes, "The attempt failed.");
        Termination::Failed(report)
    });
    log.end(&last_words);
    match last_words {
        Termination::Failed(_) if is_store_away => exit::STORE_UNAVAILABLE,
        Termination::Failed(ErrorReport { permanent: true, .. }) => exit::PERMANENT,
        Termination::Failed(_) => exit::RETRY,
        _ => 0,
    }
}

/// Ends the process in the middle of a function that can't be stopped. What the attempt has written is removed
/// as after a pod that died.
fn last_resort(log: &TerminationLog) -> LastResort {
    let log = log.clone();
    LastResort::new(move |error| {
        let code = last_words(Err(error), &log);
        #[allow(clippy::disallowed_methods, reason = "the thread that doesn't end cannot be waited for")]
        std::process::exit(code.into())
    })
}

fn perform(command: &PodCommand, log: &TerminationLog) -> Result<Termination> {
    let args = match command {
        PodCommand::Plan(args)
        | PodCommand::Map(args)
        | PodCommand::Reduce(args)
        | PodCommand::Report(args)
        | PodCommand::Cleanup(args) => args,
        PodCommand::Install { to } => return install(to).map(|()| Termination::Done),
        PodCommand::Ready => return Ok(Termination::Done),
    };
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return Err(Error::permanent("another TLS provider is installed already"));
    }
    let runtime = storage::runtime()?;
    let cancel = CancellationToken::new();
    listen(&runtime, &cancel)?;
    let job = read_job(&args.job, &runtime, cancel, log)?
        .with_last_resort(last_resort(log))
        .at_step(usize::from(args.step) - 1);
    if matches!(command, PodCommand::Plan(_) | PodCommand::Map(_) | PodCommand::Reduce(_)) {
        check_disruptions(&job, disrupted_before())?;
    }
    let resources = resources();
    let attempt =
        || AttemptId::new(variables::text(env::ATTEMPT).unwrap_or_else(|| random::name().to_string()));
    match command {
        PodCommand::Plan(_) => {
            let planned = pod::plan(&job, &resources)?;
            if let Some(success) = planned.success {
                return Ok(finished(&success, None));
            }
            let whole = small::run(&job, &planned.summary, &attempt(), &resources)?;
            Ok(match whole {
                Some(success) => finished(&success, Some(planned.summary)),
                None => Termination::Planned(planned.summary),
            })
        }
        PodCommand::Report(_) => pod::report(&job).map(restated),
        PodCommand::Map(_) => Ok(outcome(pod::map(&job, index()?, &attempt(), &resources)?)),
        PodCommand::Reduce(_) => Ok(outcome(pod::reduce(&job, index()?, &attempt(), &resources)?)),
        PodCommand::Cleanup(_) => pod::cleanup(&job).map(|_| Termination::Done),
        PodCommand::Install { .. } | PodCommand::Ready => Ok(Termination::Done),
    }
}

fn restated(outcome: PlanOutcome) -> Termination {
    outcome.success.map_or(Termination::Planned(outcome.summary), |success| finished(&success, None))
}

fn outcome(success: Option<Success>) -> Termination {
    success.map_or(Termination::Done, |success| finished(&success, None))
}

fn finished(success: &Success, plan: Option<PlanSummary>) -> Termination {
    let last = success.steps.last().map(|step| step.counters.clone());
    Termination::Finished(Box::new(JobSummary {
        counters: success.counters.clone(),
        last_step: last.map(|counters| Counters { user: BTreeMap::new(), ..counters }),
        parts: success.outputs.len() as u64,
        records: success.outputs.iter().map(|part| part.records).sum(),
        skew_percent: success.skew_percent,
        committed: true,
        plan,
    }))
}

fn read_job(
    file: &Path,
    runtime: &tokio::runtime::Runtime,
    cancel: CancellationToken,
    log: &TerminationLog,
) -> Result<Job> {
    let bytes = std::fs::read(file).context(|| format!("can't read {}", file.display()))?;
    let revision = digest(&bytes);
    check_revision(&revision, file)?;
    let mut job: JobFile = serde_json::from_slice(&bytes).map_err(|e| {
        Error::permanent(format!("can't read {}: operator and worker must be of one release", file.display()))
            .because(e)
    })?;
    if let Some(cleanup) = variables::text(env::CLEANUP).map(Value::String) {
        job.spec.cleanup = serde_json::from_value(cleanup)
            .map_err(|e| Error::permanent(format!("{} can't be read", env::CLEANUP)).because(e))?;
    }
    let (storage, log) = (job.spec.storage.clone(), log.clone());
    let stores = Stores::new(storage, Path::new("/"), runtime.handle().clone(), cancel.clone())
        .telling(AwayStores::told_to(move |stores| log.wait_for(stores)));
    let job = Job::with_stores(job, stores, cancel)?;
    Ok(job.of_revision(revision).after_failures(failed_before()))
}

/// Pods of the task that the cluster has ended.
fn disrupted_before() -> i64 {
    variables::text(env::DISRUPTED_BEFORE).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A pod that is evicted for what it does would be started, and evicted, for ever.
fn check_disruptions(job: &Job, disrupted: i64) -> Result<()> {
    let limit = job.spec().max_disruptions;
    if disrupted <= i64::from(limit) {
        return Ok(());
    }
    Err(Error::permanent(format!(
        "the cluster has ended {disrupted} pods of this task (spec.maxDisruptions: {limit})"
    ))
    .because("they were drained, preempted or evicted: `kubectl get events` says why; an evicted pod may need higher limits"))
}

/// Attempts at the pod's task that have failed before it.
fn failed_before() -> u64 {
    variables::text(env::FAILED_BEFORE).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A pod works for the run that it was made for, or not at all: tasks of one run must agree on what they do.
fn check_revision(mounted: &str, file: &Path) -> Result<()> {
    match variables::text(env::REVISION).filter(|wanted| wanted != mounted) {
        None => Ok(()),
        Some(wanted) => Err(Error::permanent(format!(
            "{} is revision {mounted} of the job, and this pod was made for revision {wanted}: its ConfigMap was \
             replaced while the job ran; delete the job and apply it again",
            file.display()
        ))),
    }
}

/// A pod that is drained gets SIGTERM: what it has written is removed before it ends.
fn listen(runtime: &tokio::runtime::Runtime, cancel: &CancellationToken) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let _entered = runtime.enter();
    let mut terminate = signal(SignalKind::terminate()).context(|| "can't listen for signals".into())?;
    let cancel = cancel.clone();
    runtime.spawn(async move {
        terminate.recv().await;
        cancel.cancel();
    });
    Ok(())
}

fn index() -> Result<u32> {
    let text = variables::text(env::INDEX).unwrap_or_default();
    text.parse().map_err(|_| Error::permanent(format!("{} is `{text}`, not a task's number", env::INDEX)))
}

/// Bytes for buffers where the container has no limit.
const DEFAULT_MEMORY: u64 = 1 << 30;

fn resources() -> Resources {
    let limit = variables::text(env::MEMORY_LIMIT).and_then(|text| text.parse::<u64>().ok());
    // The rest of the limit is for what is not counted: stacks, connections, the program itself.
    let memory = limit.map_or(DEFAULT_MEMORY, |limit| limit / 10 * 6);
    Resources {
        memory,
        threads: memory::bound(memory, std::thread::available_parallelism().map_or(1, usize::from)),
        scratch: variables::get(env::SCRATCH).map_or_else(variables::temporary_folder, PathBuf::from),
    }
}

/// Installs this program atomically: containers may restart.
fn install(to: &Path) -> Result<()> {
    let what = || format!("can't install the worker as {}", to.display());
    let from = std::env::current_exe().context(what)?;
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).context(what)?;
    }
    authorities::bring(to).context(what)?;
    let beside = to.with_extension("new");
    std::fs::copy(&from, &beside).context(what)?;
    std::fs::rename(&beside, to).context(what)
}
