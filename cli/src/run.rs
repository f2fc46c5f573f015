//! `mapreduce run`: the whole job in this process.

use std::process::ExitCode;
use std::sync::Arc;

use mapreduce_worker::error::{Error, Result};
use mapreduce_worker::job::local::{self, Progress};
use mapreduce_worker::job::{Job, Resources};
use mapreduce_worker::task::finish::Success;

use crate::args::RunArgs;
use crate::{failure, load, progress, report, signals, size};

pub(crate) fn run(args: &RunArgs) -> ExitCode {
    let stop = signals::Stop::default();
    match try_run(args, &stop) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = stop.explain(error);
            failure::show(args.json, &error);
            ExitCode::from(stop.code(&error))
        }
    }
}

fn try_run(args: &RunArgs, stop: &signals::Stop) -> Result<()> {
    let mut loaded = load::load(&args.file)?;
    loaded.replace(&args.input, args.output.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Error::retry("can't start the runtime").because(e))?;
    let mut job = loaded.job(runtime.handle().clone(), stop.token.clone())?;
    job.last_resort = stop.last_resort();
    stop.listen(&runtime, &job, args.json)?;
    let resources = resources(args);
    let started = std::time::Instant::now();
    let done = with_progress(args, &job, &resources);
    stop.end();
    let done = done?;
    if args.json {
        println!("{}", report::succeeded(&done));
    } else {
        print!("{}", report::summary(&done, &job, started.elapsed()));
    }
    Ok(())
}

fn with_progress(args: &RunArgs, job: &Job, resources: &Resources) -> Result<Success> {
    let state = Arc::new(Progress::default());
    if args.quiet {
        return local::run(job, resources, &state);
    }
    let shown = progress::Shown::start(&state, job);
    let done = local::run(job, resources, &state);
    shown.end();
    done
}

fn resources(args: &RunArgs) -> Resources {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Resources {
        memory: args.memory.map_or_else(size::default_memory, |memory| memory.0),
        threads: args.threads.map_or(processors, |threads| threads as usize),
        scratch: std::env::temp_dir(),
    }
}
