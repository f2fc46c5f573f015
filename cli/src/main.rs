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
    match args::Args::try_parse() {
        Ok(args) => args.run(),
        Err(error) => {
            let wrong = error.use_stderr();
            let _ = error.print();
            if wrong { ExitCode::from(failure::USAGE) } else { ExitCode::SUCCESS }
        }
    }
}
