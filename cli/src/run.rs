//! `mapreduce run`: the whole job in this process.

use std::process::ExitCode;
use std::sync::Arc;

use mapreduce_worker::error::Result;
use mapreduce_worker::job::local::{self, RunProgress};
use mapreduce_worker::job::{Job, Resources};
use mapreduce_worker::memory;
use mapreduce_worker::storage;
use mapreduce_worker::task::finish::Success;

use crate::args::RunArgs;
use crate::{allocator, failure, load, progress, report, signals, size};

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
    let resources = resources(args)?;
    let loaded = load::load_job(&args.job)?;
    let runtime = storage::runtime()?;
    let job = loaded.job(runtime.handle().clone(), stop.token.clone())?.with_last_resort(stop.last_resort());
    stop.listen(&runtime, &job, args.json)?;
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
    let state = Arc::new(RunProgress::default());
    if args.quiet {
        return local::run(job, resources, &state);
    }
    let shown = progress::Shown::start(&state, job);
    let done = local::run(job, resources, &state);
    shown.end();
    done
}

fn resources(args: &RunArgs) -> Result<Resources> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.map_or(processors, |threads| threads as usize);
    let memory = match args.memory {
        Some(memory) => memory.0,
        None => size::default_memory().max(memory::MIN_MEMORY),
    };
    let (memory, threads) = memory::bound_process(memory, threads)?;
    allocator::give_back_at_once(memory);
    Ok(Resources { memory, threads, scratch: std::env::temp_dir() })
}
