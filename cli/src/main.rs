//! `mapreduce`: runs, plans and validates MapReduceJob manifests.

mod allocator;
mod args;
mod failure;
mod load;
mod plan;
mod progress;
mod report;
mod run;
mod signals;
mod size;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    show_warnings();
    match args::Args::try_parse() {
        Ok(args) => args.run(),
        Err(error) => {
            let wrong = error.use_stderr();
            let _ = error.print();
            if wrong { ExitCode::from(failure::USAGE) } else { ExitCode::SUCCESS }
        }
    }
}

/// What the engine warns of goes to standard error, a line each.
fn show_warnings() {
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(false)
        .without_time()
        .init();
}
