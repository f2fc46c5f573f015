//! `mapreduce`: runs, plans and validates MapReduceJob manifests.

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

// Measured on a word count of 1 GiB: 6 % less time than with glibc's allocator, and the memory of
// finished tasks is given back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
